"""Settings come from the environment; a wrong one is refused by name, value and range."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_service.routes import ROUTES
from target_service.settings import SettingsError, TargetSettings, read, unknown_names
from target_service.work import Work

SECRET = ("TARGET_DATABASE_URL", "TARGET_ADMIN_TOKEN", "TARGET_SESSION_KEY")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("TARGET_", "GATEWAY_")):
            monkeypatch.delenv(name)


def test_the_defaults_have_a_capacity_of_400_rps_and_a_limit_of_30() -> None:
    settings = read(TargetSettings)
    assert Work(settings).capacity_rps == 400
    assert settings.effective_shed_limit == 30
    assert (settings.port, settings.metrics_port, settings.shedding) == (8000, 9100, "on")
    assert settings.admin_token is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TARGET_SLOTS", "0", "greater than or equal to 1"),
        ("TARGET_SLOTS", "many", "valid integer"),
        ("TARGET_PORT", "99999", "65535"),
        ("TARGET_SHEDDING", "maybe", "'on', 'observe' or 'off'"),
        ("TARGET_SERVICE_MEAN_SECONDS", "nan", "finite number"),
        ("TARGET_SERVICE_CV", "-1", "greater than or equal to 0"),
        ("TARGET_DATABASE_POOL", "1", "greater than or equal to 2"),
        ("TARGET_SHED_LIMIT", "0", "greater than or equal to 1"),
        ("TARGET_GATEWAY_URL", "ftp://x", "http://HOST:PORT"),
        ("TARGET_GATEWAY_URL", "http://:1", "http://HOST:PORT"),
        ("TARGET_GATEWAY_URL", "http://x:port", "http://HOST:PORT"),
        ("TARGET_DATABASE_URL", "mysql://u:secret@h/d", "sqlite:///FILE or postgresql://"),
        ("TARGET_DATABASE_URL", "secret", "sqlite:///FILE"),
        ("TARGET_DATABASE_URL", "sqlite://", "must be sqlite:///FILE"),
        ("TARGET_DATABASE_URL", "sqlite:///", "must name a file"),
        ("TARGET_DATABASE_URL", "sqlite:///:memory:", "must name a file"),
        ("TARGET_DATABASE_URL", "postgresql://", "postgresql://USER@HOST/NAME"),
        (
            "TARGET_SHED_ALGORITHM",
            "magic",
            "'fixed', 'aimd', 'vegas', 'gradient2' or 'elastic'",
        ),
        ("TARGET_SHED_CGROUP", "some", "'on' or 'off'"),
        ("TARGET_CLIENT_SHARE", "1.5", "less than or equal to 1"),
        ("TARGET_CLIENT_SHARE", "-0.1", "greater than or equal to 0"),
        ("TARGET_CLIENT_SHARE", "nan", "finite number"),
        ("TARGET_REGION", "mars", "'us', 'eu' or 'cn'"),
        ("TARGET_PROFILE", "lazy", "'io_bound', 'cpu_bound' or 'bimodal'"),
        ("TARGET_CPU_SECONDS_BY_ROUTE", '{"nothing": 1}', "no route nothing; there are: sign_in,"),
        ("TARGET_CPU_SECONDS_BY_ROUTE", '{"state": -1}', "greater than or equal to 0"),
        ("TARGET_CPU_SECONDS_BY_ROUTE", "secret", "must be a JSON object like"),
        ("TARGET_SESSION_KEY", "short", "at least 32"),
        ("TARGET_ADMIN_TOKEN", "secret", "at least 16"),
        ("TARGET_MAINTENANCE_STARTS_AT", "tomorrow", "datetime"),
        ("TARGET_MAINTENANCE_STARTS_AT", "2026-11-21T10:00:00", "timezone"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        read(TargetSettings)
    line = str(refused.value)
    assert line.startswith(f"{name}: ")
    assert words in line
    assert "\n" not in line
    assert "secret" not in line
    assert value in line or name.endswith(("DATABASE_URL", "KEY", "TOKEN", "BY_ROUTE"))


def test_patience_must_be_shorter_than_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_GATEWAY_PATIENCE_SECONDS", "10")
    with pytest.raises(SettingsError, match="must be less than TARGET_COMMAND_TIME_LIMIT_SECONDS"):
        read(TargetSettings)


def test_a_shared_limit_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_SHED_SHARED", "/dev/shm/limit")
    with pytest.raises(SettingsError, match="TARGET_SHED_SHARED needs TARGET_SHED_LIMIT"):
        read(TargetSettings)
    monkeypatch.setenv("TARGET_SHED_LIMIT", "40")
    assert read(TargetSettings).effective_shed_limit == 40


def test_a_maintenance_window_needs_both_ends_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_MAINTENANCE_STARTS_AT", "2026-11-21T10:00:00+01:00")
    with pytest.raises(SettingsError, match="MAINTENANCE_ENDS_AT belong together"):
        read(TargetSettings)
    monkeypatch.setenv("TARGET_MAINTENANCE_ENDS_AT", "2026-11-21T09:00:00Z")
    with pytest.raises(SettingsError, match=r"ENDS_AT: .* must end after it begins"):
        read(TargetSettings)
    monkeypatch.setenv("TARGET_MAINTENANCE_ENDS_AT", "2026-11-21T09:05:00Z")
    assert read(TargetSettings).maintenance_ends_at is not None


def test_keys_may_come_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a-token-of-the-admin\n")
    monkeypatch.setenv("TARGET_ADMIN_TOKEN_FILE", str(file))
    settings = read(TargetSettings)
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == "a-token-of-the-admin"
    assert "a-token" not in repr(settings)
    assert unknown_names(TargetSettings) == []
    monkeypatch.setenv("TARGET_ADMIN_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"TOKEN_FILE: cannot read .*none: No such"):
        read(TargetSettings)


@pytest.mark.parametrize(
    ("starts", "ends", "words"),
    [
        ("2026-11-21T06:00:00Z", "2026-11-21T05:00:00Z", "must end after it begins"),
        ("2026-11-21T06:00:00Z", "2026-11-21T06:00:00Z", "must end after it begins"),
        ("2026-11-21T06:00:00Z", None, "belong together"),
    ],
)
def test_a_maintenance_window_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, starts: str, ends: str | None, words: str
) -> None:
    monkeypatch.setenv("TARGET_MAINTENANCE_STARTS_AT", starts)
    if ends:
        monkeypatch.setenv("TARGET_MAINTENANCE_ENDS_AT", ends)
    with pytest.raises(SettingsError, match=words) as refused:
        read(TargetSettings)
    assert "TARGET_MAINTENANCE_ENDS_AT" in str(refused.value)


def test_costs_that_are_no_json_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_CPU_SECONDS_BY_ROUTE", "state=1")
    with pytest.raises(SettingsError, match="TARGET_CPU_SECONDS_BY_ROUTE: must be a JSON object"):
        read(TargetSettings)


def test_costs_of_a_route_replace_the_common_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_SERVICE_MEAN_SECONDS_BY_ROUTE", '{"state": 0.5}')
    costs = Work(read(TargetSettings)).service_seconds
    assert costs == {**dict.fromkeys(ROUTES, 0.05), "state": 0.5}


def test_a_secret_comes_from_a_file_and_the_variable_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("a token out of a file\n")
    monkeypatch.setenv("TARGET_ADMIN_TOKEN_FILE", str(file))
    token = read(TargetSettings).admin_token
    assert token is not None
    assert token.get_secret_value() == "a token out of a file"
    monkeypatch.setenv("TARGET_ADMIN_TOKEN", "a token out of a variable")
    token = read(TargetSettings).admin_token
    assert token is not None
    assert token.get_secret_value() == "a token out of a variable"
    assert unknown_names(TargetSettings) == []


def test_a_secret_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_SESSION_KEY_FILE", "/no/such/key")
    with pytest.raises(SettingsError, match="TARGET_SESSION_KEY_FILE: cannot read /no/such/key"):
        read(TargetSettings)


@pytest.mark.parametrize(
    ("given_url", "used"),
    [
        ("sqlite:///car.db", "sqlite:///car.db"),
        ("sqlite+aiosqlite:////data/car.db", "sqlite:////data/car.db"),
        ("postgresql+asyncpg://car:pw@db:5432/car", "postgresql://car:pw@db:5432/car"),
        ("postgres://car@db/car", "postgresql://car@db/car"),
    ],
)
def test_urls_with_the_driver_that_another_tool_wants_are_taken(
    monkeypatch: pytest.MonkeyPatch, given_url: str, used: str
) -> None:
    monkeypatch.setenv("TARGET_DATABASE_URL", given_url)
    assert read(TargetSettings).database_url == used


@given(st.integers(1, 10_000))
def test_the_limit_is_half_above_the_slots_and_at_least_two(slots: int) -> None:
    limit = TargetSettings(slots=slots).effective_shed_limit
    assert limit >= slots + 2
    assert limit >= 1.5 * slots
    assert limit <= max(1.5 * slots + 1, slots + 2)


def test_unknown_names_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_SLOT", "3")
    monkeypatch.setenv("TARGET_SLOTS", "3")
    assert unknown_names(TargetSettings) == ["TARGET_SLOT"]
