from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.errors import SettingsError
from launchday.scaffold.documents import parse
from tests.scaffold.pets import PETS, run, scenario, service


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "neither JSON nor YAML"),
        (b"a: [", "neither JSON nor YAML"),
        (b"\xff", "no UTF-8"),
        (b"[]", "holds no object"),
        (b"hello", "holds no object"),
        (b"<!doctype html>", "is a web page"),
        (b'{"swagger": "2.0"}', "is Swagger 2.0"),
        (b'{"openapi": "4.0"}', "its `openapi` is '4.0'"),
        (b'{"openapi": "3.1.0", "paths": []}', "names no request"),
        (b'{"openapi": "3.1.0", "paths": [1]}', "`paths` must be an object"),
        (b'{"openapi": "3.1.0"}', "names no request"),
        (b"a: &a [*a]", "nested too deeply"),
        (b'{"openapi": "3.1.0", "paths": {"/a/{b}": {"get": {}}}}', "give --value b=..."),
        (b'{"openapi": "3.1.0", "paths": {"/a": {"post": {}}}}', "give --include-writes"),
    ],
)
def test_what_is_no_document_is_refused_in_words(
    content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / "it").write_bytes(content)
    with pytest.raises(SettingsError, match=words):
        run(tmp_path / "new", "--openapi", tmp_path / "it")
    assert not (tmp_path / "new").exists()


def test_a_small_file_that_stands_for_a_giant_one_is_read_in_no_time() -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30)]
    text = "\n".join(["openapi: 3.1.0", "paths: {}", "l0: &l0 [1]", *levels])
    assert parse(text.encode(), "it")["paths"] == {}


def test_yaml_dates_and_numbers_are_what_json_would_hold() -> None:
    text = "openapi: 3.0.0\npaths:\n  /a:\n    get:\n      responses:\n        200: {x: 2026-01-31}"
    responses = parse(text.encode(), "it")["paths"]["/a"]["get"]["responses"]
    assert responses == {"200": {"x": "2026-01-31"}}


NAMES = st.sampled_from(["id", "self", "quote", "class", "a b", 'x"y', "ü", "VALUES", "{", "name"])
TEXTS = st.text(max_size=12)
PARAMETERS = st.fixed_dictionaries(
    {
        "name": NAMES,
        "in": st.sampled_from(["path", "query", "header", "cookie", "body"]),
        "required": st.booleans(),
        "schema": st.sampled_from([{"type": "string"}, {"type": "integer"}, {"enum": ["a", 1]}]),
    },
    optional={"example": st.none() | TEXTS | st.integers() | st.lists(TEXTS, max_size=2)},
)
OPERATIONS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"parameters": st.lists(PARAMETERS, max_size=3)},
    optional={
        "summary": TEXTS,
        "security": st.sampled_from([[], [{"a": []}], [{"b": [], "c": []}], [{}], None, 3]),
        "requestBody": st.fixed_dictionaries(
            {
                "content": st.dictionaries(
                    st.sampled_from(["application/json", "text/plain", "application/x+json"]),
                    st.fixed_dictionaries({"example": TEXTS | st.dictionaries(TEXTS, TEXTS)}),
                )
            }
        ),
    },
)
SCHEMES = {
    "a": {"type": "http", "scheme": "bearer"},
    "b": {"type": "apiKey", "in": "query", "name": "k ey"},
    "c": {"type": "apiKey", "in": "cookie", "name": "sid"},
}


@settings(max_examples=100)
@given(
    st.dictionaries(
        st.sampled_from(["/a", "/a/{id}", "/{self}/{quote}", '/x"{y}\\', "/ü/{a b}", "/{"]),
        st.dictionaries(st.sampled_from(["get", "post", "put"]), OPERATIONS, max_size=2),
        min_size=1,
        max_size=3,
    ),
    TEXTS,
)
def test_whatever_the_document_says_the_scenario_is_python(paths: Any, title: str) -> None:
    document = {
        "openapi": "3.1.0",
        "info": {"title": title},
        "paths": paths,
        "components": {"securitySchemes": SCHEMES},
    }
    described = service(document)
    text = scenario(described, writes=True)
    module = compile(text, "scenario", "exec", ast.PyCF_ONLY_AST)
    names = [node.name for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    assert len(names) == len(set(names))


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@settings(max_examples=100)
@given(st.data())
def test_a_damaged_document_is_refused_or_read_and_never_a_crash(data: Any) -> None:
    document = json.loads(json.dumps(PETS))
    place = document
    for _ in range(data.draw(st.integers(0, 8))):
        key = data.draw(st.sampled_from(_keys(place)))
        if not _keys(place[key]):
            break
        place = place[key]
    place[data.draw(st.sampled_from(_keys(place)))] = data.draw(ODD)
    try:
        text = scenario(service(document), writes=True)
    except SettingsError:
        return
    ast.parse(text)


def _keys(place: Any) -> list[Any]:
    if isinstance(place, dict):
        return sorted(place)
    return list(range(len(place))) if isinstance(place, list) else []
