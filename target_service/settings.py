"""What can be set, by environment variables only, and what is refused at start."""

from __future__ import annotations

import math
import os
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}

Port = Annotated[int, Field(ge=0, le=65535)]
Settings = TypeVar("Settings", bound=BaseSettings)


class SettingsError(Exception):
    """A setting is wrong; one line that names it, its value and what is allowed."""


def _database_url(value: Any) -> str:
    """Map plain URLs to their async drivers."""
    try:
        url = make_url(str(value))
    except ArgumentError:
        raise ValueError("must be sqlite:///FILE or postgresql://USER@HOST/NAME") from None
    if url.drivername not in DRIVERS:
        raise ValueError("must begin with sqlite:/// or postgresql://")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError("must name a file: reservations have to survive the process")
    return url.set(drivername=DRIVERS[url.drivername]).render_as_string(hide_password=False)


def _plain_http_url(value: Any) -> str:
    text = str(value).rstrip("/")
    parts = urlsplit(text)
    try:
        whole = parts.scheme == "http" and parts.hostname and not parts.path and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise ValueError("must be http://HOST:PORT")
    return text


class TargetSettings(BaseSettings):
    """The reference backend. Every name is an environment variable with the prefix TARGET_.

    `slots` and `service_mean_seconds` make its known capacity: slots / mean, in requests per
    second. Port 0 takes a free port and says which.
    """

    model_config = SettingsConfigDict(env_prefix="TARGET_", frozen=True, allow_inf_nan=False)

    host: str = "127.0.0.1"
    port: Port = 8000
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9100
    database_url: Annotated[str, BeforeValidator(_database_url)] = "sqlite+aiosqlite:///car.db"
    database_pool: int = Field(default=10, ge=2, le=200)
    database_patience_seconds: float = Field(default=1.0, gt=0, le=60)
    gateway_url: Annotated[str, BeforeValidator(_plain_http_url)] = "http://127.0.0.1:8001"
    gateway_patience_seconds: float = Field(default=0.2, gt=0, le=60)
    command_time_limit_seconds: float = Field(default=10.0, gt=0, le=600)
    commands_in_flight: int = Field(default=500, ge=1, le=100_000)
    slots: int = Field(default=20, ge=1, le=10_000)
    service_mean_seconds: float = Field(default=0.05, gt=0, le=60)
    service_cv: float = Field(default=0.5, ge=0, le=10)
    seed: int = 1
    shedding: Annotated[Literal["on", "off"], BeforeValidator(lambda v: str(v).lower())] = "on"
    shed_limit: int | None = Field(default=None, ge=1, le=100_000)
    fleet_size: int = Field(default=1000, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _patience_is_shorter(self) -> TargetSettings:
        if self.gateway_patience_seconds >= self.command_time_limit_seconds:
            raise ValueError(
                "TARGET_GATEWAY_PATIENCE_SECONDS must be less than "
                "TARGET_COMMAND_TIME_LIMIT_SECONDS"
            )
        return self

    @property
    def capacity_rps(self) -> float:
        """Requests per second that the slots can serve."""
        return self.slots / self.service_mean_seconds

    @property
    def effective_shed_limit(self) -> int:
        """The limit of the shedder: 1.5 times the slots, at least two more, unless set.

        1.2 times keep the slots busy; the rest is for commands, which hold a permit but no slot
        while they wait for the gateway (0.2 s, four times the mean service, for one in eleven).
        """
        return self.shed_limit or max(math.ceil(1.5 * self.slots), self.slots + 2)


class GatewaySettings(BaseSettings):
    """The vehicle gateway. Every name is an environment variable with the prefix GATEWAY_."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, allow_inf_nan=False)

    host: str = "127.0.0.1"
    port: Port = 8001
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9101
    latency_seconds: float = Field(default=0.01, ge=0, le=60)


def read(settings: type[Settings]) -> Settings:
    """Read the environment. Raises SettingsError, one line for the first wrong value."""
    try:
        return settings()
    except ValidationError as invalid:
        error = invalid.errors()[0]
        reason = error["msg"].removeprefix("Value error, ")
        if not error["loc"]:
            raise SettingsError(reason) from None
        name = f"{settings.model_config['env_prefix']}{error['loc'][0]}".upper()
        # A database URL may carry a password: it is not repeated.
        value = "the value" if name.endswith("DATABASE_URL") else repr(error["input"])
        raise SettingsError(f"{name}: {value} is not allowed: {reason}") from None


def unknown_names(settings: type[BaseSettings]) -> list[str]:
    """Environment variables with our prefix that mean nothing: most likely misspelt."""
    prefix = settings.model_config["env_prefix"]
    known = {f"{prefix}{name}".upper() for name in settings.model_fields}
    return sorted(n for n in os.environ if n.upper().startswith(prefix) and n.upper() not in known)
