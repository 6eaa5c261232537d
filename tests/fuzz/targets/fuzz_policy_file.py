"""A policy file is loaded, or refused with its place; what is loaded can be compiled and asked."""

import os
import re
import tempfile
from ipaddress import IPv6Address
from pathlib import Path

from mrouter.dataplane.classify import compile_classification, number_policies
from mrouter.errors import PolicyError
from mrouter.policy.find import Flow, find_policy
from mrouter.policy.load import load_policies
from mrouter.policy.shadow import find_shadowed
from mrouter.policy.table_codec import decode_table, encode_table

_READY = sorted((Path(__file__).resolve().parents[3] / "policies").glob("*.toml"))
_FILE = Path(tempfile.gettempdir()) / f"mrouter-fuzz-{os.getpid()}.toml"
#: The first octet of an input: below this the rest is the file, else it chooses words for it.
_AS_IT_IS = 0x40
_WORDS = re.compile(r'\[\[?[\w.]+\]\]?|"[^"\n]*"|[\w-]+|[^\s\w]|\n')
_ODD = (
    '""', '"@missing"', "-1", "0", "65536", "1e9", "nan", "inf", "true", "false", "[]", "{}",
    "1979-05-27", "'''", '"::/0"', '"fe80::/10"', '"2001:db8::1"', '"5010-5000"', '"\\u0000"',
    '"ff00::/8"', '"0-65535"', "not-destination", "hold-down", "rate-limit",
    '"1 kbit/s"', '"2 Mbit/s"', "choose", '"cheapest"', "running-flows",
    '"stay"', "wait", "under-quota", "[set.x]", "file",
    "[time]", "zone", '"Europe/Berlin"', "time", '"22:00-06:00"', "weekday", '"sat-mon"',
    "packet-size", '"1000-"', "flow-bytes", '"10MB-"', "destination-domain", '"*.example.com"',
    '"/dev/null"', '"policy.toml"', '"@x"', "99999999999999999999", "0.5", "\n[default]\n",
)  # fmt: skip
_FLOWS = tuple(
    Flow(protocol, IPv6Address("2001:db8:a1::5"), IPv6Address("2001:db8:c::10"), 40000, port)
    for protocol in (6, 17)
    for port in (22, 443, 5004)
)


def _list_words():
    text = "".join(path.read_text() for path in _READY)
    plain = "\n".join(line.partition("#")[0] for line in text.splitlines())
    return (*dict.fromkeys(_WORDS.findall(plain)), *_ODD)


_VOCABULARY = _list_words()


def make_seeds():
    seeds = [bytes([0]) + path.read_bytes() for path in _READY]
    places = {word: place for place, word in enumerate(_VOCABULARY)}
    for path in _READY:
        words = [word for word in _WORDS.findall(path.read_text()) if word in places]
        seeds.append(
            bytes([_AS_IT_IS]) + b"".join(places[word].to_bytes(2, "big") for word in words)
        )
    return seeds


def _make_text(data):
    if data[0] < _AS_IT_IS:
        return data[1:]
    choices = (int.from_bytes(data[at : at + 2], "big") for at in range(1, len(data) - 1, 2))
    return " ".join(_VOCABULARY[each % len(_VOCABULARY)] for each in choices).encode()


def test_one_input(data):
    if not data:
        return
    _FILE.write_bytes(_make_text(data))
    try:
        table = load_policies(_FILE, ["lte", "wifi", "sat"], ["lan0"])
    except PolicyError as refusal:
        _check_problems(refusal.problems)
        return
    finally:
        _FILE.unlink()
    assert decode_table(encode_table(table)) == table
    numbers = number_policies(table)
    assert len(set(numbers.values())) == len(table.policies)
    assert compile_classification(table, numbers).chains
    assert all(find_policy(table, flow) in table.policies for flow in _FLOWS)
    assert all(shadowed.position > 0 for shadowed in find_shadowed(table))


def _check_problems(problems):
    assert problems
    assert all(problem.file and problem.message for problem in problems)
