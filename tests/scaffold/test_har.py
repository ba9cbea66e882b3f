from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.commands.har import import_
from launchday.errors import SettingsError
from launchday.scaffold.har import parse
from launchday.scaffold.har_journey import Journey, journey_of
from launchday.scaffold.har_selection import select
from launchday.scaffold.har_text import journey_text
from launchday.scaffold.har_values import template
from launchday.scaffold.scenario_text import Peak
from tests.scaffold.recordings import entry, har, in_base64, scenario
from tests.scaffold.support import CHROMIUM_HAR, assert_clean

API = "http://api.example:8080"
VIN = "5YJ3E1EA7KF317000"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"


def journey(content: bytes) -> Journey:
    return journey_of(select(parse(content, "it.har")[0]), "it")


def names(content: bytes) -> list[str]:
    return [step.name for step in journey(content).steps]


def test_a_session_of_chromium_becomes_a_journey_that_hands_on_what_it_was_given(
    tmp_path: Path,
) -> None:
    text = scenario(CHROMIUM_HAR.read_bytes())
    file = tmp_path / "it.py"
    file.write_text(text)
    assert_clean(file)
    recorded = journey(CHROMIUM_HAR.read_bytes())
    assert [step.name for step in recorded.steps] == [
        "GET /login",
        "POST /login",
        "GET /home",
        "POST /api/token",
        "GET /api/products",
        "GET /api/products/{id}",
        "POST /api/carts",
        "PUT /api/carts/{id}/lines",
        "POST /api/orders",
    ]
    kinds = [take.source.kind for step in recorded.steps for take in step.takes]
    assert kinds == ["text", "cookie", "cookie", "json", "json", "location"]
    assert [variable for _, variable in recorded.secrets] == ["IT_EMAIL", "IT_PASSWORD"]
    pauses = [step.pause_seconds for step in recorded.steps]
    assert sum(pause > 1 for pause in pauses) == 3
    for secret in ("anna@shop.example", "hunter2", "session=d", "Bearer 4"):
        assert secret not in text


def test_requests_to_others_and_what_is_no_journey_is_left_out_and_counted() -> None:
    content = har(
        entry("GET", f"{API}/shop", answer="<html>", answer_type="text/html"),
        entry("GET", f"{API}/app.js", answer="1", answer_type="text/javascript"),
        entry("GET", f"{API}/logo", answer="", answer_type="image/png", kind="image"),
        entry("OPTIONS", f"{API}/v1/cart", status=204),
        entry("GET", f"{API}/v1/cart", answer={"a": 1}),
        entry("POST", f"{API}/hit", kind="ping"),
        entry("GET", f"{API}/v1/gone", status=404),
        entry("GET", f"{API}/v1/blocked", status=0),
        entry("GET", f"{API}/v1/live", answer="", answer_type="text/event-stream"),
        entry("GET", "ws://api.example:8080/socket", status=101),
        entry("GET", "data:image/png;base64,AAAA"),
        entry("GET", "https://tracker.example/pixel?id=1"),
        entry("POST", f"{API}/photo", body="\x00\x01", body_type="image/jpeg"),
    )
    selection = select(parse(content, "it.har")[0])
    assert [each.path for each in selection.kept] == ["/shop", "/v1/cart"]
    assert sum(count for _, count in selection.left_out) == 11
    assert ("to tracker.example", 1) in selection.left_out
    kept = select(parse(content, "it.har")[0], static=True).kept
    assert [each.path for each in kept] == ["/shop", "/app.js", "/logo", "/v1/cart"]


def test_the_host_can_be_another_than_the_first_documents() -> None:
    content = har(
        entry("GET", "https://www.example/", answer="<p>", answer_type="text/html"),
        entry("GET", f"{API}/v1/cart", answer={}),
    )
    exchanges, _ = parse(content, "it.har")
    assert select(exchanges).origin == "https://www.example"
    for host in ("api.example", "api.example:8080", API, f"{API}/"):
        assert select(exchanges, host=host).origin == API
    with pytest.raises(SettingsError, match=r"www\.example \(1\), api\.example:8080 \(1\)"):
        select(exchanges, host="other.example")


def test_a_redirect_is_folded_into_where_it_led_unless_it_changed_something() -> None:
    moved = [("Location", "/home")]
    cookie = [("Location", "/home"), ("Set-Cookie", "sid=abcdef123456; Path=/; HttpOnly")]
    home = entry("GET", f"{API}/home", at_seconds=1, answer="<p>", answer_type="text/html")
    plain = har(entry("GET", f"{API}/", status=302, answered=moved), home)
    assert names(plain) == ["GET /home"]
    with_cookie = har(entry("GET", f"{API}/", status=302, answered=cookie), home)
    assert names(with_cookie) == ["GET /", "GET /home"]
    posted = har(entry("POST", f"{API}/orders", status=303, answered=moved), home)
    assert names(posted) == ["POST /orders", "GET /home"]
    assert "redirected(response)" in scenario(posted)


