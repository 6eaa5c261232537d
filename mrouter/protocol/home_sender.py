"""What the Binding Updates to the home agent have in common: numbers, times, flags and flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.flow_push import FlowPusher
from mrouter.protocol.ipv4_networks import IPv4Answers
from mrouter.protocol.keys import Timestamps
from mrouter.protocol.overwriting import Overwriting
from mrouter.protocol.send_rate import SendRate
from mrouter.protocol.update_list import SEQUENCES
from mrouter.protocol.updates import build_binding_update
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import find_option
from mrouter.wire.options import ReplayProtection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv6Address
    from random import Random

    from mrouter.protocol.events import Effect, EgressAddress, Instant, SendPacket
    from mrouter.protocol.settings import MobileRouterSettings
    from mrouter.protocol.update_list import Binding
    from mrouter.wire.messages import BindingAcknowledgement
    from mrouter.wire.options import MobilityOption


class HomeSender:
    """Makes one binding's Binding Update after the other; ``kept`` are those of a former run.

    "The sequence number value MUST be shared among all the Binding Update List entries related to
    Binding Updates sent to a particular home agent" (RFC 5648 §4.1). ``flows`` and ``ipv4`` are
    what the home agent is asked for.
    """

    def __init__(
        self, settings: MobileRouterSettings, random: Random, kept: Sequence[Binding]
    ) -> None:
        self._settings = settings
        sequences = [binding.sequence for binding in kept]
        self._sequence = sequences[0] if sequences else random.randrange(SEQUENCES)
        for sequence in sequences:
            self._follow_sequence(sequence)
        self._overwriting = Overwriting(wanted=settings.follow_rfc5648 and not kept)
        self._stamping = settings.security is not None
        self._stamps = Timestamps()
        self._rates: dict[IPv6Address, SendRate] = {}  # by care-of address
        self.flows = FlowPusher()
        self.ipv4 = IPv4Answers(settings.ipv4_prefixes)

    def forget_idle(self, now: float) -> None:
        """Forget the care-of addresses that nothing has been sent about lately."""
        self._rates = {at: rate for at, rate in self._rates.items() if not rate.is_idle(now)}

    def order(self, bindings: Sequence[Binding]) -> Sequence[Binding]:
        """Return ``bindings`` in the order in which they may send."""
        return self._overwriting.order(bindings)

    def find_time(self, binding: Binding, bindings: Sequence[Binding], now: float) -> float:
        """Return when ``binding`` may send: ``now`` or later."""
        return max(
            self._find_rate(binding).find_time(now),
            self._overwriting.find_time(binding, bindings, now),
        )

    def send(
        self,
        binding: Binding,
        source: EgressAddress,
        lifetime: int,
        now: Instant,
        *,
        others_stay: bool = True,
    ) -> SendPacket:
        """Send a Binding Update with the next sequence number and a timestamp above the last.

        ``others_stay``: not all bindings end, so that flow bindings go on.
        """
        self._sequence = (self._sequence + 1) % SEQUENCES
        binding.sequence = self._sequence
        if self._stamping:
            binding.timestamp = self._stamps.take_next(now.unix)
        flows: list[MobilityOption] = []
        binding.flow_request = None
        if lifetime and not binding.plain:
            flows, binding.flow_request = self.flows.build()
        elif not binding.plain and others_stay:
            flows = self.flows.list_kept()
        overwrite = self._overwriting.mark(binding, lifetime)
        self._find_rate(binding).book(now.monotonic)
        binding.mark_sent(now.monotonic, source.address, lifetime)
        return build_binding_update(
            self._settings, binding, source, lifetime, flows, overwrite=overwrite
        )

    def take_acceptance(
        self,
        binding: Binding,
        bindings: Sequence[Binding],
        acknowledgement: BindingAcknowledgement,
        now: float,
        *,
        fresh: bool,
    ) -> list[Effect]:
        """Draw what follows of ``binding``'s acceptance; ``fresh``: it was not usable before."""
        self._overwriting.take_acceptance(binding, bindings, now)
        if fresh:
            self.flows.retry_refused()
        binding.ipv4_prefixes, effects = self.ipv4.take(acknowledgement.options)
        return effects + self.flows.take_answer(binding.flow_request, acknowledgement)

    def correct(
        self, binding: Binding, acknowledgement: BindingAcknowledgement, unix: float
    ) -> None:
        """Put right what the home agent complains of.

        135: the sequence number goes on from the one in the answer (RFC 6275 §11.7.3).
        144: the answer tells the home agent's clock (RFC 4285 §6).
        145: from now on there is a timestamp.
        165: a binding without a BID stands there: "The mobile node MUST set 'O' flag" (RFC 5648
        §5.7).
        """
        status = acknowledgement.status
        if status == BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW:
            self._follow_sequence(acknowledgement.sequence)
        elif status == BindingStatus.MCOA_NON_MCOA_BINDING_EXISTS:
            self._overwriting.wanted = True
        elif status == BindingStatus.MESSAGE_ID_REQUIRED:
            self._stamping = True
        else:
            replay = find_option(acknowledgement, ReplayProtection)
            if replay is not None:
                self._stamps.follow(replay.timestamp, unix, again=binding.corrections > 0)

    def _find_rate(self, binding: Binding) -> SendRate:
        return self._rates.setdefault(binding.egress.address, SendRate())

    def _follow_sequence(self, sequence: int) -> None:
        """Go on from ``sequence``, unless ours is beyond it by now."""
        if (sequence - self._sequence) % SEQUENCES <= SEQUENCES // 2:
            self._sequence = sequence
