"""Expectations that stand beside a policy file: for this packet, that policy and those links."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from mrouter.errors import FileError, PolicyError, Problem
from mrouter.policy.conditions import NO_ADDRESS, NO_IPV4_ADDRESS
from mrouter.policy.domains import parse_domain_name
from mrouter.policy.find import Flow, find_policy
from mrouter.policy.model import Address
from mrouter.policy.resolve import rank, resolve
from mrouter.policy.size_ranges import MAX_PACKET
from mrouter.policy.values import parse_code_point, parse_icmpv6_type, parse_mac, parse_protocol
from mrouter.policy.week_values import parse_moment
from mrouter.sizes import Size
from mrouter.toml_model import (
    AnyAddress,
    InterfaceName,
    Name,
    StrictModel,
    as_list,
    check_known,
    find_repeats,
    iter_tables,
    iter_values,
    refuse_empty,
    refuse_repeats,
    validate,
    within,
)
from mrouter.toml_source import (
    KeyPath,
    MistakeError,
    TomlSource,
    read_toml,
    show,
    sorted_by_line,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from mrouter.policy.model import PolicyTable
    from mrouter.policy.resolve import Measures

_EXPECT = "expect"
_RESULTS = ("policy", "links", "drop")
_NUMBER = re.compile("[0-9]{1,9}")
_Port = Annotated[int, AfterValidator(within(0, 65535))]
_PacketSize = Annotated[int, AfterValidator(within(0, MAX_PACKET))]
_LinkNames = Annotated[list[Name], BeforeValidator(as_list), AfterValidator(refuse_repeats)]


class PacketTable(StrictModel):
    """A packet's fields; what is left out, the packet does not have."""

    protocol: Annotated[int, PlainValidator(parse_protocol)] = Field(
        description="The packet's protocol.", examples=['protocol = "udp"']
    )
    source: AnyAddress | None = Field(
        default=None,
        description="Its address on board.",
        examples=['source = "2001:db8:a1::10"'],
    )
    destination: AnyAddress | None = Field(
        default=None,
        description="Its address at the far end.",
        examples=['destination = "2001:db8:c::10"'],
    )
    source_port: _Port | None = Field(
        default=None, description="Its port on board.", examples=["source-port = 50000"]
    )
    destination_port: _Port | None = Field(
        default=None, description="Its port at the far end.", examples=["destination-port = 443"]
    )
    icmpv6_type: Annotated[int, PlainValidator(parse_icmpv6_type)] | None = Field(
        default=None,
        description="The type of an ICMPv6 message.",
        examples=['icmpv6-type = "echo-request"'],
    )
    source_mac: Annotated[str, PlainValidator(parse_mac)] | None = Field(
        default=None,
        description="The device's own address.",
        examples=['source-mac = "02:00:00:00:00:01"'],
    )
    dscp: Annotated[int, PlainValidator(parse_code_point)] = Field(
        default=0, description="The mark that it comes with.", examples=['dscp = "ef"']
    )
    ingress: InterfaceName | None = Field(
        default=None,
        description="The interface that it comes in by.",
        examples=['ingress = "lan0"'],
    )
    time: Annotated[int, PlainValidator(parse_moment)] | None = Field(
        default=None,
        description="When it comes, by the clocks of the policy file's `[time]`.",
        examples=['time = "fri 22:00"'],
    )
    packet_size: _PacketSize | None = Field(
        default=None,
        description="Its bytes, IP header included.",
        examples=["packet-size = 120"],
    )
    flow_bytes: Size | None = Field(
        default=None,
        description="What its flow has carried so far.",
        examples=['flow-bytes = "20MB"'],
    )
    destination_domain: Annotated[str, PlainValidator(parse_domain_name)] | None = Field(
        default=None,
        description="The name whose address the destination is.",
        examples=['destination-domain = "www.example.com"'],
    )

    @field_validator("destination")
    @classmethod
    def _refuse_two_families(cls, destination: Address, info: ValidationInfo) -> Address:
        source = info.data.get("source")
        if source is not None and source.version != destination.version:
            raise MistakeError(f"the source is IPv{source.version}, this is another family")
        return destination

    def to_flow(self) -> Flow:
        """Return the packet as data."""
        given = self.source or self.destination
        missing = NO_ADDRESS if given is None or given.version == 6 else NO_IPV4_ADDRESS
        return Flow(
            protocol=self.protocol,
            source=self.source or missing,
            destination=self.destination or missing,
            source_port=self.source_port,
            destination_port=self.destination_port,
            dscp=self.dscp,
            ingress=self.ingress or "",
            icmpv6_type=self.icmpv6_type,
            source_mac=self.source_mac,
            time=self.time,
            packet_size=self.packet_size,
            flow_size=self.flow_bytes,
            destination_domain=self.destination_domain,
        )


