"""The command line."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mrouter import __version__

app = typer.Typer(
    name="mrouter",
    help="Mobile router: several care-of addresses, flow policies, bicast.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
lab = typer.Typer(help="The whole network in namespaces on this machine.", no_args_is_help=True)
app.add_typer(lab, name="lab")
policy = typer.Typer(help="See what a policy file does, before it does it.", no_args_is_help=True)
app.add_typer(policy, name="policy")

link = typer.Typer(help="Set a link aside while it still works.", no_args_is_help=True)
app.add_typer(link, name="link")

ConfigPath = Annotated[Path, typer.Argument(metavar="FILE", help="A configuration file.")]
SocketOption = Annotated[
    Path, typer.Option("--socket", help="The agent's control socket.", metavar="PATH")
]
DEFAULT_SOCKET = Path("/run/mrouter/mrouter.sock")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PolicyPath = Annotated[
    Path, typer.Argument(metavar="FILE", help="A policy file, or the configuration that names it.")
]


@app.callback(invoke_without_command=True)
def show_version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Mobile router: several care-of addresses, flow policies, bicast."""
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def run(config: ConfigPath) -> None:
    """Run the agent that FILE configures: mobile router, home agent or correspondent node."""
    from mrouter.agent.run import run_agent

    run_agent(config)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A configuration or policy file.")],
) -> None:
    """Check a configuration file with its policies, or a policy file, and say what is wrong."""
    from mrouter.check import check_file

    print(check_file(file))


@app.command()
def status(
    socket: SocketOption = DEFAULT_SOCKET,
    as_json: JsonOption = False,
) -> None:
    """Show links, bindings, policies and counters of the running agent."""
    from mrouter.control import request

    answer = request(socket, "status")
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    from rich.console import Console

    from mrouter.status_view import render_status

    Console().print(render_status(answer))


@app.command()
def flows(
    socket: SocketOption = DEFAULT_SOCKET,
    watch: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.1, help="Ask again and again; shows rates."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the flows that the running mobile router's kernel tracks, and what each goes by.

    Packets, bytes and rates are of flows that begin while net.netfilter.nf_conntrack_acct is 1.
    """
    from mrouter.policy_command import show_flows

    show_flows(socket, watch, as_json)


LinkName = Annotated[str, typer.Argument(metavar="LINK", help="The link's name.")]


@link.command("drain")
def link_drain(name: LinkName, socket: SocketOption = DEFAULT_SOCKET) -> None:
    """Have the running mobile router move all flows off LINK, and end its bindings.

    It returns when the home agent sends nothing by it any more: LINK may be switched off then.
    Exit code 1 if it is still in use after ten seconds, as there is no other link, for one.
    """
    from mrouter.link_command import drain

    raise typer.Exit(drain(name, socket))


@link.command("undrain")
def link_undrain(name: LinkName, socket: SocketOption = DEFAULT_SOCKET) -> None:
    """Have the running mobile router use LINK again."""
    from mrouter.link_command import undrain

    undrain(name, socket)


@policy.command("check")
def policy_check(file: PolicyPath, as_json: JsonOption = False) -> None:
    """Say all that is wrong with FILE, and which policies are never reached.

    Exit code 0 if the agent would take it, whatever the warnings; 1 if not.
    """
    from mrouter.policy_command import check

    raise typer.Exit(check(file, as_json))


@policy.command("explain")
def policy_explain(
    protocol: Annotated[str, typer.Option(help="By name or number, as in a policy file.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Leave it out to ask the agent.")
    ] = None,
    source: Annotated[str | None, typer.Option(metavar="ADDRESS")] = None,
    destination: Annotated[str | None, typer.Option(metavar="ADDRESS")] = None,
    source_port: Annotated[int | None, typer.Option(metavar="PORT")] = None,
    destination_port: Annotated[int | None, typer.Option(metavar="PORT")] = None,
    icmpv6_type: Annotated[str | None, typer.Option(metavar="TYPE")] = None,
    dscp: Annotated[str | None, typer.Option(metavar="DSCP")] = None,
    ingress: Annotated[str | None, typer.Option(metavar="INTERFACE")] = None,
    source_mac: Annotated[str | None, typer.Option(metavar="MAC")] = None,
    at_time: Annotated[
        str | None, typer.Option("--time", metavar="'DAY HH:MM'", help="Now, if left out.")
    ] = None,
    packet_size: Annotated[str | None, typer.Option(metavar="BYTES")] = None,
    flow_bytes: Annotated[
        str | None, typer.Option(metavar="BYTES", help="What the flow has carried by then.")
    ] = None,
    destination_domain: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose address the destination is.")
    ] = None,
    up: Annotated[
        str | None, typer.Option(metavar="LINK,...", help="Take these links for up.")
    ] = None,
    socket: Annotated[
        Path | None,
        typer.Option("--socket", metavar="PATH", help="Ask this agent which links are up."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which policy a packet meets and why, which links it takes, and why not the others.

    By the policies of FILE; without, by those of the running agent. Without --up and --socket, FILE
    is explained with every link up.
    """
    from mrouter.policy_command import explain

    packet = {
        "protocol": protocol,
        "source": source,
        "destination": destination,
        "source-port": source_port,
        "destination-port": destination_port,
        "icmpv6-type": icmpv6_type,
        "dscp": dscp,
        "ingress": ingress,
        "source-mac": source_mac,
        "time": at_time,
        "packet-size": packet_size,
        "flow-bytes": flow_bytes,
        "destination-domain": destination_domain,
    }
    explain(packet, file, up, socket or (None if file else DEFAULT_SOCKET), as_json)


@policy.command("diff")
def policy_diff(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="[OLD] NEW", help="NEW alone is compared with the running agent."),
    ],
    socket: SocketOption = DEFAULT_SOCKET,
    as_json: JsonOption = False,
) -> None:
    """Say which policies a reload would change, and which running flows."""
    from mrouter.policy_command import diff

    if len(files) > 2:
        raise typer.BadParameter("one or two files")
    *old, new = files
    diff(old[0] if old else None, new, socket, as_json)


