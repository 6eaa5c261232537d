"""Running agents as an operator sees them: policies, metrics, control socket, keys, rights."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

import pytest
from agent_lab import (
    HOME_AGENT,
    MOBILE_ROUTER,
    NODES,
    AgentLab,
    read_samples,
    run_cli,
    wait_until,
)

from mrouter.lab import plan
from mrouter.lab.configs import CALL_PORT
from mrouter.lab.traffic import ping_command

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
ROLES = (MOBILE_ROUTER, HOME_AGENT)
CN = str(plan.CN_ADDRESS)


@pytest.fixture(scope="module")
def lab():
    with AgentLab() as lab:
        yield lab.start()


# --- policies -----------------------------------------------------------------------------


@pytest.fixture
def policy(lab):
    """The policy file, in force again as it was afterwards."""
    old = lab.files.policy.read_text()
    yield lab.files.policy
    lab.files.policy.write_text(old)
    reload_policies(lab, "reloaded")


def reload_policies(lab, outcome):
    before = lab.log(MOBILE_ROUTER).count(outcome)
    lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
    wait_until(lambda: lab.log(MOBILE_ROUTER).count(outcome) == before + 1, what=outcome)


def count_uplink(lab):
    return {name: link["uplink"]["packets"] for name, link in lab.links().items()}


@contextlib.contextmanager
def pinging(lab):
    command = ping_command(CN, start_at=time.monotonic() + 0.3, duration=60.0, interval=0.05)
    label = f"pings-{time.monotonic()}"
    program = lab.topology.run_in("lfn", command, label=label)
    wait_until(lambda: any(flow["policy"] == "pings" for flow in lab.ask(MOBILE_ROUTER, "flows")))
    yield
    program.terminate()
    program.wait()


def find_used_links(lab):
    before = count_uplink(lab)
    wait_until(lambda: sum(count_uplink(lab).values()) >= sum(before.values()) + 8)
    after = count_uplink(lab)
    return {name for name in after if after[name] > before[name] + 2}


def test_a_good_policy_file_moves_a_running_flow(lab, policy):
    with pinging(lab):
        assert find_used_links(lab) == {"sat"}
        lab.edit(policy, 'links = ["sat", "lte", "wifi"]', 'links = ["wifi"]')
        reload_policies(lab, "reloaded")
        assert find_used_links(lab) == {"wifi"}
        flows = lab.ask(MOBILE_ROUTER, "flows")
        assert {tuple(f["links"]) for f in flows if f["policy"] == "pings"} == {("wifi",)}


def test_a_bad_policy_file_is_refused_with_its_line_and_key_and_the_old_one_stays(lab, policy):
    with pinging(lab):
        before = lab.mobile_router()["policies"]
        text = policy.read_text()
        line = text.splitlines().index('links = ["sat", "lte", "wifi"]') + 1
        policy.write_text(text.replace('links = ["sat", "lte", "wifi"]', 'links = ["satt"]'))

        reload_policies(lab, "reload-refused")

        refusal = lab.log(MOBILE_ROUTER).splitlines()[-1]
        assert f"{policy}:{line}: " in refusal
        assert "links" in refusal
        assert "satt" in refusal
        assert [p["links"] for p in lab.mobile_router()["policies"]] == [p["links"] for p in before]
        assert find_used_links(lab) == {"sat"}


@pytest.mark.parametrize("content", [b"\xff\xfe not text", b"[[policy]\n", b""])
def test_rubbish_for_a_policy_file_is_refused(lab, policy, content):
    before = [p["name"] for p in lab.mobile_router()["policies"]]
    policy.write_bytes(content)

    reload_policies(lab, "reload-refused")

    assert [p["name"] for p in lab.mobile_router()["policies"]] == before


def test_a_policy_file_that_is_missing_is_refused(lab, policy):
    policy.unlink()
    reload_policies(lab, "reload-refused")


def test_a_home_agent_says_that_it_reloads_nothing(lab):
    lab.process(HOME_AGENT).send_signal(signal.SIGHUP)
    wait_until(lambda: "restart it" in lab.log(HOME_AGENT))
    assert len(lab.home_agent()["bindings"]) == 3


# --- metrics ------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_promtool_finds_nothing_wrong_with_the_metrics(lab, role):
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=lab.scrape(NODES[role]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_mobile_routers_metrics_tell_of_every_link(lab):
    samples = read_samples(lab.scrape("mr"))
    for link in plan.EGRESS_LINKS:
        assert samples[f'mrouter_link_up{{link="{link.name}"}}'] == 1
        assert samples[f'mrouter_link_registered{{link="{link.name}"}}'] == 1
        assert 0 < samples[f'mrouter_binding_lifetime_seconds{{link="{link.name}"}}'] <= 60
        for unit in ("packets", "bytes"):
            for direction in ("uplink", "downlink"):
                labels = f'direction="{direction}",link="{link.name}"'
                assert f"mrouter_link_{unit}_total{{{labels}}}" in normalize(samples)
    received = 'direction="received",status="1",type="BindingAcknowledgement"'
    assert normalize(samples)[f"mrouter_signalling_messages_total{{{received}}}"] >= 3
    sent = 'direction="sent",status="",type="BindingUpdate"'
    assert normalize(samples)[f"mrouter_signalling_messages_total{{{sent}}}"] >= 3
    assert any(name.startswith("mrouter_build_info{") for name in samples)


def normalize(samples):
    """Sort every sample's labels."""
    result = {}
    for name, value in samples.items():
        family, brace, labels = name.partition("{")
        sorted_labels = ",".join(sorted(labels.rstrip("}").split(","))) if brace else ""
        result[f"{family}{{{sorted_labels}}}" if brace else family] = value
    return result


