from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.scaffold.documents import References, Unreadable
from launchday.scaffold.examples import example_of
from launchday.scaffold.patterns import matching


def example(schema: Any, document: Any = None) -> Any:
    return example_of({"schema": schema}, References(document or {})).value


@given(st.integers(-1000, 1000), st.integers(0, 500), st.booleans(), st.booleans())
def test_a_number_lies_within_its_limits(low: int, width: int, open_low: bool, old: bool) -> None:
    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": low + width + 1}
    if open_low and old:  # 3.0
        schema["exclusiveMinimum"] = True
    elif open_low:  # 3.1
        schema["exclusiveMinimum"] = schema.pop("minimum")
    value = example(schema)
    assert isinstance(value, int)
    assert low + open_low <= value <= low + width + 1


@given(st.integers(1, 50), st.integers(-200, 200))
def test_a_number_is_a_multiple(step: int, low: int) -> None:
    value = example({"type": "integer", "minimum": low, "multipleOf": step})
    assert value >= low
    assert value % step == 0


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_text_has_the_length_that_it_may_have(least: int, more: int) -> None:
    value = example({"type": "string", "minLength": least, "maxLength": least + more})
    assert least <= len(value) <= least + more


@pytest.mark.parametrize(
    "pattern",
    [
        "^[A-Z0-9]{17}$",
        "^site-[0-9]{1,9}$",
        r"^\d{3}-\d{2}$",
        "^(red|blue)$",
        "[^a-z]+",
        r"^\S.{2,}x?$",
        "^[A-Za-z0-9._~:-]{1,128}$",
        r"^\w+@\w+\.\w{2,}$",
        "(?P<year>[0-9]{4})",
    ],
)
def test_a_text_matches_its_pattern(pattern: str) -> None:
    value = example({"type": "string", "pattern": pattern})
    assert re.search(pattern, value)


@given(st.text(alphabet="ab01[](){}*+?|^$.\\d-,", max_size=12))
def test_whatever_the_pattern_what_is_found_matches_it(pattern: str) -> None:
    found = matching(pattern)
    assert found is None or re.search(pattern, found)


def test_what_the_author_gave_comes_before_what_the_schema_allows() -> None:
    assert example({"type": "string", "examples": ["mine"]}) == "mine"
    assert example({"type": "string", "default": "mine"}) == "mine"
    assert example({"enum": [None, "mine"]}) == "mine"
    assert example({"const": 3}) == 3
    holder = {"examples": {"one": {"value": {"a": 1}}}, "schema": {"type": "object"}}
    assert example_of(holder, References({})).value == {"a": 1}


def test_an_object_has_what_it_requires_and_not_what_only_answers_hold() -> None:
    document = {
        "Named": {"type": "object", "required": ["name"], "properties": {"name": {"minLength": 9}}},
        "Sized": {
            "required": ["size", "id"],
            "properties": {
                "size": {"type": ["null", "integer"], "minimum": 3},
                "id": {"type": "string", "readOnly": True},
                "colour": {"type": "string"},
                "taste": {"type": "string", "example": "sweet"},
            },
        },
    }
    schema = {"allOf": [{"$ref": "#/Named"}, {"$ref": "#/Sized"}]}
    value = example(schema, document)
    assert set(value) == {"name", "size", "taste"}
    assert len(value["name"]) >= 9
    assert value["size"] == 3


def test_a_choice_takes_the_first_and_its_discriminator() -> None:
    document = {"Cat": {"type": "object", "required": ["purrs"], "properties": {"purrs": {}}}}
    schema = {"oneOf": [{"$ref": "#/Cat"}], "discriminator": {"propertyName": "kind"}}
    assert example(schema, document)["kind"] == "Cat"
    assert example({"anyOf": [{"type": "null"}, {"type": "boolean"}]}) is True


def test_an_array_has_as_many_as_it_must() -> None:
    assert example({"type": "array", "items": {"type": "boolean"}, "minItems": 3}) == [True] * 3


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "other.yaml#/Cat"}, "another file"),
        ({"$ref": "#/Nothing"}, "not there"),
        ({"$ref": "#/Loop"}, "back to itself"),
        ({"$ref": "#/Self"}, "requires itself"),
    ],
)
def test_what_cannot_be_made_says_why(schema: Any, words: str) -> None:
    recursive = {"required": ["self"], "properties": {"self": {"$ref": "#/Self"}}}
    document = {"Loop": {"$ref": "#/Loop"}, "Self": recursive}
    with pytest.raises(Unreadable, match=words):
        example(schema, document)


def test_a_schema_that_may_hold_itself_ends() -> None:
    tree = {"required": ["name"], "properties": {"name": {}, "child": {"$ref": "#/Tree"}}}
    assert example({"$ref": "#/Tree"}, {"Tree": tree}) == {"name": "text"}


def test_a_schema_that_grows_without_end_is_given_up() -> None:
    wide = {f"p{n}": {"$ref": "#/Wide"} for n in range(9)}
    document = {"Wide": {"required": list(wide), "properties": wide}}
    with pytest.raises(Unreadable):
        example({"$ref": "#/Wide"}, document)
