"""The JSON Schema of policy files, for editors, from the models that read them."""

from __future__ import annotations

from typing import Any

import tomli
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from mrouter.policy.domains import parse_domain
from mrouter.policy.load import ACTIONS, TIER_ACTIONS
from mrouter.policy.match_schema import parse_prefix_or_set
from mrouter.policy.schema import ActionTable, PolicyEntry, PolicyFile, TierTable
from mrouter.policy.size_values import parse_flow_sizes, parse_packet_sizes
from mrouter.policy.values import (
    CODE_POINTS,
    ICMPV6_TYPES,
    PROTOCOLS,
    parse_code_point,
    parse_icmpv6_type,
    parse_mac,
    parse_ports,
    parse_protocol,
    parse_rate,
)
from mrouter.policy.week import DAYS
from mrouter.policy.week_values import parse_time, parse_weekdays, parse_zone
from mrouter.toml_model import (
    OneOf,
    Within,
    as_list,
    parse_any_prefix,
    refuse_empty,
    refuse_repeats,
)

_TITLE = "mrouter policy file"
_PREFIX = "[0-9A-Fa-f:.]+(/[0-9]{1,3})?"
_SIZE = "[0-9]+(\\.[0-9]+)? ?([kKMGT]?B)?"
_CLOCK = "([01]?[0-9]|2[0-3]):[0-5][0-9]"
_DAY = "|".join("".join(f"[{c}{c.upper()}]" for c in day) for day in DAYS)
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _named_number(names: dict[str, int], highest: int) -> JsonSchemaValue:
    # the list is for completion; a name may be in capitals as well
    anyhow = "|".join("".join(f"[{c}{c.upper()}]" for c in name) for name in names)
    return {
        "anyOf": [
            {"enum": list(names)},
            {"type": "string", "pattern": f"^({anyhow})$"},
            {"type": "integer", "minimum": 0, "maximum": highest},
        ]
    }


#: What is accepted by the validators that take a value of any type.
_ACCEPTED: dict[Any, JsonSchemaValue] = {
    parse_protocol: _named_number(PROTOCOLS, 255),
    parse_code_point: _named_number(CODE_POINTS, 63),
    parse_icmpv6_type: _named_number(ICMPV6_TYPES, 255),
    parse_mac: {"type": "string", "pattern": "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"},
    parse_ports: {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 65535},
            {"type": "string", "pattern": "^\\s*[0-9]+\\s*(-\\s*[0-9]+\\s*)?$"},
        ]
    },
    parse_rate: {"type": "string", "pattern": "^\\s*[0-9]+(\\.[0-9]+)?\\s*[kMG]bit/s\\s*$"},
    parse_time: {"type": "string", "pattern": f"^\\s*{_CLOCK}\\s*-\\s*({_CLOCK}|24:00)\\s*$"},
    parse_weekdays: {"type": "string", "pattern": f"^\\s*({_DAY})\\s*(-\\s*({_DAY})\\s*)?$"},
    parse_packet_sizes: {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 65535},
            {"type": "string", "pattern": "^\\s*[0-9]+\\s*(-\\s*([0-9]+\\s*)?)?$"},
        ]
    },
    parse_flow_sizes: {"type": "string", "pattern": f"^\\s*{_SIZE}\\s*-\\s*({_SIZE}\\s*)?$"},
    parse_domain: {"type": "string", "pattern": "^(\\*\\.)?[A-Za-z0-9_][A-Za-z0-9_.-]*$"},
    # what zones there are is the machine's knowledge
    parse_zone: {"type": "string"},
    parse_any_prefix: {"type": "string", "pattern": f"^{_PREFIX}$"},
    parse_prefix_or_set: {"type": "string", "pattern": f"^(@.+|{_PREFIX})$"},
}
#: What else is asked of a list.
_OF_LISTS: dict[Any, JsonSchemaValue] = {
    refuse_empty: {"minItems": 1},
    refuse_repeats: {"uniqueItems": True},
}
#: Tables of which exactly one of several keys must be there.
_ALTERNATIVES = {ActionTable: ACTIONS, PolicyEntry: ACTIONS, TierTable: TIER_ACTIONS}


def make_policy_schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy file.

    What it refuses `mrouter policy check` refuses too; not the other way round: it does not know
    links, nor which ports overlap.
    """
    schema = PolicyFile.model_json_schema(schema_generator=_Generator)
    for table in (schema, *schema["$defs"].values()):
        _write_for_editors(table)
    return {"$schema": _DIALECT, **schema, "title": _TITLE}


def _write_for_editors(table: JsonSchemaValue) -> None:
    """Make values of a table's examples, which are lines of a file, and Markdown of its meaning."""
    table["description"] = table["description"].replace("``", "`")
    for key, field in table["properties"].items():
        lines = field.pop("examples", [""])[0]
        try:
            field["examples"] = [tomli.loads(lines)[key]]
        except (tomli.TOMLDecodeError, KeyError):
            continue  # it tells in words what to write


class _Generator(GenerateJsonSchema):
    """Knows what our own validators accept, and that TOML has no null."""

    def function_plain_schema(self, schema: Any) -> JsonSchemaValue:
        validator = schema["function"]["function"]
        if isinstance(validator, OneOf):
            return {"enum": list(validator.choices)}
        return dict(_ACCEPTED[validator])

    def function_before_schema(self, schema: Any) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if schema["function"]["function"] is as_list:
            return {"anyOf": [inner["items"], inner]}
        return inner

    def function_after_schema(self, schema: Any) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        validator = schema["function"]["function"]
        if isinstance(validator, Within):
            return {**inner, "minimum": validator.lowest, "maximum": validator.highest}
        return _tighten(inner, _OF_LISTS.get(validator, {}))

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # it is the key once more

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        # a default says what is meant where the key is absent; few of ours could be written
        return self.generate_inner(schema["schema"])

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().model_schema(schema)
        keys = _ALTERNATIVES.get(schema["cls"])
        return {**made, "oneOf": [{"required": [key]} for key in keys]} if keys else made


def _tighten(schema: JsonSchemaValue, keywords: JsonSchemaValue) -> JsonSchemaValue:
    """Add ``keywords`` to a list's ``schema``, or to the list among its forms."""
    if "anyOf" in schema:
        return {"anyOf": [_tighten(form, keywords) for form in schema["anyOf"]]}
    return {**schema, **keywords} if schema.get("type") == "array" else schema
