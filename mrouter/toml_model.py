"""What the pydantic models of configuration and policy files share: strictness, plain English."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)

from mrouter.errors import Problem
from mrouter.toml_source import KeyPath, MistakeError, TomlSource, format_key, show, suggest

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)
Network = TypeVar("Network", IPv4Network, IPv6Network, IPv4Network | IPv6Network)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_IPV4_PREFIX = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?")
_INTERFACE = re.compile(r"[^\s/:\x00-\x1f\x7f]{1,15}")
#: How pydantic says that a key is wrong, not its value.
_KEY_ITSELF = ("[key]",)
_PLAIN_ENGLISH = {
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "model_type": "must be a table",
    "dict_type": "must be a table",
}


class StrictModel(BaseModel):
    """A table of a file: kebab-case keys, no key that is not known, no conversion of types.

    A field's one example is what to write if it is missing.
    """

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.replace("_", "-"),
        hide_input_in_errors=True,
    )


def validate(
    model: type[Model], source: TomlSource, context: Mapping[str, Any] | None = None
) -> tuple[Model | None, list[Problem]]:
    """Check ``source`` against ``model``; return the model, or None and every problem."""
    try:
        return model.model_validate(source.data, context=context), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    return None, [_describe(model, source, detail) for detail in details]


def find_repeats(
    source: TomlSource, tables: str, key: str, parse: Callable[[Any], Hashable] | None = None
) -> Iterator[Problem]:
    """Yield a problem for each of the ``tables`` whose ``key`` has the value of an earlier one.

    ``parse`` makes values comparable that can be written in several ways; what it refuses with
    `MistakeError` is passed over, as is whatever is not of the right form.
    """
    first_at: dict[Hashable, KeyPath] = {}
    for path, value in iter_values(source, tables, key):
        if not isinstance(value, str | int):
            continue
        try:
            comparable = parse(value) if parse else value
        except MistakeError:
            continue
        if comparable in first_at:
            line = source.line_of(first_at[comparable])
            message = f"{show(value)} stands in line {line} already"
            yield source.problem(path, message, f"give each {tables} its own {key}")
        else:
            first_at[comparable] = path


def iter_tables(source: TomlSource, name: str) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Yield each [[name]] with its path; passes over whatever is not of the right form."""
    tables = source.data.get(name)
    for index, table in enumerate(tables if isinstance(tables, list) else []):
        if isinstance(table, dict):
            yield (name, index), table


def iter_values(source: TomlSource, tables: str, key: str) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the value of ``key`` in each of the ``tables`` that has it; of a list, each item."""
    for path, table in iter_tables(source, tables):
        value = table.get(key)
        if isinstance(value, list):
            yield from (((*path, key, index), item) for index, item in enumerate(value))
        elif value is not None:
            yield (*path, key), value


def _describe(model: type[BaseModel], source: TomlSource, detail: Mapping[str, Any]) -> Problem:
    path: KeyPath = detail["loc"]
    if path[-1:] == _KEY_ITSELF:
        path = path[:-1]
    kind: str = detail["type"]
    message: str
    suggestion = ""
    mistake = detail.get("ctx", {}).get("error")
    if isinstance(mistake, MistakeError):
        path += mistake.at
        message, suggestion = mistake.message, mistake.suggestion
    elif kind == "missing":
        message = "is missing"
        field = _fields_around(model, path).get(str(path[-1]))
        suggestion = f"write {field.examples[0]}" if field and field.examples else ""
    elif kind == "extra_forbidden":
        message = "unknown key"
        suggestion = suggest(str(path[-1]), list(_fields_around(model, path)))
    elif kind == "list_type":
        # A list of anything else may be written as a single value, so it is never refused.
        message = "must be a list of tables"
        suggestion = f"write [[{format_key(path)}]], with two brackets"
    else:
        message = _PLAIN_ENGLISH.get(kind, str(detail["msg"]))
    return source.problem(path, message, suggestion)


def _fields_around(model: type[BaseModel], path: KeyPath) -> dict[str, Any]:
    """Return the fields, by their name in the file, of the table that holds ``path``'s end."""
    fields: dict[str, Any] = _fields_of(model)
    chosen_next = False  # the next step is a name of the writer's choice, as in [set.NAME]
    for step in path[:-1]:
        if isinstance(step, str) and not chosen_next:
            annotation = fields[step].annotation if step in fields else None
            nested = _find_model(annotation)
            fields = _fields_of(nested) if nested else {}
            chosen_next = get_origin(annotation) is dict
        else:
            chosen_next = False
    return fields


