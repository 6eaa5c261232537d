from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from mrouter.agent.name_book import LEAST_LIFETIME, MOST_LIFETIME, NameBook
from mrouter.dataplane.name_sets import MOST_ADDRESSES
from mrouter.wire.dns_answers import NamedAddress

ADDRESS, OTHER = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
EXACT, BELOW = ("example.com",), ("*.example.com", "other.example")
NOW = 1000.0


@pytest.fixture
def book():
    book = NameBook({6})
    book.follow((EXACT, BELOW))
    return book


def named(*names, address=ADDRESS, lifetime=300):
    return NamedAddress(names, address, lifetime)


def test_an_address_is_of_the_lists_that_one_of_its_names_is_of(book):
    longer, fresh = book.learn([named("www.example.com", "example.com")], NOW)
    assert longer == fresh == {EXACT: {ADDRESS: 300}, BELOW: {ADDRESS: 300}}
    longer, _ = book.learn([named("www.example.com", "cdn.example", address=OTHER)], NOW)
    assert longer == {BELOW: {OTHER: 300}}


def test_where_ipv4_is_carried_its_addresses_are_known_too():
    book = NameBook({4, 6})
    book.follow((EXACT,))
    address = IPv4Address("192.0.2.1")
    longer, _ = book.learn([named("example.com", address=address)], NOW)
    assert longer == {EXACT: {address: 300}}


def test_other_names_and_addresses_of_another_version_are_nothing(book):
    others = [named("example.net"), named("example.com", address=IPv4Address("192.0.2.1"))]
    assert book.learn(others, NOW) == ({}, {})
    assert book.list_rows(NOW) == ()


@pytest.mark.parametrize(
    ("told", "known"), [(0, LEAST_LIFETIME), (300, 300), (2**31 - 1, MOST_LIFETIME)]
)
def test_lifetimes_have_bounds(book, told, known):
    longer, _ = book.learn([named("example.com", lifetime=told)], NOW)
    assert longer == {EXACT: {ADDRESS: known}}


def test_what_is_told_again_lasts_longer_but_is_not_fresh(book):
    book.learn([named("example.com")], NOW)
    assert book.learn([named("example.com")], NOW + 100) == ({EXACT: {ADDRESS: 300}}, {})
    assert book.list_known(NOW + 200) == {EXACT: {ADDRESS: 200}, BELOW: {}}


def test_a_shorter_lifetime_does_not_end_what_is_known(book):
    book.learn([named("example.com")], NOW)
    assert book.learn([named("example.com", lifetime=60)], NOW) == ({}, {})
    assert book.list_known(NOW)[EXACT] == {ADDRESS: 300}


def test_what_is_over_is_fresh_when_it_is_told_again(book):
    book.learn([named("example.com")], NOW)
    later = NOW + 300
    assert book.list_known(later)[EXACT] == {}
    assert book.list_rows(later) == ()
    assert book.learn([named("example.com")], later)[1] == {EXACT: {ADDRESS: 300}}


def test_another_run_goes_on_with_what_was_known(book):
    book.learn([named("example.com", "www.example.com"), named("other.example")], NOW)
    other = NameBook({6}, book.list_rows(NOW))
    other.follow((EXACT, BELOW))
    assert other.list_known(NOW) == book.list_known(NOW)


def test_other_lists_take_over_the_names_that_they_have_too(book):
    book.learn([named("example.com"), named("other.example", address=OTHER)], NOW)
    new = ("example.com", "new.example")
    book.follow((new,))
    assert book.list_known(NOW) == {new: {ADDRESS: 300}}
    book.follow((EXACT, BELOW))
    assert book.list_known(NOW) == {EXACT: {ADDRESS: 300}, BELOW: {OTHER: 300}}


def fill(book, count, now=NOW):
    answers = [named("example.com", address=ADDRESS + number) for number in range(count)]
    return book.learn(answers, now)


def test_no_more_is_learnt_than_there_is_room_for(book):
    longer, _ = fill(book, MOST_ADDRESSES + 5)
    assert len(longer[EXACT]) == len(book.list_rows(NOW)) == MOST_ADDRESSES
    assert book.refused == 5


def test_what_is_over_makes_room(book):
    fill(book, MOST_ADDRESSES)
    later = NOW + 301
    longer, fresh = book.learn([named("www.example.com")], later)
    assert longer == fresh == {BELOW: {ADDRESS: 300}}
    assert (book.refused, len(book.list_rows(later))) == (0, 1)
