from __future__ import annotations

import ast
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.commands.har import import_
from launchday.scaffold.har_secrets import (
    is_card_number,
    is_secret_name,
    is_tracking_cookie,
    looks_random,
    secrets_in,
)
from tests.scaffold.recordings import entry, har, scenario
from tests.scaffold.support import assert_clean

API = "http://api.example:8080"
CARD = "4111 1111 1111 1111"
FORM = "application/x-www-form-urlencoded"
PART = (
    '--x\r\nContent-Disposition: form-data; name="{name}"\r\n'
    "Content-Type: text/plain; charset=utf-8\r\n\r\n{value}\r\n--x--\r\n"
)


def posted(body: str, body_type: str = "application/json") -> dict[str, Any]:
    return entry("POST", f"{API}/v1/a", body=body, body_type=body_type, answer={})


PLANTED: list[tuple[str, dict[str, Any]]] = [
    ("AIzaSyD4x", entry("GET", f"{API}/maps?key=AIzaSyD4x", answer={})),
    ("s3cr", posted('{"pw": "s3cr"}')),
    ("gheim", posted('{"Passwort": "gheim"}')),
    ("gheim", posted('{"neues_kennwort": "gheim"}')),
    ("ab12", entry("GET", f"{API}/file?sig=ab12", answer={})),
    ("4/0AX4", posted("grant_type=authorization_code&code=4%2F0AX4", FORM)),
    ("0AX4", posted("grant_type=authorization_code&code=4%2F0AX4", FORM)),
    ("letmein", entry("GET", f"{API}/a", sent={"X-Access": "letmein77"}, answer={})),
    ("Zk3SECRET", entry("GET", f"{API}/magic/verify/Zk3SECRET0x9aQ7LmN2b", answer={})),
    ("Zk3SECRET", entry("GET", f"{API}/confirm?Zk3SECRET0x9aQ7LmN2b", answer={})),
    ("Zk3SECRET", entry("GET", f"{API}/a?of=Zk3SECRET0x9aQ7LmN2b", answer={})),
    ("R7k2", entry("GET", f"{API}/reset-password/R7k2-9xQ-004", answer={})),
    ("4111", posted(json.dumps({"number": CARD}))),
    ("4111", posted('{"number": 4111111111111111}')),
    ("4111", posted(f"paid with {CARD}, thanks", "text/plain")),
    ("s3cr", posted(PART.format(name="password", value="s3cr"), "multipart/form-data")),
    ("s3cr", posted("<login><password>s3cr</password></login>", "text/xml")),
    ("s<3", posted("<a:pw x='1'><![CDATA[s<3]]></a:pw>", "text/xml")),
    ("s3cr", posted('<login password="s3cr"/>', "text/xml")),
    ("s3cr", posted("user=anna\npassword=s3cr\n", "text/plain")),
    ("s3cr", posted("password: s3cr", "text/plain")),
    ("s3cr", posted(json.dumps({"data": json.dumps({"password": "s3cr"})}))),
    ("s3cr", posted(json.dumps({"a": json.dumps({"b": json.dumps([{"pin": "s3cr"}])})}))),
    ("1234", posted(json.dumps({"data": json.dumps({"pin": 1234})}))),
    ("s3cr", posted(urlencode({"data": json.dumps({"password": "s3cr"})}), FORM)),
    ("s3cr", entry("GET", f"{API}/a?v={quote(json.dumps({'pw': 's3cr'}))}", answer={})),
    ("s3cr", posted(json.dumps({"query": '{ login(password: "s3cr") { id } }'}))),
    ("s3cr", posted(json.dumps({"query": '{ login(password: """s3cr""") { id } }'}))),
    ("1234", posted("{ login(pin: 1234) { id } }", "application/graphql")),
    ("s3cr", posted(r'x = "{\"password\": \"s3cr\"}"', "text/plain")),
    ("s3cr", posted('{"passwords": {"old": "s3cr", "new": ["s3cr2"]}}')),
    ("hunter2", posted('{"repository": "https://bob:hunter2@git.example/x"}')),
    ("0AX4", entry("GET", f"{API}/a?next={quote('/b?code=0AX4')}", answer={})),
]