def _fields_of(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _find_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _find_model(part))), None)


def as_list(value: Any) -> Any:
    """Take a single value for a list of one."""
    return value if isinstance(value, list) else [value]


def refuse_empty(values: list[T]) -> list[T]:
    """Raise `MistakeError` if ``values`` is empty."""
    if not values:
        raise MistakeError("the list is empty", "name at least one, or leave the key out")
    return values


def refuse_repeats(values: list[T]) -> list[T]:
    """Raise `MistakeError` at the first value that stands in ``values`` twice."""
    if len(set(values)) == len(values):
        return values
    seen = set()
    for index, value in enumerate(values):
        if value in seen:
            raise MistakeError(f"{value} is given twice", "keep it once", (index,))
        seen.add(value)
    return values


def refuse_nested_prefixes(prefixes: list[Network]) -> list[Network]:
    """Raise `MistakeError` if one of ``prefixes`` lies within another."""
    for inner, outer in find_nested_prefixes(prefixes) if len(prefixes) > 1 else ():
        message = f"{prefixes[inner]} lies within {prefixes[outer]} of the same list"
        raise MistakeError(message, "leave it out", (inner,))
    return prefixes


def find_nested_prefixes(
    prefixes: Sequence[IPv4Network | IPv6Network],
) -> Iterator[tuple[int, int]]:
    """Yield the positions (inner, outer) of each prefix that lies within another, or equals it.

    Two prefixes that overlap are always nested. Takes one sort, so that 10,000 are no trouble.
    """

    def by_place(index: int) -> tuple[int, int, int, int]:
        prefix = prefixes[index]
        return prefix.version, int(prefix.network_address), prefix.prefixlen, index

    outer: int | None = None
    for inner in sorted(range(len(prefixes)), key=by_place):
        if outer is not None and prefixes[inner].overlaps(prefixes[outer]):
            yield inner, outer
        else:
            outer = inner


@dataclass(frozen=True)
class Within:
    """A check that a number is from ``lowest`` to ``highest``, both included."""

    lowest: int
    highest: int
    unit: str

    def __call__(self, value: float) -> float:
        """Return ``value`` if it is in bounds, else raise `MistakeError`."""
        if not self.lowest <= value <= self.highest:
            bounds = f"from {self.lowest} to {self.highest}{self.unit and ' '}{self.unit}"
            raise MistakeError(f"must be {bounds}, it is {show(value)}")
        return value


def within(lowest: int, highest: int, unit: str = "") -> Within:
    """Make a check that a number is from ``lowest`` to ``highest``, both included."""
    return Within(lowest, highest, unit)


@dataclass(frozen=True)
class OneOf(Generic[T]):
    """A reader of a word that is one of ``choices``; it returns what the word stands for."""

    choices: Mapping[str, T]

    def __call__(self, value: Any) -> T:
        """Return what the word ``value`` stands for, or raise `MistakeError`."""
        word = expect_text(value)
        if word not in self.choices:
            raise MistakeError(f"{show(word)} is not known", suggest(word, self.choices))
        return self.choices[word]


def one_of(choices: Mapping[str, T]) -> OneOf[T]:
    """Make a reader of a word that is one of ``choices``; it returns what the word stands for."""
    return OneOf(choices)


def check_known(word: str, known: Collection[str] | None, what: str) -> str:
    """Raise `MistakeError` if ``word`` is not in ``known``; None accepts every word."""
    if known is not None and word not in known:
        raise MistakeError(f"unknown {what} {show(word)}", suggest(word, known))
    return word


def expect_text(value: Any, what: str = "text") -> str:
    """Return ``value`` if it is text, else raise `MistakeError`."""
    if not isinstance(value, str):
        raise MistakeError(f"must be {what} in quotes")
    return value


def parse_address(value: Any) -> IPv6Address:
    """Read a unicast IPv6 address with more than link scope, or raise `MistakeError`."""
    text = _refuse_scope(expect_text(value, "an IPv6 address"))
    try:
        address = ip_address(text)
    except ValueError:
        suggestion = "leave the /length out" if "/" in text else ""
        raise MistakeError(f"{show(text)} is not an IPv6 address", suggestion) from None
    if not isinstance(address, IPv6Address):
        raise _refuse_ipv4(text)
    if address.is_multicast or address.is_link_local or address.is_loopback or not int(address):
        raise MistakeError(f"{address} is not a global or unique local unicast address")
    return address


