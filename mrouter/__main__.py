"""``python -m mrouter``."""

from mrouter.cli import main

main()