def test_the_home_agents_metrics_tell_of_its_mobile_routers(lab):
    samples = read_samples(lab.scrape("ha"))
    assert samples['mrouter_bindings{mobile_router="vehicle"}'] == 3
    assert 0 < samples['mrouter_binding_lifetime_seconds{mobile_router="vehicle"}'] <= 60
    received = 'direction="received",status="",type="BindingUpdate"'
    assert normalize(samples)[f"mrouter_signalling_messages_total{{{received}}}"] >= 3


def test_counters_move_with_the_traffic(lab):
    def read():
        mr, ha = (normalize(read_samples(lab.scrape(node))) for node in ("mr", "ha"))
        rows = {
            f"call {link} {way}": mr.get(
                f'mrouter_policy_packets_total{{direction="{way}",link="{link}",policy="call"}}', 0
            )
            for link in ("lte", "wifi", "sat")
            for way in ("uplink", "downlink")
        }
        for name, samples in (("mr", mr), ("ha", ha)):
            rows[f"{name} copies"] = samples["mrouter_bicast_copies_total"]
            rows[f"{name} dropped"] = samples["mrouter_bicast_duplicates_dropped_total"]
        return rows

    before = read()
    stream = lab.stream(2.0, port=CALL_PORT)
    assert stream.result() == [(0, 0), (0, 0)]
    after = read()

    moved = {name: after[name] - before[name] for name in after}
    for link in ("lte", "wifi"):
        assert moved[f"call {link} uplink"] == 100
    # counted by the link whose copy came first; the first answers may come before a policy is found
    assert 90 <= moved["call lte downlink"] + moved["call wifi downlink"] <= 100
    assert moved["call sat uplink"] == moved["call sat downlink"] == 0
    assert moved["mr copies"] == moved["ha dropped"] == 100
    assert 90 <= moved["ha copies"] == moved["mr dropped"] <= 100


# --- the control socket -------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_the_control_socket_is_for_its_owner_alone(lab, role):
    assert lab.socket[role].stat().st_mode & 0o777 == 0o600


def test_a_directory_made_for_the_socket_is_for_its_owner_alone(lab, tmp_path):
    path = tmp_path / "fresh" / "mr.sock"
    config = edited_config(lab, tmp_path, path)
    program = lab.topology.run_in("cn", run_command(config), label="fresh")
    wait_until(path.is_socket)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    program.kill()
    program.wait()

    # the socket of an agent that is dead is in nobody's way
    assert path.is_socket()
    program = lab.topology.run_in("cn", run_command(config), label="again")
    wait_until(lambda: run_cli("status", "--socket", path).returncode == 0)
    program.terminate()
    assert program.wait(timeout=10) == 0
    assert not path.exists()


def edited_config(lab, directory, socket_path):
    text = lab.files.mobile_router.read_text()
    for name in ("policy.toml", "mr.key"):
        text = text.replace(f'"{name}"', f'"{lab.directory / name}"')
    config = directory / "mr.toml"
    config.write_text(text.replace(str(lab.files.mobile_router_socket), str(socket_path)))
    return config


def run_command(config):
    return [sys.executable, "-m", "mrouter", "run", str(config)]


def test_a_second_agent_in_the_same_namespace_is_refused(lab):
    second = lab.topology.execute("mr", run_command(lab.files.mobile_router), check=False)

    assert second.returncode == 1
    assert "another agent runs in this network namespace: stop it first" in second.stderr
    assert second.stderr.count("\n") == 1
    assert len(lab.mobile_router()["bindings"]) == 3


def test_a_second_agent_on_the_same_socket_is_refused(lab):
    second = lab.topology.execute("lfn", run_command(lab.files.mobile_router), check=False)

    assert second.returncode == 1
    path = lab.files.mobile_router_socket
    assert second.stderr == f"mrouter: another agent listens on {path}: stop it first\n"
    assert len(lab.mobile_router()["bindings"]) == 3


