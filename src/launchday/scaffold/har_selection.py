"""Which exchanges of a recorded session belong to the journey, and why the others do not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from launchday.errors import SettingsError
from launchday.scaffold.har import Exchange

_STATIC_KINDS = {"script", "stylesheet", "image", "font", "media", "manifest", "texttrack"}
_STATIC_MEDIA = re.compile(
    r"^(image|font|audio|video)/|javascript|^text/css|ecmascript|font|wasm|manifest\+json"
)
_STATIC_PATH = re.compile(
    r"\.(js|mjs|css|map|png|jpe?g|gif|svg|webp|avif|ico|woff2?|ttf|otf|eot|mp4|webm|mp3|wasm)$",
    re.IGNORECASE,
)
_LARGEST_BODY = 50_000


@dataclass(frozen=True)
class Selection:
    """The exchanges of a journey; `left_out` counts the others by what they were."""

    origin: str
    kept: tuple[Exchange, ...]
    left_out: tuple[tuple[str, int], ...]


def select(
    exchanges: Sequence[Exchange], *, host: str | None = None, static: bool = False
) -> Selection:
    """The requests to one host; `host` is a name, with or without a port, or an origin.

    Raises:
        SettingsError: no request went to `host`, or none is left of it.
    """
    origin = _origin(exchanges, host)
    kept: list[Exchange] = []
    left_out: Counter[str] = Counter()
    for position, each in enumerate(exchanges):
        reason = _reason(each, origin, static=static)
        if not reason and _folds(each, exchanges[position + 1 :]):
            reason = "redirects, folded into where they led"
        if reason:
            left_out[reason] += 1
        else:
            kept.append(each)
    if not kept:
        listed = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise SettingsError(f"nothing is left of the session with {origin}: {listed}")
    return Selection(origin, tuple(kept), tuple(left_out.items()))


def _origin(exchanges: Sequence[Exchange], host: str | None) -> str:
    web = [each for each in exchanges if urlsplit(each.url).scheme in ("http", "https")]
    if host is None:
        documents = [each for each in web if _is_document(each)]
        if not web:
            raise SettingsError("the session holds no request by HTTP")
        return (documents or web)[0].origin
    wanted = host.rstrip("/").lower()
    for each in web:
        parts = urlsplit(each.origin.lower())
        if wanted in (each.origin.lower(), parts.netloc, parts.hostname):
            return each.origin
    counted = Counter(urlsplit(each.url).netloc for each in web)
    known = ", ".join(f"{name} ({count})" for name, count in counted.most_common(8))
    raise SettingsError(f"--host is {host!r}; the session has requests to: {known}")


def _is_document(each: Exchange) -> bool:
    return each.kind == "document" or (each.media_type == "text/html" and each.method == "GET")


def _reason(each: Exchange, origin: str, *, static: bool) -> str | None:
    parts = urlsplit(each.url)
    if parts.scheme not in ("http", "https"):
        return "no HTTP" if parts.scheme not in ("ws", "wss") else "WebSockets"
    if each.origin != origin:
        return f"to {parts.netloc.rpartition('@')[2]}"
    if each.method in ("OPTIONS", "CONNECT", "TRACE") or each.kind == "preflight":
        return "preflights"
    if each.kind in ("websocket", "eventsource") or each.media_type == "text/event-stream":
        return "streams without an end"
    if each.kind in ("ping", "beacon", "csp-violation-report"):
        return "beacons"
    if not static and _is_static(each):
        return "static files (--include-static keeps them)"
    return _unusable(each)


def _unusable(each: Exchange) -> str | None:
    if each.status == 0:
        return "without an answer"
    if each.status == 101:
        return "WebSockets"
    if each.status >= 400:
        return f"answered {each.status} when recorded"
    if each.payload and each.payload.binary:
        return "with a binary body"
    if each.payload and len(each.payload.text) > _LARGEST_BODY:
        return f"with a body above {_LARGEST_BODY // 1000} kB"
    return None


def _is_static(each: Exchange) -> bool:
    if each.kind in _STATIC_KINDS:
        return True
    if each.kind in ("xhr", "fetch", "document") or each.method != "GET":
        return False
    return bool(_STATIC_MEDIA.search(each.media_type) or _STATIC_PATH.search(each.path))


def _folds(each: Exchange, later: Sequence[Exchange]) -> bool:
    """Whether the browser was sent on, and nothing but the way there is lost without it."""
    location = each.headers("location")
    if each.method != "GET" or not 300 <= each.status < 400 or not location or each.cookies:
        return False
    target = urljoin(each.url, location[0]).partition("#")[0]
    return any(other.url.partition("#")[0] == target for other in later)
