"""A recorded session becomes a journey: its steps, the values that they hand on, its secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote

from launchday.scaffold.documents import Json
from launchday.scaffold.har import Exchange, Payload
from launchday.scaffold.har_correlation import Values
from launchday.scaffold.har_secrets import PART, is_tracking_cookie, looks_random
from launchday.scaffold.har_selection import Selection
from launchday.scaffold.har_values import Source, template
from launchday.scaffold.python_text import Call, Expression

COOKIE = "COOKIE"
"""The constant with the cookies that the browser had from before."""
_SHORTEST_PAUSE_SECONDS = 0.3
_LONGEST_PAUSE_SECONDS = 30.0
_NOT_SENT = re.compile(
    r":.*|sec-.*|host|connection|content-length|content-type|accept|accept-encoding|accept-language"
    r"|user-agent|referer|origin|cache-control|pragma|dnt|te|priority|upgrade-insecure-requests"
    r"|if-none-match|if-modified-since|range|x-request-id|x-correlation-id|traceparent|tracestate"
    r"|baggage|sentry-trace|x-b3-.*|x-datadog-.*|newrelic|keep-alive|proxy-connection|cookie"
    r"|save-data|viewport-width|purpose|x-client-data|idempotency-key"
)


@dataclass(frozen=True)
class Take:
    """A value that the journey goes on with: `variable` is taken from the answer."""

    variable: str
    source: Source


@dataclass(frozen=True)
class Step:
    """One request: `arguments` are those of the client's method; first the path."""

    method: str
    name: str
    arguments: tuple[tuple[str, Json], ...]
    pause_seconds: float
    takes: tuple[Take, ...]
    redirects: bool


@dataclass(frozen=True)
class Journey:
    """What one arrival does. `secrets` are constants and the environment variables they read.

    `cookies` are the names of those that the browser had from before, `tracking_cookies` of those
    that are left out.
    """

    name: str
    url: str
    steps: tuple[Step, ...]
    secrets: tuple[tuple[str, str], ...]
    cookies: tuple[str, ...] = ()
    tracking_cookies: tuple[str, ...] = ()


def journey_of(selection: Selection, name: str, *, think_time: bool = True) -> Journey:
    """The journey of a selection; `name` is that of the scenario."""
    # Twice: what the end of a session shows to be a secret may stand at its beginning, too.
    known, _ = _read(selection, Values(name))
    values, drafts = _read(selection, Values(name, known.secret_names))
    pauses = _pauses(selection.kept) if think_time else [0.0] * len(selection.kept)
    steps = []
    for index, (exchange, (title, arguments)) in enumerate(
        zip(selection.kept, drafts, strict=True)
    ):
        taken = values.taken_from(index)
        steps.append(
            Step(
                method=exchange.method,
                name=title,
                arguments=arguments,
                pause_seconds=pauses[index],
                takes=tuple(Take(variable, source) for variable, source in taken),
                redirects=300 <= exchange.status < 400,
            )
        )
    return Journey(
        name,
        selection.origin,
        tuple(steps),
        values.secrets,
        cookies=values.cookies,
        tracking_cookies=tuple(values.tracking_cookies),
    )


def _read(
    selection: Selection, values: Values
) -> tuple[Values, list[tuple[str, tuple[tuple[str, Json], ...]]]]:
    drafts = []
    for index, exchange in enumerate(selection.kept):
        drafts.append(_arguments(exchange, values))
        values.answered(index, exchange)
    return values, drafts


def _pauses(exchanges: Sequence[Exchange]) -> list[float]:
    pauses, done = [], 0.0
    for each in exchanges:
        gap = min(each.start_seconds - done, _LONGEST_PAUSE_SECONDS)
        pauses.append(round(gap, 1) if done and gap >= _SHORTEST_PAUSE_SECONDS else 0.0)
        done = max(done, each.end_seconds)
    return pauses


def _arguments(each: Exchange, values: Values) -> tuple[str, tuple[tuple[str, Json], ...]]:
    values.remember_login(_fields(each.payload))
    path, name = _path(each, values)
    arguments: list[tuple[str, Json]] = [("", path)]
    headers = _headers(each, values)
    title = f"{each.method} {name}"
    if each.payload:
        keyword, body, media_type = _body(each.payload, values)
        arguments.append((keyword, body))
        if keyword == "data" and media_type:
            headers["Content-Type"] = media_type
        if isinstance(body, dict) and isinstance(body.get("operationName"), str):
            title += f" {body['operationName']}"  # of GraphQL
    if headers:
        arguments.append(("headers", headers))
    arguments.append(("name", title))
    return title, tuple(arguments)


