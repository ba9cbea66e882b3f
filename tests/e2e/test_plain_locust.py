"""The scenario under plain `locust`, without launchday around it: alone, web UI, master/worker."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from launchday.load.arrivals import schedule
from launchday.load.curves import launch_day
from launchday.record import Record, RunInfo, absorb_samples_line, read_lines
from tests.e2e.support import ROOT, environment, somebody_elses_service, wait_for

pytestmark = pytest.mark.e2e

CURVE = launch_day(
    baseline_rps=10,
    multiple=4,
    quiet_seconds=2,
    rise_seconds=1,
    peak_seconds=3,
    decay_seconds=1,
    tail_seconds=2,
)
SHORT = [
    "--baseline-rps=10", "--multiple=4", "--quiet-seconds=2", "--rise-seconds=1",
    "--peak-seconds=3", "--decay-seconds=1", "--tail-seconds=2", "--seed=7",
]  # fmt: skip
EXPECTED = len(list(schedule(CURVE, seed=7)))


@pytest.fixture
def service() -> Iterator[str]:
    with somebody_elses_service() as url:
        yield url


def locust(
    stack: ExitStack, tmp_path: Path, *arguments: str, file: str = "launch_day.py"
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / file), *arguments],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def end() -> None:
        if process.poll() is None:
            process.kill()
            process.communicate()

    stack.callback(end)
    return process


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def read_samples(directory: Path) -> Record:
    info = RunInfo("x", "launch_day", "", 0.0)
    record = Record(directory, info, [], 0, {}, {}, [], [])
    for path in directory.glob("samples-*.jsonl"):
        for line in read_lines(path):
            absorb_samples_line(record, line)
    return record


def test_alone_it_runs_its_schedule_says_what_it_kept_and_exits_with_0(
    tmp_path: Path, service: str
) -> None:
    with ExitStack() as stack:
        process = locust(stack, tmp_path, "--headless", "--host", service, *SHORT)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert f"launchday: {EXPECTED} arrivals:" in output
    assert re.search(r"0 +\d+ +Aggregated|Aggregated +\d+", output)
    assert output.count("the owners go on without sessions") == 1, "this service knows none"


class CarMaker(ThreadingHTTPServer):
    """Gives sessions (after one 503), and notes who came, for which car, and with which session."""

    daemon_threads = True

    def __init__(self, refuses: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _CarHandler)
        self.refuses = refuses
        self.signed_in: Counter[str] = Counter()
        self.journeys: Counter[tuple[str, str]] = Counter()
        self.busy = 1
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _CarHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CarMaker

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            status, answer = self.answer(body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status == 503:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(content)

    def answer(self, body: bytes) -> tuple[int, dict[str, str]]:
        service = self.server
        if self.path != "/v1/sessions":
            service.journeys[self.path, self.headers.get("Authorization", "")] += 1
            return 200, {}
        if service.refuses:
            return 401, {}
        if service.busy:
            service.busy -= 1
            return 503, {}
        email = str(json.loads(body)["email"])
        service.signed_in[email] += 1
        return 201, {"access_token": f"session-of-{email}"}

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def car_maker() -> Iterator[CarMaker]:
    with CarMaker() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_two_workers_run_one_schedule_between_them_and_play_owners_of_their_own(
    tmp_path: Path, car_maker: CarMaker
) -> None:
    port = str(free_port())
    with ExitStack() as stack:
        common = ["--host", car_maker.url, "--launchday-record", str(tmp_path), *SHORT]
        bind = ["--master", "--headless", "--expect-workers", "2", "--master-bind-port", port]
        master = locust(stack, tmp_path, *common, *bind, "--owners=6", "--region=eu")
        workers = [
            locust(stack, tmp_path, "--worker", "--master-port", port, "--master-host", "127.0.0.1")
            for _ in range(2)
        ]
        output, _ = master.communicate(timeout=120)
        for worker in workers:
            worker.communicate(timeout=60)
    assert master.returncode == 0, output
    assert car_maker.signed_in == {f"owner{number}@eu.example": 1 for number in range(6)}
    for (path, session), _ in car_maker.journeys.items():
        number = re.fullmatch(r"Bearer session-of-owner(\d)@eu\.example", session)
        assert number, session
        if "vehicles" in path:
            assert f"/LAUNCHDEU0000000{number[1]}/" in path
    assert len({session for _, session in car_maker.journeys}) == 6
    record = read_samples(tmp_path)
    assert len(record.schedules) == record.finished_workers == 2
    assert sum(s.expected_arrivals for s in record.schedules) == EXPECTED
    assert sum(a.scheduled for a in record.arrivals.values()) == EXPECTED
    assert record.schedules[0].epoch_unix == record.schedules[1].epoch_unix
    assert {endpoint for _, endpoint, *_ in record.cells} == {"reserve", "state", "unlock"}
    assert sum(cell.count for cell in record.cells.values()) == car_maker.journeys.total()


def test_owners_whom_the_target_refuses_are_one_line_and_no_load(
    tmp_path: Path, car_maker: CarMaker
) -> None:
    car_maker.refuses = True
    with ExitStack() as stack:
        arguments = ["--headless", "--host", car_maker.url, *SHORT, "--fleet-seed=7"]
        process = locust(stack, tmp_path, *arguments)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    (line,) = [line for line in output.splitlines() if "ERROR" in line]
    assert "refuses the owners (401)" in line
    assert "region us with seed 7" in line
    assert "Traceback" not in output
    assert not car_maker.journeys


def test_regions_that_nobody_named_are_one_line_and_no_load(tmp_path: Path) -> None:
    with ExitStack() as stack:
        arguments = ["--headless", "--host", "http://127.0.0.1:9"]
        process = locust(stack, tmp_path, *arguments, file="three_regions.py")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    (line,) = [line for line in output.splitlines() if "ERROR" in line]
    assert "--regions (or LAUNCHDAY_REGIONS) is ''; it must be like us=http://" in line
    assert "Traceback" not in output


@pytest.mark.slow
def test_the_web_ui_starts_it_with_other_parameters_and_stops_it(
    tmp_path: Path, service: str
) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    with ExitStack() as stack:
        arguments = ["--host", service, "--web-port", str(port), "--web-host", "127.0.0.1"]
        arguments += ["--launchday-record", str(tmp_path)]
        process = locust(stack, tmp_path, *arguments, *SHORT)
        client = stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=10))
        wait_for(lambda: answers(client))
        form = {"host": service, "baseline_rps": "20", "multiple": "4"}
        assert client.post("/swarm", data=form).json()["success"]
        wait_for(lambda: requests_so_far(client) > 5)
        client.get("/stop")
        wait_for(lambda: state(client) == "stopped")
        again = client.post("/swarm", data={**form, "baseline_rps": "10"}).json()
        assert again["success"]
        wait_for(lambda: state(client) != "stopped")
        wait_for(lambda: state(client) == "stopped")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert "holds a test already; this one is not recorded" in output
    assert f"launchday: {EXPECTED} arrivals:" in output, "the last test ran its own curve"
    record = read_samples(tmp_path)
    assert [schedule.points[0][1] for schedule in record.schedules] == [20.0]
    assert record.complete


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False


def requests_so_far(client: httpx.Client) -> int:
    return int(client.get("/stats/requests").json()["stats"][-1]["num_requests"])


def state(client: httpx.Client) -> str:
    return str(client.get("/stats/requests").json()["state"])
