"""docs/conformance.md and the lists that it is made from."""

import ast
import re
from collections import Counter

import pytest
from table import (
    DOCUMENTS,
    LEVELS,
    OUTCOMES,
    REPOSITORY,
    ROLES,
    TABLE,
    TESTS,
    find_tests,
    load_document,
    load_documents,
    load_robustness,
    render_table,
)

NAMED = {test for document in load_documents() for e in document.requirements for test in e.tests}
EXCUSED = {test for group in load_robustness() for test in group.tests}
FILES = sorted(path.name for path in (TESTS / "conformance").glob("test_*.py"))
DEVIATION = re.compile(
    r"Deviates\s+from\s+(the\s+draft|RFC\s+\d+)\s+(§[\d.]*\d(?:(?:,|\s+and)\s+§[\d.]*\d)*)"
)


@pytest.mark.parametrize("test", sorted(NAMED | EXCUSED))
def test_named_test_is_there(test):
    file, _, name = test.partition("::")
    assert (TESTS / file).is_file(), f"there is no tests/{file}"
    if name:
        assert name in find_tests(file), f"there is no {name} in tests/{file}"


@pytest.mark.parametrize("file", FILES)
def test_every_conformance_test_holds_a_requirement(file):
    path = f"conformance/{file}"
    tests = {f"{path}::{name}" for name in find_tests(path)}
    left = sorted(tests - NAMED - EXCUSED) if path not in NAMED | EXCUSED else []
    assert left == [], "no entry of requirements/*.toml names them"


@pytest.mark.parametrize("document", load_documents(), ids=DOCUMENTS)
def test_entries_are_complete(document):
    for entry in document.requirements:
        assert entry.outcome in OUTCOMES
        assert entry.level in LEVELS
        assert entry.who in ROLES
        assert re.fullmatch(r"(\d+\.)*\d+", entry.section)
        assert len(set(entry.tests)) == len(entry.tests)


@pytest.mark.parametrize("document", load_documents(), ids=DOCUMENTS)
def test_no_requirement_is_listed_twice(document):
    counted = Counter((entry.section, entry.text) for entry in document.requirements)
    assert [entry for entry, count in counted.items() if count > 1] == []


@pytest.mark.parametrize("document", load_documents(), ids=DOCUMENTS)
def test_sections_stand_in_the_documents_order(document):
    sections = [[int(part) for part in e.section.split(".")] for e in document.requirements]
    assert sections == sorted(sections)


@pytest.mark.parametrize("document", load_documents(), ids=DOCUMENTS)
def test_what_is_said_twice_is_listed_where_it_was_said_first(document):
    sections = {entry.section for entry in document.requirements if not entry.repeats}
    assert {entry.repeats for entry in document.requirements if entry.repeats} <= sections


#: Occurrences of RFC 2119's words in capitals in the whole of each document.
KEYWORDS = {
    "draft-01": 68,
    "rfc3963": 77,
    "rfc4285": 33,
    "rfc5648": 105,
    "rfc6089": 79,
    "rfc6088": 24,
}


@pytest.mark.parametrize("name", KEYWORDS)
def test_every_keyword_of_a_document_is_accounted_for(name):
    document = load_document(name)
    assert sum(document.keywords.values()) == KEYWORDS[name]
    counted = Counter(entry.section for entry in document.requirements)
    short = {
        section: (occurrences, counted[section])
        for section, occurrences in document.keywords.items()
        if counted[section] < occurrences
    }
    assert short == {}


def list_deviations():
    """Return (document, section, file) of each `Deviates from` in the package."""
    found = set()
    for path in sorted((REPOSITORY / "mrouter").rglob("*.py")):
        text = re.sub(r"(?m)^\s*#", "", path.read_text())
        for document, sections in DEVIATION.findall(text):
            name = "draft-01" if "draft" in document else "rfc" + document.split()[-1]
            for section in re.findall(r"[\d.]*\d", sections):
                found.add((name, section, path.name))
    return sorted(found)


@pytest.mark.parametrize(("name", "section", "_file"), list_deviations())
def test_deviation_in_the_code_is_in_the_table(name, section, _file):
    assert name in DOCUMENTS
    listed = {entry.section for entry in load_document(name).requirements if entry.deviates}
    assert section in listed


def test_every_deviation_comment_is_understood():
    spelled = re.compile(r"Deviates\s+from")
    texts = [path.read_text() for path in (REPOSITORY / "mrouter").rglob("*.py")]
    texts = [re.sub(r"(?m)^\s*#", "", text) for text in texts]
    assert [len(spelled.findall(text)) for text in texts] == [
        len(DEVIATION.findall(text)) for text in texts
    ]


def test_docs_conformance_md_is_what_the_lists_make():
    assert TABLE.read_text() == render_table(load_documents()), "run `make conformance`"


def test_names_are_found_without_importing_the_tests():
    found = find_tests("conformance/test_conformance_table.py")
    tree = ast.parse((TESTS / "conformance" / "test_conformance_table.py").read_text())
    assert "test_named_test_is_there" in found
    assert "list_deviations" not in found
    assert len(found) == sum(
        isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in tree.body
    )