@pytest.mark.parametrize(("secret", "recorded"), PLANTED)
def test_a_secret_is_read_from_the_environment_and_not_written(
    secret: str, recorded: dict[str, Any]
) -> None:
    text = scenario(har(recorded))
    assert secret not in text
    assert 'secret("IT_' in text


def test_a_scenario_with_secrets_is_clean_python(tmp_path: Path) -> None:
    files = [tmp_path / f"it_{number}.py" for number in range(len(PLANTED))]
    for file, (_, recorded) in zip(files, PLANTED, strict=True):
        file.write_text(scenario(har(recorded)))
    assert_clean(*files)


@pytest.mark.parametrize(
    "recorded",
    [
        entry("GET", f"{API}/a?country_code=DEU17&sort_key=price17&zip-code=12345", answer={}),
        posted('{"countryCode": "DE1", "keyboard": "qwertz", "passenger": "anna", "key": "size"}'),
        posted('{"accessLevel": "L5", "compass": "N", "pinned": "p1", "statusCode": 200}'),
        posted('{"keyword": "chair", "sign": "leo", "monkey": "m1", "author": "a1"}'),
        posted('{"query": "query Q($password: String!) { login(password: $password) { id } }"}'),
        posted('{"at": 1764000000009, "ean": "4006381333931", "total": 17.5}'),
        entry("GET", f"{API}/products/lounge-chair-oak-2024-edition-3", answer={}),
        entry("GET", f"{API}/a?since=2026-11-21T18:00:00.000Z&b=chair,table,lamp-200", answer={}),
        entry("GET", f"{API}/orders/3c6e0b8a-9c15-4a4b-8f0e-000000000001", answer={}),
        entry("GET", f"{API}/orders/507f1f77bcf86cd799439011", answer={}),
        entry("GET", f"{API}/orders/01ARZ3NDEKTSV4RRFFQ69G5FAV", answer={}),
        entry("GET", f"{API}/vehicles/5YJ3E1EA7KF317000", answer={}),
        posted(
            '{"sha256Hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}'
        ),
    ],
)
def test_what_only_resembles_a_secret_is_sent_as_it_was_recorded(recorded: dict[str, Any]) -> None:
    assert "secret(" not in scenario(har(recorded))


def test_what_surrounds_a_secret_is_sent_as_it_was_recorded() -> None:
    query = 'mutation { login(user: "a", password: "s3cr") { id } }'
    text = scenario(har(posted(json.dumps({"query": query, "key": "size"}))))
    expected = """f'mutation {{ login(user: "a", password: "{PASSWORD}") {{ id }} }}'"""
    assert f'"query": {expected}' in " ".join(text.split())
    nested = scenario(har(posted(json.dumps({"data": json.dumps({"pin": 1234, "a": [1]})}))))
    assert '"data": json.dumps({"pin": int(PIN), "a": [1]})' in nested


def test_a_value_that_an_answer_gave_is_taken_from_there_and_not_from_the_environment() -> None:
    token = "Zk3SECRET0x9aQ7LmN2b"
    text = scenario(
        har(
            entry("POST", f"{API}/v1/mails", body="{}", answer={"link": {"token": token}}),
            entry("GET", f"{API}/magic/verify/{token}?key={token}", at_seconds=1, answer={}),
        )
    )
    assert "from_json(response" in text
    assert "secret(" not in text
    assert token not in text


NAMES = st.from_regex(
    "password|Passwort|new_password|passwordConfirm|kennwort|pw|userPw|pwd|pass|api_key|key|sig|code"
    "|otpCode|x-access|access_token|refreshToken|client_secret|pin|passcode|cvc|csrfToken|signature|session_id",
    fullmatch=True,
)
LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
SECRETS = st.builds(
    lambda first, digit, rest: f"{first}{digit}{rest}",
    st.text("QWXZ", min_size=2, max_size=4),
    st.integers(0, 9),
    st.text(LETTERS + "0123456789!#*+%?äß€ ,;", max_size=20).map(str.strip),
)
ORDINARY = st.text(LETTERS + " \"'<{[:=\\\n", max_size=12)


