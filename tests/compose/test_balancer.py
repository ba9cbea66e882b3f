"""What deploy/haproxy.cfg says, and what HAProxy says of it where there is one."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from launchday.metric_names import ALL
from target_service.serve import KEEP_ALIVE_SECONDS
from target_service.settings import TargetSettings
from target_service.streams import HEARTBEAT_SECONDS
from target_service.unavailable import Cause

ROOT = Path(__file__).resolve().parents[2]
CONFIG = (ROOT / "deploy/haproxy.cfg").read_text(encoding="utf-8")
BALANCER: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][
    "balancer"
]
ERRORS = dict(
    re.findall(
        r"http-error status (\d+) content-type application/problem\+json (.+)$", CONFIG, re.M
    )
)


def seconds(name: str) -> float:
    (found,) = re.findall(rf"^  timeout {name} (\d+)s$", CONFIG, re.M)
    return float(found)


def test_a_request_that_a_replica_may_have_got_is_never_sent_again() -> None:
    assert re.findall(r"retry-on (.+)", CONFIG) == ["conn-failure"]
    assert re.findall(r"^  retries (\d+)", CONFIG, re.M) == ["1"]


def test_who_refuses_quickly_does_not_attract_the_load() -> None:
    assert re.findall(r"^  balance (\w+)", CONFIG, re.M) == ["roundrobin"]


def test_requests_go_to_whoever_lives_when_nobody_is_ready() -> None:
    assert "use_backend living if { nbsrv(ready) eq 0 }" in CONFIG
    ready, living = re.findall(r"meth GET uri (\S+)", CONFIG)
    assert (ready, living) == ("/readyz", "/healthz")


def test_as_many_replicas_are_found_in_either_backend() -> None:
    found = re.findall(r"server-template target (\d+) target:8000 .*resolvers docker", CONFIG)
    assert len(found) == 2
    assert len(set(found)) == 1


def test_timeouts_outlast_what_takes_its_time_and_kept_connections_live_as_long_as_behind() -> None:
    limit = TargetSettings.model_fields["command_time_limit_seconds"].default
    assert min(seconds("server"), seconds("client")) > max(HEARTBEAT_SECONDS, limit)
    assert seconds("http-keep-alive") == KEEP_ALIVE_SECONDS
    assert seconds("connect") <= 2


def test_a_stopping_replica_is_left_out_before_it_closes() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    delay = float(compose["target"]["environment"]["TARGET_DRAIN_DELAY_SECONDS"])
    every, falls = re.findall(r"uri /readyz(?:.|\n)*?inter (\d+)s .*fall (\d+)", CONFIG)[0]
    assert delay >= int(every) * int(falls)


@pytest.mark.parametrize("status", ["502", "503", "504"])
def test_what_the_balancer_answers_itself_is_a_problem_in_words(status: str) -> None:
    (body,) = re.findall(r"string '(.+?)'", ERRORS[status])
    problem = json.loads(body)
    assert problem["status"] == int(status)
    assert problem["type"] == f"urn:launchday:problem:{problem['reason']}"
    assert problem["title"]
    assert "hdr cache-control no-store" in ERRORS[status]


def test_its_503_says_when_to_come_back_and_a_cause_that_clients_know() -> None:
    headers = dict(re.findall(r"hdr (\S+) (\S+)", ERRORS["503"]))
    assert int(headers["retry-after"]) >= 1
    assert headers["unavailable-cause"] in {cause.value for cause in Cause}


def test_it_has_the_files_for_its_connections() -> None:
    (most,) = re.findall(r"maxconn (\d+)", CONFIG)
    assert 2 * int(most) + 500 <= BALANCER["ulimits"]["nofile"]


def test_its_metrics_are_its_own_and_take_no_name_of_ours() -> None:
    assert "use-service prometheus-exporter if { path /metrics }" in CONFIG
    assert not any(metric.name.startswith("haproxy_") for metric in ALL)
    assert not any(port.endswith(":8404") for port in BALANCER["ports"])


@pytest.mark.skipif(not shutil.which("haproxy"), reason="HAProxy is not installed here")
def test_haproxy_reads_it_without_a_warning() -> None:
    done = subprocess.run(
        ["haproxy", "-c", "-f", str(ROOT / "deploy/haproxy.cfg")],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
