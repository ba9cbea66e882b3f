from __future__ import annotations

import ast
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.scaffold.python_text import (
    Expression,
    call,
    comment,
    identifier,
    literal,
    sentence,
    string,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.text())
def test_a_string_literal_means_the_string_and_hides_nothing_that_cannot_be_seen(text: str) -> None:
    source = string(text)
    assert ast.literal_eval(source) == text
    assert source.isprintable()


@given(JSON, st.integers(0, 40))
def test_a_literal_means_its_value_however_its_lines_are_broken(value: Any, indent: int) -> None:
    source = literal(value, indent=indent, before="it = ")
    statement = ast.parse(source).body[0]
    assert isinstance(statement, ast.Assign)
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    assert namespace["it"] == value


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), JSON, min_size=1, max_size=3))
@settings(max_examples=30)
def test_a_call_hands_over_its_arguments(arguments: dict[str, Any]) -> None:
    named = [(f"{name}_", value) for name, value in arguments.items()]
    source = call("dict", named, indent=8, before="it = ")
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    assert namespace["it"] == dict(named)


def test_an_expression_stands_as_it_is_and_a_dictionary_of_it_is_spread() -> None:
    value = {Expression("BEARER"): None, "X": Expression("x()")}
    assert literal(value) == '{**BEARER, "X": x()}'


def test_a_long_value_gets_lines_of_its_own() -> None:
    source = literal({"a": ["word"] * 20, "b": "w" * 200}, indent=8, before="json=")
    assert max(map(len, source.splitlines())) <= 88
    assert source.count("\n") > 20


@given(st.text(), st.text())
def test_somebodys_words_stay_inside_a_comment_and_a_docstring(text: str, other: str) -> None:
    source = f"def f():\n    {sentence(text + other, 4)}\n{comment(text, 4)}\n    return 1\n"
    module = ast.parse(source)
    assert len(module.body) == 1
    assert len(ast.unparse(module.body[0]).splitlines()) == 3


@given(st.text())
def test_any_text_becomes_an_identifier(text: str) -> None:
    name = identifier(text, "value")
    assert name.isidentifier()
    assert name == name.lower()
    compile(f"{name} = 1", "generated", "exec")


def test_names_are_split_where_a_reader_would() -> None:
    assert identifier("productId", "x") == "product_id"
    assert identifier("class", "value") == "value_class"
    assert identifier("Crème brûlée", "x") == "creme_brulee"
    assert identifier("椅子", "value") == "value"
    assert identifier("2nd", "value") == "value_2nd"
