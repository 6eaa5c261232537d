"""Have running flows classified again that an earlier policy may match by now.

Their connection marks lose our bits, so their next packet is looked at like a first one. A flow
that no policy takes from its own gets its verdict back.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING

from mrouter.agent.conntrack import ConnectionTable
from mrouter.agent.flows import read_flows
from mrouter.agent.journal import note
from mrouter.policy.difference import read_tracked_flow
from mrouter.policy.overtaking import Overtaking

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from mrouter.dataplane.family import Family
    from mrouter.policy.model import Address, PolicyTable


def forget_overtaken(
    families: Iterable[Family],
    table: PolicyTable,
    names: Mapping[int, str],
    overtakers: Collection[str],
) -> None:
    """Take their verdicts from the flows of later policies that ``overtakers`` may match.

    Of ``families``, in which there are tables of ours: other flows' marks are not. ``table`` is
    what is in force, ``names`` are its policies' by their numbers in connection marks. Blocking. A
    kernel that refuses costs no more than that the flows stay with their policies.
    """
    overtaking = Overtaking(table, overtakers)
    asked = {number: name for number, name in names.items() if name in overtaking.overtaken}
    try:
        with closing(ConnectionTable()) as tracked:
            for family in families:
                found = tracked.list_flows(family)
                tracked.forget_verdicts(_find_overtaken(found, overtaking, asked))
    except OSError as error:
        note("flows-not-moved", logging.WARNING, error=str(error))


def forget_flows_with(far: Iterable[Address], names: Mapping[int, str]) -> None:
    """Take their verdicts from the flows that one of the addresses ``far`` is an end of.

    Those of the policies in ``names``, by their numbers in connection marks. Blocking, briefly: the
    kernel hands out no other flows.
    """
    if not names:
        return
    try:
        with closing(ConnectionTable()) as tracked:
            for address in far:
                found = tracked.list_flows_with(address)
                tracked.forget_verdicts(each for each in found if _has_end(each, address, names))
    except OSError as error:
        note("flows-not-moved", logging.WARNING, error=str(error))


def _has_end(message: bytes, address: Address, names: Mapping[int, str]) -> bool:
    # kernels before 5.8 hand out all flows
    return any(
        str(address) in (row["source"], row["destination"])
        for row in read_flows([message], names, {})
    )


def _find_overtaken(
    messages: Iterable[bytes], overtaking: Overtaking, names: Mapping[int, str]
) -> Iterator[bytes]:
    for message in messages:
        for row in read_flows([message], names, {}):
            tracked = read_tracked_flow(row)
            if overtaking.concerns(tracked.flow, tracked.policy):
                yield message
