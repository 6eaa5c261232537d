"""The wanted transformations into the kernel: only the difference, and nothing of others."""

from __future__ import annotations

import contextlib
import errno
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from mrouter.dataplane import xfrm_messages
from mrouter.dataplane.state import RouteOptimization
from mrouter.dataplane.transformations import (
    Direction,
    Header,
    Transformation,
    TransformationPolicy,
    Transformations,
)
from mrouter.errors import DataplaneError
from mrouter.netlink import RouteSocket

if TYPE_CHECKING:
    from mrouter.netlink import NetlinkFailure, RawMessage

#: Nobody's addresses, to try out what the kernel can.
_NOBODY = IPv6Address("fd6d:726f:7574:6572::1"), IPv6Address("fd6d:726f:7574:6572::2")
_WITHOUT = 'where there is none write route-optimization = "tunnel", at both ends'


class XfrmTables:
    """The kernel's XFRM states and policies, as far as they are ours.

    ``add`` comes before the rules that have packets use them, ``delete_stale`` after.
    """

    def __init__(self) -> None:
        """Know nothing yet of what the kernel holds."""
        self._socket: RouteSocket | None = None
        self._held: Transformations | None = None

    def close(self) -> None:
        """Close the socket; what stands in the kernel stays."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def forget(self) -> None:
        """Ask the kernel next time."""
        self._held = None

    def add(self, wanted: Transformations) -> None:
        """Add what is not there yet, states before the policies that ask for them.

        :raises DataplaneError: where the kernel has no XFRM or no ``mip6``, or somebody else's
            state or policy stands in the place of ours.
        """
        if self._held is None:
            self._held = self._dump()
        states = {state.key for state in self._held.states}
        self._transact(
            "add XFRM state",
            [
                xfrm_messages.make_state(state, replace=state.key in states)
                for state in wanted.states - self._held.states
            ],
        )
        policies = {policy.key for policy in self._held.policies}
        self._transact(
            "add XFRM policy",
            [
                xfrm_messages.make_policy(policy, replace=policy.key in policies)
                for policy in wanted.policies - self._held.policies
            ],
        )

    def delete_stale(self, wanted: Transformations) -> None:
        """Delete what is not in ``wanted``: policies first, which would miss their states.

        :raises DataplaneError: naming the operation.
        """
        held = self._held or Transformations()
        policies = {policy.key for policy in wanted.policies}
        self._transact(
            "delete XFRM policy",
            [
                xfrm_messages.make_policy_removal(policy)
                for policy in held.policies
                if policy.key not in policies
            ],
        )
        states = {state.key for state in wanted.states}
        self._transact(
            "delete XFRM state",
            [
                xfrm_messages.make_state_removal(state)
                for state in held.states
                if state.key not in states
            ],
        )
        self._held = wanted

    def try_out(self, example: Transformations) -> None:
        """Add ``example``, and delete it again.

        :raises DataplaneError: if the kernel refuses it.
        """
        try:
            self.add(example)
        finally:
            self._held = example
            with contextlib.suppress(DataplaneError):
                self.delete_stale(Transformations())

    def _dump(self) -> Transformations:
        dump = xfrm_messages.make_dump()
        try:
            channel = self._open()
            states = channel.dump_raw(dump, xfrm_messages.GET_STATES)
            policies = channel.dump_raw(dump, xfrm_messages.GET_POLICIES)
        except OSError:
            return Transformations()  # where there is no XFRM for us nothing of ours can be
        found_states = map(xfrm_messages.read_state, states)
        found_policies = map(xfrm_messages.read_policy, policies)
        return Transformations(
            frozenset(state for state in found_states if state is not None),
            frozenset(policy for policy in found_policies if policy is not None),
        )

    def _open(self) -> RouteSocket:
        if self._socket is None:
            self._socket = RouteSocket(xfrm_messages.NETLINK_XFRM)
        return self._socket

    def _transact(self, operation: str, messages: list[RawMessage]) -> None:
        if not messages:
            return
        try:
            answers = self._open().transact(messages)
        except OSError as error:
            raise DataplaneError(operation, str(error), _WITHOUT) from error
        for failure in answers:
            if failure is not None and not _is_gone(operation, failure):
                raise DataplaneError(operation, str(failure), _suggest(failure))


def require_mip6(optimization: RouteOptimization) -> None:
    """See that this kernel can do ``optimization``, by adding and deleting an example.

    :raises DataplaneError: where ``mip6`` is asked for and the kernel has none.
    """
    if optimization is RouteOptimization.TUNNEL:
        return
    example = Transformations(
        frozenset(Transformation(header, *_NOBODY, _NOBODY[0]) for header in Header),
        frozenset({TransformationPolicy(Direction.IN, Header.ROUTING, *_NOBODY)}),
    )
    tables = XfrmTables()
    try:
        tables.try_out(example)
    except DataplaneError as error:
        raise DataplaneError(
            'do route-optimization = "mip6"',
            f"this kernel has no mip6: {error.operation}: {error.detail}",
            f"it needs CONFIG_IPV6_MIP6, CONFIG_XFRM_USER and CONFIG_XFRM_SUB_POLICY; {_WITHOUT}",
        ) from error
    finally:
        tables.close()


def _is_gone(operation: str, failure: NetlinkFailure) -> bool:
    return operation.startswith("delete") and failure.errno in (errno.ESRCH, errno.ENOENT)


def _suggest(failure: NetlinkFailure) -> str:
    if failure.errno == errno.EPERM:
        return "CAP_NET_ADMIN is missing"
    if failure.errno == errno.EEXIST:
        return "somebody else's stands for the same addresses: see ip xfrm state, ip xfrm policy"
    return _WITHOUT