@st.composite
def documents(draw: st.DrawFn, value: str) -> Any:
    """JSON that holds `value` somewhere under a secret name, maybe as JSON in a text."""
    document: Any = {draw(ORDINARY): draw(ORDINARY), draw(NAMES): value}
    for _ in range(draw(st.integers(0, 3))):
        around = draw(st.sampled_from(["list", "object", "text"]))
        if around == "list":
            document = [draw(ORDINARY), document]
        elif around == "object":
            document = {draw(ORDINARY): document, "n": draw(st.integers())}
        else:
            document = {"data": json.dumps(document, ensure_ascii=draw(st.booleans()))}
    return document


@st.composite
def recordings(draw: st.DrawFn, secret: str) -> dict[str, Any]:
    name = draw(NAMES)
    simple = "".join(c for c in secret if c in LETTERS or c.isdigit())
    forms = {
        "json": lambda: posted(json.dumps(draw(documents(secret)))),
        "form": lambda: posted(urlencode({"a": draw(ORDINARY), name: secret}), FORM),
        "query": lambda: entry("GET", f"{API}/a?{urlencode({name: secret})}", answer={}),
        "header": lambda: entry("GET", f"{API}/a", sent={name: secret}, answer={}),
        "part": lambda: posted(PART.format(name=name, value=secret), "multipart/form-data"),
        "xml": lambda: posted(f"<a><b>1</b><{name}>{secret}</{name}></a>", "text/xml"),
        "lines": lambda: posted(f"a=b\n{name}={simple}\nc=d", "text/plain"),
        "graphql": lambda: posted(
            json.dumps({"query": f"{{ a({name}: {json.dumps(secret, ensure_ascii=False)}) }}"})
        ),
    }
    return forms[draw(st.sampled_from(sorted(forms)))]()


@settings(max_examples=120, deadline=None)
@given(SECRETS.flatmap(lambda secret: st.tuples(st.just(secret), recordings(secret))))
def test_a_secret_under_a_secret_name_is_never_written(
    planted: tuple[str, dict[str, Any]],
) -> None:
    secret, recorded = planted
    text = scenario(har(recorded))
    ast.parse(text)
    simple = "".join(c for c in secret if c in LETTERS or c.isdigit())
    escaped = {secret, json.dumps(secret)[1:-1], quote(secret), simple, secret.split()[0]}
    assert [each for each in escaped if each in text] == []


TOKENS = st.text(LETTERS + "0123456789", min_size=24, max_size=64).filter(
    lambda text: sum(c.isdigit() for c in text) >= 4 and len(set(text)) >= 14
)


@settings(max_examples=100, deadline=None)
@given(TOKENS, st.sampled_from(["/magic/{}", "/a/{}/b", "/a?of={}", "/a?{}", "/a?b=c&d={}#e"]))
def test_a_long_random_part_of_a_url_is_never_written(token: str, path: str) -> None:
    text = scenario(har(entry("GET", API + path.format(token), answer={})))
    ast.parse(text)
    assert token not in text


@given(st.integers(2 * 10**12, 10**19 - 1))
def test_the_check_digit_tells_a_card_from_a_number(number: int) -> None:
    if str(number)[0] not in "01":
        right = [d for d in range(10) if is_card_number(f"{number // 10}{d}")]
        assert len(right) == 1


def test_names_are_compared_word_by_word() -> None:
    for name in (
        "apiKey",
        "X-Access",
        "user_pass",
        "userPIN",
        "access_key_id",
        "PASSWORD2",
        "2faCode",
    ):
        assert is_secret_name(name), name
    for name in ("country_code", "keyboard", "passenger", "publicKey", "spin", "design", "encode"):
        assert not is_secret_name(name), name


def test_a_text_that_was_made_up_is_not_random() -> None:
    for text in ("iphone-15-pro-max-256gb-blau-s2", "a" * 30 + "1", "2026-11-21T18:00:00+01:00"):
        assert not looks_random(text), text
    assert looks_random("9e107d9d372bb6826bd81d3542a419d6")


