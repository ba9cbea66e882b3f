"""A closed loop of HTTP requests where there is no wrk: `PORT CONNECTIONS SECONDS`, its words."""

from __future__ import annotations

import asyncio
import sys
import time

from benchmarks._service import Connection, request


async def ask(port: int, ends_at: float) -> int:
    """Ask on one kept connection until a time; return how many answers came."""
    message, answers = request("GET", "/", {}), 0
    async with Connection(port) as phone:
        while time.monotonic() < ends_at:
            status, _ = await phone.ask(message)
            if status != 200:
                raise RuntimeError(f"the server answered {status}")
            answers += 1
    return answers


async def main(port: int, connections: int, seconds: float) -> None:
    """Keep all connections busy, then say how many requests that were."""
    ends_at = time.monotonic() + seconds
    counts = await asyncio.gather(*(ask(port, ends_at) for _ in range(connections)))
    sys.stdout.write(f"  {sum(counts)} requests in {seconds:.2f}s\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
