"""Requests as the bytes that are sent, refused in words where they would not be one request."""

from __future__ import annotations

import json as jsonlib
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode, urlsplit

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
"""Methods that may be repeated by themselves (RFC 9110, 9.2.2)."""

Body = bytes | str | Mapping[str, Any] | None
_KEY_HEADER = "idempotency-key"
_OURS = frozenset({"content-length", "transfer-encoding"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_MOST_KEPT = 4096
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ENCODE_JSON = jsonlib.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class HeaderBlock(NamedTuple):
    """Header lines ready to be sent, and what has to be known about them."""

    lines: bytes
    key: str | None
    names: frozenset[str]


_NO_HEADERS = HeaderBlock(b"", None, frozenset())
_blocks: dict[tuple[tuple[str, str], ...], HeaderBlock] = {}


class Message:
    """One request: the bytes, and what its result is counted under.

    `key` is its Idempotency-Key, if any.
    """

    __slots__ = ("data", "idempotent", "is_head", "key", "method", "name", "path", "site")

    def __init__(
        self, site: Site, method: str, path: str, name: str, data: bytes, key: str | None
    ) -> None:
        self.site = site
        self.method = method
        self.path = path
        self.name = name
        self.data = data
        self.key = key
        self.idempotent = method in IDEMPOTENT
        self.is_head = method == "HEAD"

    @property
    def url(self) -> str:
        """Where it goes."""
        return self.site.base_url + self.path


class Site:
    """Where requests go: what the clients of one base URL share in a process.

    Raises:
        ValueError: `base_url` is no http or https URL.
    """

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url must be like http://127.0.0.1:8000, got {base_url!r}")
        authority = parts.netloc.rpartition("@")[2]
        if not (parts.hostname.isprintable() and authority.isascii() and " " not in authority):
            raise ValueError(f"base_url must have a host name of ASCII letters, got {base_url!r}")
        if not _is_target(parts.path):
            raise ValueError(
                "the path of base_url must be printable ASCII without spaces (percent-encode the "
                f"rest), got {base_url!r}"
            )
        self.tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.tls else 80)
        self._prefix = parts.path.rstrip("/")
        self.base_url = f"{parts.scheme}://{authority}{self._prefix}"
        self._start = f"Host: {authority}\r\n".encode()
        self._authorization = b""
        if parts.username:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._authorization = b"Authorization: Basic " + b64encode(user) + b"\r\n"
        self._plain: dict[tuple[str, str | None], Message] = {}
        headers = (self._start + self._authorization).decode()
        self._plain_parts = f"GET {self._prefix}", f" HTTP/1.1\r\n{headers}\r\n"

    def plain_get(self, path: str, name: str | None) -> Message:
        """GET without headers of its own; kept, since scenarios ask for few paths often."""
        message = self._plain.get((path, name))
        if message is None:
            target = self._target(path)
            start, end = self._plain_parts
            data = f"{start}{target}{end}".encode()
            message = Message(self, "GET", target, name or path, data, None)
            if len(self._plain) >= _MOST_KEPT:
                self._plain.clear()
            self._plain[path, name] = message
        return message

    def message(
        self,
        method: str,
        path: str,
        name: str | None = None,
        *,
        data: Body = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Message:
        """A request with `json`, or `data` (a mapping is sent as a form), as its body.

        Raises:
            ValueError: it cannot be sent as one HTTP request (a line break or a character that is
                not latin-1 in a header, a path that is none), or another host is asked for.
        """
        if not method.isalpha() or not method.isascii():
            raise ValueError(f"method must be a word like GET, got {method!r}")
        method = method.upper()
        target = self._target(path)
        if params:
            target += ("&" if "?" in target else "?") + urlencode(params, doseq=True)
        block = _block(headers) if headers else _NO_HEADERS
        body, content_type = _body(data, json)
        lines = [f"{method} {self._prefix}{target} HTTP/1.1\r\n".encode()]
        if "host" not in block.names:
            lines.append(self._start)
        if self._authorization and "authorization" not in block.names:
            lines.append(self._authorization)
        if content_type and "content-type" not in block.names:
            lines.append(content_type)
        if body or method in _WITH_BODY:
            lines.append(b"Content-Length: %d\r\n" % len(body))
        lines += (block.lines, b"\r\n", body)
        return Message(self, method, target, name or path, b"".join(lines), block.key)

    def _target(self, path: str) -> str:
        if not path.startswith("/"):
            path = self._without_base(path)
        if not _is_target(path):
            raise ValueError(
                "a path must be printable ASCII without spaces (percent-encode the rest), "
                f"got {path!r}"
            )
        return path

    def _without_base(self, path: str) -> str:
        if path.startswith(self.base_url):
            path = path.removeprefix(self.base_url)
        if path[:1] in ("", "?"):
            return f"/{path}"
        if path.startswith("/"):
            return path
        raise ValueError(
            f"a path must begin with / or be a URL below {self.base_url}, got {path!r}; another "
            "host needs an HttpClient of its own"
        )


def _is_target(path: str) -> bool:
    return " " not in path and path.isascii() and path.isprintable()


def _body(data: Body, json: Any) -> tuple[bytes, bytes]:
    if json is not None:
        return _ENCODE_JSON(json).encode(), b"Content-Type: application/json\r\n"
    if isinstance(data, str):
        return data.encode(), b""
    if isinstance(data, Mapping):
        form = urlencode(data, doseq=True).encode()
        return form, b"Content-Type: application/x-www-form-urlencoded\r\n"
    return data or b"", b""


def _block(headers: Mapping[str, str]) -> HeaderBlock:
    known = tuple(headers.items())
    block = _blocks.get(known)
    if block is None:
        block = _new_block(headers)
        if len(_blocks) >= _MOST_KEPT:
            _blocks.clear()
        _blocks[known] = block
    return block


def _new_block(headers: Mapping[str, str]) -> HeaderBlock:
    key = None
    for name, value in headers.items():
        _check_header(name, value)
        if name.lower() == _KEY_HEADER:
            key = value
    text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return HeaderBlock(text.encode("latin-1"), key, frozenset(name.lower() for name in headers))


def _check_header(name: str, value: str) -> None:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ValueError(f"the name of a header must be a token like X-Trace, got {name!r}")
    if name.lower() in _OURS:
        raise ValueError(f"{name} follows from the body and cannot be set")
    if not isinstance(value, str) or _NOT_IN_VALUES.search(value) or not _latin_1(value):
        raise ValueError(
            f"the value of header {name} must be latin-1 text without line breaks, got {value!r}"
        )


def _latin_1(text: str) -> bool:
    return text.isascii() or max(text) <= "\xff"
