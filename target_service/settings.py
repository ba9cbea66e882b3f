"""What can be set, by environment variables only, and what is refused at start."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as PydanticSettingsError

from target_service.routes import ROUTES

Port = Annotated[int, Field(ge=0, le=65535)]
Settings = TypeVar("Settings", bound=BaseSettings)


class SettingsError(Exception):
    """A setting is wrong; one line that names it, its value and what is allowed."""


def _database_url(value: Any) -> str:
    """Check the URL, and map the names of drivers that other tools want to plain ones."""
    text = str(value)
    scheme, separator, rest = text.partition("://")
    kind = scheme.partition("+")[0].replace("postgresql", "postgres")
    if kind == "sqlite" and separator:
        if not rest.startswith("/"):
            raise ValueError("must be sqlite:///FILE")
        if rest in ("/", "/:memory:"):
            raise ValueError("must name a file: reservations have to survive the process")
        return f"sqlite://{rest}"
    if kind == "postgres" and separator and _names_a_host(f"postgresql://{rest}"):
        return f"postgresql://{rest}"
    raise ValueError("must be sqlite:///FILE or postgresql://USER@HOST/NAME")


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, e.g. because of a / in the password
        return False


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


def _hook_url(value: Any) -> str:
    text = str(value)
    parts = urlsplit(text)
    try:
        whole = parts.scheme == "http" and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or re.search(r"[^!-~]", text):
        raise ValueError("must be http://HOST:PORT/PATH")
    return text


Positive = Annotated[float, Field(gt=0, le=60)]
Costs = dict[str, Annotated[float, Field(ge=0, le=60)]]
_LOWER = BeforeValidator(lambda value: str(value).lower())
Switch = Annotated[Literal["on", "off"], _LOWER]
Shedding = Annotated[Literal["on", "observe", "off"], _LOWER]
Algorithm = Literal["fixed", "aimd", "vegas", "gradient2", "elastic"]
LARGEST_SHED_LIMIT = 100_000
_KEY_FILES = ("session_key", "admin_token")


class TargetSettings(BaseSettings):
    """The reference backend. Every name is an environment variable with the prefix TARGET_.

    `slots` and the service times make its known capacity, see `work.Work`. `..._by_route` are
    JSON objects by route, e.g. `{"state": 0.02}`; the other routes take the common value.
    `session_key` and `admin_token` may be read from a file: TARGET_ADMIN_TOKEN_FILE. Without a
    session key the database keeps a generated one; without an admin token there is no admin API.
    Port 0 takes a free port and says which.

    `shedding`: "observe" refuses nobody and counts whom it would, "off" decides nothing; an
    administrator can change it while the service runs. `shed_limit` is what a `shed_algorithm`
    that learns begins with. `shed_shared`: the file through which several processes of one
    machine keep one limit together, `shed_limit`. `shed_cgroup`: also refuse when the control
    group (container) nears its limit of CPU or memory; off where load generators share it.
    `client_share`: the part of the capacity that one client may have when there is not enough,
    0 for all; clients are told apart by owner, without a session by the network of their address.
    `streams`: of notifications, whatever `shedding` is, and of status as many.

    `database_pool`: connections to PostgreSQL, all kept open. Little's law says how many are busy:
    operations a second · seconds that one takes (Little, "A Proof for the Queuing Formula
    L = λW", 1961). 16 serve 53 operations a second at 0.3 s each. All processes share what the
    database allows: 6 · 16 of the 97 that max_connections = 100 leaves to services.
    """

    model_config = SettingsConfigDict(
        env_prefix="TARGET_", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    host: str = "127.0.0.1"
    port: Port = 8000
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9100
    region: Literal["us", "eu", "cn"] = "us"
    database_url: Annotated[str, BeforeValidator(_database_url)] = "sqlite:///car.db"
    database_pool: int = Field(default=16, ge=2, le=200)
    database_patience_seconds: Positive = 1.0
    database_wait_seconds: float = Field(default=60.0, ge=0, le=3600)
    gateway_url: Annotated[str, BeforeValidator(_plain_http_url)] = "http://127.0.0.1:8001"
    gateway_patience_seconds: Positive = 0.2
    gateway_timeout_seconds: Positive = 5.0
    command_time_limit_seconds: float = Field(default=10.0, gt=0, le=600)
    commands_in_flight: int = Field(default=500, ge=1, le=100_000)
    slots: int = Field(default=20, ge=1, le=10_000)
    profile: Literal["io_bound", "cpu_bound", "bimodal"] = "io_bound"
    service_mean_seconds: Positive = 0.05
    service_cv: float = Field(default=0.5, ge=0, le=10)
    cpu_seconds: float = Field(default=0.0, ge=0, le=60)
    service_mean_seconds_by_route: Costs = Field(default_factory=dict)
    cpu_seconds_by_route: Costs = Field(default_factory=dict)
    seed: int = 1
    shedding: Shedding = "on"
    shed_algorithm: Algorithm = "fixed"
    shed_limit: int | None = Field(default=None, ge=1, le=LARGEST_SHED_LIMIT)
    shed_shared: Path | None = None
    shed_cgroup: Switch = "on"
    client_share: float = Field(default=0.0, ge=0, le=1)
    fleet_size: int = Field(default=1000, ge=1, le=1_000_000)
    fleet_seed: int = 1
    streams: int = Field(default=1000, ge=0, le=100_000)
    session_key: SecretStr | None = Field(default=None, min_length=32)
    session_seconds: float = Field(default=3600.0, ge=1, le=31_536_000)
    refresh_seconds: float = Field(default=7_776_000.0, ge=1, le=31_536_000)
    admin_token: SecretStr | None = Field(default=None, min_length=16)
    drain_delay_seconds: float = Field(default=0.0, ge=0, le=300)
    drain_seconds: float = Field(default=5.0, ge=0, le=300)
    maintenance_starts_at: AwareDatetime | None = None
    maintenance_ends_at: AwareDatetime | None = None
    announce_url: Annotated[str, BeforeValidator(_hook_url)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_key_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in _KEY_FILES:
            variable = f"TARGET_{name}_FILE".upper()
            path = os.environ.get(variable)
            if path and name not in values:
                try:
                    values[name] = Path(path).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError) as error:
                    reason = getattr(error, "strerror", None) or "it is no text"
                    raise ValueError(f"{variable}: cannot read {path}: {reason}") from None
        return values

    @field_validator("service_mean_seconds_by_route", "cpu_seconds_by_route")
    @classmethod
    def _known_routes(cls, value: Costs) -> Costs:
        unknown = sorted(set(value) - set(ROUTES))
        if unknown:
            raise ValueError(f"no route {', '.join(unknown)}; there are: {', '.join(ROUTES)}")
        return value

    @model_validator(mode="after")
    def _patience_is_shorter(self) -> TargetSettings:
        if self.gateway_patience_seconds >= self.command_time_limit_seconds:
            raise ValueError(
                "TARGET_GATEWAY_PATIENCE_SECONDS must be less than "
                "TARGET_COMMAND_TIME_LIMIT_SECONDS"
            )
        return self

    @model_validator(mode="after")
    def _maintenance_is_a_window(self) -> TargetSettings:
        starts, ends = self.maintenance_starts_at, self.maintenance_ends_at
        if (starts is None) != (ends is None):
            raise ValueError(
                "TARGET_MAINTENANCE_STARTS_AT and TARGET_MAINTENANCE_ENDS_AT belong together: "
                "one of them is missing"
            )
        if starts is not None and ends is not None and ends <= starts:
            raise ValueError(
                f"TARGET_MAINTENANCE_ENDS_AT: {ends.isoformat()} is not allowed: the window must "
                f"end after it begins ({starts.isoformat()})"
            )
        return self

    @model_validator(mode="after")
    def _a_shared_limit_is_given(self) -> TargetSettings:
        if self.shed_shared is not None and self.shed_limit is None:
            raise ValueError(
                "TARGET_SHED_SHARED needs TARGET_SHED_LIMIT: the limit of all processes together, "
                "which the slots of one of them do not tell"
            )
        return self

    @property
    def effective_shed_limit(self) -> int:
        """The limit of the shedder: 1.5 times the slots, at least two more, unless set.

        1.2 times keep the slots busy; the rest is for commands, which hold a permit but no slot
        while they wait for the gateway, and which the shedder refuses last.
        """
        return self.shed_limit or max(math.ceil(1.5 * self.slots), self.slots + 2)


def read(settings: type[Settings]) -> Settings:
    """Read the environment. Raises SettingsError, one line for the first wrong value."""
    prefix = str(settings.model_config["env_prefix"])
    try:
        return settings()
    except PydanticSettingsError as error:
        # A JSON object that is none: the message names the field.
        name = re.findall(r'"(\w+)"', str(error))[:1]
        setting = f"{prefix}{name[0] if name else ''}".upper()
        example = '{"state": 0.02}'
        raise SettingsError(f"{setting}: must be a JSON object like {example}") from None
    except ValidationError as invalid:
        raise SettingsError(_in_words(invalid, prefix)) from None


def _in_words(invalid: ValidationError, prefix: str) -> str:
    error = invalid.errors()[0]
    reason = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return reason
    name = f"{prefix}{error['loc'][0]}".upper()
    inside = f", {error['loc'][1]}" if len(error["loc"]) > 1 else ""
    # A URL may carry a password or a token, a key is a secret: they are not repeated.
    secret = name.endswith(("DATABASE_URL", "ANNOUNCE_URL", "SESSION_KEY", "ADMIN_TOKEN"))
    value = "the value" if secret else repr(os.environ.get(name, error.get("input")))
    return f"{name}: {value} is not allowed{inside}: {reason}"


def unknown_names(settings: type[BaseSettings]) -> list[str]:
    """Environment variables with our prefix that mean nothing: most likely misspelt."""
    prefix = settings.model_config["env_prefix"]
    known = {f"{prefix}{name}".upper() for name in settings.model_fields}
    known |= {f"{prefix}{name}_FILE".upper() for name in _KEY_FILES}
    return sorted(n for n in os.environ if n.upper().startswith(prefix) and n.upper() not in known)
