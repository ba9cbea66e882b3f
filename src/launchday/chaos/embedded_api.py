"""The HTTP API of the embedded Toxiproxy: statuses, bodies and headers of 2.12.0."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from launchday.chaos.bodies import Refusal
from launchday.chaos.embedded_metrics import exposition
from launchday.chaos.registry import Registry

# Nobody should mistake it for the real server, and clients still read 2.12.0.
VERSION = "2.12.0-launchday"
# Decoding stops the relay: for some tens of milliseconds at this length.
LONGEST_BODY_BYTES = 4 * 1024 * 1024
_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS")

Answer = Callable[[Registry, Request], Awaitable[Response]]


def api(registry: Registry) -> ASGIApp:
    """The whole API over one registry. It has no authentication: bind it to loopback."""

    numbers = itertools.count(1)

    def route(path: str, **answers: Answer) -> Route:
        async def endpoint(request: Request) -> Response:
            answer = answers.get(request.method)
            if answer is None:
                return Response(status_code=405)
            response = await _answered(answer, registry, request)
            response.headers["x-toxiproxy-request-id"] = f"{next(numbers):020}"
            return response

        return Route(path, endpoint, methods=_METHODS)

    app = Starlette(
        routes=[
            route("/version", GET=_version),
            route("/metrics", **dict.fromkeys(_METHODS, _metrics)),
            route("/proxies", GET=_proxies, POST=_create),
            route("/populate", POST=_populate),
            route("/reset", POST=_reset),
            route("/proxies/{proxy}", GET=_proxy, POST=_update, PATCH=_update, DELETE=_delete),
            route("/proxies/{proxy}/toxics", GET=_toxics, POST=_add_toxic),
            route(
                "/proxies/{proxy}/toxics/{toxic}",
                GET=_toxic,
                POST=_update_toxic,
                PATCH=_update_toxic,
                DELETE=_remove_toxic,
            ),
        ],
        exception_handlers={404: _unknown_path, 405: _wrong_method},
    )
    app.router.redirect_slashes = False
    return app


async def _answered(answer: Answer, registry: Registry, request: Request) -> Response:
    # A web page must not reach the API of somebody's machine.
    if request.headers.get("user-agent", "").startswith("Mozilla/"):
        return PlainTextResponse("User agent not allowed\n", 403)
    try:
        return await answer(registry, request)
    except Refusal as refusal:
        return _refused(refusal)


async def _version(registry: Registry, request: Request) -> Response:
    return _json({"version": VERSION})


async def _metrics(registry: Registry, request: Request) -> Response:
    return Response(exposition(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _proxies(registry: Registry, request: Request) -> Response:
    return _json({name: proxy.describe() for name, proxy in sorted(registry.proxies.items())})


async def _create(registry: Registry, request: Request) -> Response:
    return _json((await registry.create(await _body(request))).describe(), 201)


async def _populate(registry: Registry, request: Request) -> Response:
    proxies = await registry.populate(await _body(request))
    return _json({"proxies": [proxy.describe() for proxy in proxies] or None}, 201)


async def _reset(registry: Registry, request: Request) -> Response:
    await registry.reset()
    return Response(status_code=204)


async def _proxy(registry: Registry, request: Request) -> Response:
    return _json(registry.proxy(request.path_params["proxy"]).describe())


async def _update(registry: Registry, request: Request) -> Response:
    name = request.path_params["proxy"]
    return _json((await registry.update(name, await _body(request))).describe())


async def _delete(registry: Registry, request: Request) -> Response:
    await registry.delete(request.path_params["proxy"])
    return Response(status_code=204)


async def _toxics(registry: Registry, request: Request) -> Response:
    proxy = registry.proxy(request.path_params["proxy"])
    return _json([toxic.describe() for toxic in proxy.listed_toxics()])


async def _add_toxic(registry: Registry, request: Request) -> Response:
    body = await _body(request)
    return _json(registry.add_toxic(request.path_params["proxy"], body).describe())


async def _toxic(registry: Registry, request: Request) -> Response:
    names = request.path_params
    return _json(registry.toxic(names["proxy"], names["toxic"]).describe())


async def _update_toxic(registry: Registry, request: Request) -> Response:
    names = request.path_params
    body = await _body(request)
    return _json(registry.update_toxic(names["proxy"], names["toxic"], body).describe())


async def _remove_toxic(registry: Registry, request: Request) -> Response:
    registry.remove_toxic(request.path_params["proxy"], request.path_params["toxic"])
    return Response(status_code=204)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY_BYTES:
            raise Refusal(400, "bad request body: too long")
    return bytes(body)


def _json(values: object, status: int = 200) -> Response:
    text = json.dumps(values, separators=(",", ":"))
    return Response(text, status, media_type="application/json")


def _refused(refusal: Refusal) -> Response:
    values: dict[str, object] = {"error": refusal.words, "status": refusal.status}
    if refusal.extra is not None:
        return _json(values | dict(refusal.extra), refusal.status)
    # The real server's errors are JSON that calls itself text.
    return PlainTextResponse(json.dumps(values, separators=(",", ":")) + "\n", refusal.status)


async def _unknown_path(request: Request, error: Exception) -> Response:
    return PlainTextResponse("404 page not found\n", 404)


async def _wrong_method(request: Request, error: Exception) -> Response:
    return Response(status_code=405)