def parse_prefix(value: Any) -> IPv6Network:
    """Read an IPv6 prefix, or an address for the /128, or raise `MistakeError`.

    Multicast and link-local prefixes are refused: a router never forwards either.
    """
    text = _refuse_scope(expect_text(value, "an IPv6 prefix"))
    try:
        network = IPv6Network(text)
    except ValueError:
        raise _explain_prefix(text) from None
    return _refuse_unforwarded(network)


def _explain_prefix(text: str) -> MistakeError:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return MistakeError(f"{show(text)} is not an IPv6 prefix", 'as in "2001:db8::/32"')
    if not isinstance(network, IPv6Network):
        return _refuse_ipv4(text)
    message = f"{show(text)} has bits set after the prefix length"
    return MistakeError(message, f'write "{network}"')


def parse_ipv4_prefix(value: Any) -> IPv4Network:
    """Read an IPv4 prefix, or an address for the /32, or raise `MistakeError`."""
    text = expect_text(value, "an IPv4 prefix")
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        network = None
    if network is None or not _IPV4_PREFIX.fullmatch(text):
        raise MistakeError(f"{show(text)} is not an IPv4 prefix", 'as in "192.0.2.0/24"')
    if network.network_address != IPv4Address(text.partition("/")[0]):
        message = f"{show(text)} has bits set after the prefix length"
        raise MistakeError(message, f'write "{network}"')
    return network


def parse_any_prefix(value: Any) -> IPv4Network | IPv6Network:
    """Read an IPv6 or IPv4 prefix, or an address for the longest, or raise `MistakeError`.

    Multicast and link-local prefixes are refused: a router never forwards either.
    """
    text = expect_text(value, "a prefix")
    if _IPV4_PREFIX.fullmatch(text):
        return _refuse_unforwarded(parse_ipv4_prefix(text))
    if ":" not in text:
        example = 'as in "2001:db8::/32" or "192.0.2.0/24"'
        raise MistakeError(f"{show(text)} is not a prefix", example)
    return parse_prefix(text)


def parse_any_address(value: Any) -> IPv4Address | IPv6Address:
    """Read a unicast address that a router forwards packets of, or raise `MistakeError`."""
    text = expect_text(value, "an address")
    try:
        address = ip_address(text)
    except ValueError:
        return parse_address(text)  # which says what is wrong
    if isinstance(address, IPv6Address):
        return parse_address(text)
    if address.is_multicast or address.is_link_local or address.is_loopback or not int(address):
        raise MistakeError(f"{address} is not a unicast address that is forwarded")
    return address


def _refuse_unforwarded(network: Network) -> Network:
    if network.is_multicast:
        raise MistakeError(f"{network} is multicast, which mrouter does not forward")
    if network.is_link_local:
        raise MistakeError(f"{network} is link-local, which no router forwards")
    return network


def _refuse_scope(text: str) -> str:
    if "%" in text:
        raise MistakeError(f"{show(text)} names an interface", "leave out % and what follows")
    return text


def _refuse_ipv4(text: str) -> MistakeError:
    return MistakeError(f"{show(text)} is IPv4; an IPv6 one is needed here")


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        cleaned = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.")[:64]
        message = f"{show(name)} is not a name: 1 to 64 letters, digits, dots, '-' and '_'"
        raise MistakeError(message, f'write "{cleaned}"' if cleaned else "")
    return name


def _check_interface(name: str) -> str:
    if not _INTERFACE.fullmatch(name) or name in (".", ".."):
        message = f"{show(name)} is not an interface name"
        raise MistakeError(message, "1 to 15 characters, none of them a space, / or :")
    return name


def _text_like(pattern: re.Pattern[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern}$"})


Name = Annotated[str, AfterValidator(_check_name), _text_like(_NAME)]
InterfaceName = Annotated[str, AfterValidator(_check_interface), _text_like(_INTERFACE)]
Address = Annotated[IPv6Address, PlainValidator(parse_address)]
Prefix = Annotated[IPv6Network, PlainValidator(parse_prefix)]
AnyAddress = Annotated[IPv4Address | IPv6Address, PlainValidator(parse_any_address)]
PrefixList = Annotated[
    list[Prefix], BeforeValidator(as_list), AfterValidator(refuse_nested_prefixes)
]
AnyPrefixList = Annotated[
    list[Annotated[IPv4Network | IPv6Network, PlainValidator(parse_any_prefix)]],
    BeforeValidator(as_list),
    AfterValidator(refuse_nested_prefixes),
]
