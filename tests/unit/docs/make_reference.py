"""Write the references of policy and configuration files from the models that read them.

Run it as `python tests/unit/docs/make_reference.py` (`make reference`) after a change to a model:
a key's meaning and example are its field's, what it takes follows from its validators.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any

from accepted_values import describe_field, find_choices, find_models
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mrouter.config.home_agent_schema import (
    HomeAgentFile,
    HomeAgentTable,
    PeerTable,
    ServedTable,
)
from mrouter.config.quota import QuotaTable
from mrouter.config.schema import (
    ConfigFile,
    ControlTable,
    CorrespondentNodeFile,
    CorrespondentNodeTable,
    DataplaneTable,
    LinkTable,
    MetricsTable,
    MobileRouterFile,
    MobileRouterTable,
    OptimizingDataplaneTable,
)
from mrouter.config.security import AssociationTable
from mrouter.policy.expectations import ExpectFile, ExpectTable, PacketTable
from mrouter.policy.match_schema import MatchTable, SetTable, TimeTable
from mrouter.policy.schema import ActionTable, PolicyEntry, PolicyFile, TierTable

DOCS = Path(__file__).resolve().parents[3] / "docs"
_NEGATION = "not-"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, and the table of files whose keys stand below it.

    Without ``model`` it is the heading of those that follow.
    """

    title: str
    model: type[BaseModel] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """A file of docs/, and what is in it."""

    name: str
    title: str
    introduction: str
    sections: tuple[Section, ...]

    @property
    def path(self) -> Path:
        """Where it is."""
        return DOCS / self.name


POLICY = Reference(
    "policy-reference.md",
    "Policy files: reference",
    """Every key of a policy file and of a file of expectations. How they work together, and what
they are good for, is in the [guide](policies.md).""",
    (
        Section("Policy file"),
        Section("The file", PolicyFile),
        Section("[[policy]]", PolicyEntry),
        Section("match", MatchTable),
        Section("Action", ActionTable, "It stands in each `[[policy]]` and in `[default]`."),
        Section("tiers", TierTable),
        Section("[set.NAME]", SetTable),
        Section("[time]", TimeTable),
        Section("File of expectations"),
        Section("The expectations", ExpectFile, "For `mrouter policy test`."),
        Section("[[expect]]", ExpectTable),
        Section("The packet", PacketTable, "It stands in each `[[expect]]`."),
    ),
)
CONFIGURATION = Reference(
    "configuration-reference.md",
    "Configuration files: reference",
    """Every key of the configuration file of each role. A first file of each is in the
[README](../README.md#on-a-vehicle), policy files have [a reference of their
own](policy-reference.md).""",
    (
        Section("Every role"),
        Section("The file of every role", ConfigFile),
        Section("[dataplane]", DataplaneTable),
        Section("[metrics]", MetricsTable),
        Section("[control]", ControlTable),
        Section("security", AssociationTable),
        Section("Mobile router"),
        Section("The mobile router's file", MobileRouterFile),
        Section("[mobile-router]", MobileRouterTable),
        Section("[[link]]", LinkTable),
        Section("quota", QuotaTable, "Units are decimal: 1 GB is 1,000,000,000 bytes."),
        Section(
            "[dataplane] with route optimization",
            OptimizingDataplaneTable,
            "In the files of mobile router and correspondent node.",
        ),
        Section("Home agent"),
        Section("The home agent's file", HomeAgentFile),
        Section("[home-agent]", HomeAgentTable),
        Section("peers", PeerTable),
        Section("[[mobile-router]]", ServedTable),
        Section("Correspondent node"),
        Section("The correspondent node's file", CorrespondentNodeFile),
        Section("[correspondent-node]", CorrespondentNodeTable),
    ),
)
REFERENCES = (POLICY, CONFIGURATION)


