"""The admin API on the wire: who may, what changes, and that no nonsense gets further."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from launchday import LoadSheddingMiddleware, Maintenance
from launchday.admission import FixedLimit, QueueRules, SharedLimit
from launchday.admission.admin import AdminAPI
from launchday.admission.admin_changes import (
    ALGORITHMS,
)
from launchday.admission.exempt import EXEMPT_PATHS
from launchday.admission.outside import find
from launchday.admission.uvicorn import SheddingProtocol
from tests.admission.admin_support import BEARER, TOKEN, Shop, ask, of
from tests.admission.two_ways import serving


async def test_one_line_shows_the_state_of_the_shedder(serve: Any, connect: Any) -> None:
    shop = Shop()
    async with serve(shop.app) as port:
        client = await connect(port)
        status, _, state = await ask(client, "GET /debug/shed")
        assert status == 200
        assert (state["mode"], state["algorithm"], state["limit"]) == ("enforce", "fixed", 24)
        assert state["pid"] == os.getpid()
        assert set(state["classes"]) == {
            "critical_plus",
            "critical",
            "sheddable_plus",
            "sheddable",
        }
        status, headers, nothing = await ask(client, "HEAD /debug/shed")
        assert (status, nothing) == (200, None)
        assert int(headers["content-length"]) > 100
        assert (await ask(client, "GET /debug/shed"))[0] == 200, "the connection stays usable"


WRONG_CREDENTIALS = (
    ["accept: */*"],
    [f"authorization: Bearer {TOKEN}x"],
    [f"authorization: Bearer {TOKEN[:-1]}"],
    ["authorization: Bearer "],
    ["authorization: Bearer"],
    [f"authorization: Basic {TOKEN}"],
    [f"authorization: {TOKEN}"],
    [f"authorization: Bearer {'é' * 20}"],
    [BEARER, "authorization: Bearer x"],
)


@pytest.mark.parametrize("method", ["GET", "PATCH", "PROPFIND"])
async def test_without_the_token_nothing_is_told_and_nothing_changes(
    serve: Any, connect: Any, method: str
) -> None:
    async with serve(Shop().app) as port:
        client = await connect(port)
        for credentials in WRONG_CREDENTIALS:
            wanted = {"limit": 1} if method == "PATCH" else None
            status, headers, problem = await ask(
                client, f"{method} /debug/shed", *credentials, json_body=wanted
            )
            assert (status, headers["www-authenticate"]) == (401, "bearer"), credentials
            assert set(problem) == {"type", "title", "status", "detail"}
        assert (await ask(client, "GET /debug/shed"))[2]["limit"] == 24


async def test_a_lower_case_scheme_is_as_good(serve: Any, connect: Any) -> None:
    async with serve(Shop().app) as port:
        client = await connect(port)
        header = f"authorization: bearer {TOKEN}"
        assert (await ask(client, "GET /debug/shed", header))[0] == 200


async def test_without_a_token_set_the_paths_are_the_apps_own(serve: Any, connect: Any) -> None:
    shop = Shop(token=None, maintenance=Maintenance())
    shop.app.get("/admin/maintenance")(lambda: "mine")
    async with serve(shop.app) as port:
        client = await connect(port)
        assert (await client.ask("GET /debug/shed", BEARER))[0] == 404
        status, _, body = await client.ask("GET /admin/maintenance", BEARER)
        assert (status, body) == (200, b'"mine"')


async def test_without_a_maintenance_that_path_is_the_apps_own(serve: Any, connect: Any) -> None:
    async with serve(Shop().app) as port:
        status, _, body = await (await connect(port)).ask("GET /admin/maintenance", BEARER)
        assert (status, json.loads(body)) == (404, {"detail": "Not Found"})


async def test_another_algorithm_goes_on_from_the_present_limit(serve: Any, connect: Any) -> None:
    async with serve(Shop().app) as port:
        client = await connect(port)
        for algorithm in ALGORITHMS:
            wanted: Any = {"algorithm": algorithm}
            status, _, state = await ask(client, "PATCH /debug/shed", json_body=wanted)
            assert (status, state["algorithm"], state["limit"]) == (200, algorithm, 24)
        wanted = {"algorithm": "vegas", "limit": 3, "mode": "observe"}
        _, _, state = await ask(client, "PATCH /debug/shed", json_body=wanted)
        assert {key: state[key] for key in wanted} == wanted


async def test_a_change_while_requests_run_lets_more_in_at_once_and_loses_none(
    serve: Any, connect: Any, until: Any
) -> None:
    shop = Shop(limit=1, queue=QueueRules(timeout_seconds=60))
    async with serve(shop.app) as port:
        holders = [await connect(port) for _ in range(3)]
        admin = await connect(port)
        for holder in holders:
            holder.send("GET /hold")
        await until(lambda: shop.entered and of(shop.app).limiter.queued == 2)
        assert (await ask(admin, "PATCH /debug/shed", json_body={"limit": 3}))[0] == 200
        await until(lambda: shop.entered == 3)
        _, _, state = await ask(admin, "GET /debug/shed")
        assert (state["inflight"], state["queued"]) == (3, 0)
        await ask(admin, "PATCH /debug/shed", json_body={"algorithm": "elastic"})
        shop.open.set()
        assert [(await holder.answer())[0] for holder in holders] == [200, 200, 200]
        assert (await ask(admin, "GET /debug/shed"))[2]["inflight"] == 0


async def test_the_api_answers_while_the_shedder_refuses_everybody(
    serve: Any, connect: Any, until: Any
) -> None:
    shop = Shop(limit=1, queue=QueueRules(length=0))
    async with serve(shop.app) as port:
        holder, refused, admin = [await connect(port) for _ in range(3)]
        holder.send("GET /hold")
        await until(lambda: shop.entered)
        assert (await refused.ask("GET /hold"))[0] == 503
        assert (await ask(admin, "PATCH /debug/shed", json_body={"mode": "off"}))[0] == 200
        refused.send("GET /hold")
        await until(lambda: shop.entered == 2)
        shop.open.set()
        assert (await refused.answer())[0] == (await holder.answer())[0] == 200


NOT_ALLOWED: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "nothing to change"),
    ({"mode": "on"}, "off, observe, enforce"),
    ({"mode": None}, "off, observe, enforce"),
    ({"mode": ["off"]}, "off, observe, enforce"),
    ({"algorithm": "bbr"}, "fixed, aimd, vegas, gradient2, elastic"),
    ({"algorithm": {"fixed": 1}}, "fixed, aimd, vegas, gradient2, elastic"),
    ({"limit": 0}, "from 1 to 100000"),
    ({"limit": -5}, "from 1 to 100000"),
    ({"limit": 100_001}, "from 1 to 100000"),
    ({"limit": 1e400}, "from 1 to 100000"),
    ({"limit": float("nan")}, "from 1 to 100000"),
    ({"limit": True}, "from 1 to 100000"),
    ({"limit": "24"}, "from 1 to 100000"),
    ({"limit": None}, "from 1 to 100000"),
    ({"limit": None, "algorithm": "vegas"}, "from 1 to 100000"),
    ({"limit": 0, "mode": "off"}, "from 1 to 100000"),
    ({"limits": 5}, "mode, algorithm, limit"),
    ({"mode": "x" * 50_000}, "…"),
)


async def test_a_value_that_is_not_allowed_is_422_and_changes_nothing(
    serve: Any, connect: Any
) -> None:
    async with serve(Shop().app) as port:
        client = await connect(port)
        for wanted, words in NOT_ALLOWED:
            status, _, problem = await ask(client, "PATCH /debug/shed", json_body=wanted)
            assert (status, problem["status"]) == (422, 422), wanted
            assert words in problem["detail"]
            assert len(problem["detail"]) < 400
            _, _, state = await ask(client, "GET /debug/shed")
            assert (state["mode"], state["algorithm"], state["limit"]) == ("enforce", "fixed", 24)


NO_OBJECT = (
    b"",
    b"x",
    b"\xff\xfe",
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b"1" * 60_000,
    b"null",
    b"[]",
    b'"limit"',
    b'{"mode": "\\ud800"}',
    b'{"\\ud800": 1}',
    b"{",
    b"\x00",
)


async def test_what_is_no_json_object_is_400(serve: Any, connect: Any) -> None:
    async with serve(Shop().app) as port:
        client = await connect(port)
        for body in NO_OBJECT:
            status, _, problem = await ask(client, "PATCH /debug/shed", body=body)
            assert (status, problem["title"]) == (400, "Bad Request"), body[:20]
        assert (await ask(client, "GET /debug/shed"))[2]["limit"] == 24


async def test_a_body_over_64_kib_is_413_and_does_not_stick_in_the_connection(
    serve: Any, connect: Any
) -> None:
    async with serve(Shop().app) as port:
        client = await connect(port)
        body = b'{"limit": 3, "x": "' + b"y" * 65_536 + b'"}'
        assert (await ask(client, "PATCH /debug/shed", body=body))[0] == 413
        assert (await ask(client, "GET /debug/shed"))[2]["limit"] == 24


async def test_a_client_that_leaves_before_its_body_ends_changes_nothing(
    serve: Any, connect: Any, until: Any
) -> None:
    shop = Shop()
    async with serve(shop.app) as port:
        client, other = await connect(port), await connect(port)
        lines = ["PATCH /debug/shed HTTP/1.1", "host: test", BEARER, "content-length: 12", "", ""]
        client.writer.write("\r\n".join(lines).encode() + b'{"limit"')
        await client.writer.drain()
        client.close()
        assert (await ask(other, "GET /debug/shed"))[2]["limit"] == 24


async def test_another_method_is_405_and_says_which_there_are(serve: Any, connect: Any) -> None:
    async with serve(Shop(maintenance=Maintenance()).app) as port:
        client = await connect(port)
        for method in ("DELETE", "POST", "OPTIONS"):
            status, headers, _ = await ask(client, f"{method} /debug/shed")
            assert (status, headers["allow"]) == (405, "get, head, patch")
        status, headers, _ = await ask(client, "PUT /admin/maintenance")
        assert (status, headers["allow"]) == (405, "get, head, post, patch, delete")


async def test_a_limit_that_processes_share_is_not_changed_by_one_of_them(
    serve: Any, connect: Any
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        limit = SharedLimit(FixedLimit(24), path=Path(directory) / "limit")
        async with serve(Shop(limit=limit).app) as port:
            admin = await connect(port)
            for wanted in ({"limit": 30}, {"algorithm": "elastic"}):
                status, _, problem = await ask(admin, "PATCH /debug/shed", json_body=wanted)
                assert (status, "shared" in problem["detail"]) == (409, True)
            wanted = {"mode": "observe"}
            assert (await ask(admin, "PATCH /debug/shed", json_body=wanted))[2]["limit"] == 24
        limit.close()


async def test_inside_the_shedder_it_says_where_it_belongs(serve: Any, connect: Any) -> None:
    app = FastAPI()
    app.add_middleware(AdminAPI, token=TOKEN)
    app.add_middleware(LoadSheddingMiddleware, limit=24)
    async with serve(app) as port:
        status, _, problem = await ask(await connect(port), "GET /debug/shed")
        assert (status, "after LoadSheddingMiddleware" in problem["detail"]) == (404, True)


async def test_it_wraps_any_asgi_app_and_takes_what_it_cannot_find(
    serve: Any, connect: Any
) -> None:
    async def closed(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("an operator's request must not come here")

    shedder = LoadSheddingMiddleware(closed, limit=7)
    app = AdminAPI(
        closed,
        token=TOKEN,
        path="/ops/shed",
        maintenance_path="/ops/doors",
        shedder=shedder,
        maintenance=Maintenance(),
    )
    async with serve(app) as port:
        admin = await connect(port)
        assert (await ask(admin, "GET /ops/shed"))[2]["limit"] == 7
        assert (await ask(admin, "GET /ops/doors"))[2]["phase"] == "none"


async def test_a_prefix_that_a_proxy_strips_is_no_part_of_the_path(
    serve: Any, connect: Any
) -> None:
    async with serve(Shop().app, root_path="/api") as port:
        assert (await ask(await connect(port), "GET /debug/shed"))[0] == 200


async def test_every_change_is_in_the_log_and_the_token_is_not(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(Shop().app) as port:
        admin = await connect(port)
        with caplog.at_level(logging.WARNING, "launchday.admission"):
            await ask(admin, "GET /debug/shed")
            await ask(admin, "PATCH /debug/shed", json_body={"limit": 0})
            await ask(admin, "PATCH /debug/shed", json_body={"limit": 30})
    assert [record.getMessage() for record in caplog.records] == [
        'by the admin API: PATCH /debug/shed {"limit": 30}'
    ]
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"token": "fifteen-letters"}, "token must be at least 16"),
        ({"token": b"bytes-and-no-text"}, "token must be at least 16"),
        ({"token": "sixteen letters and spaces"}, "token must be at least 16"),
        ({"token": "größer-als-sechzehn"}, "token must be at least 16"),
        ({"token": TOKEN + "\n"}, "token must be at least 16"),
        ({"token": TOKEN, "path": "debug"}, "path must have a leading slash"),
        ({"token": TOKEN, "maintenance_path": None}, "maintenance_path must have a leading slash"),
        ({"token": TOKEN, "path": "/a", "maintenance_path": "/a"}, "must differ"),
    ],
)
def test_wrong_settings_are_refused_at_construction(arguments: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        AdminAPI(FastAPI(), **arguments)
    secret = arguments["token"]
    assert not secret or str(secret) not in str(refusal.value), "a secret is not shown"


@pytest.mark.parametrize(
    ("exempt", "transparent"),
    [(EXEMPT_PATHS, True), (("/healthz",), False)],
)
def test_servers_may_refuse_before_it_only_if_it_cannot_be_refused_itself(
    exempt: tuple[str, ...], transparent: bool
) -> None:
    shop = Shop(exempt_paths=exempt)
    shop.app.middleware_stack = shop.app.build_middleware_stack()
    outside = find(shop.app)
    assert outside is not None
    assert isinstance(outside.shedder, LoadSheddingMiddleware)
    assert outside.is_transparent() is transparent


@pytest.mark.parametrize("exempt", [EXEMPT_PATHS, ("/healthz",)])
async def test_the_api_answers_behind_the_protocol_that_refuses_everybody(
    connect: Any, until: Any, exempt: tuple[str, ...]
) -> None:
    shop = Shop(limit=1, queue=QueueRules(length=0), exempt_paths=exempt)
    async with serving(shop.app, http=SheddingProtocol) as server:
        port = server.port  # type: ignore[attr-defined]  # noted by `serving`
        holder, refused, admin = [await connect(port) for _ in range(3)]
        holder.send("GET /hold")
        await until(lambda: shop.entered)
        for _ in range(3):
            assert (await refused.ask("GET /hold"))[0] == 503
            assert (await ask(admin, "GET /debug/shed"))[2]["inflight"] == 1
        shop.open.set()
        assert (await holder.answer())[0] == 200
