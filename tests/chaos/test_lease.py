"""The lease: what it refuses, what it leaves on disk, and what is cleared with it and without."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from launchday.chaos.experiment import Experiment, latency
from launchday.chaos.inject import ResidualFaultError, injected
from launchday.chaos.janitor import BareToxiproxy, NotUndoneError
from launchday.chaos.lease import Lease, LeaseLostError, Undo, held
from launchday.chaos.lease_file import LeaseState, found, written
from launchday.chaos.toxiproxy import ProxyState, Toxiproxy
from launchday.commands import launchday
from launchday.errors import LaunchdayError, PreflightError
from tests.chaos.support import DEADLINE_SECONDS, process, served, wait_for
from tests.ports import free_port

HOLDER = Path(__file__).with_name("holder.py")


@pytest.fixture(autouse=True)
def quick_janitors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests wait for the end of the janitor."""
    monkeypatch.setattr("launchday.chaos.lease.QUIET_SECONDS", 0.5)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_lease_without_a_time_is_refused(seconds: float, leases: Path) -> None:
    with (
        pytest.raises(ValueError, match="lease_seconds must be positive, got"),
        held("http://127.0.0.1:1", [], lease_seconds=seconds),
    ):
        pytest.fail("must not start")
    assert not leases.exists()


def test_a_lease_that_cannot_be_noted_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with (
        pytest.raises(PreflightError, match="set XDG_STATE_HOME to a directory"),
        held("http://127.0.0.1:1", []),
    ):
        pytest.fail("must not start")


def test_a_lease_says_while_it_is_held_what_is_at_stake(leases: Path) -> None:
    url, undos = f"http://127.0.0.1:{free_port()}", [Undo("db", None, "down"), Undo("gw", "t")]
    with held(url, undos, lease_seconds=30) as lease:
        (mine,) = found(url)
        assert mine.state.undos == tuple(undos)
        assert mine.is_held
        assert found("http://127.0.0.1:1") == []
        lease.beat()
        lease.release()
    assert found(url) == []


def test_a_lease_is_found_by_any_name_of_its_server_and_read_by_nobody_else(leases: Path) -> None:
    port = free_port()
    with held(f"http://me:pw@127.0.0.1:{port}", []) as lease:
        for same in (f"http://localhost:{port}", f"http://127.0.0.1:{port}/"):
            assert len(found(same)) == 1
        for other in (f"http://127.0.0.1:{port}/x", f"https://127.0.0.1:{port}"):
            assert found(other) == []
        (file,) = leases.iterdir()
        assert file.stat().st_mode & 0o077 == 0
        lease.release()


