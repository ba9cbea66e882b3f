"""`host:port` as Toxiproxy writes it, and the listening sockets behind it."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Any

BACKLOG = 1024


def split_address(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` apart; a port may be empty (0) or the name of a service.

    Raises OSError in the words of the real server.
    """
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon:
        raise OSError(f"address {address}: missing port in address")
    if ":" in host and not bracketed:
        raise OSError(f"address {address}: too many colons in address")
    return host.strip("[]"), _port(port)


async def resolved(listen: str) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """Family and socket address; no host means 127.0.0.1, nothing at all `127.0.0.1:0`.

    A name is looked up while the event loop goes on; IPv4 goes first, as in Go. Raises OSError in
    the words of the real server.
    """
    host, port = split_address(listen or ":0")
    host = host or "127.0.0.1"
    stream = socket.SOCK_STREAM
    try:
        try:
            # An address needs no resolver, and does not wait behind the names that do.
            found = socket.getaddrinfo(host, port, type=stream, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, port, type=stream)
    except (OSError, ValueError) as error:
        raise OSError(f"lookup {host}: no such host") from error
    best = min(found, key=lambda each: each[0] != socket.AF_INET)
    return best[0], best[4]


async def bound_socket(listen: str) -> socket.socket:
    """A listening socket on `listen`, as `resolved`; port 0 is a free one.

    Raises OSError with the words of the real server.
    """
    try:
        family, address = await resolved(listen)
    except OSError as error:
        raise OSError(f"listen tcp: {error}") from error
    # asyncio switches Nagle off only for sockets that say that they are TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        words = (error.strerror or str(error)).lower()
        raise OSError(f"listen tcp {shown(address)}: bind: {words}") from error
    listener.setblocking(False)
    return listener


def shown_address(listener: socket.socket) -> str:
    """`host:port` of a bound socket, IPv6 in brackets."""
    return shown(listener.getsockname())


def shown(address: tuple[Any, ...]) -> str:
    """`host:port` of a socket address, IPv6 in brackets."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _port(text: str) -> int:
    if re.fullmatch(r"[+-]?[0-9]{0,99}", text):
        number = int(text) if text.strip("+-") else 0
        if not 0 <= number <= 65535:
            raise OSError(f"address {text}: invalid port")
        return number
    try:
        return socket.getservbyname(text.lower(), "tcp")
    except (OSError, ValueError) as error:
        raise OSError(f"lookup tcp/{text}: unknown port") from error
