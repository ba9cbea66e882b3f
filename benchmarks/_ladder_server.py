"""The server process of the live ladder: `python -m benchmarks._ladder_server JSON`.

It prints its port, then for every line on stdin its CPU time so far, and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

import uvicorn

from benchmarks._ladder_apps import PROFILES, SYSTEMS, server_settings
from benchmarks._ladder_process import pin


def tell_cpu() -> None:
    """Answer every line; end the process when nobody can ask any more."""
    for _ in sys.stdin:
        print(time.process_time(), flush=True)  # noqa: T201  (the answer to the parent)
    os._exit(0)


async def serve(config: uvicorn.Config) -> None:
    """Serve on a free port until the process is ended."""
    # With the protocol spelt out, asyncio sets TCP_NODELAY; without, answers may take 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not (server.started or running.done()):  # noqa: ASYNC110  (uvicorn has no event for it)
        await asyncio.sleep(0.005)
    if server.started:
        print(listener.getsockname()[1], flush=True)  # noqa: T201  (the answer to the parent)
        threading.Thread(target=tell_cpu, daemon=True).start()
    await running


def main() -> None:
    """Build what the argument says and serve it."""
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    pin(wanted["core"])
    app = SYSTEMS[wanted["system"]](PROFILES[wanted["profile"]](), wanted["limit"])
    config = uvicorn.Config(
        app,
        loop="uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        **server_settings(wanted["system"], wanted["limit"]),
    )
    # Ctrl-C reaches the whole group; the parent ends this process, quietly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve(config))


if __name__ == "__main__":
    main()
