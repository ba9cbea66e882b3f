"""Spreads connections over replicas: `python -m benchmarks._balancer PORT REPLICA_PORT...`."""

from __future__ import annotations

import asyncio
import itertools
import sys
from contextlib import suppress

import uvloop

_CHUNK = 65536


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
    with suppress(OSError):
        sink.close()


async def balance(port: int, replicas: list[int]) -> None:
    """Accept on `port`, and hand each connection to the next replica."""
    turns = itertools.cycle(replicas)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", next(turns))
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    server = await asyncio.start_server(accept, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    """Balance until the process is ended."""
    port, *replicas = map(int, sys.argv[1:])
    with suppress(KeyboardInterrupt):
        uvloop.run(balance(port, replicas))


if __name__ == "__main__":
    main()
