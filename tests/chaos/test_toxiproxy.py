from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from launchday.chaos.toxiproxy import ProxyState, Toxiproxy
from launchday.errors import ToxiproxyError
from tests.chaos.support import embedded, served
from tests.ports import free_port

UPSTREAM = "127.0.0.1:1"


def test_two_servers_in_one_process_do_not_mix(toxiproxy: Toxiproxy) -> None:
    with embedded() as url:
        other = Toxiproxy(url)
        toxiproxy.create_proxy("mine", "127.0.0.1:0", UPSTREAM)
        other.create_proxy("theirs", "127.0.0.1:0", UPSTREAM)
        assert list(toxiproxy.proxies()) == ["mine"]
        assert list(other.proxies()) == ["theirs"]
        other.close()


def test_calls_of_many_threads_reach_their_own_server(toxiproxy: Toxiproxy) -> None:
    with embedded() as url:
        other = Toxiproxy(url)
        toxiproxy.create_proxy("mine", "127.0.0.1:0", UPSTREAM)
        other.create_proxy("theirs", "127.0.0.1:0", UPSTREAM)
        seen: list[tuple[str, ...]] = []

        def ask(server: Toxiproxy) -> None:
            seen.extend(tuple(server.proxies()) for _ in range(20))

        threads = [
            threading.Thread(target=ask, args=(server,)) for server in (toxiproxy, other) * 2
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == [("mine",)] * 40 + [("theirs",)] * 40
        other.close()


def test_a_proxy_in_the_environment_is_not_asked(
    toxiproxy: Toxiproxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    assert toxiproxy.version()


def test_no_answer_says_where_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("TOXIPROXY_URL", f"{url}/")
    with pytest.raises(ToxiproxyError, match=f"{url} does not .*unset TOXIPROXY_URL") as raised:
        Toxiproxy(url).proxies()
    assert raised.value.status is None
    monkeypatch.delenv("TOXIPROXY_URL")
    with pytest.raises(ToxiproxyError, match=f"{url} does not .*--toxiproxy") as raised:
        Toxiproxy(url).proxies()
    assert "TOXIPROXY_URL" not in str(raised.value)


def test_wait_ready_gives_up_at_its_deadline() -> None:
    start = time.perf_counter()
    with pytest.raises(ToxiproxyError, match="does not answer"):
        Toxiproxy(f"http://127.0.0.1:{free_port()}").wait_ready(0.3)
    assert time.perf_counter() - start >= 0.3


def test_a_silent_server_is_not_waited_for_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        toxiproxy = Toxiproxy(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=0.2)
        with pytest.raises(ToxiproxyError, match="no answer in time"):
            toxiproxy.version()
        toxiproxy.close()


def test_another_http_server_is_no_toxiproxy(healthz: str) -> None:
    toxiproxy = Toxiproxy(f"http://{healthz}")
    with pytest.raises(ToxiproxyError, match="no Toxiproxy"):
        toxiproxy.proxies()
    toxiproxy.close()


class _Pages(BaseHTTPRequestHandler):
    """Answers with a long page: 200 below /ok, else 404."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path.startswith("/ok") else 404)
        self.end_headers()
        self.wfile.write(b"<!doctype html><p>" + b"long " * 100 + b"\n<p>second line\n" * 100)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("path", ["", "/ok"])
def test_the_page_of_another_server_is_not_quoted(path: str) -> None:
    with served(ThreadingHTTPServer(("127.0.0.1", 0), _Pages)) as address:
        toxiproxy = Toxiproxy(f"http://{address}{path}")
        for ask in (toxiproxy.version, toxiproxy.proxies):
            with pytest.raises(ToxiproxyError, match="is no Toxiproxy") as raised:
                ask()
            assert address in str(raised.value)
            assert "second line" not in str(raised.value)
            assert "\n" not in str(raised.value)
            assert len(str(raised.value)) < 200
        toxiproxy.close()


@pytest.mark.parametrize("body", [b"[]", b'{"a": 1}', b'{"a": {"name": "a"}}', b'"no"'])
def test_other_json_is_no_toxiproxy(body: bytes) -> None:
    class Json(_Pages):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Json)) as address:
        toxiproxy = Toxiproxy(f"http://{address}")
        with pytest.raises(ToxiproxyError, match="is no Toxiproxy"):
            toxiproxy.proxies()
        toxiproxy.close()


def test_a_server_is_gone_when_it_refuses_connections(toxiproxy: Toxiproxy) -> None:
    assert not toxiproxy.is_gone()
    assert Toxiproxy(f"http://127.0.0.1:{free_port()}").is_gone()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8474", "ftp://h:1", "http://", "http://[::1", "http://h:99999"]
)
def test_a_wrong_url_is_refused(url: str) -> None:
    words = re.escape(f"url must look like http://HOST:PORT, got {url!r}")
    with pytest.raises(ToxiproxyError, match=words):
        Toxiproxy(url)


def test_refusals_carry_the_words_and_the_status(toxiproxy: Toxiproxy) -> None:
    taken = toxiproxy.create_proxy("a", "127.0.0.1:0", UPSTREAM).listen
    refusals: dict[int, Callable[[], object]] = {
        409: lambda: toxiproxy.create_proxy("a", "127.0.0.1:0", UPSTREAM),
        500: lambda: toxiproxy.create_proxy("b", taken, UPSTREAM),
        404: lambda: toxiproxy.set_enabled("z", True),
        400: lambda: toxiproxy.add_toxic("a", "t", "nope", "downstream", 1.0, {}),
    }
    words = {
        409: "proxy already exists",
        500: "address already in use",
        404: "proxy not found",
        400: "invalid toxic type",
    }
    for status, refused in refusals.items():
        with pytest.raises(ToxiproxyError, match=words[status]) as raised:
            refused()
        assert raised.value.status == status


def test_removing_what_is_gone_is_fine(toxiproxy: Toxiproxy) -> None:
    toxiproxy.create_proxy("a", "127.0.0.1:0", UPSTREAM)
    toxiproxy.remove_toxic("a", "t")
    toxiproxy.remove_toxic("z", "t")
    toxiproxy.delete_proxy("z")


def test_a_name_that_cannot_be_addressed_is_refused(toxiproxy: Toxiproxy) -> None:
    with pytest.raises(ValueError, match="name must consist of"):
        toxiproxy.create_proxy("a/b", "127.0.0.1:0", UPSTREAM)


def test_a_toxic_is_reported_as_it_was_added(toxiproxy: Toxiproxy, gateway: ProxyState) -> None:
    attributes = {"latency": 5, "jitter": 1}
    toxiproxy.add_toxic("gateway", "t", "latency", "upstream", 0.5, attributes)
    (toxic,) = toxiproxy.proxies()["gateway"].toxics
    assert (toxic.name, toxic.type, toxic.stream, toxic.toxicity, toxic.attributes) == (
        "t",
        "latency",
        "upstream",
        0.5,
        attributes,
    )


def test_residual_says_what_differs_from_the_snapshot(toxiproxy: Toxiproxy) -> None:
    for name in ("a", "b", "c"):
        toxiproxy.create_proxy(name, "127.0.0.1:0", UPSTREAM)
    toxiproxy.add_toxic("a", "old", "timeout", "downstream", 1.0, {"timeout": 0})
    snapshot = toxiproxy.snapshot()
    assert toxiproxy.residual(snapshot) == []
    toxiproxy.add_toxic("a", "new", "timeout", "downstream", 1.0, {"timeout": 0})
    toxiproxy.remove_toxic("a", "old")
    toxiproxy.set_enabled("b", False)
    toxiproxy.delete_proxy("c")
    assert toxiproxy.residual(snapshot) == [
        "the toxic new is still on a",
        "the toxic old is gone from a",
        "the proxy b is disabled",
        "the proxy c is gone",
    ]
    assert toxiproxy.residual(snapshot, ["b"]) == ["the proxy b is disabled"]
