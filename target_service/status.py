"""What works now and since when, judged by what stands behind each feature."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from launchday import Maintenance
from target_service.announcements import described, iso
from target_service.breaker import State
from target_service.dependencies import DATABASE, GATEWAY, NAMES, Dependencies, DependencyFailed
from target_service.http_client import HttpClient
from target_service.lifecycle import Lifecycle
from target_service.routes import CRITICAL, CRITICAL_PLUS, SHEDDABLE, SHEDDABLE_PLUS
from target_service.streams import EventStream, Streams, event

POLL_SECONDS = 1.0
PROBE_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Works(StrEnum):
    """Whether a feature works; `last_known`: in part, with what was known before the failure."""

    WORKS = "works"
    LAST_KNOWN = "last_known"
    DOWN = "down"


@dataclass(frozen=True)
class Feature:
    """What owners do: it needs some dependencies, and is only poorer without some others.

    `without`: what is left to owners when it does not work.
    """

    name: str
    criticality: str
    needs: tuple[str, ...]
    better_with: tuple[str, ...] = ()
    without: str = ""


FEATURES = (
    Feature(
        "Lock and unlock", CRITICAL_PLUS, (GATEWAY,), (DATABASE,),
        "Your phone key or key card opens the car.",
    ),
    Feature(
        "Fast charging at public chargers", CRITICAL_PLUS, (DATABASE,), (),
        "Charging at home works without us.",
    ),
    Feature(
        "Start, stop, limit, schedule charging", CRITICAL, (GATEWAY,), (DATABASE,),
        "The car keeps its last schedule.",
    ),
    Feature("Climate, summon, valet mode, honk, flash", CRITICAL, (GATEWAY,), (DATABASE,)),
    Feature(
        "Vehicle state", SHEDDABLE_PLUS, (), (DATABASE,),
        "The app shows the last known state with its age.",
    ),
    Feature(
        "Sign in and list vehicles", CRITICAL, (DATABASE,), (), "Who is signed in stays signed in."
    ),
    Feature(
        "Reservations", CRITICAL, (DATABASE,), (), "What was confirmed stays confirmed."
    ),
    Feature("Software updates", SHEDDABLE, (DATABASE,)),
    Feature("Home battery and solar", SHEDDABLE, ()),
    Feature("Service appointments", SHEDDABLE_PLUS, (DATABASE,)),
    Feature("Notifications", SHEDDABLE, (DATABASE,), (), "They arrive later."),
    Feature(
        "Data from the car", SHEDDABLE, (DATABASE,), (), "The car keeps it and sends it later."
    ),
)  # fmt: skip


class StatusBoard:
    """The status as everybody may read it; streams are woken when it changes."""

    def __init__(
        self,
        *,
        region: str,
        dependencies: Dependencies,
        doors: Maintenance,
        lifecycle: Lifecycle,
        streams: Streams,
        gateway: HttpClient,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.streams = streams
        self._region = region
        self._dependencies = dependencies
        self._doors = doors
        self._lifecycle = lifecycle
        self._gateway = gateway
        self._clock = clock
        self._since: dict[str, tuple[str, float]] = {}
        self._shown: dict[str, Any] = {}

    def refresh(self) -> dict[str, Any]:
        """Judge anew, wake the streams if anything changed, and return the status."""
        now_unix = self._clock()
        features = [self._judge(feature, now_unix) for feature in FEATURES]
        status = self._status(features)
        shown = {
            "status": status,
            "since": self._since_of("status", status, now_unix),
            "region": self._region,
            "features": features,
            "maintenance": self._maintenance(),
            "dependencies": [
                {
                    "name": name,
                    "works": self._works(name),
                    "breaker": self._dependencies.state(name).value,
                }
                for name in NAMES
            ],
        }
        if shown != self._shown:
            self._shown = shown
            self.streams.wake()
        return {**shown, "as_of": iso(now_unix)}

    def _status(self, features: list[dict[str, Any]]) -> str:
        if self._doors.closed_by(self._doors.clock()) is not None:
            return "maintenance"
        return "operational" if all(f["state"] == Works.WORKS for f in features) else "degraded"

    def _judge(self, feature: Feature, now_unix: float) -> dict[str, Any]:
        closing = self._doors.closed_by(self._doors.clock())
        is_open = closing is None or feature.criticality in closing.open_classes
        if not is_open or not all(map(self._works, feature.needs)):
            state = Works.DOWN
        elif not all(map(self._works, feature.better_with)):
            state = Works.LAST_KNOWN
        else:
            state = Works.WORKS
        return {
            "name": feature.name,
            "works": state is not Works.DOWN,
            "state": state.value,
            "since": self._since_of(feature.name, state.value, now_unix),
            "without": feature.without,
        }

    def _works(self, dependency: str) -> bool:
        return dependency not in self._lifecycle.missing and self._dependencies.works(dependency)

    def _since_of(self, name: str, state: str, now_unix: float) -> str:
        if self._since.get(name, ("", 0.0))[0] != state:
            self._since[name] = (state, now_unix)
        return iso(self._since[name][1])

    def _maintenance(self) -> dict[str, Any] | None:
        snapshot = self._doors.snapshot()
        if snapshot.window is None:
            return None
        return {"phase": snapshot.phase.value, **described(snapshot.window)}

    def stream(self, render: Callable[[dict[str, Any]], str]) -> EventStream:
        """Return the stream of changes: events `status` with JSON, `page` with its rendering."""
        sent: dict[str, Any] = {}

        async def news() -> AsyncIterator[bytes]:
            nonlocal sent
            if sent != self._shown or not sent:
                status = self.refresh()
                sent = self._shown
                yield event("status", status)
                yield event("page", render(status))

        return self.streams.answer(news)

    async def run(self) -> None:
        """Judge once a second, and ask a gateway that failed whether it is back, for ever."""
        while True:
            self.refresh()
            await asyncio.sleep(POLL_SECONDS)
            # Only what the breaker keeps owners from: a probe that works must not hide from the
            # breaker, or from this page, that commands fail.
            if self._dependencies.state(GATEWAY) is not State.CLOSED:
                await self._probe_gateway()

    async def _probe_gateway(self) -> None:
        """Without this nobody would know that it is back until an owner tried."""
        try:
            with self._dependencies.call(GATEWAY):
                async with asyncio.timeout(PROBE_SECONDS):
                    reply = await self._gateway.get("/healthz")
                if reply.status != 200:
                    raise OSError(f"answered {reply.status}")
        except (OSError, DependencyFailed) as error:
            logger.debug("gateway: %s", error)
