"""A relay that counts round trips on the wire, and can make each of them slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CHUNK_BYTES = 65536


class Relay:
    """Passes bytes to a port of this machine; answers come `delay_seconds` later.

    `round_trips`: how often somebody sent after having heard, on all connections together, the
    first time on each included. `connections`: how many were opened. While it `is_cut` it closes
    every connection at once.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.delay_seconds = 0.0
        self.round_trips = 0
        self.connections = 0
        self.is_cut = False
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Relay]:
        """Listen on a free port while the block runs."""

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._serving.add(asyncio.create_task(self._serve(reader, writer)))

        server = await asyncio.start_server(begin, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._serving)

    def cut(self) -> None:
        """Close every connection, those to come as well."""
        self.is_cut = True
        for writer in self._open:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.is_cut:
            writer.close()
            return
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        self._open |= {writer, to_server}
        heard = asyncio.Event()
        heard.set()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._requests(reader, to_server, heard))
                both.create_task(self._answers(from_server, writer, heard))
        except* ConnectionError:
            pass  # it was closed in the middle of an exchange
        finally:
            for each in (writer, to_server):
                each.close()
            self._open -= {writer, to_server}

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            self.round_trips += heard.is_set()
            heard.clear()
            writer.write(data)
        writer.close()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await asyncio.sleep(self.delay_seconds)
            heard.set()
            writer.write(data)
        writer.close()
