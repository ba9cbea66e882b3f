"""Reads a recorded browser session: HTTP Archive 1.2, as Chrome, Firefox and Safari export it.

Source: the HAR 1.2 specification (Odvarko, 2012), and what the browsers add to it (`_resourceType`
of Chrome) or leave out.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from launchday.errors import SettingsError
from launchday.scaffold.addresses import is_plain
from launchday.scaffold.documents import Json

MOST_BYTES = 200_000_000
_DEEPEST = 50  # Python reads at most 200 open brackets
_SCALARS = (str, int, float, type(None))


@dataclass(frozen=True)
class Payload:
    """A request body: its text and type; `binary` if it is no text."""

    media_type: str
    text: str
    binary: bool = False

    def json(self) -> Json:
        """The body as JSON. Raises ValueError if it is none, or too deep to be written down."""
        if "json" not in self.media_type and not self.text.lstrip().startswith(("{", "[")):
            raise ValueError("not JSON")
        document = json.loads(self.text)
        if _depth(document) > _DEEPEST:
            raise ValueError("nested too deeply")
        return document


def _depth(document: Json) -> int:
    depth, level = 0, [document]
    while level:
        depth += 1
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [item for each in inner if not isinstance(each, _SCALARS) for item in each]
    return depth


@dataclass(frozen=True)
class Exchange:
    """One request of the browser and its answer.

    `start_seconds` is counted from the first request; header names are in lower case.
    """

    method: str
    url: str
    start_seconds: float
    end_seconds: float
    request_headers: tuple[tuple[str, str], ...]
    payload: Payload | None
    status: int
    response_headers: tuple[tuple[str, str], ...]
    media_type: str
    text: str
    kind: str

    @property
    def origin(self) -> str:
        """`https://shop.example.com`."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    @property
    def path(self) -> str:
        """The path, as it was sent."""
        return urlsplit(self.url).path or "/"

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The parameters of the query."""
        return tuple(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    def headers(self, name: str) -> list[str]:
        """All values of a header of the answer; some browsers join them by a newline."""
        lines = [value for key, value in self.response_headers if key == name]
        return [part.strip() for line in lines for part in line.split("\n")]

    @property
    def cookies(self) -> dict[str, str]:
        """What the answer set, by name."""
        pairs = [line.partition(";")[0].partition("=") for line in self.headers("set-cookie")]
        return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


def parse(content: bytes, source: str) -> tuple[list[Exchange], int]:
    """The exchanges of a recording in the order of their start, and how many could not be read.

    Raises:
        SettingsError: it is no HAR, is too large, or holds no request.
    """
    if len(content) > MOST_BYTES:
        raise SettingsError(
            f"{source} is larger than {MOST_BYTES // 1_000_000} MB: record a shorter session, or "
            "save it without content"
        )
    try:
        document = json.loads(content.decode("utf-8-sig"))
        entries = document["log"]["entries"]
    except RecursionError as error:
        raise SettingsError(f"{source} is nested too deeply to be a HAR file") from error
    except (ValueError, KeyError, TypeError) as error:
        why = "it has no log.entries" if isinstance(error, (KeyError, TypeError)) else str(error)
        raise SettingsError(f"{source} is no HAR file: {why}") from error
    if not isinstance(entries, list):
        raise SettingsError(f"{source} is no HAR file: log.entries is no list")
    read = [exchange for entry in entries if (exchange := _exchange(entry))]
    if not read:
        unread = f"; {len(entries)} entries could not be read" if entries else ""
        raise SettingsError(f"{source} holds no request{unread}")
    return list(_from_zero(read)), len(entries) - len(read)


def _from_zero(exchanges: list[Exchange]) -> Iterator[Exchange]:
    exchanges = sorted(exchanges, key=lambda each: each.start_seconds)
    zero = exchanges[0].start_seconds
    for each in exchanges:
        start, end = each.start_seconds - zero, each.end_seconds - zero
        yield replace(each, start_seconds=start, end_seconds=end)


def _exchange(entry: Any) -> Exchange | None:
    try:
        request, response = entry["request"], entry["response"]
        start = _unix(entry.get("startedDateTime"))
        url = str(request["url"])
        urlsplit(url).port  # noqa: B018 # raises for a port that is none
        if not is_plain(urlsplit(url).netloc):
            return None
        json.dumps(request, ensure_ascii=False).encode()  # raises for half a character
        content = response.get("content") or {}
        mime = str(content.get("mimeType") or "").partition(";")[0].strip().lower()
        return Exchange(
            method=str(request["method"]).upper(),
            url=url,
            start_seconds=start,
            end_seconds=start + max(0.0, float(entry.get("time") or 0)) / 1000,
            request_headers=_headers(request),
            payload=_payload(request.get("postData")),
            status=int(response.get("status") or 0),
            response_headers=_headers(response),
            media_type=mime,
            text=_content(content, mime),
            kind=str(entry.get("_resourceType") or ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _unix(stamp: Any) -> float:
    # Without a stamp the order of the file has to do.
    return datetime.fromisoformat(str(stamp)).timestamp() if stamp else 0.0


def _headers(message: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    headers = message.get("headers") or []
    return tuple((str(h["name"]).lower(), str(h.get("value", ""))) for h in headers)


def _payload(data: Any) -> Payload | None:
    if not isinstance(data, dict):
        return None
    mime = str(data.get("mimeType") or "").strip()
    text = data.get("text")
    params = data.get("params")
    if not text and isinstance(params, list) and params and "urlencoded" in mime:
        text = _joined(params)
    if not text:
        has_file = bool(params)
        return Payload(mime, "", binary=True) if has_file else None
    binary = data.get("encoding") == "base64" or "\x00" in text or "\ufffd" in text
    return Payload(mime, str(text), binary=binary)


def _joined(params: list[Any]) -> str:
    # As the browser encoded them: both forms are in use, and decoding is the same.
    return "&".join(f"{each['name']}={each.get('value', '')}" for each in params)


def _content(content: dict[str, Any], mime: str) -> str:
    text = str(content.get("text") or "")
    if content.get("encoding") != "base64":
        return text
    if not (mime.startswith("text/") or "json" in mime or "xml" in mime):
        return ""
    try:
        return base64.b64decode(text).decode("utf-8", errors="replace")
    except (binascii.Error, ValueError):
        return ""
