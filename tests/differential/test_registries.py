"""Our code points against IANA's registries, as pypcapkit has them; names are matched by hand."""

from __future__ import annotations

import pytest
from pcapkit.const.ipv6.option import Option as DestinationOption
from pcapkit.const.ipv6.routing import Routing
from pcapkit.const.mh.auth_subtype import AuthSubtype
from pcapkit.const.mh.binding_ack_flag import BindingACKFlag
from pcapkit.const.mh.binding_error import BindingError
from pcapkit.const.mh.binding_update_flag import BindingUpdateFlag
from pcapkit.const.mh.dsmipv6_home_address import DSMIPv6HomeAddress
from pcapkit.const.mh.flow_id_status import FlowIDStatus
from pcapkit.const.mh.flow_id_suboption import FlowIDSuboption
from pcapkit.const.mh.option import Option
from pcapkit.const.mh.packet import Packet as MobilityHeader
from pcapkit.const.mh.status_code import StatusCode
from pcapkit.const.mh.traffic_selector import TrafficSelector
from pcapkit.const.reg.transtype import TransType
from scapy.layers.inet6 import icmp6types
from wire_strategies import COA, HOME, HOME_AGENT, RFC5648

from mrouter.wire import checksum, flow_codec, home_discovery, message_codec
from mrouter.wire.constants import (
    DEFAULT_COAINFO_TYPE,
    AuthenticationSubtype,
    BindingErrorStatus,
    BindingStatus,
    FlowStatus,
    IPv4Status,
    MobilityHeaderType,
    OptionType,
)
from mrouter.wire.messages import BindingAcknowledgement, BindingUpdate, Packet
from mrouter.wire.packet import serialize_packet
from mrouter.wire.traffic_selector_codec import IPV6_BINARY

