"""Settings come from the environment; a wrong one is refused by name, value and range."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_service.settings import (
    GatewaySettings,
    SettingsError,
    TargetSettings,
    read,
    unknown_names,
)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("TARGET_", "GATEWAY_")):
            monkeypatch.delenv(name)


def test_the_defaults_have_a_capacity_of_400_rps_and_a_limit_of_24() -> None:
    settings = read(TargetSettings)
    assert settings.capacity_rps == 400
    assert settings.effective_shed_limit == 30
    assert (settings.port, settings.metrics_port, settings.shedding) == (8000, 9100, "on")
    assert read(GatewaySettings).port == 8001


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TARGET_SLOTS", "0", "greater than or equal to 1"),
        ("TARGET_SLOTS", "many", "valid integer"),
        ("TARGET_PORT", "99999", "65535"),
        ("TARGET_SHEDDING", "maybe", "'on' or 'off'"),
        ("TARGET_SERVICE_MEAN_SECONDS", "nan", "finite number"),
        ("TARGET_SERVICE_CV", "-1", "greater than or equal to 0"),
        ("TARGET_DATABASE_POOL", "1", "greater than or equal to 2"),
        ("TARGET_SHED_LIMIT", "0", "greater than or equal to 1"),
        ("TARGET_GATEWAY_URL", "ftp://x", "http://HOST:PORT"),
        ("TARGET_GATEWAY_URL", "http://:1", "http://HOST:PORT"),
        ("TARGET_GATEWAY_URL", "http://x:port", "http://HOST:PORT"),
        ("TARGET_DATABASE_URL", "mysql://u:secret@h/d", "sqlite:/// or postgresql://"),
        ("TARGET_DATABASE_URL", "secret", "sqlite:///FILE"),
        ("TARGET_DATABASE_URL", "sqlite://", "must name a file"),
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
    assert value in line or name == "TARGET_DATABASE_URL"


def test_patience_must_be_shorter_than_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_GATEWAY_PATIENCE_SECONDS", "10")
    with pytest.raises(SettingsError, match="must be less than TARGET_COMMAND_TIME_LIMIT_SECONDS"):
        read(TargetSettings)


@pytest.mark.parametrize(
    ("given_url", "used"),
    [
        ("sqlite:///car.db", "sqlite+aiosqlite:///car.db"),
        ("sqlite+aiosqlite:////data/car.db", "sqlite+aiosqlite:////data/car.db"),
        ("postgresql://car:pw@db:5432/car", "postgresql+asyncpg://car:pw@db:5432/car"),
        ("postgres://car@db/car", "postgresql+asyncpg://car@db/car"),
    ],
)
def test_plain_urls_get_their_async_driver(
    monkeypatch: pytest.MonkeyPatch, given_url: str, used: str
) -> None:
    monkeypatch.setenv("TARGET_DATABASE_URL", given_url)
    assert read(TargetSettings).database_url == used


@given(st.integers(1, 10_000))
def test_the_limit_is_a_fifth_above_the_slots_and_at_least_two(slots: int) -> None:
    limit = TargetSettings(slots=slots).effective_shed_limit
    assert limit >= slots + 2
    assert limit >= 1.5 * slots
    assert limit <= max(1.5 * slots + 1, slots + 2)


def test_unknown_names_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_SLOT", "3")
    monkeypatch.setenv("TARGET_SLOTS", "3")
    assert unknown_names(TargetSettings) == ["TARGET_SLOT"]