def _refuse_nameless(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise MistakeError("must be words in one line", 'as in "a call over both radios"')
    return name


def _refuse_false(value: bool) -> bool:
    if not value:
        raise MistakeError("drop can only be true", 'leave it out, or write links = ["lte"]')
    return value


class ExpectTable(PacketTable):
    """One [[expect]]: beside the packet's fields, what is up and what must come out.

    At least one of ``policy``, ``links`` and ``drop`` is there; ``links`` and ``drop`` exclude
    each other.
    """

    name: Annotated[str, AfterValidator(_refuse_nameless)] = Field(
        description="What is told if it does not hold; each has its own.",
        examples=['name = "a call"'],
    )
    up: _LinkNames | None = Field(
        default=None,
        description="The links that are up; every one, if it is left out.",
        examples=['up = ["lte", "sat"]'],
    )
    policy: Name | None = Field(
        default=None,
        description="The policy that the packet must meet.",
        examples=['policy = "call"'],
    )
    links: Annotated[_LinkNames, AfterValidator(refuse_empty)] | None = Field(
        default=None,
        description="All links that must be used, in their order.",
        examples=['links = ["wifi", "lte"]'],
    )
    drop: Annotated[bool, AfterValidator(_refuse_false)] = Field(
        default=False, description="It must be dropped.", examples=["drop = true"]
    )


class ExpectFile(StrictModel):
    """The whole file."""

    policies: str = Field(
        description="The policy file that is tried, or the configuration file that names it. A "
        "relative name starts at this file's directory.",
        examples=['policies = "policy.toml"'],
    )
    expect: Annotated[list[ExpectTable], AfterValidator(refuse_empty)] = Field(
        description="What is expected.", examples=["an [[expect]]"]
    )


@dataclass(frozen=True, slots=True)
class Expectation:
    """For ``flow``, while ``up`` can carry traffic, that ``policy`` and those ``links``.

    None of ``up`` stands for every link, None of the others for "whatever"; ``links`` are () where
    the packet is dropped.
    """

    name: str
    flow: Flow
    up: tuple[str, ...] | None
    policy: str | None
    links: tuple[str, ...] | None


class Expectations:
    """A file of expectations."""

    def __init__(self, path: Path) -> None:
        """Read the file at ``path``.

        :raises PolicyError: with every problem found.
        """
        try:
            self._source = read_toml(path)
        except FileError as error:
            raise PolicyError(error.problems) from None
        file, problems = validate(ExpectFile, self._source)
        problems += find_repeats(self._source, _EXPECT, "name")
        problems += _find_wrong_results(self._source)
        if file is None or problems:
            raise PolicyError(sorted_by_line(problems))
        #: The file that is tried.
        self.policies = path.parent / file.policies
        self.items = tuple(_make_expectation(table) for table in file.expect)

    def judge(
        self,
        table: PolicyTable,
        links: Collection[str] | None = None,
        measures: Measures | None = None,
    ) -> list[Problem]:
        """Return a problem for each result that is another with ``table``.

        ``links`` are the known ones; None stands for those that the policies name. What
        ``measures`` don't measure is tried in the order of the file.

        :raises PolicyError: if an expectation names a link or a policy that there is not.
        """
        known = links or table.links
        names = [policy.name for policy in table.policies]
        wrong = [
            problem
            for path, word in self._list_words()
            if (problem := self._check_word(path, word, names if path[2] == "policy" else known))
        ]
        if wrong:
            raise PolicyError(sorted_by_line(wrong))
        return [
            problem
            for index, item in enumerate(self.items)
            for problem in self._judge(index, item, table, known, measures or {})
        ]

    def _list_words(self) -> Iterator[tuple[KeyPath, Any]]:
        for key in ("up", "links", "policy"):
            yield from iter_values(self._source, _EXPECT, key)

    def _check_word(self, path: KeyPath, word: str, known: Collection[str]) -> Problem | None:
        try:
            check_known(word, known, "policy" if path[2] == "policy" else "link")
        except MistakeError as mistake:
            return self._source.problem(path, mistake.message, mistake.suggestion)
        return None

    def _judge(
        self,
        index: int,
        item: Expectation,
        table: PolicyTable,
        known: Collection[str],
        measures: Measures,
    ) -> Iterator[Problem]:
        policy = find_policy(table, item.flow)
        up = known if item.up is None else item.up
        links = resolve(rank(policy.action, measures), up)
        if item.policy is not None and item.policy != policy.name:
            message = f"expected {show(item.policy)}, got {show(policy.name)}"
            yield self._describe(index, "policy", message)
        if item.links is not None and item.links != links:
            key = "links" if item.links else "drop"
            message = f"expected {_show_links(item.links)}, got {_show_links(links)}"
            by = f" by policy {show(policy.name)}" if policy.name != item.policy else ""
            yield self._describe(index, key, message + by)

    def _describe(self, index: int, key: str, message: str) -> Problem:
        return self._source.problem((_EXPECT, index, key), f"{self.items[index].name}: {message}")


def read_packet(options: Mapping[str, str | int | None]) -> Flow:
    """Return the packet that the command line's ``options`` describe, by their keys in a file.

    :raises FileError: with every problem found.
    """
    given = {key: _read_number(value) for key, value in options.items() if value is not None}
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in given.items())
    packet, problems = validate(PacketTable, TomlSource("command line", "\n".join(lines)))
    if packet is None:
        raise FileError([replace(each, line=None, key=f"--{each.key}") for each in problems])
    return packet.to_flow()


def _read_number(value: str | int) -> str | int:
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _make_expectation(table: ExpectTable) -> Expectation:
    links = () if table.drop else table.links
    return Expectation(
        name=table.name,
        flow=table.to_flow(),
        up=None if table.up is None else tuple(table.up),
        policy=table.policy,
        links=None if links is None else tuple(links),
    )


def _find_wrong_results(source: TomlSource) -> Iterator[Problem]:
    for path, table in iter_tables(source, _EXPECT):
        if not any(key in table for key in _RESULTS):
            suggestion = 'write policy = "call", links = ["lte"] or drop = true'
            yield source.problem(path, "does not say what is expected", suggestion)
        if "links" in table and "drop" in table:
            message = "what is dropped goes by no link"
            yield source.problem((*path, "drop"), message, "keep links or drop")


def _show_links(links: tuple[str, ...]) -> str:
    return ", ".join(links) if links else "drop"