#: Our name: the registry's. Every member of our enumeration is in its table.
MESSAGE_NAMES = {
    "BINDING_REFRESH_REQUEST": "Binding_Refresh_Request",
    "HOME_TEST_INIT": "Home_Test_Init",
    "CARE_OF_TEST_INIT": "Care_of_Test_Init",
    "HOME_TEST": "Home_Test",
    "CARE_OF_TEST": "Care_of_Test",
    "BINDING_UPDATE": "Binding_Update",
    "BINDING_ACKNOWLEDGEMENT": "Binding_Acknowledgement",
    "BINDING_ERROR": "Binding_Error",
}
OPTION_NAMES = {
    "PAD1": "Pad1",
    "PADN": "PadN",
    "BINDING_REFRESH_ADVICE": "Binding_Refresh_Advice",
    "ALTERNATE_CARE_OF_ADDRESS": "Alternate_Care_of_Address",
    "NONCE_INDICES": "Nonce_Indices",
    "BINDING_AUTHORIZATION_DATA": "Authorization_Data",
    "MOBILE_NETWORK_PREFIX": "Mobile_Network_Prefix_Option",
    "AUTHENTICATION": "AUTH_OPTION_TYPE",
    "REPLAY_PROTECTION": "MESG_ID_OPTION_TYPE",
    "IPV4_HOME_ADDRESS": "IPv4_Home_Address",
    "IPV4_ADDRESS_ACKNOWLEDGEMENT": "IPv4_Address_Acknowledgement",
    "BINDING_IDENTIFIER": "Binding_Identifier",
    "FLOW_SUMMARY": "Flow_Summary_Mobility_Option",
    "FLOW_IDENTIFICATION": "Flow_Identification_Mobility_Option",
}
STATUS_NAMES = {
    "ACCEPTED": "Binding_Update_accepted_Proxy_Binding_Update_accepted",
    # the draft's §5.3.3 meaning in its dialect, the registry's in the other
    "ACCEPTED_NP_COA": "Accepted_but_prefix_discovery_necessary",
    "MCOA_NOT_COMPLETE": "MCOA_NOTCOMPLETE",
    "MCOA_RETURN_HOME_WITHOUT_NDP": "MCOA_RETURNHOME_WO_NDP",
    "REASON_UNSPECIFIED": "Reason_unspecified",
    "ADMINISTRATIVELY_PROHIBITED": "Administratively_prohibited",
    "INSUFFICIENT_RESOURCES": "Insufficient_resources",
    "HOME_REGISTRATION_NOT_SUPPORTED": "Home_registration_not_supported",
    "NOT_HOME_SUBNET": "Not_home_subnet",
    "NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE": "Not_home_agent_for_this_mobile_node",
    "DUPLICATE_ADDRESS_DETECTION_FAILED": "Duplicate_Address_Detection_failed",
    "SEQUENCE_NUMBER_OUT_OF_WINDOW": "Sequence_number_out_of_window",
    "EXPIRED_HOME_NONCE_INDEX": "Expired_home_nonce_index",
    "EXPIRED_CARE_OF_NONCE_INDEX": "Expired_care_of_nonce_index",
    "EXPIRED_NONCES": "Expired_nonces",
    "REGISTRATION_TYPE_CHANGE_DISALLOWED": "Registration_type_change_disallowed",
    "MOBILE_ROUTER_OPERATION_NOT_PERMITTED": "Mobile_Router_Operation_not_permitted",
    "INVALID_PREFIX": "Invalid_Prefix",
    "NOT_AUTHORIZED_FOR_PREFIX": "Not_Authorized_for_Prefix",
    "FORWARDING_SETUP_FAILED": "Forwarding_Setup_failed",
    "ID_MISMATCH": "MIPV6_ID_MISMATCH",
    "MESSAGE_ID_REQUIRED": "MIPV6_MESG_ID_REQD",
    "AUTHENTICATION_FAILED": "MIPV6_AUTH_FAIL",
    "MCOA_MALFORMED": "MCOA_MALFORMED",
    "MCOA_NON_MCOA_BINDING_EXISTS": "MCOA_NON_MCOA_BINDING_EXISTS",
    "MCOA_PROHIBITED": "MCOA_PROHIBITED",
    "MCOA_UNKNOWN_COA": "MCOA_UNKNOWN_COA",
    "MCOA_BULK_REGISTRATION_PROHIBITED": "MCOA_BULK_REGISTRATION_PROHIBITED",
    "MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED": (
        "MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED"
    ),
}
ERROR_NAMES = {
    "UNKNOWN_BINDING": "Unknown_binding_for_Home_Address_destination_option",
    "UNRECOGNIZED_MH_TYPE": "Unrecognized_MH_Type_value",
}
SUBTYPE_NAMES = {"MN_HA": "MN_HA", "MN_AAA": "MN_AAA"}
FLOW_STATUS_NAMES = {
    "ACCEPTED": "Flow_binding_successful",
    "ADMINISTRATIVELY_PROHIBITED": "Administratively_prohibited",
    "REASON_UNSPECIFIED": "Flow_binding_rejected_reason_unspecified",
    "MALFORMED": "Flow_identification_mobility_option_malformed",
    "BID_NOT_FOUND": "BID_not_found",
    "FID_NOT_FOUND": "FID_not_found",
    "SELECTOR_NOT_SUPPORTED": "Traffic_selector_format_not_supported",
}
IPV4_STATUS_NAMES = {
    "SUCCESS": "Success",
    "REASON_UNSPECIFIED": "Failure_reason_unspecified",
    "ADMINISTRATIVELY_PROHIBITED": "Administratively_prohibited",
    "INCORRECT_HOME_ADDRESS": "Incorrect_IPv4_home_address",
    "INVALID_ADDRESS": "Invalid_IPv4_address",
    "DYNAMIC_ASSIGNMENT_NOT_AVAILABLE": "Dynamic_IPv4_home_address_assignment_not_available",
    "PREFIX_ALLOCATION_UNAUTHORIZED": "Prefix_allocation_unauthorized",
}
TABLES = [
    pytest.param(MobilityHeaderType, MobilityHeader, MESSAGE_NAMES, id="messages"),
    pytest.param(OptionType, Option, OPTION_NAMES, id="options"),
    pytest.param(BindingStatus, StatusCode, STATUS_NAMES, id="statuses"),
    pytest.param(BindingErrorStatus, BindingError, ERROR_NAMES, id="errors"),
    pytest.param(AuthenticationSubtype, AuthSubtype, SUBTYPE_NAMES, id="subtypes"),
    pytest.param(FlowStatus, FlowIDStatus, FLOW_STATUS_NAMES, id="flow-statuses"),
    pytest.param(IPv4Status, DSMIPv6HomeAddress, IPV4_STATUS_NAMES, id="ipv4-statuses"),
]


@pytest.mark.parametrize(("ours", "registry", "names"), TABLES)
def test_each_number_of_ours_means_the_same_in_the_registry(ours, registry, names):
    assert {member.name: registry(member.value).name for member in ours} == names


