"""Who a request is: routes, headers that lie, clients without names."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.admission.asgi import Receive, Scope, Send
from launchday.admission.classify import Classifier, RouteRule, client_address, header_key
from launchday.metric_names import CRITICALITIES

WORD = b"x-request-criticality"
TIMEOUT = b"x-envoy-expected-rq-timeout-ms"
CRITICAL_PLUS, CRITICAL, SHEDDABLE_PLUS, SHEDDABLE = range(4)


def scope(
    path: str = "/",
    method: str = "GET",
    headers: list[tuple[bytes, bytes]] | None = None,
    client: tuple[str, int] | None = ("203.0.113.9", 4711),
    **more: Any,
) -> Scope:
    named = {"path": path, "method": method, "headers": headers or [], "client": client}
    return {"type": "http", **named, **more}


def criticality(classifier: Classifier, path: str, method: str = "GET", **more: Any) -> str:
    return CRITICALITIES[classifier.classify(scope(path, method, **more)).criticality]


def test_the_first_rule_that_matches_wins_whether_literal_or_pattern() -> None:
    pattern = RouteRule("/v1/vehicles/{vin}", "sheddable")
    literal = RouteRule("/v1/vehicles/mine", "critical_plus")
    assert criticality(Classifier([pattern, literal]), "/v1/vehicles/mine") == "sheddable"
    assert criticality(Classifier([literal, pattern]), "/v1/vehicles/mine") == "critical_plus"
    assert criticality(Classifier([literal, pattern]), "/v1/vehicles/W0L1") == "sheddable"


@pytest.mark.parametrize(
    ("rule", "path", "matches"),
    [
        ("/v1/a", "/v1/a", True),
        ("/v1/a", "/v1/a/", False),
        ("/v1/a", "/v1/ab", False),
        ("/v1/a", "/x/v1/a", False),
        ("/v1/a.b", "/v1/aXb", False),
        ("/v1/{vin}/state", "/v1/W0L/state", True),
        ("/v1/{vin}/state", "/v1/W0L\n1/state", True),
        ("/v1/{vin}/state", "/v1//state", False),
        ("/v1/{vin}/state", "/v1/a/b/state", False),
        ("/v1/{vin}/state", "/v1/a/state/x", False),
        ("/v1/{vin}/", "/v1/W0L/state\n/x", True),
        ("/v1/{vin}/", "/v1/W0L", False),
        ("/reports/", "/reports/", True),
        ("/reports/", "/reports", False),
        ("/", "/", True),
        ("/", "/v1", False),
    ],
)
def test_a_path_is_exact_a_name_is_one_segment_a_slash_at_the_end_is_all_below(
    rule: str, path: str, matches: bool
) -> None:
    classifier = Classifier([RouteRule("/other"), RouteRule(rule, "sheddable")])
    for _ in range(2):  # the second answer is from memory
        assert criticality(classifier, path) == ("sheddable" if matches else "critical")


def test_a_rule_is_for_its_methods_and_what_get_is_head_is_too() -> None:
    read = RouteRule("/v1/a", "sheddable", methods=("GET",))
    write = RouteRule("/v1/a", "critical_plus", methods=("POST", "PUT"))
    classifier = Classifier([read, write], default="sheddable_plus")
    expected = {
        "GET": "sheddable",
        "HEAD": "sheddable",
        "POST": "critical_plus",
        "PUT": "critical_plus",
        "DELETE": "sheddable_plus",
        "GETPOST": "sheddable_plus",
    }
    for method, word in expected.items():
        assert criticality(classifier, "/v1/a", method) == word, method


def test_a_rule_says_cost_and_pool_and_a_header_changes_neither() -> None:
    rule = RouteRule("/export", "sheddable", cost=8, long_lived=True)
    classifier = Classifier(
        [rule], criticality_header="x-request-criticality", trusted_peers=["unix"]
    )
    assert classifier.classify(scope("/export")) == (SHEDDABLE, 8, True)
    raised = scope("/export", headers=[(WORD, b"critical")], client=None)
    assert classifier.classify(raised) == (CRITICAL, 8, True)
    assert classifier.classify(scope("/")) == (CRITICAL, 1, False)


def test_paths_are_below_root_path_and_a_websocket_is_a_get() -> None:
    classifier = Classifier([RouteRule("/live", "sheddable", methods=("GET",))])
    assert criticality(classifier, "/api/live", root_path="/api") == "sheddable"
    assert criticality(classifier, "/api/live", root_path="") == "critical"
    websocket = scope("/live", type="websocket")
    del websocket["method"]
    assert classifier.classify(websocket).criticality == SHEDDABLE


def test_answers_are_shared_so_that_no_request_pays_for_one() -> None:
    classifier = Classifier([RouteRule("/v1/{id}")], criticality_header="x-request-criticality")
    header = [(WORD, b"sheddable")]
    for headers in ([], header):
        first = classifier.classify(scope("/v1/1", headers=headers))
        again = classifier.classify(scope("/v1/2", headers=headers))
        assert first is again


@pytest.mark.parametrize(("length", "most_bytes"), [(20, 3_000_000), (3000, 500_000)])
def test_a_flood_of_invented_paths_is_not_remembered(length: int, most_bytes: int) -> None:
    classifier = Classifier([RouteRule("/v1/{id}")])
    tracemalloc.start()
    try:
        for number in range(20_000):
            classifier.classify(scope(f"/{number:0{length}}"))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < most_bytes


def test_a_flood_of_invented_addresses_is_not_remembered() -> None:
    classifier = Classifier(default="sheddable", criticality_header="x-request-criticality")
    tracemalloc.start()
    try:
        for number in range(3000):
            peer = (f"{number:03000}", 1)
            classifier.classify(scope(headers=[(WORD, b"critical")], client=peer))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500_000


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        (("10.1.2.3", 1), True),
        (("::ffff:10.1.2.3", 1), True),
        (("2001:db8::7", 1), True),
        (None, True),
        (("", 0), True),
        (("11.1.2.3", 1), False),
        (("2001:db9::7", 1), False),
        (("testclient", 1), False),
        (("10.1.2.3, 10.1.2.4", 1), False),
        (("1" * 100_000, 1), False),
    ],
)
def test_only_a_trusted_peer_raises_a_criticality_and_anybody_lowers_it(
    peer: tuple[str, int] | None, trusted: bool
) -> None:
    classifier = Classifier(
        [RouteRule("/x", "sheddable_plus")],
        criticality_header="X-Request-Criticality",
        trusted_peers=("10.0.0.0/8", "2001:db8::/32", "unix"),
    )
    told = {
        word: scope("/x", headers=[(WORD, word.encode())], client=peer) for word in CRITICALITIES
    }
    levels = {word: classifier.classify(one).criticality for word, one in told.items()}
    assert levels["sheddable"] == SHEDDABLE
    assert levels["sheddable_plus"] == SHEDDABLE_PLUS
    assert levels["critical_plus"] == (CRITICAL_PLUS if trusted else SHEDDABLE_PLUS)
    assert classifier.clamped == (0 if trusted else 2)


def test_without_unix_in_the_list_a_peer_without_address_is_not_trusted() -> None:
    classifier = Classifier(default="sheddable", criticality_header="x-request-criticality")
    raised = scope(headers=[(WORD, b"critical")], client=None)
    assert classifier.classify(raised).criticality == SHEDDABLE
    assert classifier.clamped == 1


@pytest.mark.parametrize("word", [b"SHEDDABLE", b" sheddable\t", b"Sheddable"])
def test_capitals_and_blanks_around_a_word_do_not_matter(word: bytes) -> None:
    classifier = Classifier(criticality_header="x-request-criticality")
    assert classifier.classify(scope(headers=[(WORD, word)])).criticality == SHEDDABLE
    assert classifier.clamped == 0


@pytest.mark.parametrize(
    "values",
    [
        [b"urgent"],
        [b""],
        [b"sheddable, sheddable"],
        [b"sheddable\xc3\xa9"],
        [b"\xff\xfe\x00"],
        [b"sheddable" + b" " * 1_000_000],
        [b"sheddable", b"sheddable"],
    ],
)
def test_a_criticality_that_is_nonsense_is_ignored_and_counted(values: list[bytes]) -> None:
    classifier = Classifier(
        criticality_header="x-request-criticality", trusted_peers=["203.0.113.0/24"]
    )
    told = scope(headers=[(WORD, value) for value in values])
    assert classifier.classify(told).criticality == CRITICAL
    assert classifier.clamped == len(values)


def test_headers_that_nobody_configured_are_not_looked_at() -> None:
    classifier = Classifier(trusted_peers=["203.0.113.9"])
    assert not classifier.needs_headers
    assert Classifier(criticality_header="x-request-criticality").needs_headers
    told = scope(headers=[(WORD, b"sheddable"), (TIMEOUT, b"100")])
    assert classifier.classify(told).criticality == CRITICAL
    assert classifier.timeout_seconds(told) is None
    assert classifier.client(told) is None
    assert classifier.clamped == 0


@pytest.mark.parametrize(
    ("values", "seconds", "clamped"),
    [
        ([b"1500"], 1.5, 0),
        ([b"0.5"], 0.0005, 0),
        ([b"86400000"], 86400.0, 0),
        ([], None, 0),
        ([b"0"], None, 1),
        ([b"86400001"], None, 1),
        ([b"-1"], None, 1),
        ([b"nan"], None, 1),
        ([b"inf"], None, 1),
        ([b"1e3"], None, 1),
        ([b"1_000"], None, 1),
        ([b"\xd9\xa1"], None, 1),  # an Arabic digit
        ([b"9" * 1_000_000], None, 1),
        ([b"15", b"15"], None, 2),
    ],
)
def test_a_timeout_is_a_positive_number_of_milliseconds_of_at_most_a_day(
    values: list[bytes], seconds: float | None, clamped: int
) -> None:
    classifier = Classifier(timeout_header="x-envoy-expected-rq-timeout-ms")
    told = scope(headers=[(TIMEOUT, value) for value in values])
    assert classifier.timeout_seconds(told) == seconds
    assert classifier.clamped == clamped


def test_a_client_has_one_number_for_an_hour_and_nowhere_else_the_same() -> None:
    now = [1000.0]
    by_token = header_key("Authorization")
    first, second = (Classifier(client_key=by_token, clock=lambda: now[0]) for _ in range(2))
    ada, bob = (scope(headers=[(b"authorization", key)]) for key in (b"ada", b"bob"))
    number = first.client(ada)
    assert isinstance(number, int)
    assert number != first.client(bob)
    assert number != second.client(ada)
    now[0] += 3599.0
    assert first.client(ada) == number
    now[0] += 1.0
    assert first.client(ada) != number
    assert b"ada" not in repr(vars(first)).encode()


def test_a_header_sent_twice_counts_with_both_values_and_an_empty_one_is_none() -> None:
    key = header_key("authorization")
    name = b"authorization"
    assert key(scope(headers=[(name, b"a"), (name, b"b")])) not in (None, "a", "b")
    assert key(scope(headers=[(name, b"")])) is None
    assert key(scope()) is None
    assert key(scope(headers=[(name, b"\xff")])) == "\xff"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.9", "203.0.113.250", True),
        ("203.0.113.9", "203.0.114.9", False),
        ("203.0.113.9", "::ffff:203.0.113.77", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_addresses_of_one_network_are_one_client(one: str, other: str, same: bool) -> None:
    key = client_address()
    assert key(scope(client=(one, 1))) is not None
    assert (key(scope(client=(one, 1))) == key(scope(client=(other, 2)))) is same


def test_the_networks_are_as_large_as_asked_and_no_address_is_no_client() -> None:
    narrow = client_address(ipv4_prefix=32, ipv6_prefix=128)
    assert narrow(scope(client=("203.0.113.9", 1))) != narrow(scope(client=("203.0.113.8", 1)))
    assert narrow(scope(client=("::1", 1))) != narrow(scope(client=("::2", 1)))
    for peer in (None, ("", 0), ("testclient", 1), ("1.2.3.4\0", 1), ("\ud800:", 1), ("1" * 99, 1)):
        assert narrow(scope(client=peer)) is None


@pytest.mark.parametrize("answer", [RuntimeError("no"), 7, b"bytes"])
def test_a_client_key_that_raises_or_answers_nonsense_is_no_key_and_counted(answer: Any) -> None:
    def key(_: Scope) -> str | None:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]  # what a careless user would do

    classifier = Classifier(client_key=key)
    assert classifier.client(scope()) is None
    assert classifier.key_errors == 1
    assert Classifier(client_key=lambda _: "\ud800").client(scope()) is not None


NAMES = st.sampled_from([WORD, TIMEOUT, b"authorization"]) | st.binary(max_size=8)
VALUES = st.sampled_from([word.encode() for word in CRITICALITIES]) | st.binary() | st.just(b"1500")
TEXT = st.text(st.characters(), max_size=40)
SCOPES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["http", "websocket"]),
        "path": TEXT | st.sampled_from(["/", "/v1/a", "/v1/b/c"]),
        "headers": st.lists(st.tuples(NAMES, VALUES), max_size=6),
    },
    optional={
        "method": TEXT | st.sampled_from(["GET", "POST"]),
        "root_path": TEXT,
        "client": st.none() | st.tuples(TEXT | st.ip_addresses().map(str), st.integers(0, 65535)),
    },
)


@given(SCOPES)
def test_whatever_comes_nothing_raises_and_strangers_raise_no_criticality(hostile: Scope) -> None:
    rules = [RouteRule("/v1/{x}", "sheddable_plus"), RouteRule("/v1/", "sheddable", cost=3)]
    told: dict[str, Any] = {
        "criticality_header": "x-request-criticality",
        "timeout_header": "x-envoy-expected-rq-timeout-ms",
    }
    rule = Classifier(rules).classify(hostile)
    for key in (client_address(), header_key("authorization")):
        strict = Classifier(rules, client_key=key, **told)
        assert strict.classify(hostile).criticality >= rule.criticality
        assert strict.classify(hostile)[1:] == rule[1:]
        seconds = strict.timeout_seconds(hostile)
        assert seconds is None or 0 < seconds <= 86400
        assert strict.client(hostile) is None or strict.key_errors == 0
        assert strict.key_errors == 0


async def test_what_a_real_server_hands_over_is_understood(serve: Any, connect: Any) -> None:
    classifier = Classifier(
        [RouteRule("/v1/{vin}/state", "sheddable_plus", methods=("GET",), cost=2)],
        criticality_header="X-Request-Criticality",
        trusted_peers=["127.0.0.1"],
        timeout_header="X-Envoy-Expected-Rq-Timeout-Ms",
        client_key=client_address(),
    )
    clients = set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        clients.add(classifier.client(scope))
        known = classifier.classify(scope)
        body = json.dumps([*known, classifier.timeout_seconds(scope)]).encode()
        length = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": body})

    async with serve(app, proxy_headers=False) as port:
        client = await connect(port)
        asked = [
            (("GET /v1/W%30L/state?x=1",), [SHEDDABLE_PLUS, 2, False, None]),
            (("POST /v1/W0L/state",), [CRITICAL, 1, False, None]),
            (
                ("GET /v1/a%2Fb/state", "X-Envoy-Expected-RQ-Timeout-MS: 250"),
                [CRITICAL, 1, False, 0.25],
            ),
            (
                ("GET /v1/W0L/state", "x-request-CRITICALITY:  Critical_Plus "),
                [CRITICAL_PLUS, 2, False, None],
            ),
            (
                ("GET /v1/W0L/state", "X-Request-Criticality: " + "sheddable" * 3000),
                [SHEDDABLE_PLUS, 2, False, None],
            ),
        ]
        for request, expected in asked:
            status, _, body = await client.ask(*request)
            assert status == 200
            assert json.loads(body) == expected, request
        assert classifier.clamped == 1
        assert len(clients) == 1
        assert None not in clients
