"""A status of each role, as an agent describes itself."""

from __future__ import annotations

NONE = {"packets": 0, "bytes": 0}


def make_common(role, counters):
    return {
        "version": "9.9",
        "role": role,
        "started": 1_800_000_000.0,
        "uptime": 61.0,
        "signalling": [
            {"direction": "received", "type": "BindingAcknowledgement", "status": "1", "count": 3},
            {"direction": "sent", "type": "BindingUpdate", "status": "", "count": 4},
        ],
        "events": [{"event": "authentication-failed", "reason": "missing", "count": 2}],
        "parse_failures": {"truncated": 5},
        "dataplane": {
            "encapsulation": "seg6",
            "updates": {"ok": 6, "failed": 1},
            "counters": counters,
        },
        "bicast": {"copies": 7, "duplicates_dropped": 8},
    }


def make_quota(state="under", used=7_100_000_000):
    return {
        "used": used,
        "limit": 50_000_000_000,
        "state": state,
        "period": "monthly",
        "period_start": "2026-02-15T00:00:00+01:00",
    }


def make_link(name, *, up=True, cost=0, quota=None):
    return {
        "name": name,
        "interface": f"{name}0",
        "up": up,
        "at_home": False,
        "reason": "" if up else "no carrier",
        "addresses": ["2001:db8::1"] if up else [],
        "gateway": "fe80::1" if up else None,
        "path_mtu": 1400 if up else None,
        "tunnel_mtu": 1360 if up else None,
        "uplink": {"packets": 10, "bytes": 1500},
        "downlink": {"packets": 20, "bytes": 2_500_000},
        "cost": cost,
        "quota": quota,
        "quality": None,
        "radio": None,
    }


def make_radio(percent=63, *, weak=False, **changes):
    return {
        "kind": "modem",
        "signal_percent": percent,
        "signal_dbm": -95.0,
        "technology": "lte",
        "operator": "Example Mobile",
        "operator_code": "00101",
        "registration": "roaming",
        "ssid": "",
        "bit_rate": None,
        "least_signal": 20,
        "weak": weak,
        **changes,
    }


def make_probed_link(name, state="up", rtt_ms=21.04, loss=0.02):
    return {
        **make_link(name),
        "quality": {"rtt_ms": rtt_ms, "jitter_ms": rtt_ms and 3.0, "loss": loss, "state": state},
        "rtt_seconds": {"buckets": [["0.02", 4], ["0.05", 7], ["+Inf", 8]], "sum": 1.5},
    }


def make_binding(link, *, usable=True, left=42.4):
    return {
        "link": link,
        "care_of_address": "2001:db8::1",
        "ifid": 17,
        "ifpri": 0,
        "slot": 1,
        "state": "registered" if usable else "registering",
        "usable": usable,
        "lifetime_left": left,
        "status": 1 if usable else None,
        "ipv4_prefixes": [],
    }


def make_mobile_router(**changes):
    counters = {"outer_rejected": {"packets": 3, "bytes": 300}, "uplink-lte": NONE}
    return {
        **make_common("mobile-router", counters),
        "home_address": "2001:db8:f1::100",
        "home_agent": "2001:db8:f0::2",
        "prefixes": ["2001:db8:a1::/64"],
        "ipv4_prefixes": [],
        "links": [make_link("lte"), make_link("sat", up=False)],
        "bindings": [
            make_binding("lte"),
            make_binding("lte", left=50.0),
            make_binding("sat", usable=False, left=0.0),
        ],
        "routes": [],
        "measures": {"cheapest": {"sat": 1, "lte": 4}},
        "waiting": {"packets": 2, "dropped": 3},
        "drained": [],
        "policies": [
            {
                "name": "call",
                "links": ["lte", "sat"],
                "active": ["lte"],
                "held": {"sat": "held down, 12 s to go"},
                "downlink": "accepted",
                "packets": 9,
                "bytes": 900,
            },
            {
                "name": "unwanted",
                "links": [],
                "active": [],
                "held": {},
                "downlink": "not-expressible",
                "packets": 0,
                "bytes": 0,
            },
        ],
        "policy_traffic": [
            {"policy": "call", "link": "lte", "direction": "uplink", "packets": 9, "bytes": 900}
        ],
        **changes,
    }


def make_home_agent(**changes):
    binding = {
        "mobile_router": "vehicle",
        "home_address": "2001:db8:f1::100",
        "care_of_address": "2001:db8:1::2",
        "ifid": None,
        "ifpri": 0,
        "slot": 1,
        "prefixes": ["2001:db8:a1::/64"],
        "ipv4_prefixes": [],
        "lifetime_left": 30.0,
    }
    return {
        **make_common("home-agent", {"inner_rejected": {"packets": 4, "bytes": 400}}),
        "address": "2001:db8:f0::2",
        "mobile_routers": [
            {
                "name": "vehicle",
                "home_address": "2001:db8:f1::100",
                "bindings": 1,
                "flow_bindings": 5,
                "lifetime_left": 30.0,
            },
            {
                "name": "parked",
                "home_address": "2001:db8:f1::101",
                "bindings": 0,
                "flow_bindings": 0,
                "lifetime_left": 0.0,
            },
        ],
        "bindings": [binding],
        "slots": [{"slot": 1, "uplink": {"packets": 1, "bytes": 100}, "downlink": NONE}],
        **changes,
    }


def make_route(link, *, usable=True):
    return {
        "correspondent": "2001:db8:c::10",
        **make_binding(link, usable=usable),
        "in_use": usable,
    }


def make_correspondent_node(**changes):
    binding = {
        "home_address": "2001:db8:f1::100",
        "care_of_address": "2001:db8:1::2",
        "ifid": 17,
        "ifpri": 0,
        "in_use": True,
        "lifetime_left": 30.0,
    }
    return {
        **make_common("correspondent-node", {"optimized_sent": {"packets": 4, "bytes": 400}}),
        "address": "2001:db8:c::10",
        "bindings": [binding, {**binding, "ifpri": 2}, {**binding, "ifpri": 2, "ifid": None}],
        **changes,
    }
