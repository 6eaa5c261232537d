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

ConfigPath = Annotated[Path, typer.Argument(metavar="FILE", help="A configuration file.")]
SocketOption = Annotated[
    Path, typer.Option("--socket", help="The agent's control socket.", metavar="PATH")
]
DEFAULT_SOCKET = Path("/run/mrouter/mrouter.sock")


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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
