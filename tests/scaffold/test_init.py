from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from launchday.chaos.experiment import load_experiment
from launchday.commands.har import import_
from launchday.commands.init import init
from launchday.errors import SettingsError
from launchday.scaffold import asked
from launchday.scaffold.openapi import service_of
from launchday.scaffold.service import scenario_name
from launchday.settings import load_settings
from tests.scaffold.pets import PETS, on, run, scenario, service
from tests.scaffold.support import ROOT, assert_clean


def test_reading_requests_are_on_and_all_others_are_written_with_the_reason() -> None:
    text = scenario(service())
    assert on(text) == ["get_pets", "get_shops_by_id_pets"]
    assert "# Off: it needs a real pet_id." in text
    assert "# Off: it writes." in text
    assert "# Off: it is deprecated." in text
    assert "# Off: its body is image/png: write one." in text
    assert 'TOKEN = {"X-Token": secret("PET_SHOP_TOKEN")}' in text
    assert "LOGIN" not in text
    assert '"shop_id": ("s/1",)' in text
    assert "/shops/{shop_id}/pets?page+size=5" in text
    left_out = dict(service().left_out)
    assert set(left_out) == {"GET /stream", "GET /health", "GET /admin/pets"}


def test_values_and_writes_switch_requests_on() -> None:
    chosen = service().with_values({"pet_id": "7"})
    assert on(scenario(chosen)) == ["get_pets", "get_pets_by_id", "get_shops_by_id_pets"]
    text = scenario(chosen, writes=True)
    assert "post_pets" in on(text)
    assert '{"name": "text", "born": "2026-01-31"}' in text
    assert "delete_pets_by_id" not in on(text)
    assert "post_photos" not in on(text)


def test_the_files_are_clean_and_are_what_launchday_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump(PETS))
    run(tmp_path / "new", "--openapi", tmp_path / "pets.yaml", "--value", "pet_id=7")
    new = tmp_path / "new"
    assert_clean(new / "locustfiles" / "pet_shop.py", new / "chaos" / "slow_pet_shop.py")
    experiment = load_experiment("slow_pet_shop", new / "chaos")
    assert experiment.links == ("edge",)
    assert experiment.probe_path == "/health"
    (proxy,) = json.loads((new / "chaos" / "proxies.json").read_text())
    assert (proxy["name"], proxy["upstream"]) == ("edge", "127.0.0.1:9999")
    monkeypatch.chdir(new)
    read = load_settings()
    assert read.target.url == "http://127.0.0.1:9999/api"
    assert read.scenario == {"pet_shop": {"baseline_rps": 10, "multiple": 5}}


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    document = tmp_path / "pets.json"
    document.write_text(json.dumps(PETS))
    (tmp_path / "launchday.toml").write_text("mine")
    with pytest.raises(SettingsError, match=r"launchday\.toml would be overwritten; --force"):
        run(tmp_path, "--openapi", document)
    assert (tmp_path / "launchday.toml").read_text() == "mine"
    assert not (tmp_path / "locustfiles").exists()
    run(tmp_path, "--openapi", document, "--force")
    assert (tmp_path / "launchday.toml").read_text() != "mine"