def test_a_socket_that_cannot_be_made_is_a_clear_error(lab, tmp_path):
    (tmp_path / "file").write_text("")
    config = edited_config(lab, tmp_path, tmp_path / "file" / "mr.sock")
    refused = lab.topology.execute("cn", run_command(config), check=False)

    assert refused.returncode == 1
    assert refused.stderr.startswith(f"mrouter: cannot listen on {tmp_path / 'file' / 'mr.sock'}:")
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    "line", [b"rubbish\n", b"[]\n", b'{"order": 1}\n', b"\xff\xfe\n", b"{" * 60000 + b"\n"]
)
def test_a_request_of_rubbish_is_told_how_to_ask(lab, line):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(lab.files.mobile_router_socket))
        connection.sendall(line)
        reply = json.loads(connection.makefile().readline())

    assert reply == {"ok": False, "error": 'ask with a line like {"command": "status"}'}
    assert lab.mobile_router()["role"] == "mobile-router"


def test_an_unknown_command_is_refused_by_name(lab):
    with pytest.raises(Exception, match="unknown command 'dance'"):
        lab.ask(HOME_AGENT, "dance")


def test_somebody_who_never_asks_is_in_nobodys_way(lab):
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            silent = stack.enter_context(socket.socket(socket.AF_UNIX))
            silent.connect(str(lab.files.mobile_router_socket))
        assert len(lab.mobile_router()["links"]) == 3


@pytest.mark.parametrize("role", ROLES)
def test_status_shows_links_bindings_and_policies(lab, role):
    shown = run_cli("status", "--socket", lab.socket[role], env={**os.environ, "COLUMNS": "160"})

    assert shown.returncode == 0
    for link in plan.EGRESS_LINKS:
        assert str(link.care_of_address) in shown.stdout
    if role == MOBILE_ROUTER:
        assert "call" in shown.stdout
        assert "lte + wifi" in shown.stdout


def test_status_as_json_is_the_status(lab):
    shown = run_cli("status", "--json", "--socket", lab.files.home_agent_socket)
    assert json.loads(shown.stdout)["bindings"][0]["home_address"] == str(plan.HOME_ADDRESS)


# --- keys ---------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_no_key_shows_anywhere(lab, role):
    digits = (lab.directory / "mr.key").read_text().strip()
    raw = bytes.fromhex(digits)
    pid = lab.process(role).pid
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        command_line = file.read()
    places = {
        "log": lab.log(role).encode(),
        "status": json.dumps(lab.ask(role)).encode(),
        "metrics": lab.scrape(NODES[role]).encode(),
        "command line": command_line,
        "state": lab.socket[role].with_name(f"{lab.socket[role].name}.state").read_bytes(),
    }
    assert b"mrouter" in places["command line"]
    for place, content in places.items():
        assert digits.encode() not in content, place
        assert raw not in content, place
        assert repr(raw)[2:-1].encode() not in content, place


# --- privileges ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dropped", "named"),
    [
        ("net_raw", "CAP_NET_RAW missing"),
        ("net_admin", "CAP_NET_ADMIN missing"),
        ("net_admin,-net_raw", "CAP_NET_ADMIN and CAP_NET_RAW missing"),
    ],
)
@pytest.mark.parametrize("role", ROLES)
def test_a_missing_capability_is_named(lab, role, dropped, named):
    command = ["setpriv", "--inh-caps", f"-{dropped}", "--bounding-set", f"-{dropped}"]
    refused = lab.topology.execute("cn", [*command, *run_command(lab.config[role])], check=False)

    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert named in line
    assert "run as root, or with CAP_NET_ADMIN and CAP_NET_RAW" in line


def test_root_of_another_user_namespace_gets_no_traceback(lab):
    command = shlex.join(run_command(lab.files.home_agent))
    refused = lab.topology.execute("cn", ["unshare", "-Ur", "sh", "-c", command], check=False)

    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "CAP_NET" in line


def test_metrics_whose_port_is_taken_keep_no_vehicle_off_the_road(lab, tmp_path):
    blocker = lab.open_in("cn", socket.AF_INET6, socket.SOCK_STREAM)
    blocker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    blocker.bind(("::1", 9362))
    blocker.listen()
    config = edited_config(lab, tmp_path, tmp_path / "mr.sock")
    program = lab.topology.run_in("cn", run_command(config), label="no-metrics")
    wait_until(lambda: run_cli("status", "--socket", tmp_path / "mr.sock").returncode == 0)
    assert "metrics-unavailable" in lab.topology.log_path("no-metrics").read_text()
    program.terminate()
    assert program.wait(timeout=10) == 0
    blocker.close()