@policy.command("test")
def policy_test(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of expectations.")],
    as_json: JsonOption = False,
) -> None:
    """Try policy files against the expectations beside them.

    Exit code 0 if all hold, 1 if one does not, 2 if a file is wrong.
    """
    from mrouter.policy_command import test

    raise typer.Exit(test(files, as_json))


@policy.command("schema")
def policy_schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    from mrouter.policy.json_schema import make_policy_schema

    print(json.dumps(make_policy_schema(), indent=2))


@app.command()
def capture(
    interface: Annotated[
        list[str] | None, typer.Option(metavar="IF", help="Only this interface; repeatable.")
    ] = None,
    read: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read a capture file instead.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what is shown as pcap.")
    ] = None,
    dialect: Annotated[str, typer.Option(help="draft-01 or rfc5648.")] = "draft-01",
    coainfo_type: Annotated[int, typer.Option(help="Option type of CoAINFO.")] = 192,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Key to check authenticators with.")
    ] = None,
    spi: Annotated[int | None, typer.Option(help="The key's SPI.")] = None,
    algorithm: Annotated[str, typer.Option(help="hmac-sha256 or hmac-sha1.")] = "hmac-sha256",
    count: Annotated[int | None, typer.Option(min=1, help="End after so many messages.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after this time.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON a message.")] = False,
) -> None:
    """Show the signalling that passes by, or of a file, in one line a message."""
    from mrouter.capture.run import CaptureOptions, load_association, make_format, run_capture

    bounds = CaptureOptions(interface or (), read, write, count, seconds, as_json)
    run_capture(
        bounds, make_format(dialect, coainfo_type), load_association(key_file, spi, algorithm)
    )


@app.command()
def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="Print lines instead of a live table.")
    ] = False,
) -> None:
    """Build the lab, send real traffic, cut a link and judge what arrived; under a minute."""
    from rich.console import Console

    from mrouter.lab.demo import run_demo

    raise typer.Exit(run_demo(Console(), headless).exit_code)


LabName = Annotated[str, typer.Option("--name", help="The lab's name.")]


@lab.command("up")
def lab_up(name: LabName = "lab") -> None:
    """Build the network and start its agents."""
    from mrouter.lab import commands

    commands.lab_up(name)
    print(f"lab {name!r} is up; try: mrouter lab exec lfn ping 2001:db8:c::10")


@lab.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
def lab_exec(
    node: Annotated[str, typer.Argument(help="lfn, mr, net, ha or cn.")],
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.")],
    name: LabName = "lab",
) -> None:
    """Run a command on a node."""
    from mrouter.lab import commands

    raise typer.Exit(commands.lab_exec(node, command, name))


@lab.command("status")
def lab_status(name: LabName = "lab") -> None:
    """Show the lab's nodes and what its agents say."""
    from rich.console import Console

    from mrouter.lab import commands

    Console().print(commands.lab_status(name))


@lab.command("down")
def lab_down(name: LabName = "lab") -> None:
    """Take the network down, and everything that runs in it."""
    from mrouter.lab import commands

    commands.lab_down(name)
