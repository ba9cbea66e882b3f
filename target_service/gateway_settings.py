"""What can be set of the vehicle gateway and its cars, and what is refused at start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from target_service.settings import Port

Seconds = Annotated[float, Field(ge=0, le=3600)]
Share = Annotated[float, Field(ge=0, le=1)]


class GatewaySettings(BaseSettings):
    """The vehicle gateway. Every name is an environment variable with the prefix GATEWAY_.

    `sleeping_share` and `offline_share` are shares of the cars; `late_share` and `failure_share`
    are shares of the commands. `journal`: the file in which the cars' memory survives the
    process; without one it lives in memory only. What the other settings do to a car says `Cars`.
    Port 0 takes a free port and says which.
    """

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, allow_inf_nan=False)

    host: str = "127.0.0.1"
    port: Port = 8001
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9101
    journal: Path | None = None
    latency_seconds: float = Field(default=0.01, ge=0, le=60)
    latency_cv: float = Field(default=0.0, ge=0, le=10)
    sleeping_share: Share = 0.0
    wake_seconds: Seconds = 3.0
    awake_seconds: Seconds = 600.0
    offline_share: Share = 0.0
    offline_seconds: float = Field(default=30.0, gt=0, le=3600)
    late_share: Share = 0.0
    late_seconds: Seconds = 2.0
    failure_share: Share = 0.0
    seed: int = 1

    @model_validator(mode="after")
    def _shares_fit(self) -> GatewaySettings:
        self._require_at_most_1("sleeping_share", "offline_share")
        self._require_at_most_1("late_share", "failure_share")
        return self

    def _require_at_most_1(self, one: str, other: str) -> None:
        shares = getattr(self, one), getattr(self, other)
        if sum(shares) > 1:
            raise ValueError(
                f"GATEWAY_{one.upper()} + GATEWAY_{other.upper()}: {shares[0]} + {shares[1]} "
                "is not allowed: together they must be at most 1"
            )
