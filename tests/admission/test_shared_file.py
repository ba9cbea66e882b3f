"""The file of a shared limit: refused when it is not ours, and who in it is alive."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launchday import LoadSheddingMiddleware
from launchday.admission.limits import FixedLimit
from launchday.admission.shared import SharedLimit
from launchday.admission.shared_rows import (
    HEADER,
    MAGIC,
    ROW_BYTES,
    VERSION,
    is_alive,
    prepare,
    started_at,
)
from tests.admission.shared_support import Workers

SOURCES = Path(__file__).parents[2] / "src"
DEADLINE_SECONDS = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "limit"


@pytest.fixture
def build(path: Path) -> Iterator[Workers]:
    workers = Workers(path)
    yield workers
    workers.close()


@pytest.mark.parametrize("workers", [0, -1, 1025, True, 2.0, "4"])
def test_a_wrong_number_of_workers_is_refused(path: Path, workers: Any) -> None:
    with pytest.raises(ValueError, match="workers must be an integer from 1 to 1024"):
        SharedLimit(FixedLimit(1), path=path, workers=workers)


@pytest.mark.parametrize("wrong", ["", b"limit", 3, None, "a\0b"])
def test_what_is_no_path_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="path must be the name of a file"):
        SharedLimit(FixedLimit(1), path=wrong)


def test_what_is_no_limit_is_refused(path: Path) -> None:
    limit: Any = 20
    with pytest.raises(ValueError, match="limit must have"):
        SharedLimit(limit, path=path)


def make(path: Path, kind: str) -> None:
    target = path.with_name("target")
    target.touch(0o600)
    match kind:
        case "symlink":
            path.symlink_to(target)
        case "folder":
            path.mkdir(0o700)
        case "pipe":
            os.mkfifo(path, 0o600)
        case "open to others":
            path.touch(0o600)
            path.chmod(0o620)
        case "garbage":
            path.touch(0o600)
            path.write_bytes(b"database of somebody else")
        case "zeros of somebody else":
            path.touch(0o600)
            path.write_bytes(bytes(1_000_000))


@pytest.mark.parametrize(
    "kind",
    ["symlink", "folder", "pipe", "open to others", "garbage", "zeros of somebody else"],
)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(path: Path, kind: str) -> None:
    make(path, kind)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ValueError, match="path must name"):
        SharedLimit(FixedLimit(1), path=path)
    assert before is None or path.read_bytes() == before


def test_a_folder_that_does_not_exist_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="path must name a file that can be opened or made"):
        SharedLimit(FixedLimit(1), path=path / "below")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(path: Path) -> None:
    path.touch(0o600)
    os.chown(path, 12345, 12345)
    with pytest.raises(ValueError, match="not of user 12345"):
        SharedLimit(FixedLimit(1), path=path)


def test_the_file_is_for_this_user_only(build: Workers, path: Path) -> None:
    build()
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_number_of_workers_is_refused_while_somebody_lives_in_the_file(
    build: Workers, path: Path
) -> None:
    first = build(10, rows=4)
    assert first.limit == 10
    first.publish(3)
    with pytest.raises(ValueError, match=f"workers must be the same .* process {os.getpid()} "):
        SharedLimit(FixedLimit(10), path=path, workers=8)
    assert first.total_inflight == 3
    first.close()
    assert build(10, rows=8).limit == 10


def test_a_file_of_another_version_is_made_anew_once_nobody_lives_in_it(
    build: Workers, path: Path
) -> None:
    def leave(pid: int) -> None:
        path.touch(0o600)
        head = HEADER.pack(MAGIC, VERSION + 1, 2).ljust(ROW_BYTES, b"\1")
        row = pid.to_bytes(8, sys.byteorder) + bytes(8) + b"\1" * (ROW_BYTES - 16)
        path.write_bytes(head + 2 * row)

    leave(os.getpid())
    with pytest.raises(ValueError, match=f"version {VERSION + 1} with 2 workers"):
        build(10)
    leave(0)
    shared = build(10)
    assert (shared.limit, shared.live_workers, shared.total_inflight) == (10, 1, 0)


def test_workers_find_each_other_again_when_the_file_was_deleted(
    build: Workers, path: Path
) -> None:
    workers = [build(10), build(10)]
    for held, shared in enumerate(workers):
        assert shared.limit
        shared.publish(held + 1)
    path.unlink()
    workers.append(build(10))
    for shared in workers:
        shared.tick(100.1)
        assert shared.limit
    assert [shared.total_inflight for shared in workers] == [3, 3, 3]
    assert [shared.live_workers for shared in workers] == [3, 3, 3]


def test_without_a_free_row_a_worker_goes_on_alone_says_so_once_and_joins_later(
    build: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = (build(30, rows=2) for _ in range(3))
    first.publish(1)
    assert first.limit == second.limit + 1 == 30
    with caplog.at_level(logging.WARNING, "launchday"):
        for tick in range(20):
            assert third.limit == 10
            third.publish(3)
            third.tick(100.0 + tick / 10)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"this worker sheds alone, with a limit of 10, and keeps trying to share the one in "
        f"{third._path!r}"
    ]
    assert (third.live_workers, third.total_inflight, first.total_inflight) == (1, 3, 1)
    first.close()
    third.tick(103.0)
    assert (second.live_workers, second.total_inflight) == (2, 3)
    assert second.limit == 27


def test_a_held_lock_delays_joining_and_blocks_nobody(build: Workers, path: Path) -> None:
    shared = build(33, rows=32)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert shared.limit == 1
        shared.tick(100.1)
        assert shared.live_workers == 1
        with pytest.raises(TimeoutError, match="is held by another process"):
            prepare(str(path), 32, wait_seconds=0.01)
    shared.tick(100.2)
    assert shared.limit == 33


def die_with_a_row(path: Path, rows: int) -> None:
    """Hold 4 in flight, with a heartbeat far in the future, and exit without a word."""
    code = f"""