def test_a_value_is_taken_from_the_answer_that_gave_it_and_not_when_it_was_known() -> None:
    content = har(
        entry("GET", f"{API}/v1/vehicles/{VIN}/state", answer={"vin": VIN, "trip": {"id": 77}}),
        entry("GET", f"{API}/v1/vehicles/{VIN}/trips/77", at_seconds=1, answer={}),
        entry("POST", f"{API}/v1/likes", at_seconds=2, body='{"tripId": 77, "stars": 77}'),
    )
    assert names(content) == [
        "GET /v1/vehicles/{id}/state",
        "GET /v1/vehicles/{id}/trips/{id}",
        "POST /v1/likes",
    ]
    text = scenario(content)
    assert 'trip_id = from_json(response, "trip", "id")' in text
    assert f"/v1/vehicles/{VIN}/trips/{{quote(str(trip_id), safe='')}}" in text
    assert '"tripId": trip_id, "stars": 77' in text
    assert 'from_json(response, "vin")' not in text


def test_a_number_stays_a_number_and_a_text_a_text() -> None:
    content = har(
        entry("GET", f"{API}/v1/a", answer={"id": 123456, "ref": "654321"}),
        entry("POST", f"{API}/v1/b", at_seconds=1, body='{"a": 123456, "b": "123456"}'),
        entry("POST", f"{API}/v1/c", at_seconds=2, body='{"c": 654321, "d": "654321"}'),
    )
    text = scenario(content)
    assert '{"a": a_id, "b": f"{a_id}"}' in text
    assert '{"c": int(a_ref), "d": a_ref}' in text


def test_a_cookie_reaches_the_header_that_repeats_it_as_text() -> None:
    set_cookie = [("Set-Cookie", "XSRF-TOKEN=ab%3Dcd1234; Path=/\nsid=s1234567890; HttpOnly")]
    headers = {"Cookie": "XSRF-TOKEN=ab%3Dcd1234; sid=s1234567890; _ga=GA1.2.3", "X-XSRF-TOKEN": ""}
    headers["X-XSRF-TOKEN"] = "ab=cd1234"
    text = scenario(
        har(
            entry("GET", f"{API}/", answer="<p>", answer_type="text/html", answered=set_cookie),
            entry("POST", f"{API}/v1/x", at_seconds=1, sent=headers),
        )
    )
    assert 'unquote(from_cookie(response, "XSRF-TOKEN") or "")' in text
    assert "_ga" not in text
    assert "IT_COOKIE" not in text
    assert not re.search(r"ab.?.?.?cd1234|s1234567890", text)


SECRET = st.from_regex(r"[A-Za-z0-9]{12,30}", fullmatch=True)


@settings(max_examples=30)
@given(st.lists(SECRET, min_size=8, max_size=8, unique=True))
def test_no_secret_of_the_session_is_in_the_file(secrets: list[str]) -> None:
    token, cookie, csrf, password, key, field, other, mail = secrets
    multipart = f'--x\r\nContent-Disposition: form-data; name="password"\r\n\r\n{other}\r\n--x--'
    login = json.dumps({"email": f"{mail}@a.example", "password": password, "deep": [{"pin": key}]})
    sent = {
        "Authorization": f"Bearer {token}",
        "Cookie": f"session={cookie}; theme=dark",
        "X-CSRF-Token": csrf,
        "X-Api-Key": key,
        "X-Trace": f"of {JWT}",
    }
    content = har(
        entry("GET", f"{API}/v1/early?of={password}", answer={}),
        entry("POST", f"{API}/login", at_seconds=0.5, sent=sent, body=login, answer={}),
        entry("GET", f"{API}/v1/a?access_token={field}&q={token}", at_seconds=1, answer={}),
        entry("POST", f"{API}/v1/b", at_seconds=2, body=multipart, body_type="multipart/form-data"),
        entry("POST", f"{API}/v1/c", at_seconds=3, body=f'["{token}"]', answer={}),
        entry("POST", f"{API}/v1/d", at_seconds=4, body=f"x {cookie} y", body_type="text/plain"),
    )
    text = scenario(content)
    ast.parse(text)
    assert [secret for secret in [*secrets, JWT] if secret in text] == []
    assert 'secret("IT_PASSWORD")' in text
    assert 'secret("IT_COOKIE")' in text


