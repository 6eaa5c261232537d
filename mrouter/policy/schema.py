"""What a policy file may hold, as pydantic models; `mrouter.policy.load` reads it with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from mrouter.policy.match_schema import CodePoint, MatchTable, SetTable, distinct
from mrouter.policy.model import (
    Action,
    Balance,
    Bicast,
    Drop,
    Policy,
    Steer,
    Tier,
)
from mrouter.toml_model import (
    Name,
    StrictModel,
    check_known,
    one_of,
    refuse_empty,
    within,
)
from mrouter.toml_source import MistakeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mrouter.policy.model import PrefixSet

#: The name of the policy that the file's [default] makes.
DEFAULT_NAME = "default"
_BALANCE_EXAMPLE = "balance = { lte = 3, wifi = 1 }"
#: What goes by one link together, and whether that is all of one source.
_STICKINESS = {"flow": False, "source": True}


def _check_link(name: str, info: ValidationInfo) -> str:
    return check_known(name, info.context and info.context["links"], "link")


def _refuse_reserved_name(name: str) -> str:
    if name == DEFAULT_NAME:
        raise MistakeError(f'"{DEFAULT_NAME}" is reserved', f"write a [{DEFAULT_NAME}] table")
    return name


def _require_two(links: list[str]) -> list[str]:
    if len(links) < 2:
        raise MistakeError("bicast needs two links or more", f'write links = ["{links[0]}"]')
    return links


def _expect_shares(value: Any) -> Any:
    if not isinstance(value, dict):
        raise MistakeError("must be a table of links and weights", f"write {_BALANCE_EXAMPLE}")
    return value


def _require_two_shares(shares: dict[str, int]) -> dict[str, int]:
    if len(shares) < 2:
        example = f'links = ["{next(iter(shares))}"]' if shares else _BALANCE_EXAMPLE
        raise MistakeError("balance needs two links or more", f"write {example}")
    return shares


def _expect_tiers(value: Any) -> Any:
    if not isinstance(value, list):
        example = f'write tiers = [{{ {_BALANCE_EXAMPLE} }}, {{ links = ["sat"] }}]'
        raise MistakeError("must be a list of tables", example)
    return value


def _refuse_repeated_links(tiers: list[TierTable]) -> list[TierTable]:
    known: dict[str, int] = {}
    for index, tier in enumerate(tiers):
        for position, link in enumerate(tier.links or tier.balance):
            if link in known:
                message = f"{link} stands in tiers[{known[link]}] already"
                where = ("links", position) if tier.links else ("balance", link)
                raise MistakeError(message, "keep it once", (index, *where))
            known[link] = index
    return tiers


def _require_true(value: bool) -> bool:
    if not value:
        raise MistakeError("drop can only be true", "leave the key out, or write drop = true")
    return value


_LinkName = Annotated[Name, AfterValidator(_check_link)]
_Links = Annotated[list[_LinkName], *distinct]
_Weight = Annotated[int, AfterValidator(within(1, 100))]
_Shares = Annotated[
    dict[_LinkName, _Weight],
    BeforeValidator(_expect_shares),
    AfterValidator(_require_two_shares),
]


class TierTable(StrictModel):
    """Links of one rank: exactly one of ``links`` and ``balance``."""

    links: _Links = Field(default_factory=list)
    balance: _Shares = Field(default_factory=dict)

    def to_tier(self) -> Tier:
        """Return the tier as data."""
        return _make_tier(self.balance) if self.balance else Tier(tuple(self.links))


def _make_tier(shares: dict[str, int]) -> Tier:
    return Tier(tuple(shares), tuple(shares.values()))


_Tiers = Annotated[
    list[TierTable],
    BeforeValidator(_expect_tiers),
    AfterValidator(refuse_empty),
    AfterValidator(_refuse_repeated_links),
]


class ActionTable(StrictModel):
    """What is done with a packet: one of ``links``, ``balance``, ``tiers``, ``bicast``, ``drop``.

    ``dscp_remark`` may stand beside all but ``drop``.
    """

    links: _Links = Field(default_factory=list)
    balance: _Shares = Field(default_factory=dict)
    tiers: _Tiers = Field(default_factory=list)
    sticky: Annotated[bool, PlainValidator(one_of(_STICKINESS))] = False
    bicast: Annotated[_Links, AfterValidator(_require_two)] = Field(default_factory=list)
    copies: int | None = None
    drop: Annotated[bool, AfterValidator(_require_true)] = False
    dscp_remark: CodePoint | None = None

    @field_validator("sticky")
    @classmethod
    def _check_sticky(cls, sticky: bool, info: ValidationInfo) -> bool:
        balance, tiers = info.data.get("balance"), info.data.get("tiers")
        if balance is None or tiers is None:  # they are wrong, and have their own problem
            return sticky
        if not balance and not any(tier.balance for tier in tiers):
            raise MistakeError(
                "sticky stands only beside balance", "leave it out: what is not shared stays"
            )
        return sticky

    @field_validator("dscp_remark")
    @classmethod
    def _refuse_remark_of_nothing(cls, remark: int, info: ValidationInfo) -> int:
        if info.data.get("drop"):
            raise MistakeError("what is dropped leaves with no DSCP", "leave it out")
        return remark

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
        tiers = tuple(tier.to_tier() for tier in self.tiers)
        if self.balance:
            tiers = (_make_tier(self.balance),)
        if tiers:
            return Balance(tiers, self.sticky)
        return Steer(tuple(self.links))


class PolicyEntry(ActionTable):
    """One [[policy]]."""

    name: Annotated[Name, AfterValidator(_refuse_reserved_name)] = Field(examples=['name = "call"'])
    match: MatchTable = MatchTable()

    def to_policy(self, sets: Mapping[str, PrefixSet]) -> Policy:
        """Return the policy as data; ``sets`` are the file's."""
        match = self.match.to_match(sets)
        return Policy(self.name, match, self.to_action(), self.dscp_remark)


class PolicyFile(StrictModel):
    """The whole file."""

    sets: dict[Name, SetTable] = Field(default_factory=dict, alias="set")
    policy: list[PolicyEntry] = Field(default_factory=list)
    default: ActionTable = Field(examples=['[default] and below it links = ["lte", "wifi"]'])
