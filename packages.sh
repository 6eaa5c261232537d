#!/bin/sh
# Install the named Debian packages that are missing; no network is used when none is.
set -eu
missing=""
for package in "$@"; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "missing Debian packages:$missing; as root run: apt-get install$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# unquoted on purpose: one word a package
apt-get -qq install --yes --no-install-recommends $missing >/dev/null
