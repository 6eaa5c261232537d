"""docs/policies.md: its files are taken, and its commands answer what it says."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from make_reference import list_anchors
from shown import GUIDE, README, REPOSITORY, parse_command, read_sections, split_command
from typer.testing import CliRunner

from mrouter.check import check_policies
from mrouter.cli import app

SECTIONS = read_sections(GUIDE)
EXPECTED = next(each for each in SECTIONS if each.find_file("policies ="))
ANSWER = re.compile(r"# ([a-z-]+): (.+)$")
DOCUMENTS = [
    *(REPOSITORY / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
    *(path for path in sorted(GUIDE.parent.glob("*.md")) if path.stem != "conformance"),
]
COMMANDS = [
    pytest.param(section, line, id=f"{section.title}-{line}")
    for section in SECTIONS
    for line in section.commands
]
LINKS = "".join(
    f'[[link]]\nname = "{name}"\ninterface = "{name}0"\nifpri = {number}\n'
    for number, name in enumerate(["lte", "wifi", "sat"])
)
ROUTER = """\
role = "mobile-router"
[mobile-router]
home-address = "2001:db8:f1::100"
home-agent = "2001:db8:f0::2"
prefixes = ["2001:db8:a1::/64"]
ingress = ["lan0"]
policy = "policy.toml"
[security]
spi = 256
algorithm = "hmac-sha256"
key-file = "ha.key"
"""


def find_policies(section):
    """Return the policy file that a section shows."""
    others = ("policies =", "[[link]]")
    (text,) = (text for text in section.files if not text.startswith(others))
    return text


def write_files(section, directory):
    """Write what a section shows, and what it takes for granted."""
    shown = section if section.files else EXPECTED
    key = directory / "ha.key"
    key.write_text("5a" * 32)
    key.chmod(0o600)
    (directory / "policy.toml").write_text(find_policies(shown))
    (directory / "mr.toml").write_text(ROUTER + (shown.find_file("[[link]]") or LINKS))
    (directory / "tests.toml").write_text(shown.find_file("policies =") or "")
    shutil.copy(directory / "policy.toml", directory / "new.toml")


def needs_agent(words):
    """Tell whether a command asks a running agent."""
    files = [word for word in words if word.endswith(".toml")]
    few = 2 if words[:3] == ["mrouter", "policy", "diff"] else 1
    return "--socket" in words or len(files) < few


@pytest.mark.parametrize(
    "section", [each for each in SECTIONS if each.files], ids=lambda each: each.title
)
def test_the_policy_file_is_taken_without_a_warning(tmp_path, section):
    write_files(section, tmp_path)

    alone = check_policies(tmp_path / "policy.toml")
    assert alone.warnings == ()
    configured = check_policies(tmp_path / "mr.toml")
    assert [each for each in configured.warnings if "no policy uses" not in each.message] == []


@pytest.mark.parametrize(("section", "line"), COMMANDS)
def test_the_command_is_there_with_its_options(section, line):
    words = split_command(line)
    if words[0] == "mrouter":
        parse_command(words)
    else:
        assert words[0] == "cp"


@pytest.mark.parametrize(("section", "line"), COMMANDS)
def test_the_command_answers_what_is_written_behind_it(tmp_path, monkeypatch, section, line):
    words = split_command(line)
    if words[0] != "mrouter" or needs_agent(words):
        assert ANSWER.search(line) is None
        return
    write_files(section, tmp_path)
    monkeypatch.chdir(tmp_path)
    if words[2] == "explain":
        result = CliRunner().invoke(app, [*words[1:], "--json"])
        assert result.exit_code == 0, result.output
        said = json.loads(result.stdout)
        used = [each["link"] for each in said["links"] if each["used"]]
        assert ANSWER.search(line).groups() == (said["policy"], " + ".join(used) or "none")
    else:
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "line",
    [
        line
        for section in read_sections(README)
        for line in section.commands
        if line.startswith("mrouter ")
    ],
)
def test_the_readme_shows_commands_that_are_there(line):
    parse_command(split_command(line))


@pytest.mark.parametrize("words", [["mrouter", "polices"], ["mrouter", "flows", "--wach", "2"]])
def test_a_wrong_command_would_be_noticed(words):
    with pytest.raises(Exception, match=r"polices|--wach"):
        parse_command(words)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        pytest.param(path, target, id=f"{path.name}-{target}")
        for path in DOCUMENTS
        for target in dict.fromkeys(re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")))
        if "://" not in target
    ],
)
def test_a_link_leads_somewhere(path, target):
    name, _, anchor = target.partition("#")
    there = (path.parent / name).resolve() if name else path
    assert there.exists()
    if anchor:
        titles = re.findall(r"^#+ (.+)$", there.read_text("utf-8"), re.MULTILINE)
        assert anchor in list_anchors(titles)
