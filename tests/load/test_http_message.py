"""The bytes of a request, and what would not be one and is refused in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.load.http import HttpClient
from launchday.load.http.message import Site
from tests.load.sockets import (
    Events,
)

SITE = Site("http://127.0.0.1:8000/base/")


def sent(method: str, path: str, **options: Any) -> str:
    return SITE.message(method, path, **options).data.decode("latin-1")


def test_the_path_is_below_the_base_url_and_a_whole_url_of_it_is_the_same() -> None:
    assert sent("GET", "/a").startswith("GET /base/a HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    assert sent("GET", "http://127.0.0.1:8000/base/a") == sent("GET", "/a")
    assert sent("GET", "") == sent("GET", "/")
    assert SITE.message("GET", "/a").url == "http://127.0.0.1:8000/base/a"


def test_bodies_are_json_text_bytes_or_a_form() -> None:
    assert sent("POST", "/", json={"a": [1, None]}).endswith('\r\n\r\n{"a":[1,null]}')
    assert "Content-Type: application/json\r\n" in sent("POST", "/", json=0)
    form = sent("POST", "/", data={"a": "1 2", "b": ["x", "y"]})
    assert form.endswith("\r\n\r\na=1+2&b=x&b=y")
    assert "Content-Type: application/x-www-form-urlencoded\r\n" in form
    assert "Content-Length: 4\r\n" in sent("PUT", "/", data="ää")
    assert "Content-Length: 0\r\n" in sent("PATCH", "/")
    assert "Content-Length" not in sent("GET", "/")
    assert sent("POST", "/", json=1, headers={"content-type": "x"}).lower().count("-type") == 1


def test_parameters_are_encoded_behind_those_of_the_path() -> None:
    assert sent("GET", "/a", params={"q": "ü &", "n": [1, 2]}).startswith(
        "GET /base/a?q=%C3%BC+%26&n=1&n=2 HTTP/1.1"
    )
    assert sent("GET", "/a?b=1", params={"c": 2}).startswith("GET /base/a?b=1&c=2 HTTP/1.1")


def test_headers_of_the_caller_replace_the_clients_own() -> None:
    assert sent("GET", "/", headers={"Host": "other"}).count("Host:") == 1
    site = Site("https://me:p%40ss@127.0.0.1")
    assert b"Authorization: Basic bWU6cEBzcw==\r\n" in site.message("GET", "/").data
    own = site.message("GET", "/", headers={"authorization": "Bearer x"}).data
    assert own.lower().count(b"authorization:") == 1


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("/a b", {}, "without spaces"),
        ("/a\r\nX: 1", {}, "printable ASCII"),
        ("/ä", {}, "percent-encode"),
        ("a", {}, "must begin with /"),
        ("http://127.0.0.2/a", {}, "an HttpClient of its own"),
        ("http://127.0.0.1:80001/", {}, "must begin with / or be a URL below"),
        ("/", {"headers": {"X": "a\r\nB: c"}}, "header X must be latin-1 text without line breaks"),
        ("/", {"headers": {"X": "a\x00"}}, "without line breaks"),
        ("/", {"headers": {"X": "€"}}, "latin-1"),
        ("/", {"headers": {"X": 1}}, "latin-1 text"),
        ("/", {"headers": {"X Y": "1"}}, "must be a token"),
        ("/", {"headers": {"": "1"}}, "must be a token"),
        ("/", {"headers": {"Content-Length": "1"}}, "Content-Length follows from the body"),
        ("/", {"headers": {"transfer-encoding": "chunked"}}, "cannot be set"),
        ("/", {"timeout": 0}, "timeout must be above 0"),
        ("/", {"timeout": float("nan")}, "timeout must be above 0"),
        ("/", {"json": float("nan")}, "JSON"),
    ],
)
def test_what_would_not_be_one_request_is_refused_in_words(
    path: str, options: dict[str, Any], words: str
) -> None:
    events = Events()
    http = HttpClient("http://127.0.0.1:8000", events)
    with pytest.raises(ValueError, match=words):
        http.get(path, **options)
    with pytest.raises(ValueError, match=words):
        http.prepare("GET", path, **options)
    assert events.fired == []


@given(st.text(), st.text(), st.text(), st.text())
def test_no_text_makes_two_requests_of_one(method: str, path: str, name: str, value: str) -> None:
    try:
        data = SITE.message(method, path, headers={name: value}).data
    except ValueError:
        return
    head, _, body = data.partition(b"\r\n\r\n")
    assert not body
    assert len(head.split(b"\r\n")) == (2 if name.lower() == "host" else 3)
    assert len(head.split(b"\r\n")[0].split()) == 3
    assert b"\n" not in head.replace(b"\r\n", b"")
