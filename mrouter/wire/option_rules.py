"""Which mobility options may be repeated, and which must be the last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.wire.constants import Dialect, OptionType
from mrouter.wire.options import (
    BindingAuthorizationData,
    CareOfAddressInformation,
    FlowIdentification,
    FlowSummary,
    IPv4AddressAcknowledgement,
    IPv4HomeAddress,
    MnHaAuthentication,
    MobileNetworkPrefix,
    UnknownOption,
)
from mrouter.wire.parse_errors import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mrouter.wire.format import WireFormat
    from mrouter.wire.options import MobilityOption

# RFC 3963 §4.3: a mobile router with several prefixes sends as many Mobile Network Prefix options.
# RFC 6089 §4.2, §5.2.3: each flow binding has its own Flow Identification; 127 FIDs fill a Flow
# Summary. RFC 5648 §5.3: several bindings may be registered in one Binding Update. RFC 5555 §3.1.1:
# "the mobile node may use two different options", for an address and for a prefix: each IPv4
# network has its own.
_REPEATABLE = frozenset(
    {
        MobileNetworkPrefix,
        FlowIdentification,
        FlowSummary,
        IPv4HomeAddress,
        IPv4AddressAcknowledgement,
        UnknownOption,
    }
)
_REPEATABLE_RFC5648 = _REPEATABLE | {CareOfAddressInformation}
_LAST = frozenset({BindingAuthorizationData, MnHaAuthentication})


def find_misplaced(options: Sequence[MobilityOption], fmt: WireFormat) -> Reason | None:
    """Return why ``options`` cannot stand in one message in this order, or None if they can."""
    repeatable = _REPEATABLE if fmt.dialect is Dialect.DRAFT_01 else _REPEATABLE_RFC5648
    seen: set[type] = set()
    last: type | None = None
    mn_aaa = False
    for option in options:
        kind = type(option)
        if kind not in repeatable:
            if kind in seen:
                return Reason.DUPLICATE_OPTION
            seen.add(kind)
        if last is not None and not _may_follow(last, option):
            return Reason.BAD_OPTION_ORDER
        # "the MN-HA authentication option must be present before the MN-AAA authentication option
        # (else, the HA MUST discard the message)" (RFC 4285 §5)
        if mn_aaa and kind is MnHaAuthentication:
            return Reason.BAD_OPTION_ORDER
        mn_aaa = mn_aaa or _is_mn_aaa(option)
        if kind in _LAST:
            last = kind
    return None


def _may_follow(last: type, option: MobilityOption) -> bool:
    # RFC 4285 §5.1, §5.2: the MN-HA option is last, unless an MN-AAA option follows it. RFC 6275
    # §6.2.7: Binding Authorization Data is last without exception.
    return last is MnHaAuthentication and _is_mn_aaa(option)


def _is_mn_aaa(option: MobilityOption) -> bool:
    return isinstance(option, UnknownOption) and option.type == OptionType.AUTHENTICATION
