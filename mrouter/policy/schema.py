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

from mrouter.policy.match_schema import CodePoint, MatchTable, SetTable, TimeTable, distinct
from mrouter.policy.model import (
    Action,
    Balance,
    Bicast,
    Choice,
    Drop,
    Match,
    Policy,
    Steer,
    Tier,
)
from mrouter.policy.values import parse_rate
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
#: What becomes of running flows when a better link can be used, and whether they stay.
_RUNNING_FLOWS = {"move": False, "stay": True}


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


def _refuse_choice_of_nothing(choice: Choice, links: list[str] | None) -> Choice:
    if links is not None and len(links) < 2:
        raise MistakeError("choose stands only beside several links", "leave it out")
    return choice


_LinkName = Annotated[Name, AfterValidator(_check_link)]
_Links = Annotated[list[_LinkName], *distinct]
_Weight = Annotated[int, AfterValidator(within(1, 100))]
_Shares = Annotated[
    dict[_LinkName, _Weight],
    BeforeValidator(_expect_shares),
    AfterValidator(_require_two_shares),
]


_Choice = Annotated[Choice, PlainValidator(one_of({each.value: each for each in Choice}))]
#: A week: what is longer is no pause, but a link that is never used again.
_Seconds = Annotated[float, AfterValidator(within(0, 7 * 86400, "seconds"))]


