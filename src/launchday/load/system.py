"""What the operating system tells a process about itself: sockets, ports, clocks."""

from __future__ import annotations

import errno
import os
import resource
import time
from pathlib import Path

_NO_SOCKET = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL})
_CLOSE_ENOUGH_SECONDS = 0.001


def open_files(directory: Path = Path("/proc/self/fd")) -> int | None:
    """How many file descriptors, sockets among them, this process has open; None if unknown.

    Since Linux 6.2 the size of /proc/self/fd is their number (proc_fd_getattr); before, they are
    counted, which takes 5 ms for 10 000.
    """
    try:
        return directory.stat().st_size or len(os.listdir(directory)) - 1  # not the listing's own
    except OSError:
        return None


def open_files_limit() -> int | None:
    """How many of them it may have open (`ulimit -n`); None without a limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit


def time_wait_sockets(path: Path = Path("/proc/self/net/sockstat")) -> int | None:
    """TCP sockets of this machine (network namespace) in TIME_WAIT; None if unknown."""
    try:
        for line in path.read_text().splitlines():
            name, *fields = line.split()
            if name == "TCP:":
                return int(fields[fields.index("tw") + 1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def ephemeral_ports(
    path: Path = Path("/proc/sys/net/ipv4/ip_local_port_range"),
) -> int | None:
    """How many local ports an outgoing connection can have; None if unknown."""
    try:
        first, last = path.read_text().split()
        return int(last) - int(first) + 1
    except (OSError, ValueError):
        return None


def clock_offset_seconds() -> float:
    """The wall clock minus the monotonic one: it changes only when the wall clock is set.

    Both are read within 1 ms, else once more: what came between two readings is no step.
    """
    for _ in range(5):
        before = time.monotonic()
        wall = time.time()
        after = time.monotonic()
        if after - before < _CLOSE_ENOUGH_SECONDS:
            break
    return wall - (before + after) / 2


def is_no_socket(error: BaseException) -> bool:
    """Whether the generator's own system had no socket or port left for a request."""
    return isinstance(error, OSError) and error.errno in _NO_SOCKET
