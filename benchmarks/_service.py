"""What benchmarks of whole processes share: CPU time of a process, a lean client, spread."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process so far, to 10 ms. Linux only."""
    # The second field, the name, may hold blanks and brackets.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spread(values: Sequence[float]) -> float:
    """Return the range of the middle half over the median: 0 when nothing disturbs."""
    first, middle, third = statistics.quantiles(values, n=4)
    return (third - first) / middle


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return the bytes of one HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "host: benchmark"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if method != "GET":
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """One kept connection to a port of this machine: `async with Connection(port) as phone`.

    It costs a tenth of what httpx does, so that the service is what is measured. It reads
    answers that have a Content-Length or no body: all that the reference backend gives, streams
    apart.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    async def ask(self, message: bytes) -> tuple[int, bytes]:
        """Send a request; return status and body. Raises OSError, EOFError, TimeoutError."""
        self._writer.write(message)
        head = await self._reader.readuntil(b"\r\n\r\n")
        _, found, rest = head.lower().partition(b"\r\ncontent-length:")
        length = int(rest.partition(b"\r\n")[0]) if found else 0
        return int(head[9:12]), await self._reader.readexactly(length) if length else b""