def test_a_full_disk_is_refused_in_words_and_leaves_no_lease(leases: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    leases.mkdir(parents=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    try:
        with pytest.raises(PreflightError, match="cannot write to"), held("http://[::1]:1", []):
            pytest.fail("must not start")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(leases.iterdir()) == []


def test_a_lease_of_a_dead_run_is_not_held_while_somebody_reads_it(leases: Path) -> None:
    with written(LeaseState("http://127.0.0.1:1", (), 10.0)) as path:
        pass
    with path.open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        (lease,) = found("http://127.0.0.1:1")
    assert not lease.is_held


@contextmanager
def in_front(url: str, seconds: float) -> Iterator[str]:
    """An API that wants a password, and holds requests for new toxics back for `seconds`."""
    address = url.removeprefix("http://")

    class Front(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = 401, b"no"
            if self.headers.get("Authorization") == "Basic bWU6cHc=":  # me:pw
                if self.command == "POST" and self.path.endswith("/toxics"):
                    time.sleep(seconds)
                behind = http.client.HTTPConnection(address)
                behind.request(self.command, self.path, body)
                answer = behind.getresponse()
                status, said = answer.status, answer.read()
                behind.close()
            with suppress(OSError):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(said)

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Front)) as front:
        yield f"http://me:pw@{front}"


def test_a_fault_whose_request_got_no_answer_is_undone_when_it_arrives_late(
    toxiproxy: Toxiproxy, gateway: ProxyState, leases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launchday.chaos.lease.DOUBT_SECONDS", 3.0)
    experiment = Experiment("late", "late", (latency("gateway", latency_ms=50),), 0, 9)
    seen: list[bool] = []
    with in_front(toxiproxy.url, 1.5) as url:
        impatient = Toxiproxy(url, timeout_seconds=0.7)
        with (
            pytest.raises(ResidualFaultError, match="did not answer the request for a fault"),
            injected(impatient, experiment, lambda event: None, run_id="late"),
        ):
            pytest.fail("must not start")
        impatient.close()
        assert wait_for(lambda: not list(leases.iterdir()))
        seen.append(bool(toxiproxy.proxy("gateway").toxics))
    assert seen == [False]


def test_a_file_that_is_no_lease_is_passed_over(leases: Path) -> None:
    leases.mkdir(parents=True)
    (leases / "lease-x.json").write_text("[1")
    (leases / "lease-y.json").write_text('{"url": 1}')
    assert found("http://127.0.0.1:1") == []


def test_a_conductor_that_beats_keeps_its_faults_and_one_that_does_not_loses_them(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    toxiproxy.add_toxic("gateway", "t", "timeout", "downstream", 1.0, {"timeout": 0})
    with held(toxiproxy.url, [Undo("gateway", "t")], lease_seconds=0.8) as lease:
        until = time.monotonic() + 3 * 0.8
        while time.monotonic() < until:
            lease.beat()
            assert toxiproxy.proxies()["gateway"].toxics
            time.sleep(0.05)
        assert wait_for(lambda: not toxiproxy.proxies()["gateway"].toxics)
        with pytest.raises(
            LeaseLostError, match=r"it stood still for .* its lease .* is 0\.8 s"
        ) as e:
            lease.beat()
        assert e.value.exit_code == 4
        with pytest.raises(LeaseLostError) as lost:
            beat_until_refused(lease)
    assert lost.value.exit_code == 4


def beat_until_refused(lease: Lease) -> None:
    def beaten() -> bool:
        lease.beat()
        return False

    wait_for(beaten)


def test_a_lease_whose_janitor_was_killed_is_lost(toxiproxy: Toxiproxy) -> None:
    with held(toxiproxy.url, []) as lease:
        os.kill(lease.janitor_pid, signal.SIGKILL)
        with pytest.raises(LeaseLostError):
            beat_until_refused(lease)


def test_the_janitors_calls_do_what_they_say_or_raise(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    toxiproxy.add_toxic("gateway", "t", "timeout", "downstream", 1.0, {"timeout": 0})
    toxiproxy.set_enabled("gateway", False)
    bare = BareToxiproxy(toxiproxy.url)
    for _ in range(2):  # once more is fine
        bare.remove_toxic("gateway", "t")
        bare.set_enabled("gateway", True)
    bare.remove_toxic("nothing", "t")
    assert toxiproxy.proxies()["gateway"] == gateway
    assert not bare.is_gone()
    nobody = BareToxiproxy(f"http://127.0.0.1:{free_port()}")
    assert nobody.is_gone()
    with pytest.raises(NotUndoneError, match="does not answer"):
        nobody.set_enabled("gateway", True)


def clear(toxiproxy: Toxiproxy, *arguments: str) -> dict[str, Any]:
    """What `launchday chaos clear --json` says."""
    command = ["chaos", "clear", "--toxiproxy", toxiproxy.url, "--json", *arguments]
    result = CliRunner().invoke(launchday, command, standalone_mode=False)
    assert result.return_value == 0, result.output
    said: dict[str, Any] = json.loads(result.output)
    return said


def names(leftovers: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(each["link"], each["toxic"]) for each in leftovers]


def kill_with_janitor(toxiproxy: Toxiproxy) -> None:
    """A conductor and its janitor both die with their faults in."""
    command = (sys.executable, str(HOLDER), toxiproxy.url, "rude")
    with process(*command) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"holding\n"
        (lease,) = found(toxiproxy.url)
        assert lease.is_held
        said = clear(toxiproxy)
        assert said["removed"] == [], "took the faults of a run that goes on"
        running = [each["link"] for each in said["left_alone"] if each["running"]]
        assert running == ["dead", "slow"]
        for janitor in janitors_of(holder.pid):
            os.kill(janitor, signal.SIGKILL)
        holder.kill()
        holder.wait(DEADLINE_SECONDS)


def janitors_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert children
    return [int(child) for child in children]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes in /proc")
def test_what_a_killed_run_and_its_janitor_left_is_cleared_and_nothing_else(
    toxiproxy: Toxiproxy, healthz: str
) -> None:
    for link in ("slow", "dead", "foreign", "off"):
        toxiproxy.create_proxy(link, "127.0.0.1:0", healthz)
    toxiproxy.add_toxic("foreign", "mine", "timeout", "downstream", 1.0, {"timeout": 0})
    toxiproxy.set_enabled("off", False)
    before = toxiproxy.snapshot()
    kill_with_janitor(toxiproxy)
    ours = [("dead", None), ("slow", "launchday-holder-1")]
    foreign = [("foreign", "mine"), ("off", None)]

    tried = clear(toxiproxy, "--dry-run")
    assert (names(tried["removed"]), names(tried["left_alone"])) == (ours, foreign)
    assert toxiproxy.residual(before) != []

    assert names(clear(toxiproxy, "--link", "dead")["removed"]) == ours[:1]
    assert names(clear(toxiproxy)["removed"]) == ours[1:]
    assert toxiproxy.residual(before) == []
    assert found(toxiproxy.url) == []

    assert names(clear(toxiproxy, "--all")["removed"]) == foreign
    assert clear(toxiproxy)["left_alone"] == []


def test_clearing_says_not_that_nothing_is_left_of_a_run_that_goes_on(
    toxiproxy: Toxiproxy, gateway: ProxyState
) -> None:
    toxiproxy.add_toxic("gateway", "launchday-x-1", "noop")
    command = ["chaos", "clear", "--toxiproxy", toxiproxy.url.replace("127.0.0.1", "localhost")]
    with held(toxiproxy.url, [Undo("gateway", "launchday-x-1")]) as lease:
        said = CliRunner().invoke(launchday, command, standalone_mode=False).output
        lease.release()
    assert "its run goes on" in said
    assert "nothing of launchday" not in said
    assert toxiproxy.proxy("gateway").toxics


def test_clearing_names_what_it_did_for_people(toxiproxy: Toxiproxy, gateway: ProxyState) -> None:
    toxiproxy.add_toxic("gateway", "launchday-x-1", "timeout", "upstream", 1.0, {"timeout": 7})
    toxiproxy.add_toxic("gateway", "other", "timeout", "upstream", 1.0, {"timeout": 7})
    command = ["chaos", "clear", "--toxiproxy", toxiproxy.url]
    said = CliRunner().invoke(launchday, command, standalone_mode=False).output
    assert said.splitlines() == [
        "removed  gateway: the toxic launchday-x-1 (timeout timeout=7 upstream)",
        "left alone  gateway: the toxic other (timeout timeout=7 upstream): not by launchday; "
        "--all takes it, too",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--toxiproxy", "http://127.0.0.1:1"], "does not answer"),
        (["--toxiproxy", "nonsense"], "url must look like http://HOST:PORT"),
        ([], "which Toxiproxy"),
    ],
)
def test_clearing_without_a_toxiproxy_is_refused_in_words(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOXIPROXY_URL", raising=False)
    result = CliRunner().invoke(launchday, ["chaos", "clear", *arguments], standalone_mode=False)
    assert isinstance(result.exception, LaunchdayError)
    assert words in str(result.exception)
    assert result.exception.exit_code == 2
