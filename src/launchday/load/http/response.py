"""An answer, its headers, and what Locust's statistics show for one that is a failure."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launchday.load.http.events import Recorder
    from launchday.load.http.message import Message

END_OF_HEAD = b"\r\n\r\n"


class HttpStatusError(Exception):
    """What Locust's statistics show for a status of 300 and above: few distinct texts."""


class AnswerError(Exception):
    """The server sent what is no HTTP/1.x answer, or one that this client does not read."""


class Headers(Mapping[str, str]):
    """Response headers; names are compared without case (RFC 9110, 5.1).

    Repeated ones are joined by a comma. Made from the bytes of the final head, which llhttp has
    accepted before; parsed when somebody asks.
    """

    def __init__(self, head: bytes = b"") -> None:
        self._values: dict[str, str] = {}
        last = ""
        for line in head.split(b"\r\n")[1:]:
            text = line.decode("latin-1")
            if text[:1] in (" ", "\t"):  # a folded line belongs to the header before it
                self._values[last] += " " + text.strip(" \t")
                continue
            name, _, value = text.partition(":")
            last, value = name.lower(), value.strip(" \t")
            known = self._values.get(last)
            self._values[last] = value if known is None else f"{known}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({self._values!r})"


def start_of_final(raw: bytes | bytearray) -> int:
    """Where the answer begins, behind the whole interim ones (1xx, RFC 9110, 15.2) before it."""
    start = len(raw) - len(raw.lstrip(b"\r\n"))  # llhttp passes over empty lines before an answer
    while True:
        end = raw.find(END_OF_HEAD, start)
        if end < 0 or raw[start:end].partition(b" ")[2][:1] != b"1":
            return start
        start = end + len(END_OF_HEAD)


def final_head(raw: bytes | bytearray) -> bytes | None:
    """The head of the answer without its empty line; None while it is not whole."""
    start = start_of_final(raw)
    end = raw.find(END_OF_HEAD, start)
    return bytes(raw[start:end]) if end >= 0 else None


class Response:
    """An answer, or the lack of one: then `status_code` is 0 and `error` says why.

    `elapsed_seconds` is the service time, from the call to the last byte; `resent` says that the
    request was sent twice, since the server had closed the kept connection; `idempotency_key` is
    the one that its request carried, if any.
    """

    # Defaults on the class: most answers never set them, and each one set costs every request.
    request: Message | None = None
    error: Exception | None = None
    resent = False
    retry = False
    noted = False
    elapsed_seconds = 0.0
    ended = 0.0
    _headers: Headers | None = None
    _reported_to: Recorder | None = None
    _context: Mapping[str, Any] = MappingProxyType({})
    _exception: BaseException | None = None
    _judged = False

    def __init__(
        self, status_code: int = 0, content: bytes = b"", raw: bytes | bytearray = b""
    ) -> None:
        self.status_code = status_code
        self.content = content
        self._raw = raw

    @property
    def headers(self) -> Headers:
        """The headers of the answer."""
        if self._headers is None:
            self._headers = Headers(final_head(self._raw) or b"")
        return self._headers

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.content.decode("utf-8", errors="replace")

    @property
    def ok(self) -> bool:
        """Whether there was an answer below 400."""
        return 0 < self.status_code < 400

    @property
    def url(self) -> str:
        """Where the request went."""
        return self.request.url if self.request else ""

    @property
    def elapsed(self) -> timedelta:
        """The service time."""
        return timedelta(seconds=self.elapsed_seconds)

    @property
    def idempotency_key(self) -> str | None:
        """The Idempotency-Key of the request."""
        return self.request.key if self.request else None

    def json(self) -> Any:
        """The body as JSON. Raises ValueError if it is none."""
        return jsonlib.loads(self.content)

    def raise_for_status(self) -> None:
        """Raise HttpStatusError for a status of 400 and above, and `error` if there is no answer.

        Raises:
            HttpStatusError: the status is 400 or above.
        """
        if self.error is not None:
            raise self.error
        if self.status_code >= 400:
            raise HttpStatusError(f"HTTP {self.status_code}")

    def wait_for_verdict(
        self, recorder: Recorder, context: Mapping[str, Any], exception: BaseException | None
    ) -> None:
        """Report to `recorder` only when the `with` block ends; until then it is `exception`."""
        self._reported_to = recorder
        self._context = context
        self._exception = exception

    def success(self) -> None:
        """Count the request as good; a 3xx or 4xx then is what the scenario expected.

        Locust believes it of any status, launchday's record not of a 429 or 5xx.
        """
        self._must_be_open()
        self._judged = True
        self._exception = None

    def failure(self, words: str | Exception) -> None:
        """Count the request as failed: the record calls a 2xx then `invalid`."""
        self._must_be_open()
        self._judged = True
        self._exception = words if isinstance(words, Exception) else HttpStatusError(words)

    def _must_be_open(self) -> None:
        if self._reported_to is None:
            raise RuntimeError(
                "success() and failure() need `with client.get(..., catch_response=True) as "
                "response:`; without it the request is counted as soon as it ended"
            )

    def __enter__(self) -> Response:
        self._must_be_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        reported_to, self._reported_to = self._reported_to, None
        if isinstance(error, Exception) and not self._judged and not _ends_a_task(error):
            self._exception = error
        if reported_to is not None:
            reported_to.finished(self, self._context, self._exception)


def _ends_a_task(error: Exception) -> bool:
    """Whether it is raised to leave a task of Locust, which says nothing about the answer."""
    kind = type(error)
    return kind.__module__ == "locust.exception" and kind.__name__ in _CONTROL_FLOW


_CONTROL_FLOW = ("InterruptTaskSet", "RescheduleTask", "RescheduleTaskImmediately", "StopUser")
_STATUS_ERRORS: dict[int, Exception] = {
    status: HttpStatusError(
        f"HTTP {status}" if status >= 400 or status == 304 else f"HTTP {status}: not followed"
    )
    for status in range(300, 600)
}


def status_error(status: int) -> Exception | None:
    """What a status is counted as if the scenario does not say otherwise.

    A redirect is not followed, so it is no answer of the page that was asked for. Shared objects:
    they are never raised, so no traceback grows on them.
    """
    return _STATUS_ERRORS.get(status)