@pytest.mark.parametrize(
    ("servers", "host", "origin", "expected"),
    [
        ([{"url": "/v2"}], None, "http://a.example:1/docs/openapi.json", "http://a.example:1/v2"),
        (None, None, "http://a.example/openapi.json", "http://a.example"),
        (None, None, "pets.json", None),
        ([{"url": "http://[nowhere"}], None, "pets.json", None),
        ([{"url": "https://a.example:port/"}], None, "pets.json", None),
        ([{"url": "https://{unknown}.example"}], None, "pets.json", None),
        ([{"url": "https://a.example/v2/"}], None, "pets.json", "https://a.example/v2"),
        ([{"url": "https://a.example/v2"}], "http://b:1", "pets.json", "http://b:1/v2"),
        ([{"url": "https://a.example/v2"}], "http://b:1/v3", "pets.json", "http://b:1/v3"),
        (
            [{"url": "https://{r}.example", "variables": {"r": {"default": "eu"}}}],
            None,
            "pets.json",
            "https://eu.example",
        ),
    ],
)
def test_where_the_service_answers(
    servers: Any, host: str | None, origin: str, expected: str | None
) -> None:
    document = {**PETS, "servers": servers}
    assert service_of(document, origin, host=host).url == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nobody to ask: give --openapi"),
        (["--openapi", "no-such-file"], "no-such-file: No such file"),
        (["--openapi", "http://127.0.0.1:1/openapi.json"], "cannot be read"),
        (["--openapi", "x", "--host", "shop"], "--host is 'shop'; it must be like"),
        (["--openapi", "PETS", "--value", "x"], "must be NAME=VALUE"),
        (["--openapi", "PETS", "--value", "x=1"], "no parameter is called so; known are:.*pet_id"),
    ],
)
def test_wrong_options_are_refused_in_words(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    pets = tmp_path / "pets.json"
    pets.write_text(json.dumps(PETS))
    given_arguments = [str(pets) if each == "PETS" else each for each in arguments]
    with pytest.raises(SettingsError, match=words):
        run(tmp_path / "new", *given_arguments)


def test_names_hide_no_module_and_end_where_a_word_ends() -> None:
    assert scenario_name("Connected car (launchday reference backend)") == "connected_car"
    assert scenario_name("JSON") == "json_day"
    assert scenario_name("locust") == "locust_day"
    assert scenario_name("椅子") == "service"
    assert len(scenario_name("A very long name of a service that goes on and on")) <= 24


def with_header(name: str, *, required: bool = True, **operation: Any) -> dict[str, Any]:
    header = {"name": name, "in": "header", "required": required, "schema": {"type": "string"}}
    listed = {"post": {"security": [], "parameters": [header], **operation}}
    return {**PETS, "paths": {"/pets": {"get": {"security": []}}, "/orders": listed}}


@pytest.mark.parametrize(("name", "required"), [("Authorization", True), ("authorization", False)])
def test_a_plain_authorization_header_is_read_from_the_environment(
    name: str, required: bool, tmp_path: Path
) -> None:
    document = tmp_path / "pets.json"
    document.write_text(json.dumps(with_header(name, required=required)))
    arguments = ["--openapi", str(document), "--include-writes"]
    printed = CliRunner().invoke(init, [str(tmp_path), *arguments], catch_exceptions=False).output
    assert f"the environment: PET_SHOP_AUTHORIZATION (all of the header {name})" in printed
    assert "PET_SHOP_AUTHORIZATION='Bearer ...' launchday run pet_shop" in printed
    file = tmp_path / "locustfiles" / "pet_shop.py"
    text = file.read_text()
    assert f'AUTHORIZATION = {{"{name}": secret("PET_SHOP_AUTHORIZATION")}}' in text
    assert "# All of the header, for example: Bearer and the token." in text
    assert 'self.client.post("/orders", headers=AUTHORIZATION, name="POST /orders")' in text
    assert on(text) == ["get_pets", "post_orders"]
    assert_clean(file)


def test_a_header_with_a_key_is_read_from_the_environment_too() -> None:
    text = scenario(service(with_header("X-API-Key")), writes=True)
    assert 'X_API_KEY = {"X-API-Key": secret("PET_SHOP_X_API_KEY")}' in text
    assert "post_orders" in on(text)
    assert "secret(" not in scenario(service(with_header("X-API-Key", required=False)), writes=True)


def test_a_header_that_a_security_scheme_sends_is_not_asked_for_twice() -> None:
    again = service(with_header("X-Token", security=[{"token": []}]))
    assert [scheme.variable for scheme in again.schemes] == ["PET_SHOP_TOKEN"]
    basic = service(with_header("Authorization", security=[{"login": []}]))
    assert [scheme.variable for scheme in basic.schemes] == ["PET_SHOP_LOGIN"]


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        ("/login", True),
        ("/api/v1/users/sign-up", True),
        ("/auth/register", True),
        ("/v1/logout/", True),
        ("/oauth/token", True),
        ("/v1/sessions/refresh", True),
        ("/devices/register", False),
        ("/chargers/sessions", False),
        ("/loginless", False),
        ("/tokens", False),
    ],
)
def test_writes_that_sign_in_or_up_are_left_out(path: str, left_out: bool) -> None:
    read = service({**PETS, "paths": {path: {"post": {}, "get": {}}}})
    reason = "signs in, up or out: a made-up account cannot"
    assert read.left_out == (((f"POST {path}", reason),) if left_out else ())
    assert f"GET {path}" in {each.name for each in read.operations}


def test_a_write_with_a_password_is_left_out_and_the_command_says_so(tmp_path: Path) -> None:
    fields = {"mail": {"type": "string"}, "password": {"type": "string"}}
    schema = {"type": "object", "required": list(fields), "properties": fields}
    body = {"content": {"application/json": {"schema": schema}}}
    paths = {"/v1/sessions": {"post": {"requestBody": body}}, "/pets": {"get": {"security": []}}}
    document = tmp_path / "pets.json"
    document.write_text(json.dumps({**PETS, "paths": paths}))
    arguments = [str(tmp_path), "--openapi", str(document), "--include-writes"]
    printed = CliRunner().invoke(init, arguments, catch_exceptions=False).output
    assert "left out POST /v1/sessions: signs in, up or out: a made-up account cannot" in printed
    assert "/v1/sessions" not in (tmp_path / "locustfiles" / "pet_shop.py").read_text()


