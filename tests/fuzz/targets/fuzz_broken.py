"""A decoder with a known fault, so that the machinery is known to be able to find one."""

from __future__ import annotations

import atheris


@atheris.instrument_func
def test_one_input(data):
    if len(data) >= 3 and data[0] == 0x6D and data[1] == 0x72 and data[2] == 0x21:
        data[len(data)]


def make_seeds():
    return [b"nothing of interest"]