import os
from launchday.admission.limits import FixedLimit
from launchday.admission.shared import SharedLimit
shared = SharedLimit(FixedLimit(7), path={str(path)!r}, workers={rows}, clock=lambda: 1e9)
shared.publish(4)
assert shared.limit
os._exit(0)
"""
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        timeout=DEADLINE_SECONDS,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )


def test_a_row_of_the_dead_is_free_at_once_for_who_comes(build: Workers, path: Path) -> None:
    die_with_a_row(path, 1)
    shared = build(10, rows=1)
    assert (shared.limit, shared.live_workers, shared.total_inflight) == (10, 1, 0)


def test_heartbeats_of_an_earlier_boot_protect_nobody(build: Workers, path: Path) -> None:
    shared = build(10)
    assert shared.limit == 10
    die_with_a_row(path, 8)
    assert (shared.live_workers, shared.limit) == (2, 6)
    shared.tick(100.0)
    assert (shared.live_workers, shared.limit) == (1, 10)


def test_a_later_process_with_the_same_number_is_another_one() -> None:
    started = started_at(os.getpid())
    assert started is not None
    assert is_alive(os.getpid(), started)
    assert is_alive(os.getpid(), started + 1) == (started == 0)
    assert not is_alive(-1, 0)
    assert not is_alive(2**40, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc shows who was not yet waited for")
def test_a_killed_process_that_nobody_has_waited_for_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = started_at(process.pid)
        assert started
        assert is_alive(process.pid, started)
        process.kill()
        give_up_at = time.monotonic() + DEADLINE_SECONDS
        while is_alive(process.pid, started):
            assert time.monotonic() < give_up_at
            time.sleep(0.005)
        assert process.returncode is None


def test_a_shedder_that_is_built_and_never_used_takes_no_row(path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    parent = LoadSheddingMiddleware(app, limit=SharedLimit(FixedLimit(24), path=path, workers=1))
    child = SharedLimit(FixedLimit(24), path=path, workers=1)
    assert child.limit == 24, "the only row is free"
    assert parent.unbounded.limit == 240
    child.close()
