"""Fuzz one target in this process: ``python tests/fuzz/one_target.py TARGET [ARGUMENT ...]``.

The arguments are libFuzzer's: a file is run once, a directory is a corpus, which gets the target's
seeds first. Only mrouter's own modules are instrumented.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import atheris

_HERE = Path(__file__).resolve().parent
#: The targets, and the worlds that the conformance tests build roles with.
_MODULES = (_HERE / "targets", _HERE.parent / "conformance")


def main(arguments):
    name, *options = arguments
    sys.path[:0] = map(str, _MODULES)
    with atheris.instrument_imports(include=["mrouter"]):
        target = import_module(f"fuzz_{name.replace('-', '_')}")
    for corpus in filter(Path.is_dir, map(Path, options)):
        for number, seed in enumerate(target.make_seeds()):
            (corpus / f"seed-{number:02}").write_bytes(seed)
    atheris.Setup([name, *options], target.test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
