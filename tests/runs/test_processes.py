"""Children on a leash: real processes, also when their conductor is killed."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launchday.errors import PreflightError
from launchday.runs.processes import Child, Processes, free_port
from launchday.runs.stop import Interrupted, Stop

SLEEPER = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"
STUBBORN = (
    "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print(os.getpid(), flush=True); time.sleep(600)"
)
PARENT_OF_ONE = (
    "import os, subprocess, sys, time;"
    "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print(c.pid, flush=True); time.sleep(600)"
)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # no /proc here, or it ended just now
    except ProcessLookupError:
        return False


def wait_for(condition: object, seconds: float = 30.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def first_number(child: Child) -> int:
    wait_for(lambda: child.log.read_text().strip())
    return int(child.log.read_text().split()[0])


@pytest.mark.parametrize("program", [SLEEPER, STUBBORN, PARENT_OF_ONE])
def test_leaving_the_block_ends_a_command_whatever_it_does(tmp_path: Path, program: str) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("x", [sys.executable, "-c", program], env=os.environ)
        pid = first_number(child)
        assert alive(pid)
    wait_for(lambda: not alive(pid))


CONDUCTOR = """
import sys, time
from pathlib import Path
from launchday.runs.processes import Processes
with Processes(Path(sys.argv[1])) as processes:
    processes.start("x", [sys.executable, "-c", sys.argv[2]], env={"PATH": "/usr/bin:/bin"})
    time.sleep(600)
"""


@pytest.mark.parametrize("program", [SLEEPER, PARENT_OF_ONE])
def test_killing_the_conductor_ends_its_commands(tmp_path: Path, program: str) -> None:
    conductor = subprocess.Popen([sys.executable, "-c", CONDUCTOR, str(tmp_path), program])
    log = tmp_path / "x.log"
    wait_for(lambda: log.exists() and log.read_text().strip())
    pid = int(log.read_text().split()[0])
    os.kill(conductor.pid, signal.SIGKILL)
    conductor.wait()
    wait_for(lambda: not alive(pid))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_leash_starts_does_not_end_it(tmp_path: Path, number: int) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("x", [sys.executable, "-c", SLEEPER], env=os.environ)
        os.kill(child.process.pid, number)
        assert alive(first_number(child))
        assert child.running


def test_a_command_that_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        program = "import sys; sys.exit('no such database')"
        child = processes.start("backend", [sys.executable, "-c", program], env=os.environ)
        with pytest.raises(PreflightError, match="backend did not start: no such database"):
            processes.wait_until(child, lambda: False, Stop())


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("backend", ["/does/not/exist"], env=os.environ)
        with pytest.raises(PreflightError, match="cannot start /does/not/exist"):
            processes.wait_until(child, lambda: False, Stop())


def test_waiting_ends_when_the_user_asks_to_stop(tmp_path: Path) -> None:
    stop = Stop()
    with Processes(tmp_path) as processes:
        child = processes.start("x", [sys.executable, "-c", SLEEPER], env=os.environ)
        stop.ask(signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM") as interrupted:
            processes.wait_until(child, lambda: False, stop)
    assert interrupted.value.exit_code == 143


SHOW_LIMIT = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], flush=True)"
LIMITED = """
import resource, sys, time
from pathlib import Path
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
from launchday.runs.processes import Processes
with Processes(Path(sys.argv[1])) as processes:
    child = processes.start("x", [sys.executable, "-c", sys.argv[2]], env={})
    child.process.wait()
"""


def test_commands_may_open_more_files_than_the_shell_allows(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path), SHOW_LIMIT]
    subprocess.run(command, check=True, timeout=60)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int((tmp_path / "x.log").read_text()) == min(hard, 10_240)


def test_a_taken_port_is_refused_with_the_setting_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PreflightError, match=rf"port {port} .* local.target_port"):
            free_port(port, "the reference backend", "local.target_port")


def test_port_0_is_a_free_one_that_no_outgoing_connection_is_given() -> None:
    """In CI one of 37549 was taken by a test beside before it was listened on."""
    assert free_port(0, "x", "y") < 32768
