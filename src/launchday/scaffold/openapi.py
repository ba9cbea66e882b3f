"""An OpenAPI document (3.0 or 3.1) becomes a Service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast, get_args
from urllib.parse import urljoin, urlsplit

from launchday.scaffold.addresses import check_address, public
from launchday.scaffold.documents import Json, References, Unreadable, list_at, table_at
from launchday.scaffold.examples import example_of
from launchday.scaffold.har_secrets import is_password_name
from launchday.scaffold.security import (
    header_scheme,
    is_sign_in_header,
    requirement,
    schemes_of,
)
from launchday.scaffold.service import (
    CRITICALITIES,
    Body,
    Operation,
    Parameter,
    Place,
    Service,
    scenario_name,
)

_METHODS = ("get", "head", "post", "put", "patch", "delete")
_MACHINES = re.compile(
    r"^(/[\w-]+)?/(healthz?|health[-_]check|livez|readyz|ready|live|liveness|readiness|ping)/?$"
)
_HEALTH = re.compile(_MACHINES.pattern.replace("|ping", "|ping|status"))
_NO_JOURNEY = re.compile(r"/(metrics|openapi\.(json|ya?ml)|docs|redoc|swagger[\w-]*)/?$")
_FOR_OPERATORS = re.compile(r"/(admin|debug|internal|actuator|_\w+)(/|$)")
_SIGN_IN = re.compile(
    r"/(log[-_]?(in|out)|sign[-_]?(in|out|up)|authenticate)/?$"
    r"|^(/api)?(/v\d+)?(/(auth|users?|accounts?|customers?|members?))?/regist(er|ration)/?$"
    r"|/(o?auth2?|connect|tokens?|sessions?)/(token|refresh)/?$",
    re.IGNORECASE,
)
_BODIES = ("application/json", "application/x-www-form-urlencoded", "text/plain")
# Decided by the client itself (OpenAPI, Parameter Object).
_NOT_PARAMETERS = {"accept", "content-type"}


def service_of(document: dict[str, Json], origin: str, *, host: str | None = None) -> Service:
    """The service that `document` describes; `origin` is where it was read: a URL or a file.

    `host` is where it answers, if the document does not say so or another one is meant. User,
    password and query of these addresses are left out.

    Raises:
        SettingsError: `host` or the document's server has quotes, backslashes, spaces or control
            characters.
    """
    server = _server(document)
    addresses = {"--host": host or "", "servers[0].url": server}
    for name, address in addresses.items():
        check_address(address, f"{name} is")
    addresses["--openapi"] = origin
    references = References(document)
    reader = _Reader(document, references)
    operations, left_out = [], []
    for path, method, item in reader.entries():
        operation = reader.operation(path, method, item)
        reason = _no_journey(operation, item)
        if reason:
            left_out.append((operation.name, reason))
        else:
            operations.append(operation)
    title = str(table_at(document, "info").get("title") or "service")
    used = {name for operation in operations for name in operation.schemes}
    return Service(
        title=title,
        origin=public(origin),
        url=_url(public(server), public(origin), host and public(host)),
        health_path=_health_path(reader, operations),
        operations=tuple(operations),
        schemes=tuple(scheme for scheme in reader.schemes if scheme.name in used),
        left_out=tuple(left_out),
        stripped=tuple(name for name, each in addresses.items() if public(each) != each),
    )


class _Reader:
    def __init__(self, document: dict[str, Json], references: References) -> None:
        self._document = document
        self._references = references
        title = str(table_at(document, "info").get("title") or "service")
        self._prefix = scenario_name(title)
        self.schemes = schemes_of(document, references, self._prefix)

    def entries(self) -> Iterator[tuple[str, str, dict[str, Json]]]:
        """Path, method and operation, with the parameters of the path in the operation's."""
        for path, entry in table_at(self._document, "paths").items():
            try:
                item = self._references.table(entry)
            except Unreadable:
                continue
            for method in _METHODS:
                operation = item.get(method)
                if path.startswith("/") and isinstance(operation, dict):
                    both = [*list_at(item, "parameters"), *list_at(operation, "parameters")]
                    yield path, method, {**operation, "parameters": both}

    def operation(self, path: str, method: str, item: dict[str, Json]) -> Operation:
        """One operation; what cannot be read of it is its `trouble`."""
        trouble = "it is deprecated" if item.get("deprecated") is True else None
        body, key = None, None
        parameters: tuple[Parameter, ...] = ()
        schemes: tuple[str, ...] = ()
        try:
            parameters, key = self._parameters(path, item)
            body = self._body(item)
            schemes = requirement(item.get("security", self._document.get("security")), self)
            schemes += self._sign_in_headers(item, schemes)
        except Unreadable as error:
            trouble = trouble or str(error)
        wish = item.get("x-criticality")
        return Operation(
            method=method.upper(),
            path=path,
            summary=str(item.get("summary") or item.get("description") or ""),
            parameters=parameters,
            body=body,
            schemes=schemes,
            criticality=wish if wish in CRITICALITIES else None,
            idempotency_key=key,
            trouble=trouble,
        )

    def _sign_in_headers(self, item: dict[str, Json], schemes: tuple[str, ...]) -> tuple[str, ...]:
        """The schemes of header parameters that say who is asking, without what `schemes` send."""
        sent = [scheme for scheme in self.schemes if scheme.name in schemes]
        for each in item["parameters"]:
            table = self._references.table(each)
            name, required = str(table.get("name", "")), table.get("required") is True
            if table.get("in") != "header" or not is_sign_in_header(name, required=required):
                continue
            scheme = header_scheme(name, self, self._prefix)
            if scheme in sent or (
                scheme.sets_authorization and any(each.sets_authorization for each in sent)
            ):
                continue
            if scheme not in self.schemes:
                self.schemes = (*self.schemes, scheme)
            sent.append(scheme)
        return tuple(scheme.name for scheme in sent if scheme.name not in schemes)

    def _parameters(
        self, path: str, item: dict[str, Json]
    ) -> tuple[tuple[Parameter, ...], str | None]:
        found: dict[tuple[str, str], Parameter] = {}
        key = None
        for each in item["parameters"]:
            table = self._references.table(each)
            name, place = str(table.get("name", "")), str(table.get("in", ""))
            if place == "header" and name.lower() == "idempotency-key":
                key = name
            elif self._wanted(table, name, place):
                found[place, name] = self._parameter(table, name, cast(Place, place))
        for name in re.findall(r"\{([^{}]+)\}", path):
            # A document may forget to describe what its path names.
            found.setdefault(("path", name), Parameter(name, "path", "1", known=False))
        return tuple(found.values()), key

    def _wanted(self, table: dict[str, Json], name: str, place: str) -> bool:
        if place not in get_args(Place) or not name:
            return False
        required = table.get("required") is True
        if place == "header" and (
            name.lower() in _NOT_PARAMETERS or is_sign_in_header(name, required=required)
        ):
            return False
        return place == "path" or required

    def _parameter(self, table: dict[str, Json], name: str, place: Place) -> Parameter:
        holder = next(iter(table_at(table, "content").values()), table)
        example = example_of(self._references.table(holder), self._references)
        schema = self._references.table(table.get("schema"))
        free = place == "path" or schema.get("type", "string") == "string"
        return Parameter(name, place, example.value, known=example.given or not free)

    def _body(self, item: dict[str, Json]) -> Body | None:
        request = self._references.table(item.get("requestBody"))
        content = table_at(request, "content")
        for media_type, holder in content.items():
            plain = media_type.partition(";")[0].strip().lower()
            if plain in _BODIES or plain.endswith("+json"):
                example = example_of(self._references.table(holder), self._references)
                return Body(plain, example.value)
        if not content or request.get("required") is not True:
            return None
        raise Unreadable(f"its body is {next(iter(content))}: write one")


