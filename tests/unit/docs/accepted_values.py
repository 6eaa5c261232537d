"""Say in words what a key of a file takes, by the type and the validators of its field."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, PlainValidator
from pydantic.fields import FieldInfo

from mrouter.policy.values import ICMPV6_TYPES, PROTOCOLS
from mrouter.toml_model import OneOf, Within


def quote_all(words) -> str:
    """Return the words as a file has them: `"a"`, `"b"` or `"c"`."""
    *others, last = (f'`"{word}"`' for word in words)
    return f"{', '.join(others)} or {last}" if others else last


_ADDRESS = 'an IPv6 address (`"2001:db8::1"`)'
#: What is read by a validator that takes a value of any form, by the validator's name.
READERS = {
    "parse_protocol": f"{quote_all(PROTOCOLS)}, or a number, 0 to 255",
    "parse_code_point": '`"ef"`, `"cs0"` to `"cs7"`, `"af11"` to `"af43"`, or a number, 0 to 63',
    "parse_icmpv6_type": f"{quote_all(ICMPV6_TYPES)}, or the type's number",
    "parse_mac": 'a MAC address (`"02:00:00:00:00:01"`)',
    "parse_ports": 'a port (`5060`) or a range (`"5000-5010"`), from 0 to 65535',
    "parse_rate": "a rate in kbit/s, Mbit/s or Gbit/s",
    "parse_time": 'from when to when (`"06:00-09:30"`, up to `"24:00"`)',
    "parse_weekdays": 'a day (`"mon"`) or several (`"mon-fri"`)',
    "parse_moment": 'a day and a time (`"fri 22:00"`)',
    "parse_zone": "a time zone that the machine knows",
    "parse_packet_sizes": 'bytes (`576`) or a range (`"0-200"`, `"1000-"`)',
    "parse_flow_sizes": 'a range (`"0-500kB"`, `"10MB-"`) in B, kB, MB, GB or TB',
    "parse_domain": 'a domain name (`"example.com"`), or all below one (`"*.example.com"`)',
    "parse_domain_name": 'a domain name (`"www.example.com"`)',
    "parse_prefix_or_set": 'a prefix of IPv6 or IPv4, an address, or `"@NAME"` for a set',
    "parse_any_prefix": "a prefix of IPv6 or IPv4, or an address",
    "parse_any_address": "an IPv6 or IPv4 address",
    "parse_address": _ADDRESS,
    "parse_prefix": 'an IPv6 prefix (`"2001:db8:a1::/64"`)',
    "parse_ipv4_network": 'an IPv4 prefix (`"192.0.2.0/24"`)',
    "parse_size": 'a size (`"50 GB"`; B, kB, MB, GB, TB), or a number of bytes',
    "_parse_home_agent": f'{_ADDRESS} or `"auto"`',
    "_parse_listen": 'an address and a port (`"[::1]:9362"`), or `"off"`',
    "_parse_zone": "a time zone that the machine knows",
    "_resolve_path": "a file name",
    "_read_key": "a file name",
}
#: What a validator adds to the type that it checks, by the validator's name; "" for nothing that a
#: person who writes a file must be told here.
CHECKS = {
    "_check_name": "a name of up to 64 letters, digits, dots, `-` and `_`",
    "_check_interface": "the name of an interface",
    "_check_link": "the name of a link",
    "_check_ingress": "the name of an interface",
    "_check_spi": "a whole number from 256 to 4294967295, or 3",
    "_check_coainfo_type": "a whole number from 0 to 255, of no other option",
    "_check_socket_length": "a file name of up to 107 bytes",
    "_expect_shares": "a table of two links or more with weights from 1 to 100",
    "_expect_tiers": "a list of tables, each with `links` or `balance`",
    "_expect_table": "a table",
    "_unwrap": "one table with spi, algorithm and key-file, or a list of them, or "
    "`{ unauthenticated-because-ipsec-protects = true }`",
    "_refuse_second": "a table with spi, algorithm and key-file, or "
    "`{ unauthenticated-because-ipsec-protects = true }`",
    "_require_true": "`true`",
    "_refuse_false": "`true`",
    "_require_two": "a list of two links or more",
    "_refuse_nameless": "text in one line",
    "_refuse_reserved_name": 'a name of up to 64 letters, digits, dots, `-` and `_`, not "default"',
    "refuse_many": 'an IPv4 prefix (`"192.0.2.0/24"`), or a list of up to 16',
    "_refuse_whole_internet": "",
    "_refuse_repeated_links": "",
    "_refuse_repeated_spi": "",
    "_require_two_shares": "",
    "point_to_ipv4_prefixes": "",
    "refuse_empty": "",
    "refuse_repeats": "",
    "refuse_nested_prefixes": "",
    "refuse_overlapping_ports": "",
    "_refuse_nested": "",
}
_TYPES = {
    bool: "`true` or `false`",
    int: "a whole number",
    float: "a number",
    str: "text",
}


def describe_field(field: FieldInfo) -> str:
    """Return what ``field`` takes; raise KeyError at a type or validator that has no words yet."""
    return _describe(field.annotation, tuple(field.metadata))


def find_choices(field: FieldInfo) -> OneOf[Any] | None:
    """Return the words that ``field`` takes if it takes nothing else."""
    readers = (each.func for each in field.metadata if isinstance(each, PlainValidator))
    return next((reader for reader in readers if isinstance(reader, OneOf)), None)


def list_validators(field: FieldInfo) -> set[str]:
    """Return the names of all validators of a field's value, and of what is in it."""
    return _list_names(field.annotation, tuple(field.metadata))