def test_answers_make_a_service_that_can_be_called() -> None:
    operations = [asked.operation("/chairs/{id}"), asked.operation("post /orders", body='{"a": 1}')]
    answered = asked.service("Shop", "http://127.0.0.1:1/", operations, "basic")
    text = scenario(answered.with_values({"chair_id": "7"}), writes=True)
    assert on(text) == ["get_chairs_by_id", "post_orders"]
    assert 'secret("SHOP_LOGIN")' in text
    for wrong in ("chairs", "FETCH /", ""):
        with pytest.raises(ValueError, match="must be a method and a path"):
            asked.operation(wrong)
    with pytest.raises(ValueError, match="no JSON"):
        asked.operation("POST /orders", body="{")


def test_in_a_terminal_it_asks(tmp_path: Path) -> None:
    answers = [
        "",  # no document
        "Chair shop",
        "http://127.0.0.1:9999",
        "chairs",  # no path: asked again
        "GET /chairs/{id}",
        "3",
        "POST /orders",
        '{"chair": 7}',
        "1",
        "",  # that is all
        "bearer",
        "20",
        "4",
        "17",  # a real chair_id
    ]
    printed = _in_a_terminal(tmp_path, answers)
    assert "must be a method and a path" in printed
    assert "CHAIR_SHOP_TOKEN=... launchday run chair_shop" in printed
    text = (tmp_path / "locustfiles" / "chair_shop.py").read_text()
    assert on(text) == ["get_chairs_by_id", "post_orders"]
    assert "@task(3)" in text
    assert '"chair_id": ("17",)' in text
    assert '"baseline_rps": (20.0' in text


def _in_a_terminal(folder: Path, answers: list[str]) -> str:
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "launchday", "init"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    printed, deadline = "", time.monotonic() + 60
    os.write(master, "".join(f"{answer}\n" for answer in answers).encode())
    while time.monotonic() < deadline:
        ready, _, _ = select.select([master], [], [], 1.0)
        try:
            part = os.read(master, 65536).decode() if ready else ""
        except OSError:  # Linux says so when the other end is closed
            break
        printed += part
        if not part and process.poll() is not None:
            break
    os.close(master)
    assert process.wait(10) == 0, printed
    return printed


@pytest.mark.parametrize("used", [True, False])
def test_every_way_to_sign_in_is_clean_python(tmp_path: Path, used: bool) -> None:
    kinds: dict[str, dict[str, str]] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "account": {"type": "http", "scheme": "basic"},
        "header": {"type": "apiKey", "in": "header", "name": "X-Key"},
        "values": {"type": "apiKey", "in": "query", "name": "key"},
        "sid": {"type": "apiKey", "in": "cookie", "name": "sid"},
        "OAuth2PasswordBearerOfThePetShopAndOthers": {"type": "oauth2"},
        "mutual": {"type": "mutualTLS"},
    }
    method = "get" if used else "post"
    paths: dict[str, Any] = {f"/{name}": {method: {"security": [{name: []}]}} for name in kinds}
    document = {
        **PETS,
        "paths": {**paths, "/open": {"get": {"security": []}}},
        "components": {"securitySchemes": kinds},
    }
    text = scenario(service(document))
    file = tmp_path / "pet_shop.py"
    file.write_text(text)
    assert_clean(file)
    assert len(re.findall(r"secret\(\s*.PET_SHOP_", text)) == (6 if used else 0)
    assert text.count("os.environ.get(") == (1 if used else 6)
    assert "it needs a sign-in of another kind: mutual" in text


def test_the_commands_of_the_page_have_the_options_that_it_names() -> None:
    page = (ROOT / "docs" / "your-own-service.md").read_text()
    lines = re.findall(r"^\.venv/bin/launchday (init|import) ?(.*)$", page, re.MULTILINE)
    assert [name for name, _ in lines] == ["init", "import"]
    for name, rest in lines:
        arguments = shlex.split(rest)
        command = init if name == "init" else import_.commands[arguments.pop(0)]
        command.make_context(name, arguments)
    options = {option for each in (init, import_.commands["har"]) for option in _options(each)}
    named = set(re.findall(r"`(--(?:[a-z]+-?)+)`", page.partition("## A target of your own")[0]))
    assert named
    assert named <= options


def _options(command: click.Command) -> list[str]:
    return [name for each in command.params for name in (*each.opts, *each.secondary_opts)]
