"""Scapy layers for what scapy lacks of multiple care-of addresses, and repairs of its slips.

In scapy's shell: ``from mrouter.scapy_layers import *``. The import registers the layers in
dialect draft-01; ``use_dialect("rfc5648")`` turns to the other one. What is new:

- ``MIP6OptCoAInfo``: CoAINFO (draft-wakikawa-mobileip-multiplecoa-01 §5.3.1)
- ``MIP6OptIPv4HomeAddress`` and ``MIP6OptIPv4AddressAck`` (RFC 5555 §3.1.1, §3.2.1)
- ``MIP6OptBindingIdentifier`` (RFC 5648 §4.3, with BID-PRI of RFC 6089 §4.1)
- ``MIP6OptFlowIdentification`` and ``MIP6OptFlowSummary`` (RFC 6089 §4.2, §4.2.2), the sub-options
  ``MIP6FlowBindingReference`` and ``MIP6FlowTrafficSelector``, and the selectors
  ``IPv4TrafficSelector`` and ``IPv6TrafficSelector`` (RFC 6088 §3)
- ``MIP6MH_BU_Draft01`` with the flags A H L K R M, and ``MIP6MH_BA_Draft01`` with its status 1

What stands under scapy's own name is a subclass that repairs it:

- ``MIP6MH_BU`` knows the flags F, T and O beside scapy's A H L K M R P (RFC 5648 §4.2).
- ``MIP6MH_BA`` knows RFC 5648's statuses, and ``answers`` looks at the A flag of the Binding
  Update, where scapy looks at P: so ``sr1`` finds the answer.
- ``MIP6MH_Generic`` takes the whole message, where scapy leaves its last 8 octets over.
- ``MIP6OptNonceIndices`` and ``MIP6OptBindingAuthData`` have the lengths 4 and 12, not 16.
- ``MIP6OptReplayProtection`` shows the right time: scapy's epoch is off by 86961 seconds.
"""

from __future__ import annotations

from scapy.layers import inet6

from mrouter.scapy_layers.bindings import MIP6OptBindingIdentifier, MIP6OptCoAInfo
from mrouter.scapy_layers.flows import (
    IPv4TrafficSelector,
    IPv6TrafficSelector,
    MIP6FlowBindingReference,
    MIP6FlowSubOptUnknown,
    MIP6FlowTrafficSelector,
    MIP6OptFlowIdentification,
    MIP6OptFlowSummary,
)
from mrouter.scapy_layers.ipv4 import MIP6OptIPv4AddressAck, MIP6OptIPv4HomeAddress
from mrouter.scapy_layers.repairs import (
    MIP6MH_BA,
    MIP6MH_BU,
    MIP6MH_BA_Draft01,
    MIP6MH_BU_Draft01,
    MIP6MH_Generic,
    MIP6OptBindingAuthData,
    MIP6OptNonceIndices,
    MIP6OptReplayProtection,
)
from mrouter.wire.constants import DEFAULT_COAINFO_TYPE, Dialect, MobilityHeaderType

__all__ = [
    "MIP6MH_BA",
    "MIP6MH_BU",
    "IPv4TrafficSelector",
    "IPv6TrafficSelector",
    "MIP6FlowBindingReference",
    "MIP6FlowSubOptUnknown",
    "MIP6FlowTrafficSelector",
    "MIP6MH_BA_Draft01",
    "MIP6MH_BU_Draft01",
    "MIP6MH_Generic",
    "MIP6OptBindingAuthData",
    "MIP6OptBindingIdentifier",
    "MIP6OptCoAInfo",
    "MIP6OptFlowIdentification",
    "MIP6OptFlowSummary",
    "MIP6OptIPv4AddressAck",
    "MIP6OptIPv4HomeAddress",
    "MIP6OptNonceIndices",
    "MIP6OptReplayProtection",
    "use_dialect",
]

_MESSAGES = {
    Dialect.DRAFT_01: (MIP6MH_BU_Draft01, MIP6MH_BA_Draft01),
    Dialect.RFC5648: (MIP6MH_BU, MIP6MH_BA),
}


def use_dialect(
    dialect: Dialect | str = Dialect.DRAFT_01, coainfo_type: int = DEFAULT_COAINFO_TYPE
) -> None:
    """Have scapy dissect Binding Updates and Acknowledgements, and CoAINFO, in ``dialect``.

    Whoever builds CoAINFO under another type gives ``otype``. Raises ValueError for a dialect
    that there is not.
    """
    update, acknowledgement = _MESSAGES[Dialect(dialect)]
    messages, options = inet6._mip6_mhtype2cls, inet6.moboptcls  # noqa: SLF001 - no other door
    messages[MobilityHeaderType.BINDING_UPDATE] = update
    messages[MobilityHeaderType.BINDING_ACKNOWLEDGEMENT] = acknowledgement
    for kind in [kind for kind, layer in options.items() if layer is MIP6OptCoAInfo]:
        del options[kind]
    options[coainfo_type] = MIP6OptCoAInfo


def _register() -> None:
    inet6.moboptcls.update(
        {
            layer.fields_desc[0].default: layer
            for layer in (
                MIP6OptNonceIndices,
                MIP6OptBindingAuthData,
                MIP6OptReplayProtection,
                MIP6OptBindingIdentifier,
                MIP6OptFlowSummary,
                MIP6OptFlowIdentification,
                MIP6OptIPv4HomeAddress,
                MIP6OptIPv4AddressAck,
            )
        }
    )
    inet6.MIP6MH_Generic = MIP6MH_Generic  # looked up by name where no layer fits a type
    use_dialect()


_register()
