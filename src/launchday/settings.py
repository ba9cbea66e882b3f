"""The one settings file of the harness, launchday.toml: flag > environment > file > default."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableVariable

from launchday.chaos.faults import checked_name
from launchday.chaos.links import checked_address
from launchday.errors import SettingsError

SETTINGS_FILE = Path("launchday.toml")
Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TargetSettings(_Table):
    """The service under test."""

    url: str | None = None
    """Where it answers, for example http://127.0.0.1:8000."""
    metrics_url: str | None = None
    """Its Prometheus metrics, if it has any."""
    health_path: str = "/healthz"
    """Asked once before the run; any answer below 500 will do."""
    yours: tuple[str, ...] = ()
    """Host names beyond loopback and private networks that you may load-test because they are
    yours."""
    admin_token: SecretStr | None = None
    """Opens its /admin/ledger after a run, for the audit. Better in the environment than here."""

    @field_validator("admin_token", mode="before")
    @classmethod
    def _one_word(cls, value: object) -> object:
        # As it goes into a header. The sentence must not show it.
        if isinstance(value, str) and re.fullmatch(r"[!-~]+", value):
            return value
        raise ValueError("it must be one word of printable ASCII (it is not shown here)")


class RulesSettings(_Table):
    """What must hold; see launchday.record.Rules."""

    objective_seconds: Positive = 0.5
    capacity_rps: Positive | None = None
    goodput_share: Share = 0.9
    recovery_seconds: Positive = 10.0
    kept_share: Share = 0.98
    steady_share: Share = 0.99
    lateness_p99_seconds: Positive = 0.01
    late_seconds_share: Annotated[float, Field(ge=0, le=1)] = 0.25
    unstarted_share: Annotated[float, Field(ge=0, le=1)] = 0.001


class RunSettings(_Table):
    """How runs are made and where their records go."""

    directory: Path = Path("runs")
    seed: int = 1
    request_timeout_seconds: Positive = 1.0
    late_after_seconds: Positive = 0.01
    toxiproxy_url: str | None = None
    """Also TOXIPROXY_URL in the environment; without it local runs start their own."""
    lease_seconds: Positive = 10.0
    """Faults are undone when the conductor is killed, or hangs for so long."""
    metrics_port: Port | None = None
    """The conductor answers /metrics there for Prometheus: which faults are in."""
    metrics_host: str = "127.0.0.1"


class LocalSettings(_Table):
    """The reference backend that `--local` starts; port 0 is any free one.

    `launchday demo` has its own slots and limit, so that its picture fits two cores.
    """

    target_port: Port = 0
    gateway_port: Port = 0
    slots: Annotated[int, Field(ge=1, le=10_000)] = 20
    profile: Literal["io_bound", "cpu_bound", "bimodal"] = "io_bound"
    service_mean_seconds: Positive = 0.05
    service_cv: Annotated[float, Field(ge=0, le=10)] = 0.5
    shed_limit: Annotated[int, Field(ge=1)] | None = None
    database_url: str | None = None
    """SQLite in the run directory if not given."""
    regions: tuple[Literal["us", "eu", "cn"], ...] = ()
    """A stack for each, as the scenario three_regions needs them."""


class LinkSettings(_Table):
    """One link through Toxiproxy; `launchday proxies apply` makes it so. Both are `host:port`."""

    listen: str
    """Where clients of the link connect to."""
    upstream: str
    """Where Toxiproxy connects to for them."""

    @field_validator("listen", "upstream")
    @classmethod
    def _address(cls, value: str, info: ValidationInfo) -> str:
        return checked_address(str(info.field_name), value)


class Settings(BaseSettings):
    """Everything that launchday.toml may say. Unknown keys are refused."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="LAUNCHDAY_", env_nested_delimiter="__"
    )

    target: TargetSettings = TargetSettings()
    rules: RulesSettings = RulesSettings()
    run: RunSettings = RunSettings()
    local: LocalSettings = LocalSettings()
    links: dict[str, LinkSettings] = {}
    scenario: dict[str, dict[str, float | int | str]] = {}

    @field_validator("links")
    @classmethod
    def _names(cls, links: dict[str, LinkSettings]) -> dict[str, LinkSettings]:
        for name in links:
            checked_name("the name of a link", name)
        return links

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags (init) before the environment before the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, SETTINGS_FILE)


def load_settings(**flags: Any) -> Settings:
    """Read launchday.toml in the working directory, the environment and `flags`.

    Raises:
        SettingsError: one sentence naming the setting, the value and what is allowed.
    """
    try:
        return Settings(**flags)
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{SETTINGS_FILE} is no valid TOML: {error}") from error
    except UnreadableVariable as error:
        raise SettingsError(f"in the environment (LAUNCHDAY_…): {error}") from error


def _sentence(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = [str(part) for part in problem["loc"]]
    name = ".".join(where)
    source = f"{SETTINGS_FILE} (or LAUNCHDAY_{'__'.join(where).upper()})"
    if problem["type"] == "extra_forbidden":
        known = _known_keys(where[:-1])
        close = difflib.get_close_matches(where[-1], known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}"
        return f"unknown setting {name} in {SETTINGS_FILE} or the environment; {hint}"
    if problem["type"] == "missing":
        return f"setting {name} is missing in {source}"
    if problem["type"].startswith("value_error"):
        return f"{name}: {problem['msg']}"
    return f"setting {name} in {source} is {problem['input']!r}: {problem['msg'].lower()}"


def _known_keys(table: list[str]) -> list[str]:
    model: Any = Settings
    for part in table:
        if get_origin(model) is dict:  # a table of tables, whose names are free
            model = get_args(model)[1]
        else:
            model = model.model_fields[part].annotation
    return list(model.model_fields)


def toxiproxy_url(settings: Settings) -> str | None:
    """The Toxiproxy to use, or None: TOXIPROXY_URL of the environment before the file.

    Raises:
        SettingsError: it is no HTTP URL.
    """
    from_environment = os.environ.get("TOXIPROXY_URL")
    url = from_environment or settings.run.toxiproxy_url
    if url and not re.match(r"https?://[^/\s]", url):
        source = "TOXIPROXY_URL" if from_environment else "run.toxiproxy_url"
        raise SettingsError(f"{source} is {url!r}; it must begin with http:// or https://")
    return url
