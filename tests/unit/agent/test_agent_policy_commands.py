"""`mrouter policy` and `mrouter flows` as a user meets them."""

from __future__ import annotations

import asyncio
import io
import json
import threading

import pytest
from agent_status import make_binding, make_link, make_mobile_router
from rich.console import Console
from typer.testing import CliRunner

from mrouter import policy_command
from mrouter.check import check_policies
from mrouter.cli import app
from mrouter.control import ControlError, ControlServer
from mrouter.errors import FileError
from mrouter.lab.configs import write_configs
from mrouter.policy.load import load_policies
from mrouter.policy.table_codec import encode_table
from mrouter.policy_view import render_flows
from mrouter.running import add_rates, ask_policies, find_down

PING = {
    "protocol": "icmpv6",
    "source": "2001:db8:a1::5",
    "source_port": None,
    "destination": "fd00::1",
    "destination_port": None,
    "icmpv6_type": 128,
    "icmpv6_id": 7,
    "policy": "pings",
    "links": ["lte"],
    "packets": 2,
    "bytes": 2000,
}
CALL = {
    **PING,
    "protocol": "udp",
    "source_port": 40000,
    "destination_port": 5004,
    "icmpv6_type": None,
    "icmpv6_id": None,
    "policy": "call",
    "packets": None,
    "bytes": None,
}


@pytest.fixture
def files(tmp_path):
    return write_configs(tmp_path)


@pytest.fixture
def run(capfd):
    """Run the command line; return exit code, output and errors."""

    def run(*arguments):
        code = 0
        try:
            app([str(argument) for argument in arguments], standalone_mode=False) or 0
        except SystemExit as end:
            code = end.code
        shown = capfd.readouterr()
        return code, shown.out, shown.err

    return run
