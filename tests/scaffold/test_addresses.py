from __future__ import annotations

import ast
import json
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.commands.init import init
from launchday.errors import SettingsError
from launchday.scaffold import asked
from launchday.scaffold.addresses import public
from launchday.scaffold.openapi import service_of
from launchday.scaffold.other_texts import experiment_text, proxies_text, settings_text
from launchday.scaffold.scenario_text import Peak, scenario_text
from launchday.scaffold.service import Service
from tests.scaffold.pets import PETS, run


class _Documents(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        # Basic bob:hunter2, which only a client that was given it sends
        right = self.headers["Authorization"] == "Basic Ym9iOmh1bnRlcjI=" and "TOP" in self.path
        self.send_response(200 if right else 401)
        self.end_headers()
        self.wfile.write(json.dumps({**PETS, "servers": None}).encode())

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def documents() -> Iterator[int]:
    """The port of a server that wants a password and a token."""
    server = HTTPServer(("127.0.0.1", 0), _Documents)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def written(folder: Path) -> str:
    return "".join(each.read_text() for each in folder.rglob("*") if each.is_file())


def test_the_password_and_the_query_of_an_address_are_used_and_not_written(
    documents: int, tmp_path: Path
) -> None:
    url = f"http://bob:hunter2@127.0.0.1:{documents}/openapi.json?access_token=TOP"
    arguments = [str(tmp_path), "--openapi", url]
    printed = CliRunner().invoke(init, arguments, catch_exceptions=False).output
    assert "user, password and query of --openapi were left out of the files" in printed
    for secret in ("bob", "hunter2", "TOP"):
        assert secret not in written(tmp_path) + printed
    toml = tomllib.loads((tmp_path / "launchday.toml").read_text())
    assert toml["target"]["url"] == f"http://127.0.0.1:{documents}"


def test_the_password_of_the_host_and_of_the_documents_server_is_not_written(
    tmp_path: Path,
) -> None:
    document = tmp_path / "pets.json"
    server = "https://anna:pw1@a.example/v2?token=t0k"
    document.write_text(json.dumps({**PETS, "servers": [{"url": server}]}))
    host = "http://bob:hunter2@b.example:8080"
    arguments = [str(tmp_path / "new"), "--openapi", str(document), "--host", host]
    printed = CliRunner().invoke(init, arguments, catch_exceptions=False).output
    assert "of --host were left out" in printed
    assert "of servers[0].url were left out" in printed
    text = written(tmp_path / "new")
    assert 'url = "http://b.example:8080/v2"' in text
    assert [each for each in ("anna", "pw1", "t0k", "bob", "hunter2") if each in text] == []
    answered = asked.service("Shop", "http://bob:pw@a.example/", [], "none")
    assert (answered.url, answered.stripped) == ("http://a.example", ("its address",))


def test_what_goes_wrong_is_said_without_the_password(tmp_path: Path) -> None:
    for address in ("127.0.0.1:1/x?token=TOP", "127.0.0.1:1/x#TOP"):
        with pytest.raises(SettingsError, match="cannot be read") as refused:
            run(tmp_path, "--openapi", f"http://bob:hunter2@{address}")
        assert "hunter2" not in str(refused.value)
        assert "TOP" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://a.example/x", "http://a.example/x"),
        ("http://bob@a.example/x@y", "http://a.example/x@y"),
        ("https://bob:a@b@a.example:1/?x=1@2#y", "https://a.example:1/"),
        ("pets?.json", "pets?.json"),
    ],
)
def test_an_address_in_public(address: str, expected: str) -> None:
    assert public(address) == expected


@pytest.mark.parametrize("odd", ['"', "'", "\\", "\n", "\x00", "\x7f", " ", "`", "\ud800"])
def test_an_address_that_could_end_a_text_is_refused(odd: str, tmp_path: Path) -> None:
    pets = tmp_path / "pets.json"
    pets.write_text(json.dumps({**PETS, "servers": [{"url": f"http://a.example/{odd}"}]}))
    words = "it must have no quotes, backslashes, spaces or control characters"
    with pytest.raises(SettingsError, match=rf"servers\[0\]\.url is .*{words}"):
        run(tmp_path / "new", "--openapi", pets)
    pets.write_text(json.dumps(PETS))
    with pytest.raises(SettingsError, match=f"--host is .*{words}"):
        run(tmp_path / "new", "--openapi", pets, "--host", f"http://127.0.0.1:1/{odd}")
    with pytest.raises(SettingsError, match=f"--openapi is .*{words}"):
        run(tmp_path / "new", "--openapi", f"http://127.0.0.1:1/{odd}")


def test_half_a_character_is_refused_in_words(tmp_path: Path) -> None:
    pets = tmp_path / "pets.json"
    parameter = {"name": "a\ud800", "in": "query", "required": True, "example": "x"}
    pets.write_text(json.dumps({**PETS, "paths": {"/a": {"get": {"parameters": [parameter]}}}}))
    with pytest.raises(SettingsError, match=r"pets\.json holds .*half of a character"):
        run(tmp_path / "new", "--openapi", pets)


def assert_compiles(service: Service) -> None:
    ast.parse(scenario_text(service, Peak(), writes=True))
    ast.parse(experiment_text(service))
    tomllib.loads(settings_text(service, Peak()))
    json.loads(proxies_text(service))


HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text("\"'\\{}%$#\n\r\t`/ax_-0", max_size=20),
    st.sampled_from(['"""', "\\", '"""\nimport os\n"""', "{", "}", "{a}", "{{a}}", "${x}", "%s"]),
)


@settings(max_examples=100, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.lists(HOSTILE, min_size=1, max_size=4))
def test_whatever_a_document_says_the_files_compile(
    title: str, name: str, summary: str, server: str, paths: list[str]
) -> None:
    parameters = [
        {"name": name, "in": place, "required": True, "example": summary}
        for place in ("path", "query", "header", "cookie")
    ]
    operation = {"operationId": name, "summary": summary, "parameters": parameters}
    kinds = [{"type": "apiKey", "in": each, "name": name} for each in ("query", "cookie", "header")]
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": title},
        "servers": [{"url": f"https://a.example/{server}"}],
        "paths": {
            f"/{path}{{{name}}}": {"get": operation, "post": {**operation, "requestBody": {
                "content": {"application/json": {"example": {summary: [name]}}}
            }}}
            for path in paths
        },
        "components": {"securitySchemes": {f"{title}{n}": k for n, k in enumerate(kinds)}},
        "security": [{f"{title}{n}": [] for n in range(len(kinds))}],
    }  # fmt: skip
    origin = f"{summary}.json"
    try:
        service = service_of(document, origin)
    except SettingsError:
        del document["servers"]
        service = service_of(document, origin)
    assert_compiles(service)


def test_operations_whose_names_meet_get_names_of_their_own() -> None:
    operations = [asked.operation(f"GET /{path}") for path in ("a_2", "a_3", "a", "a-", "a--")]
    text = scenario_text(asked.service("Shop", "http://127.0.0.1:1", operations, "none"), Peak())
    functions = [n.name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    assert len(functions) == len(set(functions))
