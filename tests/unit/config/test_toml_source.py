from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.errors import FileError
from mrouter.toml_source import TomlSource, format_key, read_toml, show, suggest

DOCUMENT = '''\
# a comment with [brackets] and key = 1
title = """
several = 1
lines [x] ""quoted\\""""" # so many quotes
literal = \'\'\'
[not.a.table]
\'\'\'\'\'
ports = [ # opens
  1, [2,
  3], # 4,
  "a]b", {x = [
    5], y.z = 6 },
]

[ a . "b c" ]
'single' = 1979-05-27 07:32:00 # a date with a space in it
dotted . key = { inner = [ {deep = 1}, ] }
[[list]]
name = "one"
[[list.sub]]
[[list.sub]]
x = 1
[list.table]
y = 2
[[list]]
[[list.sub]]
z = 3
'''


def walk(value, path=()):
    children = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    for step, child in children:
        yield (*path, step)
        yield from walk(child, (*path, step))


def write(tmp_path, content):
    path = tmp_path / "f.toml"
    path.write_bytes(content)
    return path


def refusal(tmp_path, content):
    with pytest.raises(FileError) as caught:
        read_toml(write(tmp_path, content))
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("literal",), 5),
        (("ports",), 8),
        (("ports", 0), 9),
        (("ports", 1), 9),
        (("ports", 1, 0), 9),
        (("ports", 1, 1), 10),
        (("ports", 2), 11),
        (("ports", 3), 11),
        (("ports", 3, "x", 0), 12),
        (("ports", 3, "y", "z"), 12),
        (("a",), 15),
        (("a", "b c"), 15),
        (("a", "b c", "single"), 16),
        (("a", "b c", "dotted", "key", "inner", 0, "deep"), 17),
        (("list",), 18),
        (("list", 0), 18),
        (("list", 0, "name"), 19),
        (("list", 0, "sub", 0), 20),
        (("list", 0, "sub", 1), 21),
        (("list", 0, "sub", 1, "x"), 22),
        (("list", 0, "table", "y"), 24),
        (("list", 1), 25),
        (("list", 1, "sub", 0, "z"), 27),
    ],
)
def test_every_form_of_key_has_its_line(path, line):
    assert TomlSource("f.toml", DOCUMENT).lines()[path] == line


def test_the_document_has_no_line_for_what_is_not_in_it():
    source = TomlSource("f.toml", DOCUMENT)
    assert set(source.lines()) == set(walk(source.data))


def test_windows_line_ends_count_as_one():
    assert TomlSource("f.toml", "a = 1\r\n# c\r\nb = [\r\n1,\r\n]\r\n").line_of(("b", 0)) == 4


def test_a_missing_key_has_the_line_of_its_table():
    source = TomlSource("f.toml", "x = 1\n[t]\ny = 1\n")
    assert source.line_of(("t", "missing", 4)) == 2
    assert source.line_of(("missing",)) is None


def test_the_index_of_a_value_without_brackets_is_dropped_from_the_key():
    source = TomlSource("f.toml", "a = 1\nb = [\n2]")
    assert str(source.problem(("a", 0), "wrong")) == "f.toml:1: a: wrong"
    assert str(source.problem(("b", 0), "wrong")) == "f.toml:3: b[0]: wrong"


def test_a_key_is_safe_for_a_terminal():
    assert format_key(("policy", 3, "a b", "\x1b[2J")) == r'policy[3]."a b"."\u001b[2J"'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = 1\nb = lte\n", 'f.toml:2: not valid TOML: Invalid value, at column 5'
         ' (text needs quotes, as in "lte")'),
        (b"a = 1\na = 2\n", "f.toml:2: not valid TOML: Cannot overwrite a value, at column 6"
         " (the same key stands twice in this table)"),
        (b"a = [1,\n2", "f.toml:2: not valid TOML: Unclosed array, at the end of file"),
        (b"\xef\xbb\xbfa = 1", "f.toml:1: starts with a byte order mark"
         " (save as UTF-8 without BOM)"),
        (b"a = 1\nb = '\xe9'", "f.toml:2: not UTF-8: byte 0xe9 at offset 11"
         " (save the file as UTF-8)"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "f.toml: nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_not_toml_is_refused_with_its_place(tmp_path, content, message):
    assert refusal(tmp_path, content) == message


def test_a_number_too_long_to_parse_is_refused(tmp_path):
    assert refusal(tmp_path, b"a = " + b"9" * 5000).startswith("f.toml: not valid TOML: ")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"none\.toml: cannot be read: No such file"):
        read_toml(tmp_path / "none.toml")


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(FileError, match="cannot be read: Is a directory"):
        read_toml(tmp_path)


def test_a_name_with_a_zero_byte_is_refused(tmp_path):
    with pytest.raises(FileError, match="not a file name"):
        read_toml(tmp_path / "a\0b")


def test_the_closest_word_is_suggested_else_all_of_them():
    assert suggest("LTTE", ["lte", "wifi"]) == "did you mean lte?"
    assert suggest("zzz", ["lte", "wifi"]) == "known: lte, wifi"
    assert suggest("zzz", []) == ""


def test_shown_values_are_short_and_printable():
    assert show("\x1b[2J") == r'"\u001b[2J"'
    assert len(show("x" * 1000)) == 60
    assert show(1 << 20000) == "a number of more than 64 bits"
    assert show(True) == "true"


class Writer:
    """Write data as TOML over as many lines as TOML allows, and note where each path begins."""

    def __init__(self):
        self.text = ""
        self.lines = {}

    def note(self, path):
        self.lines[path] = self.text.count("\n") + 1

    def write_value(self, path, value):
        if isinstance(value, list):
            self.text += "[ # ] } = '''\n\n"
            for index, item in enumerate(value):
                self.note((*path, index))
                self.write_value((*path, index), item)
                self.text += ", # '\n"
            self.text += "]"
        elif isinstance(value, dict):
            self.text += "{"
            for index, (key, item) in enumerate(value.items()):
                self.text += ", " if index else ""
                self.write_pair((*path, key), item)
            self.text += "}"
        elif isinstance(value, str) and "'" not in value and '"' in value:
            self.text += f"'''\n{value}'''"
        else:
            self.text += json.dumps(value, ensure_ascii=False)

    def write_pair(self, path, value):
        self.note(path)
        self.text += f"{json.dumps(path[-1], ensure_ascii=False)} = "
        self.write_value(path, value)


texts = st.text(st.sampled_from("ab \"'[]{}#=,.\\é"), max_size=6)
values = st.recursive(
    texts | st.integers(-9, 9) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(texts, values, max_size=4))
def test_lines_are_right_for_any_document(data):
    writer = Writer()
    for key, value in data.items():
        writer.write_pair((key,), value)
        writer.text += "\n"
    source = TomlSource("f.toml", writer.text)
    assert source.data == data
    assert source.lines() == writer.lines


@given(st.text(st.sampled_from("ab01[]{}=.,\"'#\n \\"), max_size=40))
def test_every_key_of_any_accepted_text_has_a_line(text):
    try:
        source = TomlSource("f.toml", text)
    except FileError:
        return
    assert set(source.lines()) == set(walk(source.data))