def find_models(annotation: Any) -> list[type[BaseModel]]:
    """Return the tables that a value of this type has in it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in find_models(part)]


def _list_names(annotation: Any, metadata: tuple[Any, ...]) -> set[str]:
    readers = (each.func for each in metadata if hasattr(each, "func"))
    names = {getattr(reader, "__name__", "") for reader in readers}
    if get_origin(annotation) is Annotated:
        metadata = get_args(annotation)[1:]
        return names | _list_names(get_args(annotation)[0], metadata)
    return names.union(*(_list_names(part, ()) for part in get_args(annotation)))


def _describe(annotation: Any, metadata: tuple[Any, ...]) -> str:
    words = ""
    takes_one = False
    for each in metadata:
        if isinstance(each, PlainValidator):
            words = _describe_reader(each.func)
        elif isinstance(each, BeforeValidator | AfterValidator):
            if each.func.__class__ is Within:
                words = _describe_bounds(annotation, each.func)
            elif each.func.__name__ == "as_list":
                takes_one = True
            else:
                words = CHECKS[each.func.__name__] or words
    return words or _describe_type(annotation, takes_one)


def _describe_reader(reader: Any) -> str:
    if isinstance(reader, OneOf):
        return quote_all(reader.choices)
    return READERS[reader.__name__]


def _describe_bounds(annotation: Any, bounds: Within) -> str:
    kind = "whole number" if annotation is int else "number"
    unit = f" of {bounds.unit}" if bounds.unit else ""
    return f"a {kind}{unit} from {bounds.lowest} to {bounds.highest}"


def _describe_type(annotation: Any, takes_one: bool) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _describe(parts[0], parts[1:])
    if origin in (Union, types.UnionType):
        return _describe_type(next(part for part in parts if part is not types.NoneType), takes_one)
    if origin is dict:
        return "tables, each under a name"
    if origin is list:
        item = _describe_type(parts[0], takes_one=False)
        if takes_one:
            return f"{item}; or a list"
        return "tables" if find_models(parts[0]) else f"a list, each {item}"
    if find_models(annotation):
        return "a table"
    return _TYPES[annotation]
