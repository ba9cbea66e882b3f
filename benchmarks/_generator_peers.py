"""The generators that are compared: how each is started, and what it says of its run."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

USERS_FILE = Path(__file__).parent / "_generator_users.py"
FAST, UNRECORDED = "launchday fast", "launchday unrecorded"
_K6_SCRIPT = """
import http from 'k6/http';
export const options = { discardResponseBodies: true, vus: VUS, duration: 'SECONDSs' };
export default function () { http.get('URL'); }
export function handleSummary(data) { return { stdout: JSON.stringify(data.metrics) }; }
"""


@dataclass(frozen=True)
class Job:
    """One run: `connections` that are kept busy for `seconds`; `folder` is free for files."""

    url: str
    connections: int
    seconds: float
    folder: Path

    @property
    def whole_seconds(self) -> int:
        """For generators that take no fractions: never shorter."""
        return -int(-self.seconds // 1)


@dataclass(frozen=True)
class Said:
    """What a generator says of its run: requests that it recorded, and how many of them failed."""

    requests: int
    failures: int


@dataclass(frozen=True)
class Generator:
    """One generator. `binary`: looked for on PATH; `command`: what to run, given the binary.

    `report`: what to run afterwards, where the generator says nothing itself.
    """

    binary: str
    command: Callable[[str, Job], list[str]]
    parse: Callable[[str], Said]
    environment: Mapping[str, str] = field(default_factory=dict)
    report: Callable[[str, Job], list[str]] | None = None


def parse_wrk(words: str) -> Said:
    """`123 requests in 4.00s, 1MB read`; failures are named only where there are some."""
    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", words
    )
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", words)
    failed = sum(map(int, errors.groups())) if errors else 0
    return Said(_number(r"(\d+) requests in", words), failed + (int(bad[1]) if bad else 0))


def parse_hey(words: str) -> Said:
    """Two lists, `[200] 123 responses` and `[5] dial tcp ...`."""
    statuses = [(int(s), int(n)) for s, n in re.findall(r"\[(\d+)\]\s+(\d+) responses", words)]
    _, _, errors = words.partition("Error distribution:")
    failed = sum(int(n) for n in re.findall(r"^\s*\[(\d+)\]", errors, re.MULTILINE))
    if not statuses and not failed:
        raise ValueError(f"no requests in {words!r}")
    answered = sum(count for _, count in statuses)
    return Said(answered + failed, failed + sum(n for status, n in statuses if status >= 400))


def parse_h2load(words: str) -> Said:
    """`requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout`."""
    return Said(_number(r"(\d+) done", words), _number(r"(\d+) failed", words))


def parse_k6(words: str) -> Said:
    """The metrics of its summary as JSON; the rate `http_req_failed` passes when one fails."""
    metrics = json.loads(words)
    failed = metrics["http_req_failed"]["values"]["passes"]
    return Said(metrics["http_reqs"]["values"]["count"], failed)


def parse_autocannon(words: str) -> Said:
    """The JSON of `--json`; its total is of answers."""
    said = json.loads(words)
    return Said(said["requests"]["total"], said["errors"] + said["non2xx"])


def parse_vegeta(words: str) -> Said:
    """The JSON of its report; without an answer the status is 0."""
    said = json.loads(words)
    good = sum(count for status, count in said["status_codes"].items() if 200 <= int(status) < 400)
    return Said(said["requests"], said["requests"] - good)


def parse_locust(words: str) -> Said:
    """The JSON of `--json`: one entry for each name and method."""
    entries = json.loads(words)
    failed = sum(entry["num_failures"] for entry in entries)
    return Said(sum(entry["num_requests"] for entry in entries), failed)


def _number(pattern: str, words: str) -> int:
    found = re.search(pattern, words)
    if not found:
        raise ValueError(f"no {pattern!r} in {words!r}")
    return int(found[1])


def _k6(binary: str, job: Job) -> list[str]:
    script = _K6_SCRIPT.replace("VUS", str(job.connections)).replace("URL", job.url)
    path = job.folder / "closed.js"
    path.write_text(script.replace("SECONDS", f"{job.seconds:g}"))
    return [binary, "run", "--quiet", "--no-usage-report", "--address", "127.0.0.1:0", str(path)]


def _vegeta(binary: str, job: Job) -> list[str]:
    targets = job.folder / "targets"
    targets.write_text(f"GET {job.url}\n")
    workers = str(job.connections)
    return [
        binary, "-cpus", "1", "attack", "-targets", str(targets), "-rate", "0", "-duration",
        f"{job.seconds:g}s", "-workers", workers, "-max-workers", workers, "-output",
        str(job.folder / "results"),
    ]  # fmt: skip


def locust(user: str) -> Generator:
    """Return Locust with one class of `_generator_users.py`."""

    def command(binary: str, job: Job) -> list[str]:
        return [
            binary, "-m", "locust", "-f", str(USERS_FILE), user, "--headless", "--json",
            "--skip-log", "--host", job.url, "-u", str(job.connections), "-r",
            str(job.connections), "-t", f"{job.whole_seconds}s", "--stop-timeout", "0",
        ]  # fmt: skip

    return Generator(sys.executable, command, parse_locust)


def _wrk(binary: str, job: Job) -> list[str]:
    return [binary, "-t1", f"-c{job.connections}", f"-d{job.whole_seconds}s", job.url]


GENERATORS: dict[str, Generator] = {
    "wrk": Generator("wrk", _wrk, parse_wrk),
    "h2load": Generator(
        "h2load",
        lambda binary, job: [
            binary, "--h1", "-t1", f"-c{job.connections}", "-D", str(job.whole_seconds), job.url
        ],
        parse_h2load,
    ),
    "autocannon": Generator(
        "autocannon",
        lambda binary, job: [
            binary, "-c", str(job.connections), "-d", str(job.whole_seconds), "--json",
            "--no-progress", job.url,
        ],
        parse_autocannon,
    ),
    "hey": Generator(
        "hey",
        lambda binary, job: [
            binary, "-cpus", "1", "-c", str(job.connections), "-z", f"{job.seconds:g}s", job.url
        ],
        parse_hey,
    ),
    "k6": Generator("k6", _k6, parse_k6, {"GOMAXPROCS": "1"}),
    "vegeta": Generator(
        "vegeta",
        _vegeta,
        parse_vegeta,
        {"GOMAXPROCS": "1"},
        lambda binary, job: [binary, "report", "-type", "json", str(job.folder / "results")],
    ),
    "HttpUser": locust("PlainHttp"),
    "FastHttpUser": locust("PlainFast"),
    "launchday task": locust("TaskPerRequest"),
    "launchday events": locust("EveryEvent"),
    FAST: locust("FastPath"),
    UNRECORDED: locust("Unrecorded"),
}  # fmt: skip


def find(name: str, named: Mapping[str, str]) -> str | None:
    """Return the binary of a generator, where `named` says or on PATH; None: not there."""
    return shutil.which(named.get(name, GENERATORS[name].binary))
