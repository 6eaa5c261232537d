"""Code points of Mobile IPv6, NEMO and the multiple care-of address extensions."""

from __future__ import annotations

from enum import Enum, IntEnum


class Dialect(Enum):
    """How the model's IFID, IFPRI and flags are laid out in bytes (DESIGN decision 1)."""

    DRAFT_01 = "draft-01"
    RFC5648 = "rfc5648"


#: The highest IFPRI that has a place. CoAINFO has 8 bits (the draft §5.3.1); BID-PRI has 7, whose
#: value 0 MUST NOT be used, so that an IFPRI travels as one more (RFC 6089 §4.1).
MAX_IFPRI = {Dialect.DRAFT_01: 255, Dialect.RFC5648: 126}


class MobilityHeaderType(IntEnum):
    """MH Type (RFC 6275 §6.1.1)."""

    BINDING_REFRESH_REQUEST = 0
    HOME_TEST_INIT = 1
    CARE_OF_TEST_INIT = 2
    HOME_TEST = 3
    CARE_OF_TEST = 4
    BINDING_UPDATE = 5
    BINDING_ACKNOWLEDGEMENT = 6
    BINDING_ERROR = 7


class OptionType(IntEnum):
    """Mobility option types.

    RFC 6275 §6.2, RFC 3963 §4.3, RFC 4285 §5 and §6, RFC 5555 §3.1.1 and §3.2.1, RFC 5648 §4.3,
    RFC 6089 §4.2 and §4.2.2 (whose §8 has the two the other way round; IANA's registry has them as
    here).
    """

    PAD1 = 0
    PADN = 1
    BINDING_REFRESH_ADVICE = 2
    ALTERNATE_CARE_OF_ADDRESS = 3
    NONCE_INDICES = 4
    BINDING_AUTHORIZATION_DATA = 5
    MOBILE_NETWORK_PREFIX = 6
    AUTHENTICATION = 9
    REPLAY_PROTECTION = 10
    IPV4_HOME_ADDRESS = 29
    IPV4_ADDRESS_ACKNOWLEDGEMENT = 30
    BINDING_IDENTIFIER = 35
    FLOW_SUMMARY = 44
    FLOW_IDENTIFICATION = 45


#: The draft leaves CoAINFO's type "TBD" (§5.3.1): ours is from the unassigned range, and a
#: configuration value.
DEFAULT_COAINFO_TYPE = 192


class BindingStatus(IntEnum):
    """Status of a Binding Acknowledgement, below 128 accepted (RFC 6275 §6.1.8 and others).

    The MCOA values are RFC 5648's (§4.4).

    ``ACCEPTED_NP_COA`` is the draft's §5.3.3 value 1. In dialect rfc5648 it is written as 0 beside
    a Binding Identifier; a 1 without that is RFC 6275's "accepted but prefix discovery necessary".
    """

    ACCEPTED = 0
    ACCEPTED_NP_COA = 1
    MCOA_NOT_COMPLETE = 4
    MCOA_RETURN_HOME_WITHOUT_NDP = 5
    REASON_UNSPECIFIED = 128
    ADMINISTRATIVELY_PROHIBITED = 129
    INSUFFICIENT_RESOURCES = 130
    HOME_REGISTRATION_NOT_SUPPORTED = 131
    NOT_HOME_SUBNET = 132
    NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE = 133
    DUPLICATE_ADDRESS_DETECTION_FAILED = 134
    SEQUENCE_NUMBER_OUT_OF_WINDOW = 135
    EXPIRED_HOME_NONCE_INDEX = 136
    EXPIRED_CARE_OF_NONCE_INDEX = 137
    EXPIRED_NONCES = 138
    REGISTRATION_TYPE_CHANGE_DISALLOWED = 139
    MOBILE_ROUTER_OPERATION_NOT_PERMITTED = 140
    INVALID_PREFIX = 141
    NOT_AUTHORIZED_FOR_PREFIX = 142
    FORWARDING_SETUP_FAILED = 143
    ID_MISMATCH = 144
    MESSAGE_ID_REQUIRED = 145
    AUTHENTICATION_FAILED = 146
    MCOA_MALFORMED = 164
    MCOA_NON_MCOA_BINDING_EXISTS = 165
    MCOA_PROHIBITED = 166
    MCOA_UNKNOWN_COA = 167
    MCOA_BULK_REGISTRATION_PROHIBITED = 168
    MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED = 169


class FlowStatus(IntEnum):
    """Status of a Flow Identification option, below 128 accepted (RFC 6089 §4.2)."""

    ACCEPTED = 0
    ADMINISTRATIVELY_PROHIBITED = 128
    REASON_UNSPECIFIED = 129
    MALFORMED = 130
    BID_NOT_FOUND = 131
    FID_NOT_FOUND = 132
    SELECTOR_NOT_SUPPORTED = 133


class IPv4Status(IntEnum):
    """Status of an IPv4 Address Acknowledgement option, below 128 accepted (RFC 5555 §3.2.1)."""

    SUCCESS = 0
    REASON_UNSPECIFIED = 128
    ADMINISTRATIVELY_PROHIBITED = 129
    INCORRECT_HOME_ADDRESS = 130
    INVALID_ADDRESS = 131
    DYNAMIC_ASSIGNMENT_NOT_AVAILABLE = 132
    PREFIX_ALLOCATION_UNAUTHORIZED = 133


#: "Values from 0 to 127 indicate success. Higher values indicate failure." (RFC 5555 §3.2.1)
FIRST_IPV4_REFUSAL = 128


class BindingErrorStatus(IntEnum):
    """Status of a Binding Error (RFC 6275 §6.1.9)."""

    UNKNOWN_BINDING = 1
    UNRECOGNIZED_MH_TYPE = 2


class AuthenticationSubtype(IntEnum):
    """Who shares the key of an authentication option (RFC 4285 §5)."""

    MN_HA = 1
    MN_AAA = 2
