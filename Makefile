# Two commands are all a newcomer needs: `make demo` and `make test`.

VENV := .venv
BIN := $(VENV)/bin
# what the agents, the lab and the tests need of Debian 12
PACKAGES := iproute2 libnftables1 nftables python3-venv
TEST_PACKAGES := conntrack dbus-daemon iputils-ping tshark
BENCH_PACKAGES := iperf3
KERNEL_PACKAGES := busybox-static kmod qemu-system-x86
STAMP := $(VENV)/installed
# programs of Debian packages that would start a service if they were installed
UNPACKED := $(CURDIR)/$(VENV)/debian
PROMTOOL := $(UNPACKED)/usr/bin/promtool
SECONDS := 60
MINUTES := 3
# these wait for packets more than they compute: three at once do not disturb each other's time
NETWORK_TESTS := tests/netns tests/e2e

.PHONY: demo test test-kernels test-unit lint bench fleet soak fuzz clean packages test-packages conformance reference
.DEFAULT_GOAL := help

help: ## Show what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

demo: $(STAMP) ## Build a network, send real traffic, cut a link, judge what arrived
	$(BIN)/mrouter demo

test: lint $(STAMP) test-packages $(PROMTOOL) ## Run every check and every test
	$(BIN)/pytest --numprocesses auto --dist loadfile $(patsubst %,--ignore=%,$(NETWORK_TESTS))
	PATH="$(UNPACKED)/usr/bin:$$PATH" $(BIN)/pytest --numprocesses 3 --dist loadfile $(NETWORK_TESTS)

test-unit: $(STAMP) ## Run the tests that need no root, in seconds
	$(BIN)/pytest -m "not netns" tests/unit tests/conformance

conformance: $(STAMP) ## Write docs/conformance.md: each requirement and its test
	$(BIN)/python tests/conformance/table.py

reference: $(STAMP) ## Write docs/*-reference.md: every key of every file
	$(BIN)/python tests/unit/docs/make_reference.py

lint: $(STAMP) ## Run the linters and the type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-kernels: $(STAMP) ## Run ip6tnl and mip6 on a Debian kernel under emulation; minutes
	$(call install,$(KERNEL_PACKAGES))
	$(BIN)/python tests/kernels/boot.py

bench: $(STAMP) ## Measure, and write bench/RESULTS.md
	$(call install,$(BENCH_PACKAGES))
	$(BIN)/python -m bench

fleet: $(STAMP) ## Simulate a thousand mobile routers for a day; many minutes
	$(BIN)/pytest -m fleet tests/simulation

soak: $(STAMP) test-packages ## Hours of simulated link weather, then MINUTES= (3) of it in the kernel, SEED=
	$(BIN)/pytest -m weather tests/simulation
	MINUTES=$(MINUTES) SEED=$(SEED) $(BIN)/pytest -s -m weather tests/netns/test_agent_weather.py

fuzz: $(STAMP) ## Fuzz each decoder and role for SECONDS= (60)
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS)

clean: ## Remove the virtual environment and every cache
	rm -rf $(VENV) .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# Install the Debian packages $(1) that are missing; no network is used when none is.
define install
	@missing=; for package in $(1); do \
	    dpkg-query --show --showformat='$${Status}' $$package 2>/dev/null \
	        | grep -q 'install ok installed' || missing="$$missing $$package"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	[ "$$(id -u)" -eq 0 ] || { echo "as root run: apt-get install$$missing" >&2; exit 1; }; \
	echo "installing:$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -qq update && apt-get -qq install --yes --no-install-recommends $$missing >/dev/null
endef

packages:
	$(call install,$(PACKAGES))

test-packages:
	$(call install,$(TEST_PACKAGES))

$(PROMTOOL): | $(STAMP)
	mkdir -p $(UNPACKED)
	cd $(UNPACKED) && (apt-get -qq -o APT::Sandbox::User=root download prometheus || (apt-get -qq update && apt-get -qq -o APT::Sandbox::User=root download prometheus))
	dpkg --extract $(UNPACKED)/prometheus_*.deb $(UNPACKED)
	rm $(UNPACKED)/prometheus_*.deb
	touch $(PROMTOOL)

$(STAMP): pyproject.toml | packages
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $(STAMP)
