"""Running one service: addresses, signals, one line when ready, one line when it cannot start."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Protocol

import uvicorn
import uvloop
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from launchday.admission.prometheus import MetricsServer, serve_metrics
from target_service.settings import Settings, SettingsError, read, unknown_names

KEEP_ALIVE_SECONDS = 75
BACKLOG = 2048
# What is being answered may finish; then the process ends. All in all about two seconds.
GRACE_SECONDS = 1

logger = logging.getLogger(__name__)


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


class _Server(uvicorn.Server):
    """Announces itself, and leaves signals to us: uvicorn would end the process by them."""

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        logger.info(self._announcement)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


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


async def start(name: str, app: ASGIApp, addresses: Addresses, registry: CollectorRegistry) -> None:
    """Serve `app` and its metrics until SIGTERM or SIGINT. Raises CannotStart."""
    listener = _bind(addresses)
    metrics = _serve_metrics(addresses, registry)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        loop="none",
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=BACKLOG,
    )
    host, port = listener.getsockname()[:2]
    announcement = f"{name} ready on http://{host}:{port}, metrics on port {metrics.port}"
    server = _Server(config, announcement)
    try:
        await server.serve(sockets=[listener])
    finally:
        metrics.close()


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
