"""An admin API behind a token: see and change the shedder, plan and end maintenance."""

from __future__ import annotations

import hmac
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from launchday.admission import admin_changes as changes
from launchday.admission.admin_exchange import ClientLeft, Exchange, Refused, problem
from launchday.admission.asgi import ASGIApp, Receive, Scope, Send
from launchday.admission.maintenance import Maintenance
from launchday.admission.maintenance_middleware import MaintenanceMiddleware
from launchday.admission.middleware import LoadSheddingMiddleware

LEAST_TOKEN_CHARACTERS = 16
LONGEST_LOGGED = 300
# Applications around one another; more is a circle.
MOST_LAYERS = 100

_log = logging.getLogger("launchday.admission")
# RFC 6750, 2.1: what a bearer token may consist of.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class _Resource(NamedTuple):
    """One path: what it is about, how that is shown, and what changes it, by method."""

    find: Callable[[], Any]
    describe: Callable[[Any], changes.Document]
    changes: Mapping[str, Callable[[Any, changes.Wanted], None]]


class AdminAPI:
    """Answers two paths itself, and passes everything else on.

    `app.add_middleware(AdminAPI, token=os.environ.get("ADMIN_TOKEN"))`, after the shedder and
    after `MaintenanceMiddleware`: it must stand further out, so that neither can refuse it. It
    finds both inside `app`.

    - GET `path`: the state of the shedder. PATCH: any of `mode` ("off", "observe", "enforce"),
      `algorithm` ("fixed", "aimd", "vegas", "gradient2", "elastic"), `limit` (fixed at it when no
      algorithm is given); another algorithm starts from the present limit.
    - GET `maintenance_path`: the windows. POST: announce one, with `starts_at` and `ends_at` in
      ISO 8601 with a zone, `sentence`, and if you like `open_classes` and `ends_by_itself`.
      PATCH `{"ends_at": …}`: extend the one that closes the doors. DELETE: end it;
      `?starts_at=…` withdraws one that has not begun. Without a `Maintenance` it is the app's.

    - `token`: what callers send as `Authorization: Bearer …`, at least 16 letters, digits or
      "-._~+/"; None: both paths belong to the app, as if this were not there.
    - `shedder`, `maintenance`: which ones, where they are not to be found inside `app`.

    It sees and changes the process that answers: with several workers ask until each `pid` has
    answered, or keep settings and windows elsewhere. Errors are problem+json: a body over 64 KiB
    is 413, one that is no JSON object 400, a value that is not allowed 422, one that does not fit
    the present state 409. Raises ValueError that names the argument and what is allowed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        path: str = "/debug/shed",
        maintenance_path: str = "/admin/maintenance",
        shedder: LoadSheddingMiddleware | None = None,
        maintenance: Maintenance | None = None,
    ) -> None:
        self.app = app
        # What a deployment passes for a secret that is not set.
        self._token = None if token in (None, "") else _require_token(token).encode()
        self._path = _require_path("path", path)
        self._maintenance_path = _require_path("maintenance_path", maintenance_path)
        if path == maintenance_path:
            raise ValueError(f"path and maintenance_path must differ, not both be {path!r}")
        self._shedder = shedder
        self._maintenance = maintenance
        self._is_exempt: bool | None = None
        self._shed = _Resource(
            self._find_shedder, changes.describe_shedder, {"PATCH": changes.change_shedder}
        )
        self._windows = _Resource(
            self._find_maintenance,
            changes.describe_maintenance,
            {
                "POST": changes.schedule_maintenance,
                "PATCH": changes.extend_maintenance,
                "DELETE": changes.end_maintenance,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        resource = None if scope["type"] != "http" else self._resource(scope)
        if resource is None:
            await self.app(scope, receive, send)
            return
        body = Exchange(scope, receive)
        headers: tuple[tuple[bytes, bytes], ...] = ()
        try:
            status, document = await self._answer(resource, scope, body)
        except Refused as refused:
            status, headers = refused.status, refused.headers
            document = problem(status, str(refused))
        except ClientLeft:
            return
        await body.reply(send, status, document, headers)

    @property
    def transparent_to_refusals(self) -> bool:
        """Whether a server may refuse requests for the shedder before they come here.

        Only when the shedder exempts the paths of this API: else it would refuse them, too. See
        `launchday.admission.uvicorn`.
        """
        if self._is_exempt is None:
            shed = [path for path in self._paths() if not self._exempts(path)]
            if shed:
                _log.warning(
                    "all refusals go through the app, or the admin API could be refused: name %s "
                    "in exempt_paths of the shedder",
                    " and ".join(shed),
                )
            self._is_exempt = not shed
        return self._is_exempt

    def _paths(self) -> list[str]:
        if self._token is None or self._find_shedder() is None:
            return []
        return [self._path, *([self._maintenance_path] if self._find_maintenance() else [])]

    def _exempts(self, path: str) -> bool:
        scope = {"path": path, "method": "GET", "headers": []}
        return self._shedder is not None and self._shedder.exemptions.covers(scope)

    def _resource(self, scope: Scope) -> _Resource | None:
        path: str = scope["path"]
        if root := scope.get("root_path"):
            path = path.removeprefix(root)
        if self._token is None:
            return None
        if path == self._path:
            return self._shed
        is_ours = path == self._maintenance_path and self._find_maintenance() is not None
        return self._windows if is_ours else None

    def _find_shedder(self) -> LoadSheddingMiddleware | None:
        if self._shedder is None:
            found = (one for one in _layers(self.app) if isinstance(one, LoadSheddingMiddleware))
            self._shedder = next(found, None)
        return self._shedder

    def _find_maintenance(self) -> Maintenance | None:
        if self._maintenance is None:
            for layer in _layers(self.app):
                if isinstance(layer, MaintenanceMiddleware):
                    self._maintenance = layer.maintenance
                    break
        return self._maintenance

    async def _answer(
        self, resource: _Resource, scope: Scope, body: Exchange
    ) -> tuple[HTTPStatus, changes.Document]:
        self._require_token_in(scope)
        method = scope["method"]
        if method not in ("GET", "HEAD", *resource.changes):
            allowed = ", ".join(("GET", "HEAD", *resource.changes))
            header = (b"allow", allowed.encode())
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"the methods are {allowed}", header)
        subject = resource.find()
        if subject is None:
            detail = "no load shedder stands further in: add AdminAPI after LoadSheddingMiddleware"
            raise Refused(HTTPStatus.NOT_FOUND, detail)
        if method not in resource.changes:
            return HTTPStatus.OK, resource.describe(subject)
        wanted = _query(scope) if method == "DELETE" else await body.document()
        try:
            resource.changes[method](subject, wanted)
        except changes.Conflict as error:
            raise Refused(HTTPStatus.CONFLICT, str(error)) from None
        except ValueError as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        shown = json.dumps(wanted)[:LONGEST_LOGGED]
        _log.warning("by the admin API: %s %s %s", method, scope["path"], shown)
        status = HTTPStatus.CREATED if method == "POST" else HTTPStatus.OK
        return status, resource.describe(subject)

    def _require_token_in(self, scope: Scope) -> None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        same = hmac.compare_digest(token.strip(), self._token or b"")
        if not same or scheme.lower() != b"bearer":
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "the admin token is missing or wrong",
                (b"www-authenticate", b"Bearer"),
            )


def _layers(app: Any) -> Iterator[Any]:
    """Yield the applications from `app` inwards."""
    for _ in range(MOST_LAYERS):
        if app is None:
            return
        yield app
        app = getattr(app, "middleware_stack", None) or getattr(app, "app", None)


def _query(scope: Scope) -> changes.Document:
    return dict(parse_qsl(scope["query_string"].decode("latin-1")))


def _require_token(token: Any) -> str:
    if isinstance(token, str) and len(token) >= LEAST_TOKEN_CHARACTERS and _TOKEN.fullmatch(token):
        return token
    # A secret is not shown, not even a wrong one.
    raise ValueError(
        f"token must be at least {LEAST_TOKEN_CHARACTERS} letters, digits or '-._~+/' (or None)"
    )


def _require_path(name: str, path: Any) -> str:
    if isinstance(path, str) and path.startswith("/"):
        return path
    raise ValueError(f"{name} must have a leading slash, e.g. '/debug/shed', not {path!r}")
