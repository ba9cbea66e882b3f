"""The top of a PNG picture: a headless Chromium's window is taller than what it shows."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BYTES_PER_PIXEL = {2: 3, 6: 4}  # by colour type, 8 bits a channel, which is what Chromium writes


def chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of every chunk."""
    position = len(SIGNATURE)
    while position < len(picture):
        (length,) = struct.unpack_from(">I", picture, position)
        kind = picture[position + 4 : position + 8]
        yield kind, picture[position + 8 : position + 8 + length]
        position += length + 12


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk with its length and checksum."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def top(picture: bytes, height: int) -> bytes:
    """The first `height` lines. No line of a PNG depends on one below it."""
    found = list(chunks(picture))
    width, full, depth, colour, *rest = struct.unpack(">IIBBBBB", found[0][1])
    if (depth, rest) != (8, [0, 0, 0]) or colour not in BYTES_PER_PIXEL or height > full:
        raise ValueError(f"not a picture of Chromium's with at least {height} lines")
    lines = zlib.decompress(b"".join(content for kind, content in found if kind == b"IDAT"))
    kept = lines[: height * (1 + width * BYTES_PER_PIXEL[colour])]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, *rest)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(kept, 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(chunk(*part) for part in parts)
