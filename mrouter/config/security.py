"""The ``security`` of a configuration file: associations with their keys, or none with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from mrouter.config.keys import read_key
from mrouter.protocol.settings import Algorithm, SecurityAssociation
from mrouter.toml_model import StrictModel, as_list, expect_text, one_of, refuse_repeats
from mrouter.toml_source import MistakeError, show

#: In so many words: nobody can switch authentication off without saying why it is safe.
_IPSEC_PROTECTS = "unauthenticated-because-ipsec-protects"
_SHA1_SPI = 3
#: Smaller SPIs are reserved (RFC 4285 §5.1); HMAC-SHA-1 has one of them (§8).
_FIRST_FREE_SPI = 256
_LAST_SPI = 0xFFFF_FFFF

ALGORITHMS = {algorithm.value: algorithm for algorithm in Algorithm}


def _check_spi(spi: int) -> int:
    if spi != _SHA1_SPI and not _FIRST_FREE_SPI <= spi <= _LAST_SPI:
        message = f"an SPI is {_SHA1_SPI}, or from {_FIRST_FREE_SPI} to {_LAST_SPI}"
        raise MistakeError(f"{message}, this is {show(spi)}", f"write {_FIRST_FREE_SPI}")
    return spi


def _read_key(value: Any, info: ValidationInfo) -> bytes:
    return read_key(info.context["directory"] if info.context else Path(), expect_text(value))


class AssociationTable(StrictModel):
    """``security``: a key that a mobile router and its home agent share."""

    spi: Annotated[int, AfterValidator(_check_spi)] = Field(
        description="Which key it is; both ends must say the same.", examples=["spi = 256"]
    )
    algorithm: Annotated[Algorithm, PlainValidator(one_of(ALGORITHMS))] = Field(
        description="What authenticates messages; SPI 3 stands for `hmac-sha1`, and no other does.",
        examples=['algorithm = "hmac-sha256"'],
    )
    key_file: Annotated[bytes, PlainValidator(_read_key)] = Field(
        repr=False,
        description="The file with the key in hexadecimal, which nobody but its owner can read.",
        examples=['key-file = "ha.key"'],
    )

    @field_validator("algorithm")
    @classmethod
    def _match_spi(cls, algorithm: Algorithm, info: ValidationInfo) -> Algorithm:
        spi = info.data.get("spi")
        if spi == _SHA1_SPI and algorithm is not Algorithm.HMAC_SHA1:
            message = f"SPI {_SHA1_SPI} means hmac-sha1 (RFC 4285 §8)"
            raise MistakeError(message, f"write spi = {_FIRST_FREE_SPI}")
        if spi not in (None, _SHA1_SPI) and algorithm is Algorithm.HMAC_SHA1:
            message = f"hmac-sha1 stands at SPI {_SHA1_SPI} only (RFC 4285 §8)"
            raise MistakeError(message, 'write algorithm = "hmac-sha256"')
        return algorithm

    def to_association(self) -> SecurityAssociation:
        """Return the association as data."""
        return SecurityAssociation(self.spi, self.algorithm, self.key_file)


def _unwrap(value: Any) -> Any:
    """Make a list of whatever form ``security`` has; an empty one where IPsec protects."""
    if value == []:
        raise MistakeError("the list is empty", f"or write {{ {_IPSEC_PROTECTS} = true }}")
    if not isinstance(value, dict):
        return as_list(value)
    if "ipsec" in value:
        raise MistakeError("unknown key", f"write {_IPSEC_PROTECTS} = true", ("ipsec",))
    if _IPSEC_PROTECTS not in value:
        return [value]
    if value[_IPSEC_PROTECTS] is not True:
        raise MistakeError("can only be true", "leave the key out", (_IPSEC_PROTECTS,))
    if len(value) > 1:
        message = "excludes spi, algorithm and key-file"
        raise MistakeError(message, "keep either", (_IPSEC_PROTECTS,))
    return []


def _refuse_repeated_spi(associations: list[AssociationTable]) -> list[AssociationTable]:
    refuse_repeats([f"SPI {association.spi}" for association in associations])
    return associations


def _refuse_second(associations: list[AssociationTable]) -> list[AssociationTable]:
    if len(associations) > 1:
        raise MistakeError("a mobile router has one association with its home agent", at=(1,))
    return associations


#: Empty where the file says that IPsec protects the signalling.
Associations = Annotated[
    list[AssociationTable], BeforeValidator(_unwrap), AfterValidator(_refuse_repeated_spi)
]
OneAssociation = Annotated[Associations, AfterValidator(_refuse_second)]
