"""Commands on their way to a car: at most once in the car, however often they are sent."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from random import Random

from target_service.dependencies import GATEWAY, Dependencies, DependencyFailed
from target_service.http_client import HttpClient, Reply
from target_service.storage import Storage

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0

logger = logging.getLogger(__name__)


class CommandIdReused(Exception):
    """The same command id came with another car or another command."""


@dataclass(frozen=True)
class CommandAnswer:
    """How far a command is (`done` or `pending`), and whether it had been sent before."""

    state: str
    replayed: bool


@dataclass
class _Delivery:
    """One command that is on its way."""

    command_id: str
    vin: str
    command: str
    promised: bool = False
    task: asyncio.Task[CommandAnswer] = field(init=False)


class CommandDispatcher:
    """Sends commands to the vehicle gateway, and goes on in the background when it is slow.

    `patience_seconds`: how long a client waits for the gateway; then it gets a promise
    (`pending`), and the command is tried again until `time_limit_seconds`. `limit`: commands on
    their way at once. The car executes a command id once, so sending it again is safe.
    """

    def __init__(
        self,
        url: str,
        *,
        storage: Storage,
        dependencies: Dependencies,
        patience_seconds: float,
        time_limit_seconds: float,
        limit: int,
        random: Random,
    ) -> None:
        self._http = HttpClient(url)
        self._storage = storage
        self._dependencies = dependencies
        self._patience_seconds = patience_seconds
        self.time_limit_seconds = time_limit_seconds
        self._limit = limit
        self._random = random
        self._on_their_way: dict[str, _Delivery] = {}

    def is_on_its_way(self, command_id: str) -> bool:
        """Return whether the outcome of this command is still open in this process."""
        return command_id in self._on_their_way

    async def send(self, command_id: str, vin: str, command: str) -> CommandAnswer:
        """Send a command once and wait for the car, but only so long.

        Raises DependencyFailed when the gateway refuses or fails, or when too many commands are
        on their way; CommandIdReused when the id belongs to another command. A promise that the
        database does not take is given all the same: the gateway may have the command already,
        so that nobody can take it back.
        """
        known = self._on_their_way.get(command_id)
        delivery = known or self._start(command_id, vin, command)
        if (delivery.vin, delivery.command) != (vin, command):
            raise CommandIdReused
        await asyncio.wait({delivery.task}, timeout=self._patience_seconds)
        if not delivery.task.done():
            # From here on a failure is tried again: the client is about to be told so.
            delivery.promised = True
            await self._record(delivery, "pending")
        if not delivery.task.done():
            return CommandAnswer("pending", replayed=known is not None)
        answer = delivery.task.result()
        return CommandAnswer(answer.state, answer.replayed or known is not None)

    def _start(self, command_id: str, vin: str, command: str) -> _Delivery:
        if len(self._on_their_way) >= self._limit:
            raise DependencyFailed(GATEWAY)
        delivery = _Delivery(command_id, vin, command)
        delivery.task = asyncio.create_task(self._deliver(delivery))
        delivery.task.add_done_callback(_retrieve)
        self._on_their_way[command_id] = delivery
        return delivery

    async def _deliver(self, delivery: _Delivery) -> CommandAnswer:
        try:
            async with asyncio.timeout(self.time_limit_seconds):
                answer = await self._until_executed(delivery)
            await self._record(delivery, answer.state)
            return answer
        except (DependencyFailed, TimeoutError):
            if delivery.promised:
                await self._record(delivery, "failed")
            raise DependencyFailed(GATEWAY) from None
        finally:
            del self._on_their_way[delivery.command_id]

    async def _until_executed(self, delivery: _Delivery) -> CommandAnswer:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._attempt(delivery)
            except DependencyFailed:
                if not delivery.promised:
                    raise
            await asyncio.sleep(self._random.uniform(0.5, 1.0) * pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)

    async def _attempt(self, delivery: _Delivery) -> CommandAnswer:
        path = f"/vehicles/{delivery.vin}/commands/{delivery.command}"
        try:
            with self._dependencies.call(GATEWAY):
                reply = await self._http.post(path, {"idempotency-key": delivery.command_id})
                _require_answer(reply)
        except (OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            logger.warning("gateway: %s", error)
            raise DependencyFailed(GATEWAY) from error
        if reply.status == 409:
            raise CommandIdReused
        return CommandAnswer("done", replayed=b'"duplicate"' in reply.body)

    async def _record(self, delivery: _Delivery, state: str) -> None:
        try:
            await self._storage.record_command(
                delivery.command_id, delivery.vin, delivery.command, state
            )
        except DependencyFailed:
            # What became of the command, the client hears from the answer, not from the database.
            logger.warning("command %s is %s but not recorded", delivery.command_id, state)

    async def close(self) -> None:
        """Give up what is on its way and close the connections."""
        tasks = [delivery.task for delivery in self._on_their_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._http.close()


def _require_answer(reply: Reply) -> None:
    if reply.status not in (200, 409):
        raise ValueError(f"answered {reply.status}")


def _retrieve(task: asyncio.Task[CommandAnswer]) -> None:
    """Look at the exception of a task that nobody awaits, lest asyncio complains."""
    if not task.cancelled():
        task.exception()
