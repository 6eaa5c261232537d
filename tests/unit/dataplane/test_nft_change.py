from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nft_model import NftModel, RefusedError, model_of

from mrouter.dataplane.nft import (
    Chain,
    NftSet,
    NftTable,
    render_change,
    render_removal,
    render_replacement,
    render_table,
)

CHAINS = [f"chain_{number}" for number in range(5)]
SETS = [f"set_{number}" for number in range(4)]
COUNTERS = [f"counter-{number}" for number in range(3)]
HOOK = "type filter hook prerouting priority mangle;"
KEYS = [str(key) for key in range(6)]


@st.composite
def tables(draw):
    counters = draw(st.lists(st.sampled_from(COUNTERS), unique=True))
    chain_names = draw(st.lists(st.sampled_from(CHAINS), unique=True, min_size=1))
    sets = []
    for name in draw(st.lists(st.sampled_from(SETS), unique=True)):
        is_map = draw(st.booleans())
        values = (
            st.sampled_from([f"goto {chain}" for chain in chain_names]) if is_map else st.just("")
        )
        sets.append(
            NftSet(
                name,
                draw(st.sampled_from(["type mark;", "type mark; flags interval;"])),
                "map" if is_map else "set",
                draw(st.dictionaries(st.sampled_from(KEYS), values)),
            )
        )
    rules = st.sampled_from(
        [
            "accept",
            "meta mark & 0xffffffff == 0x1 drop",
            *(f"goto {chain}" for chain in chain_names),
            *(f"ip6 saddr @{item.name} drop" for item in sets),
            *(f"counter name {counter}" for counter in counters),
        ]
    )
    chains = [
        Chain(
            name,
            tuple(draw(st.lists(rules, max_size=3))),
            HOOK if draw(st.integers(0, 4)) == 0 else "",
        )
        for name in chain_names
    ]
    return NftTable(tuple(counters), tuple(sets), tuple(chains))


def load(table):
    model = NftModel()
    model.run(render_table(table))
    return model


@settings(max_examples=25)
@given(tables())
def test_a_table_from_nothing_is_what_it_says(table):
    assert load(table) == model_of(table)


@given(tables(), tables())
def test_a_change_ends_at_the_new_table(old, new):
    model = load(old)

    model.run(render_change(old, new))

    assert model == model_of(new)


@settings(max_examples=25)
@given(tables(), tables())
def test_a_replacement_ends_at_the_new_table_whatever_stood_there(old, new):
    model = load(old)

    model.run(render_replacement(new))

    assert model == model_of(new)


@settings(max_examples=25)
@given(tables())
def test_no_change_is_no_command(table):
    assert render_change(table, table) == ""


@settings(max_examples=25)
@given(tables())
def test_a_removal_leaves_nothing(table):
    model = load(table)

    model.run(render_removal())

    assert model == NftModel()


@settings(max_examples=25)
@given(tables(), st.data())
def test_a_change_of_rules_touches_no_other_chain(table, data):
    index = data.draw(st.integers(0, len(table.chains) - 1))
    old = table.chains[index]
    chains = [*table.chains]
    chains[index] = Chain(old.name, (*old.rules, "drop"), old.hook)
    model = load(table)

    touched = model.run(render_change(table, NftTable(table.counters, table.sets, tuple(chains))))

    assert touched == {old.name}


def test_another_order_of_the_same_is_no_command():
    one, other = Chain("one", ("accept",)), Chain("other", ("drop",))

    assert render_change(NftTable((), (), (one, other)), NftTable((), (), (other, one))) == ""


def test_a_failover_rewrites_only_what_differs():
    def with_target(target):
        actions = NftSet(
            "actions", "type mark : verdict;", "map", {"0x1": f"goto {target}", "0x2": "drop"}
        )
        return NftTable((), (actions,), (Chain("lte", ("accept",)), Chain("wifi", ("accept",))))

    assert render_change(with_target("lte"), with_target("wifi")) == (
        "delete element ip6 mrouter actions { 0x1 }\n"
        "add element ip6 mrouter actions { 0x1 : goto wifi }\n"
    )


def test_a_dynamic_sets_elements_are_left_alone_while_others_change():
    usage = NftSet("usage", "typeof ct mark; flags dynamic;")
    old = NftTable((), (usage,), (Chain("one", ("update @usage { ct mark }",)),))
    new = NftTable((), (usage,), (Chain("one", ("update @usage { ct mark }", "accept")),))

    assert "element" not in render_change(old, new)
    assert " set " not in render_change(old, new)


@pytest.mark.parametrize(
    "changed",
    [
        NftTable((), (NftSet("s", "type ipv6_addr;"),), (Chain("c", (), HOOK),)),
        NftTable((), (NftSet("s", "type mark;", "map"),), (Chain("c", (), HOOK),)),
        NftTable((), (NftSet("s", "type mark;"),), (Chain("c", ()),)),
    ],
    ids=["declaration", "kind", "hook"],
)
def test_what_cannot_be_changed_in_place_replaces_the_table(changed):
    old = NftTable((), (NftSet("s", "type mark;"),), (Chain("c", (), HOOK),))

    assert render_change(old, changed) == render_replacement(changed)


def test_the_elements_of_a_new_set_come_with_it():
    elements = {str(number): "" for number in range(1200)}
    table = NftTable((), (NftSet("s", "type mark;", "set", elements),), ())

    text = render_table(table)

    assert "add element" not in text
    assert load(table) == model_of(table)


def test_the_model_refuses_what_the_kernel_refuses():
    model = load(NftTable((), (), (Chain("one", ("goto two",)), Chain("two", ()))))

    with pytest.raises(RefusedError):
        model.run("delete chain ip6 mrouter two\n")
    with pytest.raises(RefusedError):
        model.run("add rule ip6 mrouter one goto three\n")


def test_of_many_ranges_that_go_all_are_put_in_anew():
    """For libnftables to look for each among all takes minutes."""
    place = "type inet_service : verdict; flags interval;"
    old, new = (
        NftTable((), (NftSet("m", place, "map", {
            f"{port}-{port + 1}": verdict for port in range(0, 3000, 2)
        }),), (Chain("a", ()),))
        for verdict in ("accept", "goto a")
    )  # fmt: skip
    commands = render_change(old, new)
    model = model_of(old)
    model.run(commands)
    assert model == model_of(new)
    assert commands.startswith("flush map ip6 mrouter m\n")
    assert "delete" not in commands