class TierTable(StrictModel):
    """Links of one rank: exactly one of ``links`` and ``balance``; ``choose`` beside ``links``."""

    links: _Links = Field(
        default_factory=list,
        description="The first of them that is up has all flows.",
        examples=['links = ["wifi", "lte"]'],
    )
    balance: _Shares = Field(
        default_factory=dict,
        description="Links and weights: flows are shared by them.",
        examples=["balance = { wifi = 3, lte = 1 }"],
    )
    choose: _Choice = Field(
        default=Choice.FAILOVER,
        description="Which of `links` that are up comes first, as in a policy.",
        examples=['links = ["wifi", "lte"]\nchoose = "cheapest"'],
    )

    @field_validator("choose")
    @classmethod
    def _check_choice(cls, choice: Choice, info: ValidationInfo) -> Choice:
        return _refuse_choice_of_nothing(choice, info.data.get("links"))

    def to_tier(self) -> Tier:
        """Return the tier as data."""
        if self.balance:
            return _make_tier(self.balance)
        return Tier(tuple(self.links), choice=self.choose)


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

    Keys after ``drop`` may stand beside all but ``drop``.
    """

    links: _Links = Field(
        default_factory=list,
        description="The first of them that is up is used.",
        examples=['links = ["wifi", "lte"]'],
    )
    balance: _Shares = Field(
        default_factory=dict,
        description="Links and weights: each flow goes by one of those that are up, so many by "
        "each as its weight says.",
        examples=["balance = { wifi = 3, lte = 1 }"],
    )
    tiers: _Tiers = Field(
        default_factory=list,
        description="Groups of links: the first that has a link up is used.",
        examples=['tiers = [{ balance = { wifi = 3, lte = 1 } }, { links = ["sat"] }]'],
    )
    sticky: Annotated[bool, PlainValidator(one_of(_STICKINESS))] = Field(
        default=False,
        description="What stays together where flows are shared: each flow, or all flows of one "
        "host on board. Stands beside `balance`, in `tiers` too.",
        examples=['balance = { wifi = 3, lte = 1 }\nsticky = "source"'],
    )
    bicast: Annotated[_Links, AfterValidator(_require_two)] = Field(
        default_factory=list,
        description="A copy of each packet goes by each of these that are up; the far end drops "
        "the duplicates.",
        examples=['bicast = ["lte", "wifi", "sat"]'],
    )
    copies: int | None = Field(
        default=None,
        description="How many copies: by the first so many links of `bicast` that are up. At "
        "least 2; all of them, if it is left out.",
        examples=['bicast = ["lte", "wifi", "sat"]\ncopies = 2'],
    )
    choose: _Choice = Field(
        default=Choice.FAILOVER,
        description="Which of `links` or `bicast` that are up comes first: as they are listed, by "
        "the links' `cost`, or by what probes measure. For `tiers` it stands in the tier.",
        examples=['links = ["wifi", "lte"]\nchoose = "lowest-latency"'],
    )
    drop: Annotated[bool, AfterValidator(_require_true)] = Field(
        default=False,
        description="Every packet is dropped.",
        examples=["drop = true"],
    )
    dscp_remark: CodePoint | None = Field(
        default=None,
        description="The mark that packets leave with; without it, theirs.",
        examples=['dscp-remark = "af11"'],
    )
    hold_down: _Seconds = Field(
        default=0.0,
        description="How long a link that has come back must have been up before it is used "
        "again, unless there is no other. One that fails is left at once.",
        examples=["hold-down = 30"],
    )
    running_flows: Annotated[bool, PlainValidator(one_of(_RUNNING_FLOWS))] = Field(
        default=False,
        description="Where flows that run go when a better link can be used: to it, or nowhere "
        "while theirs is up. An agent that starts anew looks at them anew.",
        examples=['running-flows = "stay"'],
    )
    under_quota: bool = Field(
        default=False,
        description="No link is used that is over its `quota`.",
        examples=["under-quota = true"],
    )
    wait: bool = Field(
        default=False,
        description="While no link can be used, packets wait for up to 5 seconds (1 MB of them) "
        "instead of being dropped.",
        examples=["wait = true"],
    )
    rate_limit: Annotated[int, PlainValidator(parse_rate)] | None = Field(
        default=None,
        description="What all flows of the policy together may send; more is dropped. IPv6 and "
        "IPv4 count by themselves.",
        examples=['rate-limit = "2 Mbit/s"'],
    )

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

    @field_validator("choose")
    @classmethod
    def _check_choice(cls, choice: Choice, info: ValidationInfo) -> Choice:
        links, bicast = info.data.get("links"), info.data.get("bicast")
        if links is None or bicast is None:  # they are wrong, and have their own problem
            return choice
        if info.data.get("tiers"):
            message = "choose stands in the tiers whose links it is about"
            raise MistakeError(
                message, f'write tiers = [{{ links = ["lte", "wifi"], choose = "{choice.value}" }}]'
            )
        return _refuse_choice_of_nothing(choice, links or bicast)

    @field_validator("dscp_remark")
    @classmethod
    def _refuse_remark_of_nothing(cls, remark: int, info: ValidationInfo) -> int:
        if info.data.get("drop"):
            raise MistakeError("what is dropped leaves with no DSCP", "leave it out")
        return remark

    @field_validator("hold_down", "running_flows", "under_quota", "wait", "rate_limit")
    @classmethod
    def _refuse_terms_of_nothing(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("drop"):
            raise MistakeError("what is dropped goes by no link", "leave it out")
        return value

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
            return Bicast(tuple(self.bicast), self.copies or len(self.bicast), self.choose)
        tiers = tuple(tier.to_tier() for tier in self.tiers)
        if self.balance:
            tiers = (_make_tier(self.balance),)
        if tiers:
            return Balance(tiers, self.sticky)
        return Steer(tuple(self.links), self.choose)

    def make_policy(self, name: str, match: Match) -> Policy:
        """Return the policy that does this with what ``match`` matches."""
        return Policy(
            name=name,
            match=match,
            action=self.to_action(),
            remark=self.dscp_remark,
            hold_down=self.hold_down,
            stay=self.running_flows,
            under_quota=self.under_quota,
            wait=self.wait,
            rate_limit=self.rate_limit,
        )


class PolicyEntry(ActionTable):
    """One [[policy]]: beside these keys it has those of an action."""

    name: Annotated[Name, AfterValidator(_refuse_reserved_name)] = Field(
        description="What status, metrics and other commands call it; each policy has its own.",
        examples=['name = "call"'],
    )
    match: MatchTable = Field(
        default=MatchTable(),
        description="Which packets it is for; all, if it is left out.",
        examples=['match = { protocol = "udp", dscp = "ef" }'],
    )

    def to_policy(self, sets: Mapping[str, PrefixSet], zone: str) -> Policy:
        """Return the policy as data; ``sets`` and time ``zone`` are the file's."""
        return self.make_policy(self.name, self.match.to_match(sets, zone))


class PolicyFile(StrictModel):
    """The whole file."""

    sets: dict[Name, SetTable] = Field(
        default_factory=dict,
        alias="set",
        description="Prefixes under a name, for many policies.",
        examples=['[set.depot]\nprefixes = ["2001:db8:1::/48"]'],
    )
    time: TimeTable = Field(
        default=TimeTable(),
        description="What the times of the file mean.",
        examples=['[time]\nzone = "Europe/Berlin"'],
    )
    policy: list[PolicyEntry] = Field(
        default_factory=list,
        description="The policies, in the order in which they are tried: the first match wins.",
        examples=['[[policy]]\nname = "call"\nmatch = { dscp = "ef" }\nlinks = ["lte"]'],
    )
    default: ActionTable = Field(
        description="What is done with packets that no policy matches.",
        examples=['[default] and below it links = ["lte", "wifi"]'],
    )
