"""Every row of the table in docs/toxiproxy.md, asserted on both servers."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chaos.support import DEADLINE_SECONDS, connected, real_server, received
from tests.chaos.wire import (
    Api,
    accepted,
    counted,
    end_of,
    exit_code,
    is_silent,
    listening,
    seconds_until_end,
    server,
)
from tests.ports import free_port

TABLE = Path(__file__).parent.parent.parent / "docs" / "toxiproxy.md"
Start = Callable[..., AbstractContextManager[Api]]


@pytest.fixture(params=["embedded", "real"])
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    if kind == "real" and real_server() is None:
        pytest.skip("no toxiproxy-server on PATH or in $TOXIPROXY_SERVER")
    return kind


@pytest.fixture
def api(kind: str, request: pytest.FixtureRequest) -> Iterator[Api]:
    api = Api(request.getfixturevalue(f"{kind}_url"), kind)
    yield api
    api.clear()
    api.close()


@pytest.fixture
def start(kind: str) -> Start:
    """Start a server of this kind, with arguments of its own."""
    return partial(server, kind, real_server())


def test_every_row_of_the_table_is_a_test() -> None:
    table = TABLE.read_text().partition("| deviation |")[2]
    rows = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", table, re.MULTILINE)
    tests = {name.removeprefix("test_deviation_") for name in globals() if "_deviation_" in name}
    assert len(rows) > 15
    assert set(rows) == tests


def test_deviation_half_close(api: Api) -> None:
    with listening() as (listener, address):
        _, listen = api.proxy(address)
        with connected(listen) as client, accepted(listener) as peer:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert received(peer, 100) == b"question"
            time.sleep(0.2)  # what asks the question is closed by now, or never
            peer.sendall(b"answer")
            assert received(client, 6) == (b"answer" if api.kind == "embedded" else b"")


def test_deviation_reset_live(api: Api, echo: str) -> None:
    name, listen = api.proxy(echo)
    with connected(listen) as client:
        client.sendall(b"ping")
        assert received(client, 4) == b"ping"
        api.toxic(name, "reset_peer", timeout=0)
        client.sendall(b"ping")
        assert end_of(client) == ("reset" if api.kind == "embedded" else "eof")


def test_deviation_reset_spared(api: Api) -> None:
    with listening() as (listener, address):
        name, listen = api.proxy(address)
        api.toxic(name, "reset_peer", toxicity=0.0, timeout=0)
        with connected(listen) as client:
            accepted(listener).close()
            assert end_of(client) == ("eof" if api.kind == "embedded" else "reset")


def test_deviation_timeout_spared(api: Api, echo: str) -> None:
    name, listen = api.proxy(echo)
    with connected(listen) as client:
        client.sendall(b"ping")
        assert received(client, 4) == b"ping"
        api.remove(name, api.toxic(name, "timeout", toxicity=0.0, timeout=0))
        assert is_silent(client) is (api.kind == "embedded")


def hit_by_latency(clients: list[socket.socket], latency_seconds: float) -> list[bool]:
    """Which of these connections answer late."""
    hit = []
    for client in clients:
        start = time.perf_counter()
        client.sendall(b"ping")
        assert received(client, 4) == b"ping"
        hit.append(time.perf_counter() - start >= latency_seconds)
    return hit


def test_deviation_toxicity_once(api: Api, echo: str) -> None:
    name, listen = api.proxy(echo)
    toxic = api.toxic(name, "latency", toxicity=0.5, latency=50)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(listen)) for _ in range(20)]
        before = hit_by_latency(clients, 0.05)
        api.change(name, toxic, toxicity=0.5)
        after = hit_by_latency(clients, 0.05)
        assert (before == after) is (api.kind == "embedded")
        if api.kind == "embedded":
            api.change(name, toxic, toxicity=0.9)
            more = hit_by_latency(clients, 0.05)
            assert all(late for late, was in zip(more, before, strict=True) if was)


def test_deviation_held_replanned(api: Api, echo: str) -> None:
    name, listen = api.proxy(echo)
    toxic = api.toxic(name, "latency", latency=60_000)
    with connected(listen) as client:
        client.sendall(b"ping")
        assert is_silent(client)
        api.change(name, toxic, latency=30_000)
        if api.kind == "embedded":
            assert is_silent(client)
            api.change(name, toxic, latency=1)
        assert received(client, 4) == b"ping"


def test_deviation_latency_behind(api: Api, echo: str) -> None:
    name, listen = api.proxy(echo)
    api.toxic(name, "bandwidth", rate=100)
    api.toxic(name, "latency", latency=200)
    seconds = []
    for _ in range(3):
        with connected(listen) as client:
            start = time.perf_counter()
            client.sendall(bytes(20_480))
            assert len(received(client, 20_480)) == 20_480
            seconds.append(time.perf_counter() - start)
    if api.kind == "embedded":
        assert min(seconds) >= 0.39
    else:
        assert 0.19 <= min(seconds) < 0.39


@pytest.mark.slow
def test_deviation_seed(start: Start, kind: str, echo: str) -> None:
    found = []
    for seed in ("7", "7", "8"):
        with start("--seed", seed) as api:
            # The same names: the draw depends on them.
            name = "seeded"
            body = {"name": name, "listen": "127.0.0.1:0", "upstream": echo}
            listen = api.http.post("/proxies", json=body).json()["listen"]
            api.toxic(name, "limit_data", toxicity=0.5, bytes=0)
            found.append([_is_hit(listen) for _ in range(40)])
    assert (found[0] == found[1]) is (kind == "embedded")
    assert found[0] != found[2]
    assert 5 < sum(found[0]) < 35


def _is_hit(listen: str) -> bool:
    with connected(listen) as client:
        client.sendall(b"ping")
        return received(client, 4) == b""


def black_hole(stack: ExitStack) -> str:
    """An address whose queue is full: dials get no answer."""
    holder = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    address = holder.getsockname()
    for _ in range(4):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(address)
    time.sleep(0.05)
    return f"127.0.0.1:{address[1]}"


def test_deviation_dial_apart(start: Start, kind: str) -> None:
    with ExitStack() as stack:
        upstream = black_hole(stack)
        api = stack.enter_context(start())
        name, listen = api.proxy(upstream)
        clients = [stack.enter_context(connected(listen)) for _ in range(3)]
        time.sleep(0.1)
        patch = partial(
            httpx.patch, f"{api.url}/proxies/{name}", json={"enabled": False}, trust_env=False
        )
        if kind == "real":
            with pytest.raises(httpx.ReadTimeout):
                patch(timeout=2)
            return
        assert patch(timeout=20).status_code == 200
        assert {end_of(client) for client in clients} == {"eof"}


@pytest.mark.slow
def test_deviation_dial_gives_up(start: Start, kind: str) -> None:
    with ExitStack() as stack:
        upstream = black_hole(stack)
        api = stack.enter_context(start())
        _, listen = api.proxy(upstream)
        client = stack.enter_context(connected(listen))
        client.settimeout(13)
        if kind == "embedded":
            assert seconds_until_end(client) >= 9
        else:
            with pytest.raises(TimeoutError):
                client.recv(1)


def test_deviation_reset_goes_on(api: Api, echo: str) -> None:
    name, listen = api.proxy(echo)
    api.toxic(name, "noop")
    api.http.patch(f"/proxies/{name}", json={"enabled": False})
    other, _ = api.proxy(echo)
    api.toxic(other, "noop")
    port = int(listen.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        answer = api.http.post("/reset")
    assert answer.status_code == 500
    assert f"listen tcp {listen}: bind: address already in use" in answer.json()["error"]
    toxics = [api.http.get(f"/proxies/{one}/toxics").json() for one in (name, other)]
    if api.kind == "embedded":
        assert toxics == [[], []]
    else:
        assert toxics[0] != []


@pytest.mark.parametrize(
    ("toxic", "attributes", "words"),
    [
        ("slicer", {}, "average_size"),
        ("slicer", {"average_size": 10, "size_variation": 10}, "size_variation"),
        ("slicer", {"average_size": 10, "size_variation": -1}, "size_variation"),
        ("bandwidth", {"rate": -1}, "rate"),
        ("latency", {"jitter": 2**62}, "jitter"),
    ],
)
def test_deviation_crashing_values(
    api: Api, echo: str, toxic: str, attributes: dict[str, int], words: str
) -> None:
    name, _ = api.proxy(echo)
    body = {"type": toxic, "attributes": attributes}
    answer = api.http.post(f"/proxies/{name}/toxics", json=body)
    if api.kind == "real":
        assert answer.status_code == 200
        return
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert str(attributes.get(words, 0)) in answer.json()["error"]
    assert api.http.get(f"/proxies/{name}/toxics").json() == []


def test_deviation_listen_loopback(api: Api) -> None:
    for number, body in enumerate(({}, {"listen": ":0"}, {"listen": "0.0.0.0:0"})):
        body |= {"name": f"bare{number}", "upstream": "127.0.0.1:1"}
        listen = api.http.post("/proxies", json=body).json()["listen"]
        ours = "0.0.0.0:" if number == 2 else "127.0.0.1:"
        assert listen.startswith(ours if api.kind == "embedded" else "[::]:")


def test_deviation_long_body(api: Api) -> None:
    body = {"name": "a", "upstream": "127.0.0.1:1", "listen": "127.0.0.1:0", "pad": "x" * 2**22}
    answer = api.http.post("/proxies", json=body)
    assert answer.status_code == (400 if api.kind == "embedded" else 201)
    assert ("too long" in answer.text) is (api.kind == "embedded")


def test_deviation_unclean_path(api: Api) -> None:
    for path in ("/proxies//", "/proxies//a"):
        answer = api.http.get(path)
        assert answer.status_code == (404 if api.kind == "embedded" else 301)


def test_deviation_metrics_always(api: Api, echo: str) -> None:
    name, listen = api.proxy(echo)
    api.toxic(name, "noop")
    with connected(listen) as client:
        client.sendall(b"ping")
        assert received(client, 4) == b"ping"
        answer = api.http.get("/metrics")
    if api.kind == "real":
        assert answer.status_code == 404
        return
    labels = f'listener="{listen}",proxy="{name}"'
    upstream = f'upstream="{echo}"'
    for line in (
        f"toxiproxy_proxy_connections{{{labels},{upstream}}} 1.0",
        f"toxiproxy_proxy_enabled{{{labels},{upstream}}} 1.0",
        f'toxiproxy_proxy_toxic_connections{{{labels},stream="downstream",'
        f'toxic="noop_downstream",type="noop",{upstream}}} 1.0',
    ):
        assert line in answer.text.splitlines()


def test_deviation_metrics_live(start: Start, kind: str, echo: str) -> None:
    arguments = ["--proxy-metrics"] if kind == "real" else []
    with start(*arguments) as api:
        name, listen = api.proxy(echo)
        api.toxic(name, "limit_data", bytes=6)
        with connected(listen) as client:
            client.sendall(b"ping")
            assert received(client, 4) == b"ping"
            live = counted(api, name)
            client.sendall(b"ping")
            assert received(client, 4) == b"pi"
        wanted = {
            "received upstream": 8.0,
            "sent upstream": 8.0,
            "received downstream": 8.0,
            "sent downstream": 6.0,
        }
        assert live == (dict.fromkeys(wanted, 4.0) if kind == "embedded" else {})
        if kind == "embedded":
            assert counted(api, name) == wanted


def test_deviation_config_toxics(start: Start, kind: str, tmp_path: Path) -> None:
    config = tmp_path / "proxies.json"
    toxic = {"type": "latency", "attributes": {"latency": 5}, "stream": "upstream"}
    listen = f"127.0.0.1:{free_port()}"
    proxy: dict[str, Any] = {"name": "a", "listen": listen, "upstream": "127.0.0.1:1"}
    config.write_text(json.dumps([proxy | {"toxics": [toxic]}]))
    with start("--config", str(config)) as api:
        deadline = time.monotonic() + 10
        while not api.http.get("/proxies").json() and time.monotonic() < deadline:
            time.sleep(0.02)
        toxics = api.http.get("/proxies/a/toxics").json()
    assert [one["name"] for one in toxics] == (["latency_upstream"] if kind == "embedded" else [])


def ends_with(kind: str, port: int, *arguments: str) -> int | None:
    """The exit code of a server that is started by hand; None: it lives."""
    if kind == "real":
        return exit_code([str(real_server()), "-port", str(port), *arguments], 1.5)
    words = [f"-{word}" if word == "-config" else word for word in arguments]
    command = [sys.executable, "-m", "launchday.chaos.embedded", "--port", str(port), *words]
    return exit_code(command, DEADLINE_SECONDS)


@pytest.mark.parametrize(
    "proxy",
    [
        {"name": "a"},
        {"name": "a", "upstream": "x:1", "listen": "127.0.0.1:0", "toxics": [{"type": "nope"}]},
    ],
    ids=["no upstream", "unknown toxic"],
)
def test_deviation_config_wrong(kind: str, proxy: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "proxies.json"
    config.write_text(json.dumps([proxy]))
    found = ends_with(kind, free_port(), "-config", str(config))
    assert found == (2 if kind == "embedded" else None)


def test_deviation_port_taken(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        found = ends_with(kind, other.getsockname()[1])
    assert found == (2 if kind == "embedded" else None)


def test_deviation_version(api: Api) -> None:
    version = api.http.get("/version").json()["version"]
    if api.kind == "embedded":
        assert version == "2.12.0-launchday"
    else:
        assert version in ("git", "2.12.0")


def test_deviation_no_logger(api: Api, echo: str) -> None:
    name, _ = api.proxy(echo)
    assert ("Logger" in api.http.get(f"/proxies/{name}").json()) is (api.kind == "real")


def test_deviation_decoder_words(api: Api) -> None:
    answer = api.http.post("/proxies", content="{bad")
    assert answer.status_code == 400
    go = "bad request body: invalid character 'b' looking for beginning of object key string"
    assert answer.json()["error"].startswith("bad request body: ")
    assert (answer.json()["error"] == go) is (api.kind == "real")
