"""What a policy file may hold, as pydantic models; `mrouter.policy.load` reads it with them."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from mrouter.policy.model import Action, Bicast, Drop, Match, Policy, PortRange, Steer
from mrouter.policy.values import (
    PROTOCOLS_WITH_PORTS,
    parse_code_point,
    parse_ports,
    parse_protocol,
    refuse_overlapping_ports,
)
from mrouter.toml_model import (
    InterfaceName,
    Name,
    PrefixList,
    StrictModel,
    as_list,
    check_known,
    refuse_empty,
    refuse_repeats,
)
from mrouter.toml_source import MistakeError

#: The name of the policy that the file's [default] makes.
DEFAULT_NAME = "default"


def _check_link(name: str, info: ValidationInfo) -> str:
    return check_known(name, info.context and info.context["links"], "link")


def _check_ingress(name: str, info: ValidationInfo) -> str:
    return check_known(name, info.context and info.context["ingress"], "ingress interface")


def _refuse_reserved_name(name: str) -> str:
    if name == DEFAULT_NAME:
        raise MistakeError(f'"{DEFAULT_NAME}" is reserved', f"write a [{DEFAULT_NAME}] table")
    return name


def _require_two(links: list[str]) -> list[str]:
    if len(links) < 2:
        raise MistakeError("bicast needs two links or more", f'write links = ["{links[0]}"]')
    return links


def _require_true(value: bool) -> bool:
    if not value:
        raise MistakeError("drop can only be true", "leave the key out, or write drop = true")
    return value


_distinct = (BeforeValidator(as_list), AfterValidator(refuse_empty), AfterValidator(refuse_repeats))
_LinkName = Annotated[Name, AfterValidator(_check_link)]
_Ingress = Annotated[InterfaceName, AfterValidator(_check_ingress)]
_Protocol = Annotated[int, PlainValidator(parse_protocol)]
_CodePoint = Annotated[int, PlainValidator(parse_code_point)]
_PortList = Annotated[
    list[Annotated[PortRange, PlainValidator(parse_ports)]],
    BeforeValidator(as_list),
    AfterValidator(refuse_empty),
    AfterValidator(refuse_overlapping_ports),
]
_MatchPrefixes = Annotated[PrefixList, AfterValidator(refuse_empty)]
_Links = Annotated[list[_LinkName], *_distinct]


class MatchTable(StrictModel):
    """What a packet must look like; a key that is absent matches anything."""

    protocol: Annotated[list[_Protocol], *_distinct] = Field(default_factory=list)
    source_port: _PortList = Field(default_factory=list)
    destination_port: _PortList = Field(default_factory=list)
    source: _MatchPrefixes = Field(default_factory=list)
    destination: _MatchPrefixes = Field(default_factory=list)
    dscp: Annotated[list[_CodePoint], *_distinct] = Field(default_factory=list)
    ingress: Annotated[list[_Ingress], *_distinct] = Field(default_factory=list)

    @field_validator("source_port", "destination_port")
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

    def to_match(self) -> Match:
        """Return the match as data."""
        return Match(
            protocols=tuple(self.protocol),
            source_ports=tuple(self.source_port),
            destination_ports=tuple(self.destination_port),
            source_prefixes=tuple(self.source),
            destination_prefixes=tuple(self.destination),
            dscp=tuple(self.dscp),
            ingress=tuple(self.ingress),
        )


class ActionTable(StrictModel):
    """What is done with a packet: exactly one of ``links``, ``bicast`` and ``drop``."""

    links: _Links = Field(default_factory=list)
    bicast: Annotated[_Links, AfterValidator(_require_two)] = Field(default_factory=list)
    copies: int | None = None
    drop: Annotated[bool, AfterValidator(_require_true)] = False

    @field_validator("copies")
    @classmethod
    def _check_copies(cls, copies: int, info: ValidationInfo) -> int:
        links = info.data.get("bicast")
        if links is None:  # the links themselves are wrong, and have their own problem
            return copies
        if not links:
            raise MistakeError("copies stands only beside bicast", "leave it out, or write bicast")
        if not 2 <= copies <= len(links):
            raise MistakeError(f"copies must be from 2 to {len(links)}, the number of links listed")
        return copies

    def to_action(self) -> Action:
        """Return the action as data."""
        if self.drop:
            return Drop()
        if self.bicast:
            return Bicast(tuple(self.bicast), self.copies or len(self.bicast))
        return Steer(tuple(self.links))


class PolicyEntry(ActionTable):
    """One [[policy]]."""

    name: Annotated[Name, AfterValidator(_refuse_reserved_name)] = Field(examples=['name = "call"'])
    match: MatchTable = MatchTable()

    def to_policy(self) -> Policy:
        """Return the policy as data."""
        return Policy(self.name, self.match.to_match(), self.to_action())


class PolicyFile(StrictModel):
    """The whole file."""

    policy: list[PolicyEntry] = Field(default_factory=list)
    default: ActionTable = Field(examples=['[default] and below it links = ["lte", "wifi"]'])
