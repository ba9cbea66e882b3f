"""The file that the workers of a machine share: a header, and one row for each worker."""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import stat
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MAGIC = int.from_bytes(b"lnchday", "big")
VERSION = 1
MOST_ROWS = 1024
BUSY_POLL_SECONDS = 0.001
# A row is suspect when its heartbeat (every 0.1 s) is this old: then its process is looked for.
STALE_NANOSECONDS = 500_000_000

# Header and rows have eight words of eight bytes: one cache line, and never two writers in one
# line in normal operation. A word is aligned, and `memoryview` moves it with a single load or
# store on every 64-bit platform, so a reader sees the old or the new number, never half of each.
# Were it torn after all, it would be wrong for one decision: nothing is derived and kept from it.
WORDS = 8
ROW_BYTES = 8 * WORDS
HEADER = struct.Struct("@3q")
MAGIC_WORD, VERSION_WORD, ROWS_WORD, LIMIT_WORD, LEADER_WORD, NEXT_WORD = range(6)
# LEADER and NEXT hold the number of a row from 1 on, or 0. Several may write them: hints.
# PID and STARTED stay where they are in every version: so any version can see who lives.
LIFE = struct.Struct("@2q")
PID, STARTED, HEARTBEAT, TOKEN, INFLIGHT = range(5)

_HAS_PROC = os.path.exists("/proc/self/stat")