@pytest.mark.parametrize(
    ("ours", "registry", "numbers"),
    [
        (MobilityHeaderType, MobilityHeader, range(8)),  # RFC 6275
        (OptionType, Option, (*range(7), 9, 10)),  # RFC 6275, RFC 3963, RFC 4285
        (OptionType, Option, (29, 30)),  # RFC 5555: not NAT Detection, not IPv4 Care-of Address
        (OptionType, Option, (35, 44, 45)),  # RFC 5648, RFC 6089
        (BindingStatus, StatusCode, (0, 1, *range(128, 147))),  # RFC 6275, RFC 3963, RFC 4285
        (BindingStatus, StatusCode, (4, 5, *range(164, 170))),  # RFC 5648
        (BindingErrorStatus, BindingError, tuple(BindingError)),
        (AuthenticationSubtype, AuthSubtype, tuple(AuthSubtype)),
        (FlowStatus, FlowIDStatus, (0, *range(128, 134))),  # RFC 6089
        (IPv4Status, DSMIPv6HomeAddress, (0, *range(128, 134))),  # RFC 5555
    ],
)
def test_each_number_of_the_documents_is_one_of_ours(ours, registry, numbers):
    assert not any("Unassigned" in registry(number).name for number in numbers)
    assert set(map(int, numbers)) <= set(map(int, ours))


def test_coainfo_has_a_type_that_nobody_else_has():
    assert Option(DEFAULT_COAINFO_TYPE).name.startswith("Unassigned")


def test_flow_bindings_parts():
    assert FlowIDSuboption(flow_codec._BID_REFERENCE).name == "BID_Reference"
    assert FlowIDSuboption(flow_codec._TRAFFIC_SELECTOR).name == "Traffic_Selector"
    assert TrafficSelector(IPV6_BINARY).name == "IPv6_Binary_Traffic_Selector"


# --- flags ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("acknowledge", BindingUpdateFlag.A),
        ("home_registration", BindingUpdateFlag.H),
        ("link_local_compatible", BindingUpdateFlag.L),
        ("key_management", BindingUpdateFlag.K),
        ("mobile_router", BindingUpdateFlag.R),
        # RFC 5648 §4.2 did not register its O, so that RFC 6602 was given the same bit for B
        ("overwrite", BindingUpdateFlag.B),
    ],
)
def test_a_flag_of_a_binding_update_is_at_the_registrys_bit(name, flag):
    message = BindingUpdate(0, 0, **{name: True})
    data = serialize_packet(Packet(COA, HOME_AGENT, message), RFC5648)
    assert int.from_bytes(data[48:50], "big") == flag


@pytest.mark.parametrize(
    ("name", "flag"), [("key_management", BindingACKFlag.K), ("mobile_router", BindingACKFlag.R)]
)
def test_a_flag_of_a_binding_acknowledgement_is_at_the_registrys_bit(name, flag):
    message = BindingAcknowledgement(0, 0, 0, **{name: True})
    data = serialize_packet(Packet(HOME_AGENT, COA, message), RFC5648)
    assert data[47] == flag


# --- around the Mobility Header -------------------------------------------------------------


def test_protocol_numbers():
    assert TransType(checksum.MOBILITY_HEADER).name == "Mobility_Header"
    assert TransType(home_discovery.ICMPV6).name == "IPv6_ICMP"
    assert TransType(message_codec.IPPROTO_NONE).name == "IPv6_NoNxt"


def test_extension_headers():
    message = BindingUpdate(0, 0)
    packet = Packet(COA, HOME_AGENT, message, home_address=HOME, routing_home_address=HOME)
    data = serialize_packet(packet, RFC5648)
    assert data[6] == TransType.IPv6_Route
    assert data[42] == Routing.Type_2_Routing_Header
    assert data[40] == TransType.IPv6_Opts
    assert data[64 + 6] == DestinationOption.Home_Address


def test_icmpv6_types():
    # pypcapkit has no registry of them; scapy has IANA's names
    assert {each.value: icmp6types[each] for each in home_discovery.DiscoveryType} == {
        144: "Home Agent Address Discovery Request Message",
        145: "Home Agent Address Discovery Reply Message",
        146: "Mobile Prefix Solicitation",
        147: "Mobile Prefix Advertisement",
    }
