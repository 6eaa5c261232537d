"""The references in docs/ and the models that they are made from."""

from __future__ import annotations

import tomllib

import pytest
from accepted_values import CHECKS, READERS, describe_field, find_models, list_validators
from make_reference import REFERENCES, list_own_fields, render_reference

from mrouter.config.home_agent_schema import HomeAgentFile
from mrouter.config.schema import CorrespondentNodeFile, MobileRouterFile
from mrouter.policy.expectations import ExpectFile
from mrouter.policy.schema import PolicyFile
from mrouter.toml_model import StrictModel, validate
from mrouter.toml_source import TomlSource

FILES = (PolicyFile, ExpectFile, MobileRouterFile, HomeAgentFile, CorrespondentNodeFile)
SHOWN = [section.model for each in REFERENCES for section in each.sections if section.model]
FIELDS = [
    pytest.param(model, key, field, id=f"{model.__name__}-{key}")
    for model in SHOWN
    for key, field in list_own_fields(model).items()
]


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda each: each.name)
def test_the_file_is_what_the_models_make(reference):
    assert reference.path.read_text(encoding="utf-8") == render_reference(reference), (
        "run `make reference`"
    )


def list_models(model):
    """Return the model, those that it extends, and those in it."""
    found = {each for each in model.__mro__ if issubclass(each, StrictModel)} - {StrictModel}
    for field in model.model_fields.values():
        for nested in find_models(field.annotation):
            found |= list_models(nested)
    return found


def test_every_table_of_every_file_has_a_section_and_only_one():
    there = set().union(*map(list_models, FILES))
    assert sorted(each.__name__ for each in there) == sorted(each.__name__ for each in SHOWN)


@pytest.mark.parametrize(("model", "key", "field"), FIELDS)
def test_every_key_has_a_meaning_in_whole_sentences(model, key, field):
    assert field.description
    assert field.description.endswith(".")


@pytest.mark.parametrize(("model", "key", "field"), FIELDS)
def test_what_a_key_takes_can_be_said(model, key, field):
    assert describe_field(field)


@pytest.mark.parametrize(("model", "key", "field"), FIELDS)
def test_the_example_is_taken(tmp_path, model, key, field):
    for name in ("ha.key", "bus-7.key"):
        (tmp_path / name).write_text("5a" * 32)
        (tmp_path / name).chmod(0o600)
    for example in field.examples or ():
        lines = example.partition(", or ")[0]
        try:
            tomllib.loads(lines)
        except tomllib.TOMLDecodeError:  # it says in words which table to write
            assert find_models(field.annotation)
            continue
        context = {"directory": tmp_path, "links": None, "ingress": None, "sets": ()}
        _, problems = validate(model, TomlSource("example", lines), context)
        assert [each for each in problems if each.message != "is missing"] == []
        assert key in tomllib.loads(lines)


def test_there_are_words_for_no_validator_that_has_gone():
    used = {
        name
        for model in SHOWN
        for field in model.model_fields.values()
        for name in list_validators(field)
    }
    assert set(READERS) | set(CHECKS) <= used