def test_pauses_are_the_persons_and_not_the_pages() -> None:
    content = har(
        entry("GET", f"{API}/a", answer={}, lasts_ms=1000),
        entry("GET", f"{API}/b", at_seconds=0.5, answer={}, lasts_ms=100),
        entry("GET", f"{API}/c", at_seconds=3.5, answer={}),
        entry("GET", f"{API}/d", at_seconds=500, answer={}),
    )
    assert [step.pause_seconds for step in journey(content).steps] == [0.0, 0.0, 2.5, 30.0]
    selection = select(parse(content, "it.har")[0])
    quick = journey_text(journey_of(selection, "it", think_time=False), "it.har", Peak())
    assert "sleep" not in quick
    assert "requests_per_journey = 4" in quick
    assert "requests_per_journey = 47" in scenario(content)  # 4 requests and 1.3 · 32.5 s


def test_an_idempotency_key_is_a_new_one_and_repeated_names_are_one() -> None:
    key = {"Idempotency-Key": "3c6e0b8a-9c15-4a4b-8f0e-000000000001"}
    body = '{"operationName": "Cart", "query": "query Cart { id }"}'
    content = har(
        entry("POST", f"{API}/v1/orders", sent=key, body="{}"),
        entry("POST", f"{API}/graphql", at_seconds=1, body=body),
    )
    assert names(content) == ["POST /v1/orders", "POST /graphql Cart"]
    assert '"Idempotency-Key": self.idempotency_key()' in scenario(content)


def test_an_answer_in_base64_is_read_like_any_other() -> None:
    content = har(
        in_base64(entry("POST", f"{API}/v1/carts", answer={"cart": {"id": "c-20260131-0007"}})),
        entry("GET", f"{API}/v1/carts/c-20260131-0007", at_seconds=1),
    )
    assert 'cart_id = from_json(response, "cart", "id")' in scenario(content)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/vehicles/5YJ3E1EA7KF317000/state", "/v1/vehicles/{id}/state"),
        ("/orders/17/lines/3", "/orders/{id}/lines/{id}"),
        ("/a/3c6e0b8a-9c15-4a4b-8f0e-000000000001", "/a/{id}"),
        ("/api/v2/products", "/api/v2/products"),
        ("/users/anna%40a.example", "/users/{id}"),
        ("/static/index-page.html", "/static/index-page.html"),
    ],
)
def test_ids_are_no_part_of_a_name(path: str, expected: str) -> None:
    assert template(path) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no HAR file"),
        (b"{", "no HAR file"),
        (b"\xff\xfe", "no HAR file"),
        (b"[]", "no log.entries"),
        (b'{"log": {}}', "no log.entries"),
        (b'{"log": {"entries": {}}}', "log.entries is no list"),
        (har(), "holds no request"),
        (b'{"log": {"entries": [1, {}, {"request": null}]}}', "3 entries could not be read"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_what_is_no_session_is_refused_in_words(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "it.har"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=words):
        import_.main(["har", str(file)], standalone_mode=False)


def test_a_file_that_is_not_there_or_a_name_that_hides_a_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        import_.main(["har", str(tmp_path / "no.har")], standalone_mode=False)
    arguments = ["har", str(CHROMIUM_HAR), "--output", str(tmp_path / "locust.py")]
    with pytest.raises(SettingsError, match=r"locust_day\.py"):
        import_.main(arguments, standalone_mode=False)
    there = tmp_path / "chairs.py"
    there.write_text("mine")
    with pytest.raises(SettingsError, match="--force"):
        import_.main(["har", str(CHROMIUM_HAR), "--output", str(there)], standalone_mode=False)
    assert there.read_text() == "mine"
    forced = ["har", str(CHROMIUM_HAR), "--output", str(there), "--force"]
    import_.main(forced, standalone_mode=False)
    assert "class Visitor" in there.read_text()


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_entry_is_skipped_or_used_and_never_a_crash(data: Any) -> None:
    recorded = entry("POST", f"{API}/v1/a?b=c", body='{"a": 1}', answer={"id": 7})
    part = data.draw(st.sampled_from([recorded, recorded["request"], recorded["response"]]))
    key = data.draw(st.sampled_from(sorted(part)))
    part[key] = data.draw(ODD)
    good = entry("GET", f"{API}/v1/good", at_seconds=1, answer={})
    try:
        text = scenario(har(recorded, good), host="api.example")
    except SettingsError:
        return
    ast.parse(text)
    assert "GET /v1/good" in text
