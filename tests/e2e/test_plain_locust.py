"""The scenario under plain `locust`, without launchday around it: alone, web UI, master/worker."""

from __future__ import annotations

import json
import re
import signal
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
from tests.ports import free_port

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


BROKEN_USER = """
from locust import task
from launchday.load import RateCurve
from launchday.load.locust_user import ArrivalUser, SurgeShape
class Shape(SurgeShape):
    def curve(self, options):
        return RateCurve(((0.0, 5.0), (3.0, 5.0)))
class Broken(ArrivalUser):
    def __init__(self, environment):
        super().__init__(environment)
        raise KeyError("no token")
    @task
    def ask(self):
        self.client.get("/")
"""


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


def test_requests_that_fail_are_an_exit_code_as_in_any_locust_test(tmp_path: Path) -> None:
    scenario = tmp_path / "dead.py"
    scenario.write_text(BROKEN_USER.replace('raise KeyError("no token")', "pass"))
    dead = ["--headless", f"--host=http://127.0.0.1:{free_port()}", "--arrivals=even"]
    for more, code in ([], 1), (["--exit-code-on-error=0"], 0):
        with ExitStack() as stack:
            process = locust(stack, tmp_path, *dead, *more, file=str(scenario))
            output, _ = process.communicate(timeout=60)
        assert process.returncode == code, output
        assert "15 arrivals: 15 started" in output


def test_a_master_that_waits_for_workers_can_be_asked_to_end(tmp_path: Path) -> None:
    with ExitStack() as stack:
        bind = ["--master", "--expect-workers=2", "--master-bind-port", str(free_port())]
        process = locust(stack, tmp_path, "--headless", "--host=http://127.0.0.1:9", *bind)
        assert process.stdout
        while "Waiting for workers" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 128 + signal.SIGTERM, output


@pytest.mark.parametrize("workers", [0, 2])
def test_a_scenario_whose_users_cannot_be_made_ends_with_the_reason(
    tmp_path: Path, workers: int
) -> None:
    port = str(free_port())
    ports = ["--master-bind-host=127.0.0.1", "--master-bind-port", port, "--master-port", port]
    processes = [f"--processes={workers}", *ports] if workers else []
    scenario = tmp_path / "broken.py"
    scenario.write_text(BROKEN_USER)
    with ExitStack() as stack:
        host = "--host=http://127.0.0.1:9"
        process = locust(stack, tmp_path, "--headless", host, *processes, file=str(scenario))
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert "a user could not be made: KeyError: 'no token'" in output


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
        assert client.post("/stop").json()["success"]
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


@pytest.mark.slow
def test_a_worker_that_comes_in_the_middle_plays_owners_who_are_signed_in(
    tmp_path: Path, car_maker: CarMaker
) -> None:
    port = str(free_port())
    long = [*SHORT, "--peak-seconds=12", "--owners=6"]
    with ExitStack() as stack:
        common = ["--host", car_maker.url, "--launchday-record", str(tmp_path), *long]
        bind = ["--master", "--headless", "--expect-workers", "1", "--master-bind-port", port]
        master = locust(stack, tmp_path, *common, *bind)
        there = ["--worker", "--master-port", port, "--master-host", "127.0.0.1"]
        workers = [locust(stack, tmp_path, *there)]
        wait_for(lambda: read_samples(tmp_path).schedules)
        workers.append(locust(stack, tmp_path, *there))
        output, _ = master.communicate(timeout=120)
        for worker in workers:
            worker.communicate(timeout=60)
    assert master.returncode == 0, output
    assert len(read_samples(tmp_path).schedules) == 2, "it came in time to take part"
    assert car_maker.signed_in.total() == 6, "nobody had to sign in as part of the load"
