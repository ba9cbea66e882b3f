"""The embedded Toxiproxy: a subset of the server 2.12.0 for machines that do not have it.

`python -m launchday.chaos.embedded`: its own process, so that neither the load nor the target
shares its event loop. Toxics: `latency` and `timeout`; proxies can be disabled.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import uvicorn

from launchday.chaos.embedded_api import api
from launchday.chaos.proxying import bound_socket, shown_address
from launchday.chaos.registry import Refusal, Registry

# Longer than any experiment waits between two calls, so that pooled connections stay good.
KEEP_ALIVE_SECONDS = 600


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
        await registry.populate(config)
    server = _Server(
        uvicorn.Config(
            api(registry),
            lifespan="off",
            log_level="warning",
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


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="launchday.chaos.embedded", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address of the API (%(default)s)")
    parser.add_argument("--port", type=int, default=8474, help="0 picks one (%(default)s)")
    parser.add_argument("--config", type=Path, help="JSON array of name, listen, upstream, enabled")
    parser.add_argument("--seed", type=int, default=0, help="for toxicity and jitter (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop: 0. A taken port or a wrong config: one line on stderr and 2."""
    options = _arguments(arguments)
    host = f"[{options.host}]" if ":" in options.host else options.host
    try:
        config = options.config.read_bytes() if options.config else None
        with bound_socket(f"{host}:{options.port}") as listener:
            asyncio.run(serve(listener, config, seed=options.seed))
    except (OSError, Refusal) as error:
        where = f" in {options.config}" if isinstance(error, Refusal) else ""
        sys.stderr.write(f"launchday.chaos.embedded: {error}{where}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
