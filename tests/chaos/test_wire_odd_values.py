"""Values and addresses at the edge of what Go and its JSON decoder take, on both servers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import httpx
import pytest

from tests.chaos.support import connected, real_server, round_trip_seconds
from tests.chaos.wire import Api, embedded_after, server

LOWEST, HIGHEST = -(2**63), 2**63 - 1
# A resolver that takes its time over one name; asyncio's loop asks it, uvloop has its own.
SLOW_NAME, SLOW_SECONDS = "slow.example", 1.5
SLOW_RESOLVER = f"""
import socket, time
sys.modules["uvloop"] = None
known = socket.getaddrinfo
def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    if host == {SLOW_NAME!r} and not flags & socket.AI_NUMERICHOST:
        time.sleep({SLOW_SECONDS})
        host = "127.0.0.1"
    return known(host, port, family, type, proto, flags)
socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture
def api(server_url: str) -> Iterator[Api]:
    api = Api(server_url, "either")
    yield api
    api.clear()
    api.close()


@pytest.fixture(params=["embedded", "real"])
def measured(request: pytest.FixtureRequest) -> Iterator[Api]:
    """A server of either kind that shows /metrics."""
    path = real_server()
    if request.param == "real" and path is None:
        pytest.skip("no toxiproxy-server on PATH or in $TOXIPROXY_SERVER")
    arguments = ["--proxy-metrics"] if request.param == "real" else []
    with server(request.param, path, *arguments) as api:
        yield api


def no_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def created(api: Api, **values: Any) -> httpx.Response:
    """What the server says to a new proxy."""
    return api.http.post("/proxies", json={"upstream": "127.0.0.1:1", **values})


@pytest.mark.parametrize("toxicity", ["1e400", "-1e400", "Infinity", "-Infinity", "NaN"])
def test_a_toxicity_that_is_not_finite_is_refused_and_answers_stay_json(
    api: Api, toxicity: str
) -> None:
    name, _ = api.proxy("127.0.0.1:1")
    api.toxic(name, "noop")
    body = f'{{"name": "odd", "type": "noop", "toxicity": {toxicity}}}'
    for answer in (
        api.http.post(f"/proxies/{name}/toxics", content=body),
        api.http.patch(f"/proxies/{name}/toxics/noop_downstream", content=body),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("bad request body: ")
    shown = json.loads(api.http.get(f"/proxies/{name}").text, parse_constant=no_json)
    assert [toxic["toxicity"] for toxic in shown["toxics"]] == [1]


def test_half_a_character_in_a_name_is_replaced_and_metrics_go_on(measured: Api) -> None:
    body = r'{"name": "x\ud800y", "upstream": "127.0.0.1:1", "listen": "127.0.0.1:0"}'
    assert measured.http.post("/proxies", content=body).json()["name"] == "x\ufffdy"
    toxic = measured.http.post(
        "/proxies/x\ufffdy/toxics", content=r'{"type": "noop", "name": "\udfff"}'
    )
    assert toxic.json()["name"] == "\ufffd"
    assert measured.http.get("/metrics").status_code == 200
    assert list(measured.http.get("/proxies").json()) == ["x\ufffdy"]


def test_metrics_answer_every_method(measured: Api) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = measured.http.request(method, "/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    ("toxic", "attributes"),
    [
        ("latency", {"latency": LOWEST, "jitter": LOWEST}),
        ("slow_close", {"delay": LOWEST}),
        ("limit_data", {"bytes": HIGHEST}),
    ],
)
def test_the_ends_of_64_bits_are_taken_and_harm_nobody(
    api: Api, echo: str, toxic: str, attributes: dict[str, int]
) -> None:
    name, listen = api.proxy(echo)
    body = {"type": toxic, "attributes": attributes}
    answer = api.http.post(f"/proxies/{name}/toxics", json=body)
    assert (answer.status_code, answer.json()["attributes"]) == (200, attributes)
    with connected(listen) as client:
        round_trip_seconds(client)
    attribute = next(iter(attributes))
    beyond = {"type": toxic, "name": "beyond", "attributes": {attribute: LOWEST - 1}}
    assert api.http.post(f"/proxies/{name}/toxics", json=beyond).status_code == 400


def test_a_body_of_two_megabytes_is_taken(api: Api) -> None:
    assert created(api, name="big", listen="127.0.0.1:0", pad="x" * 2_000_000).status_code == 201


def test_a_port_may_be_the_name_of_a_service(api: Api) -> None:
    try:
        port = socket.getservbyname("http", "tcp")
    except OSError:
        pytest.skip("no list of services on this machine")
    answer = created(api, name="a", listen="127.0.0.1:HTTP")
    # Whether this user may listen there or not: that is the address.
    assert f"127.0.0.1:{port}" in answer.text
    unknown = created(api, name="b", listen="127.0.0.1:no-such-service")
    assert unknown.status_code == 500
    assert unknown.json()["error"] == "listen tcp: lookup tcp/no-such-service: unknown port"


@pytest.mark.parametrize(
    ("port", "words"),
    [("", ""), ("+0", ""), ("-1", "address -1: invalid port"), ("65536", "65536: invalid port")],
)
def test_a_port_is_read_as_go_reads_it(api: Api, port: str, words: str) -> None:
    answer = created(api, name="a", listen=f"127.0.0.1:{port}")
    if words:
        assert answer.status_code == 500
        assert answer.json()["error"].endswith(words)
    else:
        assert int(answer.json()["listen"].removeprefix("127.0.0.1:")) > 0


def test_populate_keeps_a_proxy_whose_address_is_a_name(api: Api) -> None:
    listen = api.http.post(
        "/proxies", json={"name": "a", "listen": "localhost:0", "upstream": "127.0.0.1:1"}
    ).json()["listen"]
    api.toxic("a", "noop")
    body = [{"name": "a", "listen": own_name(listen), "upstream": "127.0.0.1:1"}]
    (kept,) = api.http.post("/populate", json=body).json()["proxies"]
    assert (kept["listen"], len(kept["toxics"])) == (listen, 1)


def own_name(listen: str) -> str:
    """The same address with this machine's name, or with localhost where that is another."""
    host, _, port = listen.rpartition(":")
    name = socket.gethostname()
    try:
        found = socket.getaddrinfo(name, None, family=socket.AF_INET)[0][4][0]
    except OSError:
        found = None
    return f"{name if found == host else 'localhost'}:{port}"


def test_relayed_bytes_do_not_wait_for_a_slow_lookup_of_a_listen_address(echo: str) -> None:
    with embedded_after(f"exec({SLOW_RESOLVER!r}); ") as (_, url):
        api = Api(url, "embedded")
        _, listen = api.proxy(echo)
        answers: list[httpx.Response] = []
        with connected(listen) as client:
            round_trip_seconds(client)
            asking = threading.Thread(
                target=lambda: answers.append(created(api, name="slow", listen=f"{SLOW_NAME}:0"))
            )
            start = time.perf_counter()
            asking.start()
            trips = []
            while asking.is_alive():
                trips.append(round_trip_seconds(client))
                time.sleep(0.01)
            seconds = time.perf_counter() - start
        api.close()
    assert answers[0].json()["listen"].startswith("127.0.0.1:")
    assert seconds >= SLOW_SECONDS
    assert max(trips) < seconds / 2
