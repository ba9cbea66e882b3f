"""docs/your-own-service.md: its files are run as they stand on the page."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from launchday.chaos.toxiproxy import Toxiproxy
from launchday.record import read_record
from launchday.timeline import whole
from tests.e2e.support import ROOT, environment, launchday, somebody_elses_service

pytestmark = pytest.mark.e2e

SCENARIO, EXPERIMENT = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "your-own-service.md").read_text(), re.DOTALL
)


@contextmanager
def asking(address: str) -> Iterator[None]:
    """What the target does behind our back: it asks its stock service through the link."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.2):
            httpx.get(f"http://{address}/", timeout=10, trust_env=False)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_scenario_and_the_experiment_run_against_a_service_that_knows_nothing_of_us(
    tmp_path: Path,
) -> None:
    (tmp_path / "shop.py").write_text(SCENARIO)
    (tmp_path / "slow_stock.py").write_text(EXPERIMENT)
    embedded = subprocess.Popen(
        [sys.executable, "-m", "launchday.chaos.embedded", "--port", "0"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert embedded.stdout is not None
    url = embedded.stdout.readline().split("listening on ")[1].strip()
    try:
        with somebody_elses_service() as target, somebody_elses_service() as stock:
            toxiproxy = Toxiproxy(url)
            link = toxiproxy.create_proxy("stock", "127.0.0.1:0", stock.removeprefix("http://"))
            with asking(link.listen):
                done = launchday(
                    *("run", str(tmp_path / "shop.py"), "--target", target),
                    *("--experiment", str(tmp_path / "slow_stock.py")),
                    *("--runs", str(tmp_path / "r")),
                    TOXIPROXY_URL=url,
                )
            assert toxiproxy.proxies()["stock"].toxics == ()
            toxiproxy.close()
    finally:
        embedded.terminate()
        embedded.wait()
        embedded.stdout.close()
    # A busy machine may make it inconclusive, and only the generator can be the reason.
    assert done.returncode == 0 or "in time" in done.stdout, done.stdout + done.stderr
    (path,) = (tmp_path / "r").iterdir()
    record = read_record(path)
    events = [f["event"] for f in record.faults]
    assert events == ["planned", "applied", "verified", "used", "undone"]
    assert record.faults[2]["effect"] is True
    assert {key[1] for key in record.cells} == {"look", "order"}
    assert whole(record).goodput > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ('raise KeyError("vin")', "journeys raised an exception, the first: KeyError: 'vin'"),
        (
            'with self.client.get("/products", name="look", catch_response=True) as r:\n'
            '            r.failure("stale")',
            "invalid",
        ),
    ],
)
def test_what_a_scenario_finds_wrong_reaches_the_verdict(
    tmp_path: Path, broken: str, words: str
) -> None:
    source = SCENARIO.replace('self.client.get("/products", name="look")', broken, 1)
    assert source != SCENARIO
    (tmp_path / "shop.py").write_text(source)
    with somebody_elses_service() as target:
        arguments = ["--target", target, "--runs", str(tmp_path / "runs")]
        done = launchday("run", str(tmp_path / "shop.py"), *arguments)
    assert done.returncode in (2, 3)
    assert words in " ".join(done.stdout.split())
