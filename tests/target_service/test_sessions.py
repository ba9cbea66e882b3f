"""Sessions: who gets one, how it ends, and that no outage ends it."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_service.database.fleet import email_of, password_of
from target_service.sessions import GuessLimit
from tests.target_service.processes import eventually

KEY = "a-key-of-the-tests-that-is-long-enough"
WRONG = "not the password"


def credentials(number: int = 0, region: str = "us") -> dict[str, str]:
    email = email_of(region, number)
    return {"email": email, "password": password_of(1, email)}


def session_of(target: Any, number: int = 0) -> dict[str, Any]:
    answer = target.http.post("/v1/sessions", json=credentials(number, target.region))
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()
    return session


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def look(target: Any, token: str) -> int:
    """Ask for the cars; return the code."""
    code: int = target.http.get("/v1/vehicles", headers=bearer(token)).status_code
    return code


def refresh(target: Any, session: dict[str, Any]) -> httpx.Response:
    body = {"refresh_token": session["refresh_token"]}
    answer: httpx.Response = target.http.post("/v1/sessions/refresh", json=body)
    return answer


def check_not_signed_in(answer: httpx.Response) -> None:
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["reason"] == "not_signed_in"


def check_dependency(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["unavailable-cause"] == "dependency"


@pytest.fixture(scope="module")
def alone(start: Any) -> Any:
    """A target without gateway: sessions need none."""
    return start("target_service")


@pytest.fixture(scope="module")
def eu(start: Any) -> Any:
    return start("target_service", TARGET_REGION="eu", TARGET_SESSION_KEY=KEY)


def test_who_signs_in_gets_a_session_that_is_not_cached(alone: Any) -> None:
    answer = alone.http.post("/v1/sessions", json=credentials(1))
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    session = answer.json()
    assert (session["token_type"], session["expires_in"]) == ("Bearer", 3600)
    assert look(alone, session["access_token"]) == 200


def test_a_wrong_password_and_an_unknown_owner_get_the_same_answer(alone: Any) -> None:
    wrong = alone.http.post("/v1/sessions", json=credentials(2) | {"password": WRONG})
    unknown = alone.http.post(
        "/v1/sessions", json={"email": "nobody@us.example", "password": credentials(2)["password"]}
    )
    check_not_signed_in(wrong)
    assert wrong.content == unknown.content
    assert wrong.headers.keys() == unknown.headers.keys()


@pytest.mark.parametrize("wrong", [
    {"email": "x"}, {"email": "a b@c"}, {"email": "a@\u0000"}, {"password": ""},
    {"password": "x" * 129}, {"password": None}, {"remember": True},
])  # fmt: skip
def test_what_is_no_sign_in_is_refused_without_repeating_it(alone: Any, wrong: Any) -> None:
    sent = credentials(2) | wrong
    answer = alone.http.post("/v1/sessions", json=sent)
    assert (answer.status_code, answer.json()["reason"]) == (422, "invalid")
    assert credentials(2)["password"] not in answer.text


def test_guessing_is_bounded_for_each_owner_and_others_are_not_held_up(alone: Any) -> None:
    wrong = credentials(3) | {"password": WRONG}
    for email in (wrong["email"], wrong["email"].upper()) * 3:
        answer = alone.http.post("/v1/sessions", json=wrong | {"email": email})
    assert (answer.status_code, answer.json()["reason"]) == (429, "too_many_attempts")
    assert int(answer.headers["retry-after"]) >= 1
    # While it is throttled the right password is not looked at either: a guess gains nothing.
    assert alone.http.post("/v1/sessions", json=credentials(3)).status_code == 429
    assert alone.http.post("/v1/sessions", json=credentials(4)).status_code == 201
    assert alone.metric("car_sign_ins_total", outcome="throttled") >= 2


def test_right_passwords_are_never_throttled(alone: Any) -> None:
    for _ in range(20):
        session_of(alone, 5)


@given(
    st.integers(1, 10),
    st.floats(0.1, 100),
    st.lists(st.tuples(st.floats(0, 50), st.booleans()), max_size=60),
)
def test_wrong_guesses_are_at_most_the_burst_and_one_each_so_many_seconds(
    burst: int, seconds_each: float, attempts: list[tuple[float, bool]]
) -> None:
    now = 0.0
    limit = GuessLimit(lambda: now, burst=burst, seconds_each=seconds_each)
    wrong_at: list[float] = []
    for pause_seconds, is_right in attempts:
        now += pause_seconds
        wait_seconds = limit.seconds_to_wait("owner")
        assert 0 <= wait_seconds <= seconds_each * (1 + 1e-9)
        if wait_seconds:
            continue
        limit.guessed("owner")
        if is_right:
            limit.take_back("owner")
        else:
            wrong_at.append(now)
    for first, began_at in enumerate(wrong_at):
        for count, at in enumerate(wrong_at[first:], start=1):
            assert count <= burst + (at - began_at) / seconds_each + 1e-6
    assert limit.seconds_to_wait("somebody else") == 0


def test_a_refreshed_session_goes_on(alone: Any) -> None:
    session = session_of(alone)
    answer = refresh(alone, session)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    for each in (session, answer.json()):
        assert look(alone, each["access_token"]) == 200
        assert refresh(alone, each).status_code == 200


def test_after_signing_out_neither_token_is_good_and_other_sessions_go_on(alone: Any) -> None:
    session, other = session_of(alone), session_of(alone)
    answer = alone.http.delete("/v1/sessions", headers=bearer(session["access_token"]))
    assert (answer.status_code, answer.content) == (204, b"")
    assert look(alone, session["access_token"]) == 401
    check_not_signed_in(refresh(alone, session))
    assert look(alone, other["access_token"]) == 200
    assert refresh(alone, other).status_code == 200


def test_tokens_expire_and_a_refresh_replaces_the_access_token(start: Any) -> None:
    target = start("target_service", TARGET_SESSION_SECONDS="1")
    strict = start("target_service", TARGET_SESSION_SECONDS="1", TARGET_REFRESH_SECONDS="1")
    session, short = session_of(target), session_of(strict)
    assert session["expires_in"] == 1
    eventually(lambda: look(target, session["access_token"]) == 401)
    renewed = refresh(target, session)
    assert renewed.status_code == 200
    assert look(target, renewed.json()["access_token"]) == 200
    eventually(lambda: refresh(strict, short).status_code == 401)


@pytest.mark.parametrize(
    ("settings", "end"),
    [({}, signal.SIGKILL), ({"TARGET_SESSION_KEY": KEY}, signal.SIGTERM)],
    ids=["key of the database, crash", "key of the settings, restart"],
)
def test_a_session_survives_a_restart(
    start: Any, tmp_path: Path, settings: dict[str, str], end: signal.Signals
) -> None:
    settings = {"TARGET_DATABASE_URL": f"sqlite:///{tmp_path / 'car.db'}", **settings}
    target = start("target_service", **settings)
    session = session_of(target)
    target.stop(end)
    target = start("target_service", **settings)
    assert look(target, session["access_token"]) == 200
    assert refresh(target, session).status_code == 200


def test_a_token_of_one_region_or_of_another_key_is_refused_by_the_other(
    start: Any, alone: Any, eu: Any
) -> None:
    us = start("target_service", TARGET_SESSION_KEY=KEY)
    for one, other in ((us, eu), (eu, us), (alone, us)):
        session = session_of(one)
        assert look(one, session["access_token"]) == 200
        assert look(other, session["access_token"]) == 401
        check_not_signed_in(refresh(other, session))
    foreign = eu.http.post("/v1/sessions", json=credentials(0, "us"))
    check_not_signed_in(foreign)


def forged(session: dict[str, Any]) -> Iterator[str]:
    token = session["access_token"]
    owner, session_id, signed_at, signature = token.rsplit(".", 3)
    yield f"1{owner}.{session_id}.{signed_at}.{signature}"
    yield f"{owner}.{session_id[::-1]}.{signed_at}.{signature}"
    yield f"{owner}.{session_id}.zzzzzz.{signature}"
    yield f"{owner}.{session_id}.{signed_at}.{signature[::-1]}"
    yield f"{owner}.{session_id}.{signed_at}."
    yield f"{owner}.{session_id}.{signed_at}"
    yield session["refresh_token"]
    yield token[:-1]
    yield token + "A"
    yield "."
    yield "...."
    yield "x" * 8000


def test_forged_tokens_are_refused(alone: Any) -> None:
    session = session_of(alone)
    token = session["access_token"]
    for each in forged(session):
        check_not_signed_in(alone.http.get("/v1/vehicles", headers=bearer(each)))
    for header in ("", token, f"Basic {token}", f"Bearer{token}", f"Bearer  {token}", "Bearer é"):
        headers = {"authorization": header.encode()}
        check_not_signed_in(alone.http.get("/v1/vehicles", headers=headers))
    assert look(alone, token) == 200


def test_an_access_token_refreshes_nothing(alone: Any) -> None:
    session = session_of(alone)
    check_not_signed_in(refresh(alone, {"refresh_token": session["access_token"]}))
    for wrong in ("...", session["refresh_token"] + "x"):
        check_not_signed_in(refresh(alone, {"refresh_token": wrong}))
    for unprintable in ("é", "\u0000"):
        assert refresh(alone, {"refresh_token": unprintable}).status_code == 422


def test_a_locked_database_signs_nobody_out(start: Any, tmp_path: Path) -> None:
    path = tmp_path / "car.db"
    target = start(
        "target_service",
        TARGET_DATABASE_URL=f"sqlite:///{path}",
        TARGET_DATABASE_PATIENCE_SECONDS="0.1",
    )
    session = session_of(target)
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    for _ in range(8):  # more than the breaker needs to open
        renewed = refresh(target, session)
        assert renewed.status_code == 200
        # Nobody could look whether it was ended: soon that is asked again.
        assert renewed.json()["expires_in"] <= 600
        session = renewed.json()
    check_dependency(target.http.post("/v1/sessions", json=credentials()))
    ended = target.http.delete("/v1/sessions", headers=bearer(session["access_token"]))
    check_dependency(ended)
    locker.execute("ROLLBACK")
    locker.close()
    eventually(lambda: refresh(target, session).json()["expires_in"] == 3600)
    assert look(target, session["access_token"]) == 200


def test_a_database_that_is_away_signs_nobody_out(start: Any, postgres: Any) -> None:
    target = start(
        "target_service",
        TARGET_DATABASE_URL=postgres.url_by(postgres.port, postgres.create()),
        TARGET_DATABASE_PATIENCE_SECONDS="0.3",
        TARGET_DATABASE_POOL="3",
    )
    session = session_of(target)
    postgres.stop()
    try:
        for _ in range(8):
            renewed = refresh(target, session)
            assert renewed.status_code == 200
            answer = target.http.get("/v1/vehicles", headers=bearer(renewed.json()["access_token"]))
            check_dependency(answer)
        check_dependency(target.http.post("/v1/sessions", json=credentials()))
    finally:
        postgres.start()
    eventually(lambda: look(target, session["access_token"]) == 200)
    eventually(lambda: refresh(target, session).json()["expires_in"] == 3600)
