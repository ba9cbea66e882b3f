from __future__ import annotations

import json
import socket
import socketserver
import ssl
from pathlib import Path

import pytest

from launchday.chaos.links import Link
from launchday.chaos.toxiproxy import Toxiproxy
from launchday.commands import launchday
from launchday.errors import LaunchdayError, PreflightError, SettingsError
from launchday.settings import load_settings
from tests.chaos.support import connected, received, round_trip_seconds, served
from tests.chaos.tls_server import self_signed
from tests.ports import free_port


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOXIPROXY_URL", raising=False)


def write(toxiproxy: Toxiproxy, **links: tuple[str, str]) -> None:
    text = f'[run]\ntoxiproxy_url = "{toxiproxy.url}"\n'
    for name, (listen, upstream) in links.items():
        text += f'[links.{name}]\nlisten = "{listen}"\nupstream = "{upstream}"\n'
    Path("launchday.toml").write_text(text)


def proxies(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    launchday.main(["proxies", *arguments], standalone_mode=False)
    return capsys.readouterr().out


def applied(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    answer = json.loads(proxies(capsys, "apply", "--json"))
    return {link["name"]: link["done"] for link in answer["links"]}


def address() -> str:
    return f"127.0.0.1:{free_port()}"


def test_links_are_made_and_the_second_time_nothing_happens(
    toxiproxy: Toxiproxy, echo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listen = address()
    write(toxiproxy, stock=(listen, echo), other=(address(), echo))
    assert applied(capsys) == {"stock": "created", "other": "created"}
    toxiproxy.add_toxic("stock", "slow", "latency", attributes={"latency": 1})
    with connected(listen) as client:
        round_trip_seconds(client)
        assert applied(capsys) == {"stock": "kept", "other": "kept"}
        round_trip_seconds(client)
    assert [toxic.name for toxic in toxiproxy.proxy("stock").toxics] == ["slow"]


def test_localhost_and_its_address_are_the_same(
    toxiproxy: Toxiproxy, echo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listen = address()
    write(toxiproxy, stock=(listen, echo))
    applied(capsys)
    toxiproxy.add_toxic("stock", "slow", "noop")
    with connected(listen) as client:
        write(toxiproxy, stock=tuple(a.replace("127.0.0.1", "localhost") for a in (listen, echo)))  # type: ignore[arg-type] # two addresses
        assert applied(capsys) == {"stock": "kept"}
        round_trip_seconds(client)


def can_listen(host: str) -> bool:
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.bind(address)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["", "0.0.0.0", "[::1]", "LocalHost", socket.gethostname()])
def test_other_words_for_the_address_drop_no_connection(
    toxiproxy: Toxiproxy, echo: str, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    bare = host.strip("[]") or "127.0.0.1"
    if not can_listen(bare):
        pytest.skip(f"this machine cannot listen at {host}")
    port = free_port()
    write(toxiproxy, stock=(f"{host}:{port}", echo))
    applied(capsys)
    toxiproxy.add_toxic("stock", "slow", "noop")
    listen = toxiproxy.proxy("stock").listen
    with connected(f"{bare}:{port}") as client:
        round_trip_seconds(client)
        for _ in range(2):
            assert applied(capsys) == {"stock": "kept"}
            round_trip_seconds(client)
    assert toxiproxy.proxy("stock").listen == listen


def test_no_host_is_every_address_or_the_loopback_as_the_server_takes_it(
    toxiproxy: Toxiproxy, echo: str, capsys: pytest.CaptureFixture[str], server_url: str
) -> None:
    port = free_port()
    toxiproxy.create_proxy("stock", f"127.0.0.1:{port}", echo)
    write(toxiproxy, stock=(f":{port}", echo))
    ours = toxiproxy.version().endswith("-launchday")
    assert applied(capsys) == {"stock": "kept" if ours else "updated"}
    write(toxiproxy, stock=(f"0.0.0.0:{port}", echo))
    assert applied(capsys) == {"stock": "updated" if ours else "kept"}
    write(toxiproxy, stock=(f":{port}", echo))
    assert applied(capsys) == {"stock": "updated" if ours else "kept"}


def test_a_changed_link_keeps_its_toxics_and_says_what_it_was(
    toxiproxy: Toxiproxy, echo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listen = address()
    write(toxiproxy, stock=(listen, "127.0.0.1:1"))
    applied(capsys)
    toxiproxy.add_toxic("stock", "slow", "noop")
    write(toxiproxy, stock=(listen, echo))
    said = proxies(capsys, "apply")
    assert f"{listen} -> {echo}  updated (upstream was 127.0.0.1:1; toxics: slow)" in said
    with connected(listen) as client:
        round_trip_seconds(client)


def test_a_link_that_is_disabled_stays_so_and_it_is_said(
    toxiproxy: Toxiproxy, echo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listen = address()
    write(toxiproxy, stock=(listen, echo))
    applied(capsys)
    toxiproxy.set_enabled("stock", False)
    assert "kept (disabled: nobody gets through)" in proxies(capsys, "apply")
    write(toxiproxy, stock=(listen, "127.0.0.1:1"))
    assert applied(capsys) == {"stock": "updated"}
    assert not toxiproxy.proxy("stock").enabled


def test_strangers_on_the_same_server_are_not_touched(
    toxiproxy: Toxiproxy, echo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    toxiproxy.create_proxy("stranger", "127.0.0.1:0", echo)
    before = toxiproxy.proxies()
    write(toxiproxy, stock=(address(), echo))
    applied(capsys)
    assert toxiproxy.proxy("stranger") == before["stranger"]


def test_a_port_of_another_program_is_refused_in_words(
    toxiproxy: Toxiproxy, echo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(toxiproxy, first=(address(), echo), stock=(echo, "127.0.0.1:1"))
    words = rf"'stock' cannot listen at {echo}: the port is in use; .*links.stock.listen.*\(first"
    with pytest.raises(PreflightError, match=words):
        applied(capsys)
    assert list(toxiproxy.proxies()) == ["first"]


def test_a_link_that_cannot_move_is_where_it_was(
    toxiproxy: Toxiproxy, echo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listen = address()
    write(toxiproxy, stock=(listen, echo))
    applied(capsys)
    toxiproxy.add_toxic("stock", "slow", "noop")
    before = toxiproxy.proxies()
    write(toxiproxy, stock=(echo, echo))
    with pytest.raises(PreflightError, match="the port is in use"):
        applied(capsys)
    assert toxiproxy.proxies() == before
    with connected(listen) as client:
        round_trip_seconds(client)


def test_a_port_of_another_proxy_or_link_is_refused_before_anything_is_done(
    toxiproxy: Toxiproxy, echo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = toxiproxy.create_proxy("stranger", "127.0.0.1:0", echo).listen
    write(toxiproxy, first=(address(), echo), stock=(taken, echo))
    with pytest.raises(PreflightError, match=f"'stock' cannot listen at {taken}: 'stranger' does"):
        applied(capsys)
    twice = address()
    write(toxiproxy, first=(twice, echo), stock=(twice, echo))
    with pytest.raises(PreflightError, match=f"'stock' cannot listen at {twice}: 'first' does"):
        applied(capsys)
    assert list(toxiproxy.proxies()) == ["stranger"]


def test_links_are_listed_with_their_toxics(
    toxiproxy: Toxiproxy, echo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(toxiproxy)
    assert f"at {toxiproxy.url}: no links" in proxies(capsys)
    listen = toxiproxy.create_proxy("stock", "127.0.0.1:0", echo).listen
    toxiproxy.create_proxy("dead", "127.0.0.1:0", echo, enabled=False)
    toxiproxy.add_toxic("stock", "slow", "latency", "upstream", 0.5, {"latency": 7, "jitter": 1})
    lines = proxies(capsys).splitlines()
    assert lines[1].startswith("dead")
    assert lines[1].endswith("  disabled")
    assert lines[2].split() == ["stock", listen, "->", echo]
    assert lines[3] == "  slow: latency upstream, latency 7, jitter 1, on 50% of connections"
    (dead, stock) = json.loads(proxies(capsys, "--json"))["proxies"]
    assert (dead["enabled"], stock["toxics"][0]["toxicity"]) == (False, 0.5)


def test_without_a_toxiproxy_or_without_links_it_says_what_to_write(
    toxiproxy: Toxiproxy, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["proxies"], ["proxies", "apply"]):
        Path("launchday.toml").write_text('[links.a]\nlisten = ":9001"\nupstream = "a:1"\n')
        with pytest.raises(PreflightError, match="no Toxiproxy: set toxiproxy_url under"):
            launchday.main(arguments, standalone_mode=False)
    write(toxiproxy)
    with pytest.raises(SettingsError, match=r"names no links: add \[links.NAME\]"):
        applied(capsys)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('[links.a]\nlisten = ":9001"\n', "setting links.a.upstream is missing in launchday.toml"),
        ('[links.a]\nlisen = "x"\n', "(unknown setting links.a.lisen|links.a.listen is missing)"),
        (
            '[links.a]\nlisten = ":9001"\nupstream = "b:1"\nport = 1\n',
            "unknown setting links.a.port .*known are: listen, upstream",
        ),
        (
            '[links.a]\nlisten = ":0"\nupstream = "b:1"\n',
            "links.a.listen: .*port of 1 to 65535.*got ':0'",
        ),
        ('[links.a]\nlisten = ":70000"\nupstream = "b:1"\n', "links.a.listen: .*got ':70000'"),
        ('[links.a]\nlisten = 9001\nupstream = "b:1"\n', "links.a.listen .*is 9001: .*string"),
        (
            '[links.a]\nlisten = ":9001"\nupstream = "http://b:1"\n',
            "links.a.upstream: .*without http://, got 'http://b:1'",
        ),
        ('[links.a]\nlisten = ":9001"\nupstream = ":1"\n', "links.a.upstream: .*must name a host"),
        ('[links.a]\nlisten = ":9001"\nupstream = "b c:1"\n', "links.a.upstream: .*got 'b c:1'"),
        ('[links."a/b"]\nlisten = ":9001"\nupstream = "b:1"\n', "links: .*name of a link .*'a/b'"),
        ('links = "a"\n', "setting links in .* is 'a'"),
    ],
)
def test_a_wrong_link_is_one_sentence_that_names_it(table: str, words: str) -> None:
    Path("launchday.toml").write_text(table)
    with pytest.raises(SettingsError, match=words) as raised:
        load_settings()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("address", [":1", "[::1]:9001", "localhost:9001", "db-1.internal:5432"])
def test_addresses_of_every_kind_are_taken(address: str) -> None:
    assert Link("a", address, "b:1").listen == address


class _Greeting(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"hello over TLS")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))


def test_tls_passes_through_untouched_and_slowly_when_it_shall(
    toxiproxy: Toxiproxy, certificate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=f"{certificate}.crt")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def get_request(self) -> tuple[ssl.SSLSocket, object]:
            plain, peer = self.socket.accept()
            return server.wrap_socket(plain, server_side=True), peer

    listen = address()
    with served(Server(("127.0.0.1", 0), _Greeting)) as upstream:
        write(toxiproxy, stock=(listen, upstream))
        assert applied(capsys) == {"stock": "created"}
        toxiproxy.add_toxic("stock", "cut", "slicer", attributes={"average_size": 64})
        # The name and the certificate are checked: what answers is the service itself.
        with client.wrap_socket(connected(listen), server_hostname="stock.example") as connection:
            assert received(connection, 99) == b"hello over TLS"


def test_errors_of_the_server_are_those_of_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("launchday.toml").write_text(f'[run]\ntoxiproxy_url = "http://127.0.0.1:{free_port()}"\n')
    with pytest.raises(LaunchdayError, match="does not answer"):
        proxies(capsys)
