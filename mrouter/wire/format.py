"""Which layout of bytes a node speaks: one value, configured once, given to every codec."""

from __future__ import annotations

from dataclasses import dataclass

from mrouter.wire.constants import DEFAULT_COAINFO_TYPE, Dialect, OptionType

_TAKEN_TYPES = frozenset(OptionType) - {OptionType.BINDING_IDENTIFIER}


@dataclass(frozen=True, slots=True)
class WireFormat:
    """Say how the model is laid out in bytes (DESIGN decision 1).

    ``coainfo_type`` is the type of the draft's CoAINFO option, "TBD" in its §5.3.1; dialect
    rfc5648 does not use it. Raises ValueError for a type that another option already has.
    """

    dialect: Dialect = Dialect.DRAFT_01
    coainfo_type: int = DEFAULT_COAINFO_TYPE

    def __post_init__(self) -> None:
        if not 0 <= self.coainfo_type <= 255 or self.coainfo_type in _TAKEN_TYPES:
            raise ValueError(f"CoAINFO cannot have option type {self.coainfo_type}")

    @property
    def binding_option_type(self) -> int:
        """Return the type of the option that names a binding: CoAINFO or Binding Identifier."""
        if self.dialect is Dialect.DRAFT_01:
            return self.coainfo_type
        return OptionType.BINDING_IDENTIFIER
