from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.ports import free_port

PROXY = {"name": "a", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"}
WRONG_STREAM = "stream was invalid, can be either upstream or downstream"
DEFAULTS = {
    "bandwidth": {"rate": 0},
    "latency": {"latency": 0, "jitter": 0},
    "limit_data": {"bytes": 0},
    "noop": {},
    "reset_peer": {"timeout": 0},
    "slow_close": {"delay": 0},
    "timeout": {"timeout": 0},
}
TOXIC = {
    "attributes": {"latency": 100, "jitter": 0},
    "name": "latency_downstream",
    "type": "latency",
    "stream": "downstream",
    "toxicity": 1,
}


@pytest.fixture
def client(server_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server_url, trust_env=False, timeout=20) as client:
        yield client
        for name in client.get("/proxies").json():
            client.delete(f"/proxies/{name}")


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and words of an error, which both servers send as JSON that calls itself text."""
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.endswith("}\n")
    body = answer.json()
    assert body["status"] == answer.status_code
    assert set(body) == {"error", "status"}
    return answer.status_code, body["error"]


def shown(answer: httpx.Response) -> dict[str, Any]:
    """A proxy, but for the stray `Logger` of the real server (docs/toxiproxy.md)."""
    assert answer.headers["content-type"] == "application/json"
    values: dict[str, Any] = answer.json()
    values.pop("Logger", None)
    return values


def test_version_is_json_and_says_which_server_it_is(
    client: httpx.Client, request: pytest.FixtureRequest
) -> None:
    embedded = "embedded" in request.node.name
    answer = client.get("/version")
    assert answer.status_code == 200
    version = answer.json()["version"]
    assert version == ("2.12.0-launchday" if embedded else version)


def test_a_proxy_is_created_shown_changed_and_deleted(client: httpx.Client) -> None:
    assert client.get("/proxies").json() == {}
    created = client.post("/proxies", json=PROXY)
    assert created.status_code == 201
    proxy = shown(created)
    assert proxy["listen"].startswith("127.0.0.1:")
    assert proxy["listen"] != "127.0.0.1:0"
    assert proxy == PROXY | {"listen": proxy["listen"], "enabled": True, "toxics": []}
    assert shown(client.get("/proxies/a")) == proxy
    changed = client.patch("/proxies/a", json={"enabled": False, "name": "b"})
    assert (changed.status_code, shown(changed)) == (200, proxy | {"enabled": False})
    changed = client.post("/proxies/a", json={"upstream": "127.0.0.1:2", "enabled": True})
    assert shown(changed) == proxy | {"upstream": "127.0.0.1:2"}
    assert list(client.get("/proxies").json()) == ["a"]
    assert client.delete("/proxies/a").status_code == 204
    assert error(client.delete("/proxies/a")) == (404, "proxy not found")


def test_a_proxy_can_be_created_disabled(client: httpx.Client) -> None:
    listen = f"127.0.0.1:{free_port()}"
    answer = client.post("/proxies", json=PROXY | {"listen": listen, "enabled": False})
    assert shown(answer) == PROXY | {"listen": listen, "enabled": False, "toxics": []}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"upstream": "x:1"}, 400, "missing required field: name"),
        ({"name": "b"}, 400, "missing required field: upstream"),
        (PROXY, 409, "proxy already exists"),
        (
            {"name": "b", "upstream": "x:1", "listen": "127.0.0.1"},
            500,
            "listen tcp: address 127.0.0.1: missing port in address",
        ),
    ],
)
def test_a_wrong_proxy_is_refused(
    client: httpx.Client, body: dict[str, str], status: int, words: str
) -> None:
    client.post("/proxies", json=PROXY)
    assert error(client.post("/proxies", json=body)) == (status, words)


@pytest.mark.parametrize("content", ["", "{bad", "[]", '{"name": 5}', '{"enabled": "x"}'])
def test_a_body_that_does_not_decode_is_refused(client: httpx.Client, content: str) -> None:
    status, words = error(client.post("/proxies", content=content))
    assert status == 400
    assert words.startswith("bad request body: ")


def test_a_taken_port_is_said_and_leaves_the_proxy_disabled(client: httpx.Client) -> None:
    taken = shown(client.post("/proxies", json=PROXY))["listen"]
    words = f"listen tcp {taken}: bind: address already in use"
    other = PROXY | {"name": "b", "listen": taken}
    assert error(client.post("/proxies", json=other)) == (500, words)
    assert error(client.get("/proxies/b")) == (404, "proxy not found")
    client.post("/proxies", json=PROXY | {"name": "c"})
    assert error(client.patch("/proxies/c", json={"listen": taken})) == (500, words)
    assert shown(client.get("/proxies/c"))["enabled"] is False


def test_a_toxic_is_created_shown_changed_and_deleted(client: httpx.Client) -> None:
    client.post("/proxies", json=PROXY)
    body = {"type": "latency", "attributes": {"latency": 100, "unknown": 3}}
    created = client.post("/proxies/a/toxics", json=body)
    assert (created.status_code, created.json()) == (200, TOXIC)
    assert error(client.post("/proxies/a/toxics", json=body)) == (409, "toxic already exists")
    upstream = {"type": "timeout", "name": "t", "stream": "UPSTREAM", "toxicity": 0.5}
    client.post("/proxies/a/toxics", json=upstream)
    second = upstream | {"attributes": {"timeout": 0}}
    assert client.get("/proxies/a/toxics").json() == [second, TOXIC]
    assert client.get("/proxies/a").json()["toxics"] == [second, TOXIC]
    assert client.get("/proxies/a/toxics/t").json() == second
    for method in ("PATCH", "POST"):
        change = {"attributes": {"jitter": 3}, "toxicity": 0.25, "name": "n", "type": "timeout"}
        changed = client.request(method, "/proxies/a/toxics/latency_downstream", json=change)
        wanted = TOXIC | {"toxicity": 0.25, "attributes": {"latency": 100, "jitter": 3}}
        assert (changed.status_code, changed.json()) == (200, wanted)
    assert client.delete("/proxies/a/toxics/t").status_code == 204
    assert error(client.delete("/proxies/a/toxics/t")) == (404, "toxic not found")


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
@pytest.mark.parametrize("kind", DEFAULTS)
def test_every_toxic_has_its_attributes_and_their_defaults(
    client: httpx.Client, kind: str, stream: str
) -> None:
    client.post("/proxies", json=PROXY)
    answer = client.post("/proxies/a/toxics", json={"type": kind, "stream": stream})
    name = f"{kind}_{stream}"
    wanted = {"name": name, "type": kind, "stream": stream, "toxicity": 1}
    assert (answer.status_code, answer.json()) == (200, wanted | {"attributes": DEFAULTS[kind]})
    assert client.get(f"/proxies/a/toxics/{name}").json() == answer.json()
    values = dict.fromkeys(DEFAULTS[kind], 7)
    changed = client.patch(f"/proxies/a/toxics/{name}", json={"attributes": values})
    assert changed.json()["attributes"] == values


def test_a_slicer_keeps_its_sizes(client: httpx.Client) -> None:
    client.post("/proxies", json=PROXY)
    sizes = {"average_size": 64, "size_variation": 8, "delay": 10}
    body = {"type": "slicer", "attributes": sizes}
    assert client.post("/proxies/a/toxics", json=body).json()["attributes"] == sizes


@pytest.mark.parametrize("toxicity", [7, -1, 0.3, 0.123456789, 0])
def test_toxicity_is_not_checked_and_kept_in_32_bits(client: httpx.Client, toxicity: float) -> None:
    client.post("/proxies", json=PROXY)
    body = {"type": "noop", "toxicity": toxicity}
    shown = client.post("/proxies/a/toxics", json=body).json()["toxicity"]
    assert shown == pytest.approx(toxicity, rel=1e-7)
    assert len(str(shown)) <= 10


@pytest.mark.parametrize("toxicity", [1e39, "1", True, [1]])
def test_a_toxicity_that_is_no_32_bit_number_is_refused(
    client: httpx.Client, toxicity: object
) -> None:
    client.post("/proxies", json=PROXY)
    body = {"type": "noop", "toxicity": toxicity}
    status, words = error(client.post("/proxies/a/toxics", json=body))
    assert status == 400
    assert words.startswith("bad request body: ")


def test_checks_come_in_the_order_of_the_real_server(client: httpx.Client) -> None:
    client.post("/proxies", json=PROXY)
    client.post("/proxies/a/toxics", json={"type": "latency"})
    taken = {"type": "latency", "attributes": {"latency": "x"}}
    assert error(client.post("/proxies/a/toxics", json=taken)) == (409, "toxic already exists")
    no_object = {"type": "nope", "attributes": 5}
    status, words = error(client.post("/proxies/a/toxics", json=no_object))
    assert status == 400
    assert words.startswith("bad request body: ")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ('{"NAME": "b", "Upstream": "x:1", "more": {}} trailing', "b"),
        ('  {"name": "b", "name": "c", "upstream": "x:1", "enabled": null}', "c"),
        ('{"name": "\\u00e9", "upstream": "x:1"}', "é"),
    ],
)
def test_bodies_are_read_as_go_reads_them(client: httpx.Client, content: str, name: str) -> None:
    answer = client.post("/proxies", content=content)
    assert (answer.status_code, answer.json()["name"]) == (201, name)


def test_null_counts_as_absent(client: httpx.Client) -> None:
    client.post("/proxies", json=PROXY)
    body = {"type": "latency", "name": None, "toxicity": None, "attributes": {"latency": None}}
    wanted = TOXIC | {"attributes": {"latency": 0, "jitter": 0}}
    assert client.post("/proxies/a/toxics", json=body).json() == wanted
    change = {"attributes": None, "toxicity": None}
    assert client.patch("/proxies/a/toxics/latency_downstream", json=change).json() == wanted


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:x:1"])
def test_a_proxy_is_not_stopped_for_an_address_that_is_none(
    client: httpx.Client, listen: str
) -> None:
    before = shown(client.post("/proxies", json=PROXY))
    status, words = error(client.patch("/proxies/a", json={"listen": listen}))
    assert status == 500
    assert words.startswith(f"address {listen}: ")
    assert shown(client.get("/proxies/a")) == before


def test_every_answer_of_a_route_has_a_request_id(client: httpx.Client) -> None:
    header = "x-toxiproxy-request-id"
    ids = [client.get(path).headers[header] for path in ("/version", "/proxies", "/proxies/z")]
    assert len(set(ids)) == 3
    assert header not in client.get("/nope").headers


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"type": "nope", "stream": "side"}, WRONG_STREAM),
        ({"type": "latency", "stream": ""}, WRONG_STREAM),
        ({"type": "nope"}, "invalid toxic type"),
        ({}, "invalid toxic type"),
    ],
)
def test_a_wrong_toxic_is_refused(client: httpx.Client, body: dict[str, str], words: str) -> None:
    client.post("/proxies", json=PROXY)
    assert error(client.post("/proxies/a/toxics", json=body)) == (400, words)


@pytest.mark.parametrize("value", [1.5, "x", True, 2**63])
def test_an_attribute_that_is_no_integer_is_refused(client: httpx.Client, value: object) -> None:
    client.post("/proxies", json=PROXY)
    body = {"type": "latency", "attributes": {"latency": value}}
    status, words = error(client.post("/proxies/a/toxics", json=body))
    assert status == 400
    assert words.startswith("bad request body: ")
    assert client.get("/proxies/a/toxics").json() == []


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("GET", "/proxies/z", "proxy not found"),
        ("PATCH", "/proxies/z", "proxy not found"),
        ("DELETE", "/proxies/z", "proxy not found"),
        ("GET", "/proxies/z/toxics", "proxy not found"),
        ("POST", "/proxies/z/toxics", "proxy not found"),
        ("GET", "/proxies/z/toxics/t", "proxy not found"),
        ("GET", "/proxies/a/toxics/t", "toxic not found"),
        ("PATCH", "/proxies/a/toxics/t", "toxic not found"),
        ("POST", "/proxies/a/toxics/t", "toxic not found"),
        ("DELETE", "/proxies/a/toxics/t", "toxic not found"),
    ],
)
def test_what_is_not_there_is_404(client: httpx.Client, method: str, path: str, words: str) -> None:
    client.post("/proxies", json=PROXY)
    body = None if method == "DELETE" else {"type": "latency"}
    assert error(client.request(method, path, json=body)) == (404, words)


def test_unknown_paths_wrong_methods_and_browsers_are_refused(client: httpx.Client) -> None:
    for path in ("/", "/nope", "/proxies/"):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (404, "404 page not found\n")
    for method, path in (("PUT", "/proxies"), ("POST", "/version"), ("GET", "/reset")):
        answer = client.request(method, path)
        assert (answer.status_code, answer.text) == (405, "")
    answer = client.get("/version", headers={"User-Agent": "Mozilla/5.0"})
    assert (answer.status_code, answer.text) == (403, "User agent not allowed\n")


def test_populate_keeps_what_is_the_same_and_replaces_what_differs(client: httpx.Client) -> None:
    listens = [f"127.0.0.1:{free_port()}" for _ in "ab"]
    first, second = (
        {"name": name, "listen": listen, "upstream": "127.0.0.1:1"}
        for name, listen in zip("ab", listens, strict=True)
    )
    answer = client.post("/populate", json=[first, second])
    assert answer.status_code == 201
    assert [proxy["name"] for proxy in answer.json()["proxies"]] == ["a", "b"]
    for name in "ab":
        client.post(f"/proxies/{name}/toxics", json={"type": "timeout"})
    changed = [first | {"enabled": False}, second | {"upstream": "127.0.0.1:2"}]
    client.post("/populate", json=changed)
    proxies = client.get("/proxies").json()
    assert (proxies["a"]["enabled"], len(proxies["a"]["toxics"])) == (True, 1)
    assert (proxies["b"]["upstream"], proxies["b"]["toxics"]) == ("127.0.0.1:2", [])


def test_populate_says_what_is_wrong_and_what_was_done(client: httpx.Client) -> None:
    assert client.post("/populate", json=[]).json() == {"proxies": None}
    answer = client.post("/populate", json=[PROXY, {"name": "b"}])
    assert answer.headers["content-type"] == "application/json"
    words = "missing required field: upstream at proxy 2"
    assert answer.json() == {"error": words, "status": 400, "proxies": None}
    taken = json.loads(client.post("/proxies", json=PROXY).text)["listen"]
    wanted = [PROXY | {"name": "b"}, PROXY | {"name": "c", "listen": taken}, PROXY | {"name": "d"}]
    answer = client.post("/populate", json=wanted)
    assert answer.status_code == 500
    assert [proxy["name"] for proxy in answer.json()["proxies"]] == ["b"]
    assert sorted(client.get("/proxies").json()) == ["a", "b"]
    answer = client.post("/populate", json={})
    assert (answer.status_code, answer.json()["proxies"]) == (400, None)


def test_reset_enables_every_proxy_and_removes_every_toxic(client: httpx.Client) -> None:
    for name in "ab":
        client.post("/proxies", json=PROXY | {"name": name})
        client.post(f"/proxies/{name}/toxics", json={"type": "timeout"})
    client.patch("/proxies/b", json={"enabled": False})
    assert client.post("/reset").status_code == 204
    for proxy in client.get("/proxies").json().values():
        assert (proxy["enabled"], proxy["toxics"]) == (True, [])
