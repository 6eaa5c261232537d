"""The entry point of ``mrouter`` and of ``python -m mrouter``."""

from __future__ import annotations

import sys
from pathlib import Path

from mrouter.errors import FileError, MrouterError

#: Exit codes: something went wrong, or a file or the command line is wrong.
EXIT_FAILED = 1
EXIT_REFUSED = 2


def main() -> None:
    """Run the command line; mistakes end in one line each, not in a traceback."""
    try:
        if len(sys.argv) == 3 and sys.argv[1] == "run" and not sys.argv[2].startswith("-"):
            # the daemon starts fast and stays small: without the command line's libraries
            from mrouter.agent.run import run_agent

            run_agent(Path(sys.argv[2]))
        else:
            from mrouter.cli import app

            app()
    except FileError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        sys.exit(EXIT_REFUSED)
    except MrouterError as error:
        print(f"mrouter: {error}", file=sys.stderr)
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
