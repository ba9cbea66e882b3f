"""Everything that the endpoints share, built from the settings."""

from __future__ import annotations

from random import Random

from prometheus_client import CollectorRegistry

from target_service.gateway_client import CommandDispatcher
from target_service.metrics import CarMetrics
from target_service.settings import TargetSettings
from target_service.slots import SlotPool, lognormal_service_times
from target_service.storage import Storage


class Backend:
    """The parts of one running reference backend. `open` before use, `close` after."""

    def __init__(self, settings: TargetSettings) -> None:
        self.settings = settings
        self.slots = SlotPool(
            settings.slots,
            lognormal_service_times(
                settings.service_mean_seconds, settings.service_cv, settings.seed
            ),
        )
        self.metrics = CarMetrics(CollectorRegistry(), self.slots, settings.capacity_rps)
        self.dependencies = self.metrics.dependencies
        self.storage = Storage(
            settings.database_url,
            pool=settings.database_pool,
            patience_seconds=settings.database_patience_seconds,
            dependencies=self.dependencies,
        )
        self.dispatcher = CommandDispatcher(
            settings.gateway_url,
            storage=self.storage,
            dependencies=self.dependencies,
            patience_seconds=settings.gateway_patience_seconds,
            time_limit_seconds=settings.command_time_limit_seconds,
            limit=settings.commands_in_flight,
            random=Random(settings.seed),
        )
        self._is_open = False

    async def open(self) -> None:
        """Prepare the database; a second call does nothing. Raises what `Storage.open` raises."""
        if not self._is_open:
            await self.storage.open(self.settings.fleet_size)
            self._is_open = True

    async def close(self) -> None:
        """Give up background work and close every connection."""
        await self.dispatcher.close()
        await self.storage.close()
