from __future__ import annotations

import socket
from pathlib import Path

import pytest

from launchday.errors import PreflightError
from launchday.runs.preflight import check_answers, check_metrics, check_ownership, find_scenario


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:8000",
        "http://localhost:8000",
        "http://[::1]:8000",
        "http://10.1.2.3",
        "http://192.168.0.9:80/api",
        "http://172.31.0.1",
        "http://[fd00::1]:8000",
        "http://[::ffff:10.0.0.1]:8000",
    ],
)
def test_loopback_and_private_targets_are_allowed(target: str) -> None:
    check_ownership(target, ())


@pytest.mark.parametrize(
    "target",
    ["http://8.8.8.8", "http://172.32.0.1", "http://[2001:4860::1]", "http://[::ffff:8.8.8.8]:80"],
)
def test_any_other_target_is_refused_unless_it_is_declared(target: str) -> None:
    with pytest.raises(PreflightError, match=r"neither loopback nor private.*\[target\] yours"):
        check_ownership(target, ())


def test_a_declared_target_is_allowed() -> None:
    check_ownership("https://staging.example.com", ("staging.example.com",))
    check_ownership("http://8.8.8.8", ("8.8.8.8",))


@pytest.mark.parametrize(
    "target", ["localhost:8000", "ftp://127.0.0.1", "", "http://", "http://[::1", "http://x:99999"]
)
def test_a_target_that_is_no_url_is_refused(target: str) -> None:
    with pytest.raises(PreflightError, match="is no URL"):
        check_ownership(target, ())


def test_a_name_that_does_not_resolve_is_refused() -> None:
    with pytest.raises(PreflightError, match="does not resolve"):
        check_ownership("http://no-such-host.invalid", ())


def test_a_target_that_is_not_up_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(PreflightError, match="does not answer"):
        check_answers(f"http://127.0.0.1:{port}", "/healthz")


def test_a_health_path_without_a_slash_is_refused() -> None:
    with pytest.raises(PreflightError, match=r"health_path is 'healthz'"):
        check_answers("http://127.0.0.1:1", "healthz")


def test_metrics_that_cannot_be_read_are_refused() -> None:
    check_metrics(None)
    for url in ("foo", "http://127.0.0.1:1/metrics"):
        with pytest.raises(PreflightError, match="cannot be read"):
            check_metrics(url)


def test_a_label_that_no_name_may_have_is_refused() -> None:
    with pytest.raises(PreflightError, match="does not resolve"):
        check_ownership(f"http://{'a' * 70}.example", ())


def test_an_unknown_scenario_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "launch_day.py").write_text("")
    (tmp_path / "_helper.py").write_text("")
    with pytest.raises(PreflightError, match=r"'lunch_day'; known are: launch_day$"):
        find_scenario("lunch_day", tmp_path)
    assert find_scenario("launch_day", tmp_path).name == "launch_day.py"