@pytest.mark.parametrize(
    "part", ['a:"', "<a>", "password ", 'name="x"\r\n', " ", "1 ", "<a ", "\\"]
)
def test_the_search_for_secrets_grows_with_the_text_and_not_with_its_square(part: str) -> None:
    def cpu_seconds(size: int) -> float:
        began = time.process_time()
        secrets_in(part * (size // len(part)))
        return time.process_time() - began

    assert cpu_seconds(48_000) < 10 * cpu_seconds(12_000) + 1


def test_the_command_counts_what_it_moved_and_asks_to_look_through_the_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "it.har").write_bytes(har(posted('{"user": "anna", "pw": "s3cr", "pin": 1234}')))
    arguments = ["har", str(tmp_path / "it.har"), "--output", str(tmp_path / "it.py")]
    printed = CliRunner().invoke(import_, arguments, catch_exceptions=False).output
    assert "3 values were moved to the environment" in printed  # the name of who signs in, too
    assert "look through it before you commit it" in printed


def with_cookies(*cookies: str) -> bytes:
    return har(entry("GET", f"{API}/bikes", sent={"Cookie": "; ".join(cookies)}, answer={}))


def imported(recording: bytes, folder: Path) -> str:
    (folder / "it.har").write_bytes(recording)
    arguments = ["har", str(folder / "it.har"), "--output", str(folder / "it.py"), "--force"]
    return CliRunner().invoke(import_, arguments, catch_exceptions=False).output


def test_a_session_with_cookies_of_statistics_only_needs_no_variable(tmp_path: Path) -> None:
    printed = imported(with_cookies("_ga=GA1.1.5.17", "consent=yes", "_ga_X1=GS1.1"), tmp_path)
    text = (tmp_path / "it.py").read_text()
    assert "secret(" not in text
    assert "Cookie" not in text
    assert "IT_COOKIE" not in printed
    left_out = "left out cookies of statistics, advertisements and consent: _ga, consent, _ga_X1"
    assert left_out in printed


def test_the_file_says_which_cookies_to_put_into_the_variable(tmp_path: Path) -> None:
    cookies = ("_ga=GA1.1.5.17", "basket=b-4711", "Zk3SECRET0x9aQ7LmN2b=1", "sid=s3cr3t-0815")
    printed = imported(with_cookies(*cookies), tmp_path)
    text = (tmp_path / "it.py").read_text()
    before, _, _ = text.partition('COOKIE = secret("IT_COOKIE")')
    comment = before.rpartition("\n\n")[2].replace("\n# ", " ")
    assert "as one header: basket=...; sid=.... Sign in with a browser and copy them" in comment
    assert "IT_COOKIE (basket=...; sid=...; its comment says more)" in printed
    for secret in ("4711", "0815", "Zk3SECRET"):
        assert secret not in text + printed
    assert_clean(tmp_path / "it.py")


def test_a_cookie_of_statistics_that_an_answer_sets_is_not_waited_for() -> None:
    text = scenario(
        har(
            entry("GET", f"{API}/a", answer={}, answered=[("Set-Cookie", "_ga=GA1.1.5.17")]),
            entry("GET", f"{API}/b", sent={"Cookie": "_ga=GA1.1.5.17"}, at_seconds=1, answer={}),
        )
    )
    assert "from_cookie" not in text


@pytest.mark.parametrize(
    ("names", "tracking"),
    [
        ("_ga _gid _gcl_au _fbp _hjSessionUser_17 OptanonConsent CookieConsent euconsent-v2", True),
        ("cookie_consent cookie-policy gdpr_consent consent usprivacy hubspotutk __utma", True),
        ("session sid connect.sid JSESSIONID basket _s theme csrftoken cookie_session", False),
        ("_garden_session gardena consented_session oauth_consent user_id lang", False),
    ],
)
def test_cookies_of_statistics_are_known_by_their_names(names: str, tracking: bool) -> None:
    assert [name for name in names.split() if is_tracking_cookie(name) is not tracking] == []