def _path(each: Exchange, values: Values) -> tuple[Json, str]:
    parts: list[Json] = []
    names: list[str] = []
    before = ""
    for segment in each.path.split("/"):
        text = unquote(segment)
        value = values.segment(text, before) if text else ""
        parts.append(segment if value == text else values.quoted(value))
        names.append("{id}" if isinstance(value, Expression) else template(segment))
        before = text
    query: list[Json] = []
    for key, value in each.query:
        # A token may be all of the query: /confirm?Zk3…
        shown = values.quoted(values.put(key, "")) if looks_random(key) else quote(key)
        query += ["&" if query else "?", shown, "=", values.quoted(values.put(value, key))]
    slashed = [part for each_part in parts for part in ("/", each_part)][1:]
    return values.joined([*slashed, *query]), "/".join(names)


def _headers(each: Exchange, values: Values) -> dict[str, Json]:
    headers: dict[str, Json] = {}
    for name, value in each.request_headers:
        if name == "accept" and "json" in value and "html" not in value:
            headers["Accept"] = value
        elif name == "idempotency-key":
            headers["Idempotency-Key"] = Expression("self.idempotency_key()")
        elif name in ("authorization", "proxy-authorization"):
            headers[name.title()] = _authorization(value, values)
        elif not _NOT_SENT.fullmatch(name):
            headers[name.title()] = values.put(value, name)
    cookie = _cookie(each, values)
    if cookie:
        headers["Cookie"] = cookie
    return headers


def _authorization(value: str, values: Values) -> Json:
    scheme, _, token = value.partition(" ")
    variable = values.variable(token, "token")
    if variable:
        return values.joined([f"{scheme} ", variable])
    secret = values.secret(token or value, "token")
    return values.joined([f"{scheme} ", secret]) if token else secret


def _cookie(each: Exchange, values: Values) -> Json:
    lines = [value for name, value in each.request_headers if name == "cookie"]
    pairs = [part.strip().partition("=") for line in lines for part in line.split(";")]
    known: list[Json] = []
    unknown: list[str] = []
    for name, _, value in pairs:
        if is_tracking_cookie(name):
            values.tracking_cookies.setdefault(name)
        if not name or is_tracking_cookie(name):
            continue
        variable = values.cookie(name, value)
        if variable:
            known += ["; ", f"{name}=", variable]
        else:
            unknown.append(f"{name}={value}")
            values.had_cookie(name, value)
    if unknown:
        return values.joined([values.secret("; ".join(unknown), COOKIE, one=True), *known])
    return values.joined(known[1:])


def _body(payload: Payload, values: Values) -> tuple[str, Json, str]:
    try:
        document = values.tree(payload.json(), "")
    except (ValueError, RecursionError):
        pass
    else:
        plain = payload.media_type.partition(";")[0].strip().lower()
        if plain in ("application/json", ""):
            return "json", document, ""
        return "data", Call("json.dumps", document), payload.media_type
    if "urlencoded" in payload.media_type:
        pairs = [(key, values.field(text, key)) for key, text in _pairs(payload)]
        if all(isinstance(value, str) for _, value in pairs):
            return "data", payload.text, payload.media_type
        return "data", Call("urlencode", pairs), payload.media_type
    return "data", values.mixed(payload.text), payload.media_type


def _pairs(payload: Payload) -> list[tuple[str, str]]:
    return parse_qsl(payload.text, keep_blank_values=True)


def _fields(payload: Payload | None) -> dict[str, str]:
    """Names and texts of a form or of the top of a JSON object."""
    if payload is None:
        return {}
    if "urlencoded" in payload.media_type:
        return dict(_pairs(payload))
    if "multipart" in payload.media_type:
        return {part["name"]: part["value"] for part in PART.finditer(payload.text)}
    try:
        document = json.loads(payload.text)
    except (ValueError, RecursionError):
        return {}
    table = document if isinstance(document, dict) else {}
    return {key: value for key, value in table.items() if isinstance(value, str)}
