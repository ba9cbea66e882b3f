"""Running one service: addresses, signals, one line when ready, one line when it cannot start."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

import uvicorn
import uvloop
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from launchday.admission.prometheus import MetricsServer, serve_metrics
from target_service.lifecycle import Lifecycle, LifecycleMiddleware, State
from target_service.protocol import LimitedHttpProtocol
from target_service.settings import Settings, SettingsError, read, unknown_names

KEEP_ALIVE_SECONDS = 75
BACKLOG = 2048

logger = logging.getLogger(__name__)

Prepare = Callable[[], Awaitable[None]]


class CannotStart(Exception):
    """The service cannot start; one line that names what to do."""


class HasAddresses(Protocol):
    """Settings with the two addresses of a service."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def metrics_host(self) -> str: ...
    @property
    def metrics_port(self) -> int: ...


@dataclass(frozen=True)
class Addresses:
    """Where a service and its metrics are; `prefix` names the settings in errors."""

    prefix: str
    host: str
    port: int
    metrics_host: str
    metrics_port: int

    @classmethod
    def of(cls, settings: HasAddresses) -> Addresses:
        prefix = type(settings).__name__.removesuffix("Settings").upper()
        return cls(
            prefix, settings.host, settings.port, settings.metrics_host, settings.metrics_port
        )


@dataclass(frozen=True)
class Stages:
    """What happens between start and end. All times are in seconds.

    `prepare`: awaited while the listener is open already; the service is ready when it returns,
    and ends when it raises. When told to stop, the service says that it is not ready and serves
    on for `drain_delay_seconds` (default 0), so that load balancers notice; then the listeners
    close, and what is in flight has `drain_seconds` (default 1).
    """

    lifecycle: Lifecycle
    prepare: Prepare | None = None
    drain_delay_seconds: float = 0.0
    drain_seconds: float = 1.0


class _Server(uvicorn.Server):
    """Opens its listener at once, becomes ready when `prepare` is through, drains when told to.

    Signals are left to us: uvicorn would end the process by them.
    """

    def __init__(self, config: uvicorn.Config, stages: Stages, announcement: str) -> None:
        super().__init__(config)
        self.failure: BaseException | None = None
        self._stages = stages
        self._lifecycle = stages.lifecycle
        self._announcement = announcement
        self._tasks: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self._stages.prepare is None:
            self._become_ready()
        else:
            self._tasks.append(asyncio.create_task(self._prepare(self._stages.prepare)))

    async def _prepare(self, prepare: Prepare) -> None:
        try:
            await prepare()
        except Exception as error:
            self.failure = error
            self._lifecycle.drain()
            self.should_exit = True
        else:
            self._become_ready()

    def _become_ready(self) -> None:
        self._lifecycle.ready()
        if self._lifecycle.state is State.READY:
            logger.info(self._announcement)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Readiness goes first, the listeners after the delay; a second signal ends at once."""
        if self._lifecycle.state is State.DRAINING:
            # Not by the signal's own effect: the first process of a container would survive that.
            os._exit(128 + sig)
        was_ready = self._lifecycle.state is State.READY
        self._lifecycle.drain()
        self._tasks.append(asyncio.create_task(self._leave(was_ready)))

    async def _leave(self, was_ready: bool) -> None:
        if was_ready:
            await asyncio.sleep(self._stages.drain_delay_seconds)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._lifecycle.stop()
        loop = asyncio.get_running_loop()
        end = loop.call_later(self._stages.drain_seconds, self._lifecycle.end)
        for task in self._tasks:
            task.cancel()
        await super().shutdown(sockets=sockets)
        end.cancel()


class _OncePerSecond(logging.Filter):
    """Lets one record a second through for each warning: a fault must not flood the log."""

    def __init__(self) -> None:
        super().__init__()
        self._quiet_until: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING or record.name == __name__:
            return True
        if record.created < self._quiet_until.get(record.msg, 0.0):
            return False
        self._quiet_until[record.msg] = record.created + 1.0
        return True


class _QuietCancellation(logging.Filter):
    """Drops the tracebacks of requests that were given up when the service stopped."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, asyncio.CancelledError)


async def start(
    name: str,
    app: ASGIApp,
    addresses: Addresses,
    registry: CollectorRegistry,
    stages: Stages | None = None,
    protocol: type[LimitedHttpProtocol] = LimitedHttpProtocol,
) -> None:
    """Serve `app` and its metrics until SIGTERM or SIGINT; see `Stages` for what comes when.

    Without `stages` the service is ready at once, and its requests in flight have a second to
    finish. `protocol`: SheddingHttpProtocol for an app with a load shedder. Raises CannotStart,
    and what `stages.prepare` raises.
    """
    if stages is None:
        stages = Stages(Lifecycle())
        app = LifecycleMiddleware(app, lifecycle=stages.lifecycle)
    listener = _bind(addresses)
    metrics = _serve_metrics(addresses, registry)
    host, port = listener.getsockname()[:2]
    announcement = f"{name} ready on http://{host}:{port}, metrics on port {metrics.port}"
    server = _Server(_config(app, stages, protocol), stages, announcement)
    try:
        await server.serve(sockets=[listener])
    finally:
        # It waits for its thread, for half a second, and the last requests are still served.
        await asyncio.to_thread(metrics.close)
    if server.failure is not None:
        raise server.failure


def _config(app: ASGIApp, stages: Stages, protocol: type[LimitedHttpProtocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="none",
        lifespan="off",
        # Anybody could name another address, and guess passwords from a new one each time.
        proxy_headers=False,
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        # The last resort, after our own end of the drain.
        timeout_graceful_shutdown=math.ceil(stages.drain_seconds) + 1,
        backlog=BACKLOG,
    )


def _bind(addresses: Addresses) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in addresses.host else socket.AF_INET
        return socket.create_server(
            (addresses.host, addresses.port), family=family, backlog=BACKLOG
        )
    except OSError as error:
        raise CannotStart(_no_port(addresses, "", addresses.host, addresses.port, error)) from None


def _serve_metrics(addresses: Addresses, registry: CollectorRegistry) -> MetricsServer:
    try:
        return serve_metrics(addresses.metrics_port, addresses.metrics_host, registry)
    except OSError as error:
        host, port = addresses.metrics_host, addresses.metrics_port
        raise CannotStart(_no_port(addresses, "METRICS_", host, port, error)) from None


def _no_port(addresses: Addresses, which: str, host: str, port: int, error: OSError) -> str:
    settings = f"{addresses.prefix}_{which}HOST or {addresses.prefix}_{which}PORT"
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"cannot listen on {host}:{port} ({reason}): change {settings}"


def run(
    settings_type: type[Settings], main: Callable[[Settings], Coroutine[None, None, None]]
) -> int:
    """Read the settings, run `main`, and return the exit code: 0, or 2 after one line of error."""
    if sys.argv[1:]:
        prefix = settings_type.model_config["env_prefix"]
        sys.stderr.write(
            f"there are no arguments: settings are the environment variables {prefix}..., listed "
            f"in {settings_type.__module__.replace('.', '/')}.py\n"
        )
        return 2
    _log_to_stderr()
    try:
        settings = read(settings_type)
        for name in unknown_names(settings_type):
            logger.warning("%s is not a setting of this service and is ignored", name)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main(settings))
    except (SettingsError, CannotStart) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_OncePerSecond())
    uvicorn_logger = logging.getLogger("uvicorn.error")
    uvicorn_logger.setLevel(logging.WARNING)
    uvicorn_logger.addFilter(_QuietCancellation())
