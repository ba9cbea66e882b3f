"""Everything that the endpoints share, built from the settings."""

from __future__ import annotations

import asyncio
import time
from random import Random

from prometheus_client import CollectorRegistry, Gauge
from starlette.types import Scope

from launchday.metric_names import CAR_STREAMS
from target_service.announcements import Announcer
from target_service.database import Database, Unreachable
from target_service.database.errors import describe
from target_service.database.fleet import seed_fleet
from target_service.database.schema import MIGRATIONS
from target_service.dependencies import DependencyFailed
from target_service.garage import Garage
from target_service.gateway_client import CommandDispatcher
from target_service.lifecycle import Lifecycle
from target_service.maintenance import PlannedMaintenance
from target_service.metrics import CarMetrics
from target_service.notifications import Notifications
from target_service.once import OnceStore
from target_service.problems import Problem
from target_service.sessions import SignInGuard, Tokens, session_key
from target_service.settings import TargetSettings
from target_service.shedding import Shedding, ShedObserver
from target_service.status import StatusBoard
from target_service.streams import Streams
from target_service.work import Work

# A write may wait that long for its turn, run that long, and clocks differ a little.
LATE_FACTOR = 5.0


class Backend:
    """The parts of one running reference backend. `open` before use, `close` after."""

    tokens: Tokens  # signed with a key that the database may keep: there after `open`

    def __init__(self, settings: TargetSettings) -> None:
        self.settings = settings
        self.lifecycle = Lifecycle()
        self.work = Work(settings)
        random = Random(settings.seed)
        self.metrics = CarMetrics(CollectorRegistry(), self.work, random, region=settings.region)
        self.dependencies = self.metrics.dependencies
        self.unavailable = self.metrics.unavailable
        observer = ShedObserver(self.metrics.registry, self.unavailable)
        self.shedding = Shedding(settings, self.work, observer, self._owner_key)
        self.database = Database(
            settings.database_url,
            pool=settings.database_pool,
            patience_seconds=settings.database_patience_seconds,
            dependencies=self.dependencies,
        )
        self.garage = Garage(self.database, self.metrics.stale_reads)
        self.dispatcher = CommandDispatcher(
            settings.gateway_url,
            garage=self.garage,
            dependencies=self.dependencies,
            patience_seconds=settings.gateway_patience_seconds,
            timeout_seconds=settings.gateway_timeout_seconds,
            time_limit_seconds=settings.command_time_limit_seconds,
            limit=settings.commands_in_flight,
            random=random,
        )
        self.guard = SignInGuard(time.monotonic, self.metrics.sign_ins)
        self.reservations = self._once("reservations", "reservation")
        self.charging_sessions = self._once("charging_sessions", "charging_session")
        self.appointments = self._once("appointments", "appointment")
        self._add_what_people_read()
        self._background: list[asyncio.Task[None]] = []

    def _owner_key(self, scope: Scope) -> str | None:
        """Return a word for the owner who is signed in; None when nobody is."""
        for name, value in scope["headers"]:
            if name == b"authorization":
                try:
                    return f"owner-{self.tokens.bearer(value.decode('latin-1')).owner_id}"
                except Problem:
                    return None
        return None

    def _add_what_people_read(self) -> None:
        settings, registry = self.settings, self.metrics.registry
        self._announcer = Announcer(settings.announce_url, settings.region, registry)
        open_now = Gauge(CAR_STREAMS.name, CAR_STREAMS.help, CAR_STREAMS.labels, registry=registry)
        self.notifications = Notifications(
            self.database,
            Streams(settings.streams, open_now.labels("notifications")),
            longest_write_seconds=LATE_FACTOR * settings.database_patience_seconds,
        )
        self.maintenance = PlannedMaintenance(self.database, self.notifications, self._announcer)
        self.status = StatusBoard(
            region=settings.region,
            dependencies=self.dependencies,
            doors=self.maintenance.doors,
            lifecycle=self.lifecycle,
            streams=Streams(settings.streams, open_now.labels("status")),
            gateway=self.dispatcher.http,
        )

    def _once(self, table: str, feature: str) -> OnceStore:
        return OnceStore(self.database, table, feature, self.metrics.creations)

    async def open(self) -> None:
        """Prepare the database and go on with what was promised before a restart.

        Raises Unreachable (worth another try) or ValueError (it can never work).
        """
        try:
            await self._open()
        except DependencyFailed as failed:
            raise Unreachable(describe(failed.__cause__ or failed)) from failed

    async def _open(self) -> None:
        settings = self.settings
        await self.database.open(MIGRATIONS)
        await seed_fleet(self.database, settings.region, settings.fleet_seed, settings.fleet_size)
        given = settings.session_key.get_secret_value() if settings.session_key else None
        self.tokens = Tokens(
            await session_key(self.database, given),
            region=settings.region,
            session_seconds=settings.session_seconds,
            refresh_seconds=settings.refresh_seconds,
        )
        await self.dispatcher.resume()
        await self.notifications.open()
        await self.maintenance.open(settings.maintenance_starts_at, settings.maintenance_ends_at)
        work = (self.notifications.run, self.maintenance.run, self.status.run, self._end_streams)
        self._background = [asyncio.create_task(each()) for each in work]

    async def _end_streams(self) -> None:
        await self.lifecycle.stopping.wait()
        self.notifications.streams.end()
        self.status.streams.end()

    async def close(self) -> None:
        """Give up background work and close every connection."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.shedding.close()
        await self._announcer.close()
        await self.dispatcher.close()
        await self.database.close()
