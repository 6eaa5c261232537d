"""`mrouter policy` and `mrouter flows` as a user meets them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading

import pytest
from agent_status import make_binding, make_link, make_mobile_router, make_probed_link
from rich.console import Console

from mrouter.check import check_policies
from mrouter.cli import app
from mrouter.control import ControlError, ControlServer
from mrouter.errors import FileError
from mrouter.lab.configs import write_configs
from mrouter.policy.load import load_policies
from mrouter.policy.model import Choice
from mrouter.policy.table_codec import encode_table
from mrouter.policy.week_values import parse_moment
from mrouter.policy_view import render_flows
from mrouter.running import add_rates, ask_policies, ask_situation, find_down

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
            code = app([str(argument) for argument in arguments], standalone_mode=False) or 0
        except FileError as error:
            return 2, "", str(error)
        shown = capfd.readouterr()
        return code, shown.out, shown.err

    return run


@contextlib.contextmanager
def serving(path, **answers):
    """Answer as an agent that knows the commands ``answers``."""
    loop = asyncio.new_event_loop()

    async def answer(command):
        if command not in answers:
            raise ControlError(f"unknown command {command!r}: status")
        return answers[command]

    server = ControlServer(path, answer)
    thread = threading.Thread(target=loop.run_forever)
    loop.run_until_complete(server.start())
    thread.start()
    try:
        yield path
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


# --- check ------------------------------------------------------------------------------


def test_a_good_file_ends_with_code_0_and_a_line(run, files):
    code, out, err = run("policy", "check", files.mobile_router)
    assert (code, err) == (0, "")
    assert out.endswith("mobile router 2001:db8:f1::100, 3 links, 4 policies, no problems\n")


def test_errors_end_with_code_1_and_are_all_told(run, files):
    text = files.policy.read_text().replace('"wifi"', '"wlan"').replace('"icmpv6"', '"icmpv5"')
    files.policy.write_text(text)
    code, out, err = run("policy", "check", files.mobile_router)
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert len(lines) == text.count('"wlan"') + 1
    assert all(line.startswith(f"{files.policy}:") for line in lines)


def test_a_link_that_no_policy_names_is_a_warning_in_the_configuration(files):
    files.policy.write_text(files.policy.read_text().replace('"sat"', '"lte"').replace(
        '"lte", "lte"', '"lte"').replace(', "wifi", "lte"]', ', "wifi"]').replace(
        '["wifi", "lte"]', '["wifi"]'))  # fmt: skip
    (warning,) = check_policies(files.mobile_router).warnings
    line = files.mobile_router.read_text().splitlines().index('name = "sat"') + 1
    assert (warning.file, warning.line) == (str(files.mobile_router), line)
    assert warning.message == 'no policy uses "sat"'


def test_an_unreached_policy_is_a_warning_with_its_line(run, files):
    again = '[[policy]]\nname = "again"\nmatch.protocol = "icmpv6"\ndrop = true\n[default]'
    text = files.policy.read_text().replace("[default]", again)
    files.policy.write_text(text)
    line = text[: text.index('name = "again"')].count("\n")
    code, out, err = run("policy", "check", files.policy)
    assert code == 0
    assert out == f"{files.policy}: 5 policies, 1 warnings\n"
    assert err == (
        f'{files.policy}:{line}: policy[3]: warning: "again" is never reached: "pings" before it'
        ' matches all that it does (move it before "pings", or leave it out)\n'
    )


def test_as_json_errors_and_warnings_are_apart(run, files):
    code, out, _ = run("policy", "check", files.policy, "--json")
    assert (code, json.loads(out)) == (0, {"ok": True, "errors": [], "warnings": []})
    files.policy.write_text("")
    code, out, _ = run("policy", "check", files.policy, "--json")
    shown = json.loads(out)
    assert (code, shown["ok"], shown["errors"][0]["key"]) == (1, False, "default")


def test_a_home_agent_has_no_policies(run, files):
    code, _, err = run("policy", "check", files.home_agent)
    assert code == 1
    assert "role: a home-agent has no policies" in err


# --- explain ----------------------------------------------------------------------------


def test_a_packet_is_explained_by_a_file(run, files):
    options = ("--protocol", "tcp", "--destination-port", "5201", "--up", "lte,sat", "--json")
    code, out, _ = run("policy", "explain", files.mobile_router, *options)
    explained = json.loads(out)
    assert (code, explained["policy"]) == (0, "bulk")
    assert [each["link"] for each in explained["links"] if each["used"]] == ["lte"]


def test_in_a_terminal_conditions_links_and_earlier_policies_are_tables(run, files):
    options = ("--protocol", "icmpv6", "--destination", "fd00::1", "--up", "lte")
    _, out, _ = run("policy", "explain", files.policy, *options)
    assert out.startswith("icmpv6 any > fd00::1, dscp cs0\npolicy pings: links sat, lte, wifi\n")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    assert ["protocol", "icmpv6", "icmpv6"] in rows
    assert ["sat", "no", "down"] in rows
    assert ["bulk", "protocol", "tcp", "icmpv6"] in rows


ASKING = """
[[policy]]
name = "night"
match = { weekday = "fri", time = "22:00-06:00" }
drop = true
[[policy]]
name = "heavy"
match = { flow-bytes = "10MB-", packet-size = "1000-" }
links = ["wifi"]
[[policy]]
name = "video"
match = { destination-domain = "*.example.com" }
links = ["sat"]
[default]
links = ["lte"]
"""


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        (("--time", "sat 05:59"), "night"),
        (("--time", "sat 06:00", "--flow-bytes", "10MB", "--packet-size", "1200"), "heavy"),
        (("--time", "sat 06:00", "--flow-bytes", "10MB"), "default"),
        (("--time", "sat 06:00", "--destination-domain", "www.example.com"), "video"),
    ],
)
def test_a_packet_is_explained_at_its_time_with_its_sizes_and_name(run, tmp_path, options, policy):
    (tmp_path / "p.toml").write_text(ASKING)
    code, out, _ = run(
        "policy", "explain", tmp_path / "p.toml", "--protocol", "udp", *options, "--json"
    )
    assert (code, json.loads(out)["policy"]) == (0, policy)


def test_in_a_terminal_times_sizes_and_names_are_written_as_in_a_file(run, tmp_path):
    (tmp_path / "p.toml").write_text(ASKING)
    options = ("--time", "fri 21:59", "--flow-bytes", "20MB", "--packet-size", "1200")
    _, out, _ = run("policy", "explain", tmp_path / "p.toml", "--protocol", "udp", *options)
    assert "udp any > any, dscp cs0, time fri 21:59, packet size 1200, flow size 20MB" in out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    assert ["flow-bytes", "10MB-", "20MB"] in rows
    assert ["night", "time", "fri 22:00-06:00 (UTC)", "fri 21:59"] in rows


def test_without_a_time_it_is_explained_for_now(run, tmp_path):
    (tmp_path / "p.toml").write_text(ASKING)
    _, out, _ = run("policy", "explain", tmp_path / "p.toml", "--protocol", "udp", "--json")
    packet = json.loads(out)["packet"]
    assert parse_moment(packet["time"]) in range(7 * 24 * 60)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("time", "noon"),
        ("packet-size", "small"),
        ("flow-bytes", "10Mb"),
        ("destination-domain", "*.a"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(run, tmp_path, option, value):
    (tmp_path / "p.toml").write_text(ASKING)
    options = ("--protocol", "udp", f"--{option}", value)
    code, _, error = run("policy", "explain", tmp_path / "p.toml", *options)
    assert code == 2
    assert error.startswith(f"command line: --{option}: ")


def test_an_unknown_link_is_refused(run, files):
    options = ("--protocol", "udp", "--up", "lte,wlan")
    assert run("policy", "explain", files.mobile_router, *options) == (
        2, "", 'command line: --up: unknown link "wlan" (known: lte, wifi, sat)'
    )  # fmt: skip


def test_without_a_file_the_agent_is_asked(run, files, tmp_path):
    status = make_mobile_router(bindings=[make_binding("lte", usable=False)])
    policies = encode_table(load_policies(files.policy))
    with serving(tmp_path / "sock", status=status, policies=policies) as socket:
        _, out, _ = run("policy", "explain", "--protocol", "tcp", "--socket", socket, "--json")
    explained = json.loads(out)
    assert explained["policy"] == "default"
    assert {each["link"]: each["reason"] for each in explained["links"]} == {
        "lte": "up, but registering",
        "wifi": "up",
        "sat": "down: no carrier",
    }


def test_a_link_whose_probes_are_not_answered_is_called_silent(run, files, tmp_path):
    status = make_mobile_router(links=[make_probed_link("lte", "down")], bindings=[])
    policies = encode_table(load_policies(files.policy))
    with serving(tmp_path / "sock", status=status, policies=policies) as socket:
        _, out, _ = run("policy", "explain", "--protocol", "tcp", "--socket", socket, "--json")
    reasons = {each["link"]: each["reason"] for each in json.loads(out)["links"]}
    assert reasons["lte"] == "silent: its probes are not answered"


# --- diff -------------------------------------------------------------------------------


def test_two_files_are_compared(run, files, tmp_path):
    new = tmp_path / "new.toml"
    new.write_text(files.policy.read_text().replace("5201", "5202"))
    code, out, _ = run("policy", "diff", files.policy, new, "--json")
    assert (code, json.loads(out)["changed"]) == (
        0,
        [
            {
                "policy": "bulk",
                "fields": [{"field": "match.destination-port", "old": "5201", "new": "5202"}],
            }
        ],
    )


def test_one_file_is_compared_with_the_agent_and_its_flows(run, files, tmp_path):
    answers = {
        "status": make_mobile_router(),
        "policies": encode_table(load_policies(files.policy)),
        "flows": [PING, CALL],
    }
    files.policy.write_text(files.policy.read_text().replace('name = "pings"', 'name = "echo"'))
    with serving(tmp_path / "sock", **answers) as socket:
        _, out, _ = run("policy", "diff", files.policy, "--socket", socket, "--json")
        _, shown, _ = run("policy", "diff", files.policy, "--socket", socket)
    difference = json.loads(out)
    assert (difference["added"], difference["removed"]) == (["echo"], ["pings"])
    assert [(flow["policy"], flow["new_policies"]) for flow in difference["flows"]] == [
        ("pings", ["echo"])
    ]
    assert "Running flows that change" in shown


def test_the_same_policies_change_nothing(run, files):
    assert run("policy", "diff", files.policy, files.policy)[1] == "no policy changes\n"


# --- test, schema -----------------------------------------------------------------------

EXPECTATION = """policies = "mr.toml"
[[expect]]
name = "a ping"
protocol = "icmpv6"
links = "lte"
"""


def test_a_failed_expectation_ends_with_code_1(run, files, tmp_path):
    path = tmp_path / "expect.toml"
    path.write_text(EXPECTATION)
    code, out, _ = run("policy", "test", path)
    assert code == 1
    assert out == (
        f'{path}:5: expect[0].links: a ping: expected lte, got sat by policy "pings"\n'
        "1 expectations, 1 failures\n"
    )
    code, out, _ = run("policy", "test", path, "--json")
    shown = json.loads(out)
    assert (code, shown["tried"], shown["failures"][0]["line"]) == (1, 1, 5)


def test_expectations_that_hold_end_with_code_0(run, files, tmp_path):
    path = tmp_path / "expect.toml"
    path.write_text(EXPECTATION.replace('"lte"', '"sat"'))
    assert run("policy", "test", path) == (0, "1 expectations, 0 failures\n", "")


def test_the_schema_is_json(run):
    assert json.loads(run("policy", "schema")[1])["type"] == "object"


# --- flows ------------------------------------------------------------------------------


def test_flows_are_shown_the_busiest_first(run, tmp_path):
    with serving(tmp_path / "sock", flows=[CALL, PING]) as socket:
        _, out, _ = run("flows", "--socket", socket)
        _, shown, _ = run("flows", "--socket", socket, "--json")
    console = Console(file=io.StringIO(), width=160)
    console.print(render_flows([PING, CALL]))
    rows = [line.split("│")[1:-1] for line in console.file.getvalue().splitlines() if "│" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["icmpv6 2001:db8:a1::5 > fd00::1, icmpv6 type 128", "pings", "lte", "2", "2.0 kB", "-"],
        ["udp [2001:db8:a1::5]:40000 > [fd00::1]:5004", "call", "lte", "-", "-", "-"],
    ]
    assert out.startswith("2 flows")
    assert json.loads(shown) == [CALL, PING]


def test_only_as_many_flows_are_shown_as_fit():
    table = render_flows([CALL, PING, CALL], limit=1)
    assert (table.row_count, table.title) == (1, "3 flows, the 1 busiest")


def test_a_rate_is_of_the_bytes_since_the_last_look():
    later = [{**PING, "bytes": 5000}, CALL, {**PING, "icmpv6_id": 8}]
    rates = [flow["rate"] for flow in add_rates(later, [PING, CALL], 2.0)]
    assert rates == [1500.0, None, None]


def test_a_flow_that_begins_anew_has_no_rate_yet():
    assert add_rates([{**PING, "bytes": 1}], [PING], 1.0)[0]["rate"] is None


def test_an_agent_of_another_version_is_told(tmp_path):
    refused = pytest.raises(ControlError, match="of another version")
    with serving(tmp_path / "sock", policies={"kind": "New"}) as socket, refused:
        ask_policies(socket)


def test_links_without_a_usable_binding_are_down():
    links = [make_link("lte"), make_link("wifi"), make_link("sat", up=False), make_link("dsl")]
    bindings = [make_binding("lte"), make_binding("lte", usable=False)]
    bindings += [make_binding("wifi", usable=False)]
    assert find_down(make_mobile_router(links=links, bindings=bindings)) == {
        "wifi": "up, but registering",
        "sat": "down: no carrier",
        "dsl": "up, but not bound",
    }


def test_the_agent_says_what_keeps_policies_from_links(tmp_path):
    with serving(tmp_path / "sock", status=make_mobile_router()) as socket:
        situation = ask_situation(socket)
    assert situation.held["call"] == {"sat": "held down, 12 s to go"}
    assert situation.measures == {Choice.CHEAPEST: {"sat": 1, "lte": 4}}
    assert situation.down == {"sat": "down: no carrier"}


def test_a_drained_link_without_a_binding_is_down_for_that_reason():
    links = [make_link("lte"), make_link("sat")]
    status = make_mobile_router(links=links, bindings=[make_binding("lte")], drained=["sat"])
    assert find_down(status) == {"sat": "up, but drained"}
