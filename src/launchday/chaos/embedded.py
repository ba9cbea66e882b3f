"""The embedded Toxiproxy: the API and the toxics of 2.12.0 for machines without that server.

`python -m launchday.chaos.embedded` or `launchday toxiproxy`: its own process, so that neither
the load nor the target shares its event loop, which is uvloop's where that is installed. What it
does otherwise than the real server is listed in docs/toxiproxy.md.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import uvicorn

from launchday.chaos.addresses import bound_socket, shown, shown_address
from launchday.chaos.bodies import Refusal
from launchday.chaos.embedded_api import api
from launchday.chaos.registry import Registry
from launchday.errors import LaunchdayError, PreflightError, SettingsError

# Longer than any experiment waits between two calls, so that pooled connections stay good.
KEEP_ALIVE_SECONDS = 600
OPEN_FILES = 65536


class _Server(uvicorn.Server):
    """Says when it is ready, and leaves signals to us: a stopped server exits 0."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override] # a plain function does
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sockets and self.started:
            sys.stdout.write(f"listening on http://{shown_address(sockets[0])}\n")
            sys.stdout.flush()


async def serve(listener: socket.socket, config: bytes | None, *, seed: int) -> None:
    """Serve the API on `listener` until SIGTERM or SIGINT. Raises Refusal for a wrong config."""
    registry = Registry(seed=seed)
    if config is not None:
        await registry.configure(config)
    server = _Server(
        uvicorn.Config(
            api(registry),
            lifespan="off",
            log_level="critical",  # whoever speaks no HTTP to the API is not news
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, server)
    await server.serve(sockets=[listener])
    for proxy in registry.proxies.values():
        proxy.stop()
    await asyncio.sleep(0)  # the aborted connections close their sockets in the next turn


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True


def run(host: str, port: int, config: Path | None, *, seed: int) -> None:
    """Serve on `host`:`port` (0 picks one) until told to stop.

    `config`: a JSON array of proxies, as of the real server, that may have toxics. `seed` decides
    which connections a toxicity below 1 hits, and jitter.

    Raises:
        SettingsError: the config is wrong, or cannot be read.
        PreflightError: the port is taken, or the host is none of this machine's.
    """
    try:
        proxies = config.read_bytes() if config else None
    except OSError as error:
        raise SettingsError(f"{config}: {error.strerror or error}") from error
    _allow_many_connections()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            listener = runner.run(bound_socket(shown((host, port))))
        except OSError as error:
            raise PreflightError(str(error)) from error
        try:
            with listener:
                runner.run(serve(listener, proxies, seed=seed))
        except Refusal as refusal:
            raise SettingsError(f"{refusal} in {config}") from refusal


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, which relays with half the CPU, where it is installed; None: asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _allow_many_connections() -> None:
    """Two sockets a connection: the usual 1024 open files would end at 500 of them."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # macOS says that there is no limit, and then refuses to set that.
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(most, OPEN_FILES)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="launchday.chaos.embedded", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address of the API (%(default)s)")
    parser.add_argument("--port", type=int, default=8474, help="0 picks one (%(default)s)")
    parser.add_argument("--config", type=Path, help="JSON array of proxies, with toxics or not")
    parser.add_argument("--seed", type=int, default=0, help="for toxicity and jitter (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop: 0. A taken port or a wrong config: one line on stderr and 2."""
    options = _arguments(arguments)
    try:
        run(options.host, options.port, options.config, seed=options.seed)
    except LaunchdayError as error:
        sys.stderr.write(f"launchday.chaos.embedded: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
