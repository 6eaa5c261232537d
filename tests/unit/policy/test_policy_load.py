from __future__ import annotations

from ipaddress import IPv6Network

from mrouter.policy.load import load_policies
from mrouter.policy.model import (
    Balance,
    Bicast,
    Drop,
    Match,
    Policy,
    PolicyTable,
    PortRange,
    Steer,
    Tier,
)


def load(tmp_path, text, links=None, ingress=None):
    path = tmp_path / "p.toml"
    path.write_text(text)
    return load_policies(path, links, ingress)


def load_match(tmp_path, match):
    text = f'[[policy]]\nname = "p"\nmatch = {match}\ndrop = true\n[default]\nlinks = "lte"\n'
    return load(tmp_path, text).policies[0].match


def test_a_file_is_a_table_in_file_order_with_the_default_last(tmp_path):
    text = """\
[[policy]]
name = "call"
match = { protocol = "udp", destination-port = ["5004", "16384-32767", 5060] }
bicast = ["lte", "wifi"]
copies = 2
[[policy]]
name = "spam"
match = { protocol = "tcp", destination-port = 25 }
drop = true
[[policy]]
name = "bulk"
match = { protocol = ["tcp", 132], source-port = "20-21" }
links = ["wifi", "lte"]
[default]
links = ["lte", "wifi", "sat"]
"""
    assert load(tmp_path, text, ["lte", "wifi", "sat"], []) == PolicyTable(
        (
            Policy(
                "call",
                Match(
                    protocols=(17,),
                    destination_ports=(
                        PortRange(5004, 5004),
                        PortRange(16384, 32767),
                        PortRange(5060, 5060),
                    ),
                ),
                Bicast(("lte", "wifi"), 2),
            ),
            Policy("spam", Match((6,), (), (PortRange(25, 25),)), Drop()),
            Policy("bulk", Match((6, 132), (PortRange(20, 21),)), Steer(("wifi", "lte"))),
            Policy("default", Match(), Steer(("lte", "wifi", "sat"))),
        )
    )


def test_bicast_without_copies_uses_every_link_listed(tmp_path):
    table = load(tmp_path, '[default]\nbicast = ["lte", "wifi", "sat"]\n')
    assert table.policies[-1].action == Bicast(("lte", "wifi", "sat"), 3)


def test_the_default_may_drop(tmp_path):
    assert load(tmp_path, "[default]\ndrop = true\n").policies[-1].action == Drop()


def test_a_policy_without_match_matches_everything(tmp_path):
    text = '[[policy]]\nname = "all"\nlinks = ["lte"]\n[default]\ndrop = true\n'
    assert load(tmp_path, text).policies[0].match == Match()


def test_protocols_are_names_or_numbers(tmp_path):
    match = load_match(
        tmp_path, '{ protocol = ["tcp", "UDP", "icmpv6", "sctp", "udplite", "esp", 47] }'
    )
    assert match.protocols == (6, 17, 58, 132, 136, 50, 47)


def test_code_points_are_names_or_numbers(tmp_path):
    match = load_match(
        tmp_path, '{ dscp = ["ef", "cs0", "cs1", "CS7", "af11", "af23", "af43", 1] }'
    )
    assert match.dscp == (46, 0, 8, 56, 10, 22, 38, 1)


def test_an_address_is_a_prefix_of_full_length(tmp_path):
    match = load_match(
        tmp_path, '{ source = "2001:db8::1", destination = ["2001:db8:1::/48", "2001:db8:2::/64"] }'
    )
    assert match.source_prefixes == (IPv6Network("2001:db8::1/128"),)
    assert match.destination_prefixes == (
        IPv6Network("2001:db8:1::/48"),
        IPv6Network("2001:db8:2::/64"),
    )


def test_the_bounds_of_ports_are_ports(tmp_path):
    match = load_match(tmp_path, '{ protocol = "udp", source-port = 0, destination-port = 65535 }')
    assert match.source_ports == (PortRange(0, 0),)
    assert match.destination_ports == (PortRange(65535, 65535),)


def test_ranges_may_touch(tmp_path):
    match = load_match(tmp_path, '{ protocol = "udp", destination-port = ["1-2", "3 - 4"] }')
    assert match.destination_ports == (PortRange(1, 2), PortRange(3, 4))


def test_ingress_is_a_name_or_a_list_of_them(tmp_path):
    assert load_match(tmp_path, '{ ingress = "lan0" }').ingress == ("lan0",)
    assert load_match(tmp_path, '{ ingress = ["lan0", "lan1"] }').ingress == ("lan0", "lan1")


def load_default(tmp_path, action):
    return load(tmp_path, f"[default]\n{action}\n").policies[-1]


def test_balance_is_one_tier_with_weights(tmp_path):
    action = load_default(tmp_path, "balance = { lte = 3, wifi = 1 }").action
    assert action == Balance((Tier(("lte", "wifi"), (3, 1)),))


def test_tiers_keep_their_order_and_their_kinds(tmp_path):
    text = 'tiers = [{ links = "dsl" }, { balance = { lte = 1, wifi = 100 } }, { links = ["sat"] }]'
    assert load_default(tmp_path, text).action == Balance(
        (Tier(("dsl",)), Tier(("lte", "wifi"), (1, 100)), Tier(("sat",)))
    )


def test_tiers_may_be_tables_of_their_own(tmp_path):
    text = '[[default.tiers]]\nbalance.lte = 1\nbalance.wifi = 2\n[[default.tiers]]\nlinks = "sat"'
    assert load_default(tmp_path, text).action == Balance(
        (Tier(("lte", "wifi"), (1, 2)), Tier(("sat",)))
    )


def test_stickiness_is_by_flow_or_by_source(tmp_path):
    balance = "balance = { lte = 3, wifi = 1 }"
    stickiness = {
        word: load_default(tmp_path, f'{balance}\nsticky = "{word}"').action.by_source
        for word in ("flow", "source")
    }
    assert stickiness == {"flow": False, "source": True}


def test_any_policy_that_sends_may_remark(tmp_path):
    text = """\
[[policy]]
name = "voice"
bicast = ["lte", "wifi"]
dscp-remark = "ef"
[default]
links = ["lte"]
dscp-remark = 0
"""
    assert [policy.remark for policy in load(tmp_path, text).policies] == [46, 0]
    assert load_default(tmp_path, 'links = "lte"').remark is None
