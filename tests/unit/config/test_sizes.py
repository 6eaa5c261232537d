from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mrouter.sizes import Size, parse_size
from mrouter.toml_source import MistakeError


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        (1, 1),
        (10**18, 10**18),
        ("1 B", 1),
        ("500 MB", 500_000_000),
        ("2GB", 2_000_000_000),
        ("1.5 MB", 1_500_000),
        ("0.001 kB", 1),
        ("64 KB", 64_000),
        ("3TB", 3_000_000_000_000),
    ],
)
def test_a_size_is_read(value, octets):
    assert parse_size(value) == octets


@pytest.mark.parametrize(
    ("value", "message", "suggestion"),
    [
        (0, "must be from 1 byte to 1000000 TB, it is 0", ""),
        (-5, "must be from 1 byte to 1000000 TB, it is -5", ""),
        (10**18 + 1, f"must be from 1 byte to 1000000 TB, it is {10**18 + 1}", ""),
        ("0 GB", 'must be from 1 byte to 1000000 TB, it is "0 GB"', ""),
        (True, "must be a size", 'as in "50 GB", or a whole number of bytes'),
        (1.5, "must be a size", 'as in "50 GB", or a whole number of bytes'),
        ("50", '"50" is not a size', 'as in "50 GB" or "1.5 MB"'),
        ("", '"" is not a size', 'as in "50 GB" or "1.5 MB"'),
        ("-1 GB", '"-1 GB" is not a size', 'as in "50 GB" or "1.5 MB"'),
        ("1,5 GB", '"1,5 GB" is not a size', 'as in "50 GB" or "1.5 MB"'),
        ("1.5 B", '"1.5 B" is no whole number of bytes', ""),
        ("50 Gb", '"50 Gb" has no known unit', "known: B, kB, MB, GB, TB"),
        ("50 GiB", '"50 GiB" has a binary unit',
         "units are decimal: write 53687091200, in bytes"),
    ],
)  # fmt: skip
def test_what_is_no_size_is_refused(value, message, suggestion):
    with pytest.raises(MistakeError) as caught:
        parse_size(value)
    assert (caught.value.message, caught.value.suggestion) == (message, suggestion)


@given(st.text(st.sampled_from("0123456789. kKMGTiBb"), max_size=30))
def test_the_schema_for_editors_takes_all_that_is_taken(text):
    pattern = TypeAdapter(Size).json_schema()["anyOf"][1]["pattern"]
    try:
        parse_size(text)
    except MistakeError:
        return
    assert re.search(pattern, text)
