from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.errors import PolicyError
from mrouter.policy.domains import find_domain_lists, matches_domain, parse_domain
from mrouter.policy.find import Flow, find_policy
from mrouter.policy.load import load_policies
from mrouter.policy.model import Match, Policy, PolicyTable, Steer
from mrouter.policy.shadow import find_shadowed
from mrouter.toml_source import MistakeError

FILE = '[[policy]]\nname = "p"\nlinks = ["lte"]\nmatch = { %s }\n[default]\nlinks = ["lte"]\n'
LTE = Steer(("lte",))


@pytest.fixture
def load(tmp_path):
    def load(match):
        path = tmp_path / "p.toml"
        path.write_text(FILE % match)
        return load_policies(path, ["lte"], ["lan0"])

    return load


@pytest.mark.parametrize(
    ("match", "met", "missed"),
    [
        ('destination-domain = "Example.COM."', ["example.com"], ["www.example.com", None]),
        ('destination-domain = ["*.example.com", "a.b"]',
         ["www.example.com", "a.b.example.com", "a.b"], ["example.com", "badexample.com", "b"]),
        ('not-destination-domain = "example.com"', ["www.example.com", None], ["example.com"]),
    ],
)  # fmt: skip
def test_a_policy_is_met_by_its_names(load, match, met, missed):
    table = load(match)
    for name in (*met, *missed):
        flow = Flow(17, None, None, destination_domain=name)
        assert (find_policy(table, flow).name == "p") == (name in met)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("1", "must be a domain name in quotes"),
        ('"exa mple.com"', '"exa mple.com" is not a domain name (as in "example.com" or'
         ' "*.example.com")'),
        ('"www.*.com"', '"www.*.com" is not a domain name'),
        ('"*"', '"*" is not a domain name'),
        ('"*."', '"" is not a domain name'),
        ('"a..b"', '"a..b" is not a domain name'),
        ('"-a.b"', '"-a.b" is not a domain name'),
        ('"https://example.com/"', '"https://example.com/" is an address of a page'
         " (write its domain name alone)"),
        ('"müller.example"', 'is not ASCII (write "xn--mller-kva.example")'),
        ('"192.0.2.1"', '"192.0.2.1" is no name (write destination for an address)'),
        ('["a.b", "A.B"]', "a.b is given twice"),
        ("[]", "the list is empty"),
    ],
)  # fmt: skip
def test_a_wrong_name_is_refused_with_what_to_write(load, value, problem):
    with pytest.raises(PolicyError) as caught:
        load(f"destination-domain = {value}")
    assert "p.toml:4: policy[0].match.destination-domain" in str(caught.value)
    assert problem in str(caught.value)


@given(st.text(max_size=30) | st.from_regex(r"(\*\.)?[a-z.-]{1,20}", fullmatch=True))
def test_a_name_that_is_taken_stands_for_itself_or_what_is_below(text):
    try:
        domain = parse_domain(text)
    except MistakeError:
        return
    below = domain.removeprefix("*.")
    assert matches_domain(domain, below) == (domain == below)
    assert matches_domain(domain, f"www.{below}") == (domain != below)
    assert parse_domain(domain) == domain


def test_each_list_is_found_once_negated_or_not():
    def asking(name, *domains, **more):
        return Policy(name, Match(destination_domains=domains, **more), LTE)

    negated = Policy("not", Match(none_of=Match(destination_domains=("c",))), LTE)
    table = PolicyTable((asking("1", "a"), asking("2", "b", "a"), asking("3", "a"), negated))
    assert find_domain_lists(table) == (("a",), ("b", "a"), ("c",))


def test_a_policy_with_more_of_the_same_names_before_it_is_never_reached():
    default = Policy("default", Match(), LTE)
    many = Policy("many", Match(destination_domains=("a", "b")), LTE)
    one = replace(many, name="one", match=Match(destination_domains=("b",)))
    assert [each.position for each in find_shadowed(PolicyTable((many, one, default)))] == [1]
    assert not list(find_shadowed(PolicyTable((one, many, default))))
