"""What a policy's match and the sets that it names may hold, as pydantic models."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from mrouter.policy.domains import parse_domain
from mrouter.policy.model import Match, Network, PortRange, SizeRange
from mrouter.policy.size_ranges import join_sizes
from mrouter.policy.size_values import parse_flow_sizes, parse_packet_sizes
from mrouter.policy.values import (
    PROTOCOLS,
    PROTOCOLS_WITH_PORTS,
    parse_code_point,
    parse_icmpv6_type,
    parse_mac,
    parse_ports,
    parse_protocol,
    refuse_overlapping_ports,
)
from mrouter.policy.week import DAY_MINUTES, DAYS, UTC_NAME, join_spans, make_spans
from mrouter.policy.week_values import parse_time, parse_weekdays, parse_zone
from mrouter.toml_model import (
    AnyPrefixList,
    InterfaceName,
    StrictModel,
    as_list,
    check_known,
    parse_any_prefix,
    refuse_empty,
    refuse_nested_prefixes,
    refuse_repeats,
)
from mrouter.toml_source import MistakeError, show, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mrouter.policy.model import PrefixSet, WeekSpan
    from mrouter.policy.ranges import Range

#: In a list of prefixes a set's name stands behind it.
_SET_SIGN = "@"
_NEGATION = "not_"


def _check_ingress(name: str, info: ValidationInfo) -> str:
    return check_known(name, info.context and info.context["ingress"], "ingress interface")


def parse_prefix_or_set(value: Any, info: ValidationInfo) -> Network | str:
    """Read a prefix, or the name of a known set behind a @, or raise `MistakeError`."""
    if not isinstance(value, str) or not value.startswith(_SET_SIGN):
        return parse_any_prefix(value)
    known = [f"{_SET_SIGN}{name}" for name in info.context["sets"]] if info.context else [value]
    if value not in known:
        message = f"unknown set {show(value)}"
        raise MistakeError(message, suggest(value, known) or "write a [set.NAME] table for it")
    return value


def _refuse_nested(ends: list[Network | str]) -> list[Network | str]:
    prefixes = {at: end for at, end in enumerate(ends) if not isinstance(end, str)}
    try:
        refuse_nested_prefixes(list(prefixes.values()))
    except MistakeError as mistake:
        places = list(prefixes)
        at = tuple(places[step] for step in mistake.at if isinstance(step, int))
        raise MistakeError(mistake.message, mistake.suggestion, at) from None
    return ends


distinct = (BeforeValidator(as_list), AfterValidator(refuse_empty), AfterValidator(refuse_repeats))
CodePoint = Annotated[int, PlainValidator(parse_code_point)]
_Protocols = Annotated[list[Annotated[int, PlainValidator(parse_protocol)]], *distinct]
_Ports = Annotated[
    list[Annotated[PortRange, PlainValidator(parse_ports)]],
    BeforeValidator(as_list),
    AfterValidator(refuse_empty),
    AfterValidator(refuse_overlapping_ports),
]
_Ends = Annotated[
    list[Annotated[Network | str, PlainValidator(parse_prefix_or_set)]],
    BeforeValidator(as_list),
    AfterValidator(refuse_empty),
    AfterValidator(_refuse_nested),
    AfterValidator(refuse_repeats),
]
_CodePoints = Annotated[list[CodePoint], *distinct]
_Ingress = Annotated[list[Annotated[InterfaceName, AfterValidator(_check_ingress)]], *distinct]
_Icmpv6Types = Annotated[list[Annotated[int, PlainValidator(parse_icmpv6_type)]], *distinct]
_Macs = Annotated[list[Annotated[str, PlainValidator(parse_mac)]], *distinct]
_Times = Annotated[
    list[Annotated[tuple[int, int], PlainValidator(parse_time)]],
    BeforeValidator(as_list),
    AfterValidator(refuse_empty),
]
_Weekdays = Annotated[
    list[Annotated[tuple[int, ...], PlainValidator(parse_weekdays)]],
    BeforeValidator(as_list),
    AfterValidator(refuse_empty),
]
_PacketSizes = Annotated[
    list[Annotated[SizeRange, PlainValidator(parse_packet_sizes)]],
    BeforeValidator(as_list),
    AfterValidator(refuse_empty),
]
_FlowSizes = Annotated[
    list[Annotated[SizeRange, PlainValidator(parse_flow_sizes)]],
    BeforeValidator(as_list),
    AfterValidator(refuse_empty),
]
_Domains = Annotated[list[Annotated[str, PlainValidator(parse_domain)]], *distinct]


def _condition(meaning: str, example: str) -> Any:
    """Describe a key that a match may have."""
    return Field(default_factory=list, description=meaning, examples=[example])


def _none_of(key: str) -> Any:
    """Describe the negation of ``key``."""
    meaning = f"What `{key}` takes: a packet that meets any of these does not match."
    return Field(default_factory=list, description=meaning)


class TimeTable(StrictModel):
    """[time]: what the times of the file mean."""

    zone: Annotated[str, PlainValidator(parse_zone)] = Field(
        default=UTC_NAME,
        description="By whose clocks `time` and `weekday` are, summer time included.",
        examples=['zone = "Europe/Berlin"'],
    )


class SetTable(StrictModel):
    """One [set.NAME]: prefixes written here, in a file, or both; a match names it "@NAME"."""

    prefixes: Annotated[AnyPrefixList, AfterValidator(refuse_empty)] = Field(
        default_factory=list,
        description="Prefixes of the set, of either family.",
        examples=['prefixes = ["2001:db8:1::/48", "192.0.2.0/24"]'],
    )
    file: str | None = Field(
        default=None,
        description="A file with more, one prefix a line; `#` begins a comment. A relative name "
        "starts at the policy file's directory.",
        examples=['file = "streaming.txt"'],
    )


class MatchTable(StrictModel):
    """What a packet must look like, and must not: a key that is absent matches anything.

    A packet must meet all keys; of a list one value is enough.
    """

    protocol: _Protocols = _condition("The transport protocol.", 'protocol = "udp"')
    source_port: _Ports = _condition(
        "The port on board. `protocol` stands beside it.",
        'protocol = "udp"\nsource-port = 5060',
    )
    destination_port: _Ports = _condition(
        "The port at the far end. `protocol` stands beside it.",
        'protocol = ["tcp", "udp"]\ndestination-port = [443, "5000-5010"]',
    )
    source: _Ends = _condition("The address on board.", 'source = "2001:db8:a1::10"')
    destination: _Ends = _condition(
        "The address at the far end. Where all prefixes are of one family, packets of the other do "
        "not match.",
        'destination = "2001:db8:c::/48"',
    )
    dscp: _CodePoints = _condition("The mark that the packet came with.", 'dscp = ["ef", "af41"]')
    ingress: _Ingress = _condition(
        "The interface that it came in by, one of the configuration's `ingress`.",
        'ingress = "lan0"',
    )
    icmpv6_type: _Icmpv6Types = _condition(
        "The type of an ICMPv6 message. No other protocol meets it.",
        'icmpv6-type = "echo-request"',
    )
    source_mac: _Macs = _condition("The device's own address.", 'source-mac = "02:00:00:00:00:01"')
    time: _Times = _condition(
        "The time of day, the end not included. One that goes on past midnight is of the day that "
        "it begins on.",
        'time = "22:00-06:00"',
    )
    weekday: _Weekdays = _condition("The day of the week.", 'weekday = "mon-fri"')
    packet_size: _PacketSizes = _condition(
        "Bytes of the flow's first packet, IP header included.", 'packet-size = "0-200"'
    )
    flow_bytes: _FlowSizes = _condition(
        "What the flow has carried so far, both ways. A file has at most 8 different sizes.",
        'flow-bytes = "10MB-"',
    )
    destination_domain: _Domains = _condition(
        "The name whose address the destination is, by the DNS answers that passed; `*.` stands "
        "for all names below.",
        'destination-domain = ["example.com", "*.example.com"]',
    )
    not_protocol: _Protocols = _none_of("protocol")
    not_source_port: _Ports = _none_of("source-port")
    not_destination_port: _Ports = _none_of("destination-port")
    not_source: _Ends = _none_of("source")
    not_destination: _Ends = _none_of("destination")
    not_dscp: _CodePoints = _none_of("dscp")
    not_ingress: _Ingress = _none_of("ingress")
    not_icmpv6_type: _Icmpv6Types = _none_of("icmpv6-type")
    not_source_mac: _Macs = _none_of("source-mac")
    not_time: _Times = _none_of("time")
    not_weekday: _Weekdays = _none_of("weekday")
    not_packet_size: _PacketSizes = _none_of("packet-size")
    not_flow_bytes: _FlowSizes = _none_of("flow-bytes")
    not_destination_domain: _Domains = _none_of("destination-domain")

    @field_validator("source_port", "destination_port", "not_source_port", "not_destination_port")
    @classmethod
    def _require_protocol_with_ports(
        cls, ports: list[PortRange], info: ValidationInfo
    ) -> list[PortRange]:
        protocols = info.data.get("protocol")
        if protocols is None:  # the protocol itself is wrong, and has its own problem
            return ports
        example = 'write protocol = "udp" or ["tcp", "udp"] beside it'
        if not protocols:
            raise MistakeError("a port needs a protocol that has ports", example)
        for protocol in protocols:
            if protocol not in PROTOCOLS_WITH_PORTS:
                raise MistakeError(f"protocol {protocol} has no ports", example)
        return ports

    @field_validator("destination")
    @classmethod
    def _refuse_two_families(
        cls, destination: list[Network | str], info: ValidationInfo
    ) -> list[Network | str]:
        ends = info.data.get("source", ()), destination
        versions = [_list_versions(end) for end in ends]
        # of a set's content nothing is known here
        if all(versions) and not any(isinstance(each, str) for end in ends for each in end):
            here, there = versions
            if here.isdisjoint(there):
                message = (
                    "no packet has an IPv6 address at one end and an IPv4 address at the other"
                )
                raise MistakeError(message, "write prefixes of one family, or split the policy")
        return destination

    @field_validator("icmpv6_type", "not_icmpv6_type")
    @classmethod
    def _refuse_other_protocols(cls, types: list[int], info: ValidationInfo) -> list[int]:
        """Take a type without a protocol: it says enough (and a negated one of no other)."""
        for protocol in info.data.get("protocol", ()):
            if protocol != PROTOCOLS["icmpv6"]:
                message = f"protocol {protocol} has no ICMPv6 types"
                raise MistakeError(message, "leave protocol out, or split the policy")
        return types

    def to_match(self, sets: Mapping[str, PrefixSet], zone: str) -> Match:
        """Return the match as data; ``sets`` are all that it may name, ``zone`` the file's."""
        match = self._collect("", sets, self._join_times(zone))
        if not any(name.startswith(_NEGATION) for name in self.model_fields_set):
            return match
        none_of = self._collect(_NEGATION, sets, self._join_refused_times(zone))
        return replace(match, none_of=none_of)

    def _join_times(self, zone: str) -> tuple[WeekSpan, ...]:
        """Return the times on the days that they begin on."""
        if not self.time and not self.weekday:
            return ()
        return make_spans(_list_days(self.weekday) or _EVERY_DAY, self.time or _ALL_DAY, zone)

    def _join_refused_times(self, zone: str) -> tuple[WeekSpan, ...]:
        """Return the times of any day, and the days: none of both may be met."""
        times = make_spans(_EVERY_DAY, self.not_time, zone)
        days = make_spans(_list_days(self.not_weekday), _ALL_DAY, zone)
        return join_spans((*times, *days))

    def _collect(
        self, prefix: str, sets: Mapping[str, PrefixSet], times: tuple[WeekSpan, ...]
    ) -> Match:
        def read(name: str) -> tuple[Any, ...]:
            return tuple(getattr(self, prefix + name))

        source, destination = read("source"), read("destination")
        return Match(
            protocols=read("protocol"),
            source_ports=read("source_port"),
            destination_ports=read("destination_port"),
            source_prefixes=_list_prefixes(source),
            destination_prefixes=_list_prefixes(destination),
            dscp=read("dscp"),
            ingress=read("ingress"),
            icmpv6_types=read("icmpv6_type"),
            source_macs=read("source_mac"),
            source_sets=_list_sets(source, sets),
            destination_sets=_list_sets(destination, sets),
            times=times,
            packet_sizes=join_sizes(read("packet_size")),
            flow_sizes=join_sizes(read("flow_bytes")),
            destination_domains=read("destination_domain"),
        )


_EVERY_DAY = range(len(DAYS))
_ALL_DAY: Sequence[Range] = [(0, DAY_MINUTES - 1)]


def _list_days(weekdays: Sequence[tuple[int, ...]]) -> list[int]:
    return sorted({day for days in weekdays for day in days})


def _list_versions(ends: Sequence[Network | str]) -> set[int]:
    return {end.version for end in ends if not isinstance(end, str)}


def _list_prefixes(ends: Sequence[Network | str]) -> tuple[Network, ...]:
    return tuple(end for end in ends if not isinstance(end, str))


def _list_sets(
    ends: Sequence[Network | str], sets: Mapping[str, PrefixSet]
) -> tuple[PrefixSet, ...]:
    return tuple(sets[end.removeprefix(_SET_SIGN)] for end in ends if isinstance(end, str))