def started_at(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; 0 if unknown, None if it is gone.

    One that was killed and not yet waited for is gone. Where there is no /proc (macOS) it still
    counts until its parent waits for it, and the start is always unknown.
    """
    if not 0 < pid < 2**31:
        return None
    try:
        if not _HAS_PROC:
            os.kill(pid, 0)
            return 0
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name of the program comes first, in parentheses, and may hold anything.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError:
        return 0
    return None if fields[0] in b"ZX" else int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Return whether this process, not a later one with the same number, runs."""
    found = started_at(pid)
    return found is not None and (not found or not started or found == started)


@contextmanager
def _locked(path: str, wait_seconds: float) -> Iterator[int]:
    """Open the file, made if need be, and hold its lock; BlockingIOError when others hold it."""
    # The lock belongs to this open file, not to the process: a fork elsewhere does not share it.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(path, flags, 0o600)
    try:
        _refuse_foreign(path, os.fstat(file))
        give_up_at = time.monotonic() + wait_seconds
        while not _try_lock(file):
            if time.monotonic() >= give_up_at:
                raise BlockingIOError(f"the lock of {path!r} is held by another process")
            time.sleep(BUSY_POLL_SECONDS)
        try:
            yield file
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_foreign(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"path must name a regular file, not {path!r}")
    if found.st_uid != os.geteuid():
        raise ValueError(
            f"path must name a file of this user, not of user {found.st_uid}: {path!r}"
        )
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise ValueError(f"path must name a file of mode 0600, not {mode:04o}: {path!r}")


def prepare(path: str, rows: int, *, wait_seconds: float = 2.0) -> None:
    """Make sure that `path` is a file of this version with so many rows.

    Empty, or left by another version or another number of rows, it is made anew, unless a worker
    lives in it. Raises ValueError that names `path` or `workers`; TimeoutError when another
    process holds the lock for longer than `wait_seconds`.
    """
    try:
        with _locked(path, wait_seconds) as file:
            _prepare(file, path, rows)
    except BlockingIOError as busy:
        raise TimeoutError(str(busy)) from busy
    except OSError as error:
        reason = f"path must name a file that can be opened or made, not {path!r}"
        raise ValueError(f"{reason}: {error.strerror}") from error


def _prepare(file: int, path: str, rows: int) -> None:
    size = ROW_BYTES * (1 + rows)
    content = os.pread(file, ROW_BYTES * (1 + MOST_ROWS) + 1, 0)
    if content.strip(b"\0"):
        magic, version, old_rows = HEADER.unpack_from(content.ljust(ROW_BYTES, b"\0"))
        if magic != MAGIC:
            raise ValueError(f"path must name an empty file or one of launchday, not {path!r}")
        if (version, old_rows) == (VERSION, rows) and len(content) >= size:
            return
        _refuse_in_use(content, path, f"version {version} with {old_rows} workers", rows)
    elif len(content) > ROW_BYTES * (1 + MOST_ROWS):
        raise ValueError(f"path must name an empty file or one of launchday, not {path!r}")
    # Written, not truncated to size: writing to a hole of a mapped file on a full disk kills.
    os.pwrite(file, bytes(max(size, len(content))), 0)
    os.pwrite(file, HEADER.pack(MAGIC, VERSION, rows), 0)


def _refuse_in_use(content: bytes, path: str, found: str, rows: int) -> None:
    for offset in range(ROW_BYTES, len(content) - ROW_BYTES + 1, ROW_BYTES):
        pid, started = LIFE.unpack_from(content, offset)
        if pid and is_alive(pid, started):
            raise ValueError(
                f"workers must be the same for all that use path {path!r}, not {rows} "
                f"(version {VERSION}): process {pid} uses {found}"
            )


class Rows:
    """The mapped file, and the row in it that is ours.

    `inflight`: that word of every row, ours included. `own`: our row. Numbers are read and
    written without a lock, each by one writer; rows change hands under the lock of the file.
    """

    def __init__(self, path: str, rows: int, file: int) -> None:
        self._path = path
        self._size = ROW_BYTES * (1 + rows)
        # The mapping keeps the file open, so its inode is not given to another file.
        self._mapping = mmap.mmap(file, self._size)
        found = os.fstat(file)
        self._identity = (found.st_dev, found.st_ino)
        self.header = memoryview(self._mapping).cast("q")
        self.inflight = self.header[WORDS + INFLIGHT :: WORDS]
        self._pids = self.header[WORDS + PID :: WORDS]
        self._starts = self.header[WORDS + STARTED :: WORDS]
        self._heartbeats = self.header[WORDS + HEARTBEAT :: WORDS]
        self.index = -1
        self.own = self.header[:0]
        self._token = secrets.randbits(62)

    @classmethod
    def claim(
        cls, path: str, rows: int, *, limit: int, now: float, wait_seconds: float
    ) -> Rows | None:
        """Return the file with a free row made ours; None when every row is taken by the living.

        The first worker sets `limit` for all. Raises OSError or ValueError as `prepare` does,
        BlockingIOError when the lock is held for longer than `wait_seconds`.
        """
        with _locked(path, wait_seconds) as file:
            _prepare(file, path, rows)
            table = cls(path, rows, file)
            return table if table._take(limit, now) else None

    def _take(self, limit: int, now: float) -> bool:
        self._bury(self._dead(range(len(self._pids))))
        pids = self._pids.tolist()
        if not any(pids):
            self.header[LIMIT_WORD] = limit
        if 0 not in pids:
            return False
        self.index = pids.index(0)
        self.own = self.header[WORDS * (1 + self.index) : WORDS * (2 + self.index)]
        self.own[TOKEN] = self._token
        self.own[STARTED] = started_at(os.getpid()) or 0
        self.beat(now)
        self.own[PID] = os.getpid()
        return True

    @property
    def living(self) -> int:
        """How many rows are taken."""
        return len(self._pids) - self._pids.tolist().count(0)

    def is_ours(self) -> bool:
        """Return whether the file is still the one at its path, and our row still ours."""
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError:
            # Says nothing about the file. To leave a row behind alive would keep it counted.
            return True
        same = (found.st_dev, found.st_ino) == self._identity and found.st_size >= self._size
        return same and self.own[TOKEN] == self._token

    def beat(self, now: float) -> None:
        """Show that our loop runs."""
        self.own[HEARTBEAT] = int(now * 1e9)

    def reclaim(self, now: float) -> None:
        """Free the rows whose processes are gone."""
        dead = self._dead(self._silent(now, STALE_NANOSECONDS))
        if not dead:
            return
        try:
            with _locked(self._path, 0.0) as file:
                found = os.fstat(file)
                if (found.st_dev, found.st_ino) == self._identity:
                    # Another worker may have freed them meanwhile, and a new one moved in.
                    self._bury(self._dead(dead))
        except (OSError, ValueError):
            return  # whoever holds the lock is at it, or no file can be opened: the next tick can

    def leads(self, now: float) -> bool:
        """Return whether we are the leader; the lowest row that is not silent takes a lost lead.

        A leader keeps its lead while its heartbeat goes on: it has learnt most.
        """
        leader = self.header[LEADER_WORD] - 1
        silent = set(self._silent(now, 4 * STALE_NANOSECONDS))
        if self.header[NEXT_WORD] - 1 in silent:
            self.header[NEXT_WORD] = 0
        vacant = not 0 <= leader < len(self._pids) or not self._pids[leader] or leader in silent
        if vacant and all(
            not pid or row in silent for row, pid in enumerate(self._pids[: self.index])
        ):
            # Two may do so at once; the later store wins, and the other sees it at its next tick.
            self.header[LEADER_WORD] = self.index + 1
        return self.header[LEADER_WORD] == self.index + 1

    def give_back(self) -> None:
        """Free our row."""
        if self.is_ours():
            self._bury([self.index])

    def _silent(self, now: float, nanoseconds: int) -> list[int]:
        # Either side: heartbeats of an earlier boot may lie in the future.
        due = int(now * 1e9)
        beats = self._heartbeats.tolist()
        return [row for row, beat in enumerate(beats) if abs(due - beat) >= nanoseconds]

    def _dead(self, rows: Iterable[int]) -> list[int]:
        taken = ((row, self._pids[row]) for row in rows)
        return [row for row, pid in taken if pid and not is_alive(pid, self._starts[row])]

    def _bury(self, rows: Iterable[int]) -> None:
        for row in rows:
            for word in (LEADER_WORD, NEXT_WORD):
                if self.header[word] == row + 1:
                    self.header[word] = 0
            start = WORDS * (1 + row)
            # The number of the process last: a row without one is up for grabs.
            for word in (INFLIGHT, TOKEN, HEARTBEAT, STARTED, PID):
                self.header[start + word] = 0
