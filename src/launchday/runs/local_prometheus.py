"""A Prometheus of the local stack's own, when it is on PATH: started, and its data thrown away."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

from launchday.errors import PreflightError
from launchday.metric_names import SHED_REQUESTS
from launchday.runs.processes import Processes
from launchday.runs.stack import answers
from launchday.runs.stop import Stop

DASHBOARDS = "dashboards"
_JOBS_BEGIN = "scrape_configs:"
# A surge is minutes; a stack that is forgotten overnight must not fill the disk.
_MOST_DATA = "512MB"
_QUERY = f'sum by (outcome) (rate({SHED_REQUESTS.name}{{outcome!="exempt"}}[5s]))'


def found() -> str | None:
    """The path of the program, None if it is not on PATH."""
    return shutil.which("prometheus")


def start(
    program: str,
    processes: Processes,
    root: Path,
    folder: Path,
    port: int,
    jobs: Mapping[str, Sequence[str]],
    stop: Stop,
) -> str:
    """Start it on 127.0.0.1 with its files in `folder`, wait until it is ready; its URL.

    Raises:
        PreflightError: it did not start, or the checkout has no settings for it.
    """
    folder.mkdir()
    address = f"127.0.0.1:{port}"
    file = folder / "prometheus.yml"
    try:
        settings = (root / DASHBOARDS / "prometheus.yml").read_text(encoding="utf-8")
        # Beside the file, as in the checkout: its path to the rules stays right.
        shutil.copytree(root / DASHBOARDS / "rules", folder / "rules")
    except OSError as error:
        raise PreflightError(f"no settings for Prometheus: {error}") from error
    file.write_text(configuration(settings, {**jobs, "prometheus": [address]}), encoding="utf-8")
    options = {
        "config.file": file,
        "storage.tsdb.path": folder / "data",
        "storage.tsdb.retention.size": _MOST_DATA,
        "web.listen-address": address,
        "log.level": "warn",
    }
    command = [program, *(f"--{name}={value}" for name, value in options.items())]
    child = processes.start("prometheus", command, env=os.environ)
    processes.wait_until(child, lambda: answers(f"http://{address}/-/ready"), stop)
    return f"http://{address}"


def configuration(settings: str, jobs: Mapping[str, Sequence[str]]) -> str:
    """The stack's prometheus.yml with the same intervals and rules, and these jobs for its own."""
    common, _, _ = settings.partition(_JOBS_BEGIN)
    scraped = [
        {"job_name": job, "static_configs": [{"targets": list(targets)}]}
        for job, targets in jobs.items()
    ]
    # JSON is YAML.
    return f"{common}{_JOBS_BEGIN} {json.dumps(scraped)}\n"


def useful_query(url: str) -> str:
    """A link to a graph: what the shedder admitted and refused, every second of five minutes."""
    query = {"g0.expr": _QUERY, "g0.tab": "0", "g0.range_input": "5m", "g0.step_input": "1"}
    return f"{url}/graph?{urlencode(query)}"
