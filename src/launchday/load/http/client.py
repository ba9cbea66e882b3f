"""`self.client` of a user: prepared bytes on a kept connection, one answer, one report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from time import perf_counter
from typing import Any, Protocol, TypedDict, Unpack

from launchday.load.http.connection import Connection, StaleError
from launchday.load.http.dialler import Dialler
from launchday.load.http.events import EventHook, FiredEvents, Recorder
from launchday.load.http.message import Body, Message, Site
from launchday.load.http.response import AnswerError, Response, status_error


class Options(TypedDict, total=False):
    """What every request may be given.

    `name` is what it is counted under (default: its path). `data` is a body, a mapping is sent as
    a form; `json` a body to be encoded. `timeout` replaces the client's total limit, in seconds.
    `catch_response` makes it count only when the `with` block around it ends. `context` is added
    to the user's for listeners to the request event.
    """

    name: str | None
    data: Body
    json: Any
    headers: Mapping[str, str] | None
    params: Mapping[str, Any] | None
    timeout: float | None
    catch_response: bool
    context: Mapping[str, Any] | None


class User(Protocol):
    """Locust's user, as far as the client needs it.

    Two things more are used where a user has them: `retrying`, true while it repeats what was
    refused, and `abandoned(endpoint, key)`, called for a request with an Idempotency-Key that was
    stopped before its answer.
    """

    def context(self) -> dict[str, Any]: ...


class HttpClient:
    """An HTTP/1.1 client for gevent, in the words of Locust's: get, post, put, patch, delete ...

    It follows no redirect, keeps no cookies, asks for no compression. An answer of any status is
    a response; only a missing one is an error, told by `response.error`.

    Time limits in seconds, each from the call on: `timeout_seconds` to the last byte,
    `first_byte_seconds` to the first (None: no limit of its own), `connect_seconds` until
    connected (DNS and TLS included). A kept connection that turns out to be closed is replaced
    and the request sent once more if its method is idempotent (RFC 9110, 9.2.2); `response.resent`
    says so. With `keep_alive` false `end_journey()`, which an ArrivalUser calls, closes the
    connection: every arrival brings one of its own, as real ones do.

    Two greenlets may use one client: each then has a connection of its own.

    Raises:
        ValueError: `base_url` is no http or https URL, or a limit is not above 0.
    """

    def __init__(
        self,
        base_url: str,
        recorder: Recorder | EventHook,
        user: User | None = None,
        *,
        timeout_seconds: float = 60.0,
        first_byte_seconds: float | None = None,
        connect_seconds: float | None = None,
        keep_alive: bool = True,
        tls_context: Any = None,
    ) -> None:
        for setting, seconds in (
            ("timeout_seconds", timeout_seconds),
            ("first_byte_seconds", first_byte_seconds),
            ("connect_seconds", connect_seconds),
        ):
            _must_be_positive(setting, seconds)
        self._connection: Connection | None = None
        self._site = _site(base_url)
        self._recorder: Recorder = (
            recorder if isinstance(recorder, Recorder) else FiredEvents(recorder)
        )
        self._user = user
        self._keep_alive = keep_alive
        self._total_seconds = timeout_seconds
        self._first_byte_seconds = first_byte_seconds or math.inf
        dial_seconds = min(self._first_byte_seconds, connect_seconds or math.inf)
        self._dialler = Dialler(
            self._site,
            tls_context,
            dial_seconds,
            shortest_seconds=min(timeout_seconds, dial_seconds),
        )

    def request(self, method: str, path: str, **options: Unpack[Options]) -> Response:
        """Send a request; with `catch_response` the response is to be used in a `with` block.

        Raises:
            ValueError: it cannot be sent as one HTTP request, or `timeout` is not above 0.
        """
        timeout = options.get("timeout")
        _must_be_positive("timeout", timeout)
        return self._perform(
            self._message(method, path, options),
            timeout,
            options.get("catch_response", False),
            options.get("context"),
        )

    def prepare(self, method: str, path: str, **options: Unpack[Options]) -> PreparedRequest:
        """Make a request once, to be sent often; options and errors as for `request`."""
        timeout = options.get("timeout")
        _must_be_positive("timeout", timeout)
        return PreparedRequest(self, self._message(method, path, options), timeout)

    def get(self, path: str, **options: Unpack[Options]) -> Response:
        """GET; options as for `request`."""
        if not options or (len(options) == 1 and "name" in options):
            return self._perform(self._site.plain_get(path, options.get("name")))
        return self.request("GET", path, **options)

    def head(self, path: str, **options: Unpack[Options]) -> Response:
        """HEAD; options as for `request`."""
        return self.request("HEAD", path, **options)

    def options(self, path: str, **options: Unpack[Options]) -> Response:
        """OPTIONS; options as for `request`."""
        return self.request("OPTIONS", path, **options)

    def post(self, path: str, **options: Unpack[Options]) -> Response:
        """POST; options as for `request`."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Unpack[Options]) -> Response:
        """PUT; options as for `request`."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Unpack[Options]) -> Response:
        """PATCH; options as for `request`."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Unpack[Options]) -> Response:
        """DELETE; options as for `request`."""
        return self.request("DELETE", path, **options)

    def end_journey(self) -> None:
        """Close the connection, unless it is to be kept for the next journey."""
        if not self._keep_alive:
            self.close()

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        # A user is dropped without a word when its test ends; the poller would keep its connection.
        if getattr(self, "_connection", None) is not None:
            self.close()

    def _message(self, method: str, path: str, options: Options) -> Message:
        return self._site.message(
            method,
            path,
            options.get("name"),
            data=options.get("data"),
            json=options.get("json"),
            headers=options.get("headers"),
            params=options.get("params"),
        )

    def _perform(
        self,
        message: Message,
        timeout: float | None = None,
        catch_response: bool = False,
        more_context: Mapping[str, Any] | None = None,
    ) -> Response:
        user = self._user
        context: Mapping[str, Any] = user.context() if user is not None else {}
        if more_context:
            context = {**context, **more_context}
        began = perf_counter()
        try:
            response = self._exchange(message, began, timeout)
        except (OSError, AnswerError) as error:
            response = _without_answer(error)
        except BaseException:
            if message.key is not None:  # it may have reached the server, and nothing tells of it
                _abandoned(user, message)
            raise
        response.request = message
        response.ended = ended = perf_counter()
        response.elapsed_seconds = ended - began
        if getattr(user, "retrying", False):
            response.retry = True
        status = response.status_code
        exception = None if 200 <= status < 300 else response.error or status_error(status)
        if catch_response:
            response.wait_for_verdict(self._recorder, context, exception)
        else:
            self._recorder.finished(response, context, exception)
        return response

    def _exchange(self, message: Message, began: float, timeout: float | None) -> Response:
        total = began + (timeout or self._total_seconds)
        first_byte = min(began + self._first_byte_seconds, total)
        # Taken out: a second greenlet that comes meanwhile must not find it.
        connection, self._connection = self._connection, None
        try:
            if connection is None or connection.dead:
                connection = self._dialler.dial(began, first_byte)
            if timeout:
                connection.expect(total)
            response = connection.exchange(message, first_byte, total)
        except BaseException as error:
            if connection is not None:
                connection.close()  # the rest of an answer must not be read as the next one
            if not (isinstance(error, StaleError) and message.idempotent):
                raise
            return self._send_again(message, began, first_byte, total)
        if self._connection is None:
            self._connection = connection
        else:
            connection.close()
        return response

    def _send_again(
        self, message: Message, began: float, first_byte: float, total: float
    ) -> Response:
        connection = self._dialler.dial(began, first_byte)
        try:
            response = connection.exchange(message, first_byte, total)
        except BaseException:
            connection.close()
            raise
        response.resent = True
        self.close()
        self._connection = connection
        return response


class PreparedRequest:
    """A request made once; `send` costs its transmission only."""

    __slots__ = ("_client", "_message", "_timeout")

    def __init__(self, client: HttpClient, message: Message, timeout: float | None) -> None:
        self._client = client
        self._message = message
        self._timeout = timeout

    def send(self, *, catch_response: bool = False) -> Response:
        """Send it; as `HttpClient.request`."""
        return self._client._perform(self._message, self._timeout, catch_response)


@cache
def _site(base_url: str) -> Site:
    return Site(base_url)


def _must_be_positive(setting: str, seconds: float | None) -> None:
    if seconds is not None and not 0 < seconds < math.inf:
        raise ValueError(f"{setting} must be above 0 seconds, got {seconds!r}")


def _without_answer(error: Exception) -> Response:
    response = Response()
    # Its frames and its causes would keep the exchange alive in a cycle, one for each failure.
    response.error = error.with_traceback(None)
    error.__context__ = None
    return response


def _abandoned(user: User | None, message: Message) -> None:
    tell = getattr(user, "abandoned", None)
    if tell is not None:
        tell(message.name, message.key)
