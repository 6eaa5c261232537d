"""The ``quota`` of a link in a configuration file."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from mrouter.links.quotas import PeriodLength, Quota
from mrouter.policy.week import find_zone
from mrouter.policy.week_values import suggest_zone
from mrouter.sizes import Size
from mrouter.toml_model import StrictModel, expect_text, one_of, within
from mrouter.toml_source import MistakeError, show

_EXAMPLE = 'quota = { limit = "50 GB", period = "monthly" }'
_LENGTHS = {length.value: length for length in PeriodLength}


def _parse_zone(value: Any) -> tzinfo:
    name = expect_text(value, "a time zone")
    try:
        return find_zone(name)
    except (KeyError, ValueError, OSError):  # unknown, no name, or a directory of zones
        message = f"{show(name)} is no time zone that this machine knows"
        raise MistakeError(message, suggest_zone(name)) from None


def _expect_table(value: Any) -> Any:
    if not isinstance(value, dict):
        raise MistakeError("must be a table", f"write {_EXAMPLE}")
    return value


class QuotaTable(StrictModel):
    """``quota`` of a [[link]]."""

    limit: Size = Field(
        description="What the link may carry in a period, both directions together.",
        examples=['limit = "50 GB"'],
    )
    period: Annotated[PeriodLength, PlainValidator(one_of(_LENGTHS))] = Field(
        description="After what it begins anew.", examples=['period = "monthly"']
    )
    reset_day: Annotated[int, AfterValidator(within(1, 28))] = Field(
        default=1,
        description="The day of the month that a monthly period begins on.",
        examples=["reset-day = 15"],
    )
    warn: Annotated[int, AfterValidator(within(1, 100, "percent"))] = Field(
        default=80,
        description="From which share of the limit on it is `warned`.",
        examples=["warn = 70"],
    )
    stop: Annotated[int, AfterValidator(within(1, 100, "percent"))] = Field(
        default=100,
        description="From which share of the limit on it is `over`.",
        examples=["stop = 95"],
    )
    zone: Annotated[tzinfo, PlainValidator(_parse_zone)] = Field(
        default=UTC,
        description="By whose clocks a period begins.",
        examples=['zone = "Europe/Berlin"'],
    )

    @field_validator("reset_day")
    @classmethod
    def _refuse_beside_daily(cls, reset_day: int, info: ValidationInfo) -> int:
        if info.data.get("period") is PeriodLength.DAILY:
            raise MistakeError('stands beside period = "monthly" only', "leave it out")
        return reset_day

    @field_validator("stop")
    @classmethod
    def _refuse_less_than_warn(cls, stop: int, info: ValidationInfo) -> int:
        warn = info.data.get("warn", 0)
        if stop < warn:
            raise MistakeError(f"must be at least warn, {warn} percent", "write a lower warn")
        return stop

    def to_quota(self) -> Quota:
        """Return the quota as data."""
        return Quota(self.limit, self.period, self.reset_day, self.warn, self.stop, self.zone)


QuotaOfLink = Annotated[QuotaTable, BeforeValidator(_expect_table)]