def _no_journey(operation: Operation, item: dict[str, Json]) -> str | None:
    if _NO_JOURNEY.search(operation.path):
        return "no client's journey"
    if _FOR_OPERATORS.search(operation.path):
        return "for operators"
    if operation.reads and _MACHINES.search(operation.path):
        return "asked by machines"
    if not operation.reads and (_SIGN_IN.search(operation.path) or _has_password(operation)):
        return "signs in, up or out: a made-up account cannot"
    for status, response in table_at(item, "responses").items():
        if status.startswith("2") and "text/event-stream" in table_at(response, "content"):
            return "a stream without an end"
    return None


def _has_password(operation: Operation) -> bool:
    value = operation.body.value if operation.body else None
    return isinstance(value, dict) and any(map(is_password_name, value))


def _health_path(reader: _Reader, operations: list[Operation]) -> str:
    paths = [path for path, method, _ in reader.entries() if method == "get" and "{" not in path]
    for path in paths:
        if _HEALTH.search(path):
            return path
    return next((each.path for each in operations if each.path in paths and each.reads), "/")


def _server(document: dict[str, Json]) -> str:
    first = next(iter(list_at(document, "servers")), None)
    template = str(first.get("url", "/")) if isinstance(first, dict) else "/"
    for name, variable in table_at(first, "variables").items():
        default = variable.get("default", "") if isinstance(variable, dict) else ""
        template = template.replace(f"{{{name}}}", str(default))
    return template


def _url(server: str, origin: str, host: str | None) -> str | None:
    try:
        base = public(urljoin(origin if "://" in origin else "", server))
        parts = urlsplit(base)
        complete = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets that hold no address, a port that is none
        return host
    if host:
        own_path = urlsplit(host).path.strip("/")
        return host.rstrip("/") + ("" if own_path else parts.path.rstrip("/"))
    return base.rstrip("/") if complete and "{" not in base else None