def render_reference(reference: Reference) -> str:
    """Return the reference's text; raise ValueError at a key without a meaning or an example."""
    parts = [
        f"# {reference.title}\n",
        f"{reference.introduction}\n",
        "This file is made from the code: `make reference` writes it, and a test fails when it is "
        "out of date.",
        'Where a key takes "...; or a list", of a list one value is enough.\n'
        if reference is POLICY
        else "File names are relative to the file that they stand in.\n",
    ]
    links = _link_models(reference)
    parts += [_render_section(section, links) for section in reference.sections]
    return "\n".join(parts)


def list_own_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields by their keys, those of a table that ``model`` extends left out."""
    return {
        each.alias or name: each
        for name, each in model.model_fields.items()
        if name in model.__annotations__
    }


def list_anchors(titles: Sequence[str]) -> list[str]:
    """Return the anchors that GitHub gives to the headings of a document."""
    seen: Counter[str] = Counter()
    anchors = []
    for title in titles:
        kept = "".join(sign for sign in title.lower() if sign.isalnum() or sign in "- ")
        anchor = kept.replace(" ", "-")
        anchors.append(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return anchors


def _link_models(reference: Reference) -> dict[type[BaseModel], str]:
    """Return a link to the section of each model."""
    titles = [section.title for section in reference.sections]
    _, *anchors = list_anchors([reference.title, *titles])
    links = {}
    for section, anchor in zip(reference.sections, anchors, strict=True):
        if section.model is not None:
            title = f"`{section.title}`" if section.title.startswith("[") else section.title
            links[section.model] = f"[{title}](#{anchor})"
    return links


def _render_section(section: Section, links: dict[type[BaseModel], str]) -> str:
    if section.model is None:
        return f"## {section.title}\n"
    docstring = " ".join((section.model.__doc__ or "").replace("``", "`").split())
    rows = [_render_row(key, each, links) for key, each in list_own_fields(section.model).items()]
    return "\n".join(
        [
            f"### {section.title}\n",
            f"{docstring} {section.note}".strip() + "\n",
            "| key | takes | if left out | meaning |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _render_row(key: str, each: FieldInfo, links: dict[type[BaseModel], str]) -> str:
    meaning = each.description
    if not meaning:
        raise ValueError(f"{key} has no description")
    meaning += "".join(f" See {links[model]}." for model in find_models(each.annotation))
    if key.startswith(_NEGATION):
        takes = f"as `{key.removeprefix(_NEGATION)}`"
    else:
        if not each.examples:
            raise ValueError(f"{key} has no example")
        takes = f"{describe_field(each)}{_render_example(each.examples[0])}"
    cells = (f"`{key}`", takes, _render_default(each), meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _render_example(example: str) -> str:
    if " below it " in example or example.startswith(("a ", "an ")):
        return ""  # a table, which has a section of its own
    lines, _, otherwise = example.partition(", or ")
    shown = "".join(f"<br>`{line}`" for line in lines.split("\n"))
    return f"{shown}, or {otherwise.replace('[]', '`[]`')}" if otherwise else shown


def _render_default(each: FieldInfo) -> str:
    if each.is_required():
        return "must be there"
    value = each.get_default(call_default_factory=True)
    if describe_field(each) == "`true`":
        return ""  # what stands for its absence cannot be written
    choices = find_choices(each)
    if choices is not None:
        word = next((word for word, means in choices.choices.items() if means == value), None)
        return "" if word is None else f'`"{word}"`'
    return "" if value is None else _write(value)


def _write(value: Any) -> str:
    match value:
        case bool():
            return "`true`" if value else "`false`"
        case int() | float():
            return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
        case (host, port):
            return f'`"[{host}]:{port}"`'
        case str() | Path() | tzinfo():
            return f'`"{value}"`'
        case _:  # a table or list with nothing in it
            return ""


if __name__ == "__main__":
    DOCS.mkdir(exist_ok=True)
    for each in REFERENCES:
        each.path.write_text(render_reference(each), encoding="utf-8")
