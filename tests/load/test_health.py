from __future__ import annotations

import errno
import gc
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import gevent
import pytest

from launchday.counts import Arrivals
from launchday.load import system
from launchday.load.health import Health, Sources
from launchday.load.samples import SampleBook


@contextmanager
def watched(sources: Sources | None = None) -> Iterator[Health]:
    health = Health(sources)
    health.start()
    try:
        yield health
    finally:
        health.stop()


def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline
        gevent.sleep(0.01)


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_busy_process_is_told_from_an_idle_one() -> None:
    with watched() as health:
        gevent.sleep(0.3)
        idle = health.sample(0, Arrivals())
        spin(0.3)
        busy = health.sample(1, Arrivals())
    assert idle.cpu_share < busy.cpu_share <= 1.5


def test_the_cpu_share_is_cpu_time_by_the_time_that_passed() -> None:
    cpu, now = iter([0.0, 10.0, 10.6, 12.6]), iter([0.0, 100.0, 101.0, 102.0])
    with watched(
        Sources(cpu_seconds=lambda: next(cpu), monotonic_seconds=lambda: next(now))
    ) as health:
        assert health.sample(0, Arrivals()).cpu_share == 0.6
        assert health.sample(1, Arrivals()).cpu_share == 2.0


def test_a_blocked_event_loop_is_seen_once_and_then_forgotten() -> None:
    blocked_seconds = 0.4
    with watched() as health:
        gevent.sleep(0.06)
        time.sleep(blocked_seconds)
        gevent.sleep(0.06)
        stalled = health.sample(0, Arrivals())
        gevent.sleep(0.06)
        after = health.sample(1, Arrivals())
    assert stalled.loop_stall_seconds > blocked_seconds / 2
    assert after.loop_stall_seconds < stalled.loop_stall_seconds


def test_a_collection_of_garbage_is_a_pause() -> None:
    with watched() as health:
        health.sample(0, Arrivals())
        keep = [[number] for number in range(100_000)]
        gc.collect()
        assert health.sample(1, Arrivals()).gc_pause_seconds > 0
        del keep
    assert all(getattr(callback, "__self__", None) is not health for callback in gc.callbacks)


def test_lateness_and_drops_are_those_of_the_flush() -> None:
    book = SampleBook()
    for number in range(100):
        book.arrival(0, started=number != 0, lateness_seconds=0.2 if number > 90 else 0.001)
    sample = Health().sample(7.9, book.flush())
    assert (sample.second, sample.dropped) == (7, 1)
    assert sample.lateness_p50_seconds == pytest.approx(0.001, rel=0.02)
    assert sample.lateness_p99_seconds == pytest.approx(0.2, rel=0.02)
    nothing = Health().sample(8, book.flush())
    assert nothing.lateness_p99_seconds is None


@pytest.mark.parametrize(
    ("step", "seen"), [(3.0, 3.0), (-0.2, -0.2), (0.0, 0.0)], ids=["forward", "back", "none"]
)
def test_a_clock_that_is_set_is_seen_in_its_second_only(step: float, seen: float) -> None:
    offsets = iter([5.0, 5.0, 5.0 + step, 5.0 + step])
    with watched(Sources(clock_offset_seconds=lambda: next(offsets))) as health:
        found = [health.sample(second, Arrivals()).clock_step_seconds for second in (1, 2)]
    assert found == [pytest.approx(seen), 0.0]


def test_the_clock_of_a_machine_that_nobody_sets_is_steady() -> None:
    first = system.clock_offset_seconds()
    spin(0.05)
    assert abs(system.clock_offset_seconds() - first) < 0.05


def test_open_sockets_are_counted_against_their_limit() -> None:
    before = Health().sample(0, Arrivals())
    if before.open_files is None:
        pytest.skip("this system does not tell open files")
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(socket.socket())
        after = Health().sample(1, Arrivals())
    assert after.open_files == before.open_files + 30
    assert after.open_files_limit == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_an_older_kernel_whose_directory_has_no_size_is_counted(tmp_path: Path) -> None:
    class Sizeless(type(tmp_path)):  # type: ignore[misc] # its class depends on the system
        def stat(self, **_: object) -> os.stat_result:
            return os.stat_result([0] * 10)

    for name in ("0", "1", "2", "3"):
        (tmp_path / name).touch()
    assert system.open_files(Sizeless(tmp_path)) == 3  # one of them is the listing's own


def test_ports_in_use_are_bounded_by_open_sockets_and_those_in_time_wait(tmp_path: Path) -> None:
    sockstat, ports = tmp_path / "sockstat", tmp_path / "range"
    sockstat.write_text("sockets: used 9\nTCP: inuse 5 orphan 0 tw 777 alloc 7 mem 1\nUDP: inuse 1")
    ports.write_text("32768\t60999\n")
    sources = replace(
        Sources(),
        open_files=lambda: 100,
        time_wait_sockets=lambda: system.time_wait_sockets(sockstat),
        ephemeral_ports=lambda: system.ephemeral_ports(ports),
    )
    sample = Health(sources).sample(0, Arrivals())
    assert (sample.ports_used, sample.ports) == (877, 28232)


def test_a_system_that_does_not_tell_is_none_and_no_error(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    sources = Sources(
        open_files=lambda: system.open_files(gone),
        time_wait_sockets=lambda: system.time_wait_sockets(gone),
        ephemeral_ports=lambda: system.ephemeral_ports(gone),
    )
    sample = Health(sources).sample(0, Arrivals())
    assert (sample.open_files, sample.ports_used, sample.ports) == (None, None, None)
    odd = tmp_path / "odd"
    odd.write_text("TCP: what\nis this")
    assert system.time_wait_sockets(odd) is None
    assert system.ephemeral_ports(odd) is None


def test_only_what_the_generators_own_system_refuses_counts_as_want_of_sockets() -> None:
    with watched() as health:
        for number in (errno.EMFILE, errno.EADDRNOTAVAIL, errno.ECONNREFUSED, errno.ECONNRESET):
            health.failed(OSError(number, "x"))
        health.failed(TimeoutError("no answer in time"))
        assert health.sample(0, Arrivals()).sockets_refused == 2
        assert health.sample(1, Arrivals()).sockets_refused == 0


def open_many(stack: ExitStack) -> None:
    for _ in range(100):
        stack.enter_context(socket.socket())


def test_a_process_out_of_file_descriptors_says_so_with_a_real_error() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    health = Health()
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 2, hard))
        with pytest.raises(OSError, match="Too many open files") as raised:
            open_many(stack)
        health.failed(raised.value)
    assert health.sample(0, Arrivals()).sockets_refused == 1


def test_it_can_be_stopped_twice_and_watches_no_more() -> None:
    health = Health()
    health.start()
    health.stop()
    health.stop()
    time.sleep(0.1)
    gevent.sleep(0.1)
    assert health.sample(0, Arrivals()).loop_stall_seconds == 0.0
