"""Commands on their way to a car: at most once in the car, however often they are sent."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

from target_service.dependencies import GATEWAY, Dependencies, DependencyFailed
from target_service.garage import Garage, Order
from target_service.http_client import HttpClient, Reply

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
# So many clients in a row waited in vain: the gateway is slow, and the next ones would too.
SLOW_AFTER = 5

logger = logging.getLogger(__name__)


class CommandIdReused(Exception):
    """The same command id came with another car or another command."""


class TooManyCommands(Exception):
    """As many commands as may be are on their way already."""


class VehicleOffline(Exception):
    """The gateway works, but the car has no connection; it was not told anything."""


@dataclass(frozen=True)
class CommandAnswer:
    """How far a command is (`done` or `pending`), and whether it had been sent before."""

    state: str
    replayed: bool


@dataclass
class _Delivery:
    """One command that is on its way."""

    order: Order
    promised: bool = False
    executed: asyncio.Future[None] = field(default_factory=asyncio.Future)
    task: asyncio.Task[CommandAnswer] = field(init=False)


class CommandDispatcher:
    """Sends commands to the vehicle gateway, and goes on in the background when it is slow.

    `patience_seconds`: how long a client waits for the gateway; then it gets a promise
    (`pending`), and the command is tried again until `time_limit_seconds`, also after a restart.
    While the gateway is slow, promises are given at once, until one answer comes within the
    patience again: who waits in vain holds a permit of the shedder that others could use.
    `timeout_seconds` bounds one attempt. `limit`: commands on their way at once. The car executes
    a command id once, so sending it again is safe.
    """

    def __init__(
        self,
        url: str,
        *,
        garage: Garage,
        dependencies: Dependencies,
        patience_seconds: float,
        timeout_seconds: float,
        time_limit_seconds: float,
        limit: int,
        random: Random,
    ) -> None:
        self.http = HttpClient(url)
        self._garage = garage
        self._dependencies = dependencies
        self._patience_seconds = patience_seconds
        self._timeout_seconds = timeout_seconds
        self.time_limit_seconds = time_limit_seconds
        self._limit = limit
        self._random = random
        self._on_their_way: dict[str, _Delivery] = {}
        self._in_vain = 0

    def on_its_way(self, command_id: str) -> Order | None:
        """Return a command whose outcome is still open in this process."""
        delivery = self._on_their_way.get(command_id)
        return delivery.order if delivery else None

    async def resume(self) -> None:
        """Go on with what was promised before a restart, while its time limit lasts."""
        unfinished = await self._garage.unfinished(time.time() - self.time_limit_seconds)
        for order in unfinished[: self._limit]:
            if order.id in self._on_their_way:
                continue  # a start that failed half-way is tried again
            self._start(order).promised = True

    async def send(self, order: Order) -> CommandAnswer:
        """Send a command once and wait for the car, but only so long.

        Raises DependencyFailed when the gateway refuses or fails; TooManyCommands;
        VehicleOffline; CommandIdReused when the id belongs to another command. A
        promise that the database does not take is given all the same: the gateway may have the
        command already, so that nobody can take it back.
        """
        known = self._on_their_way.get(order.id)
        delivery = known or self._start(order)
        if delivery.order != order:
            raise CommandIdReused
        is_slow = self._in_vain >= SLOW_AFTER
        if not await _is_settled(delivery, 0.0 if is_slow else self._patience_seconds):
            self._in_vain += 1
            # From here on a failure is tried again: the client is about to be told so.
            delivery.promised = True
            await self._record(delivery, "pending")
            if not await _is_settled(delivery, 0.0):
                return CommandAnswer("pending", replayed=known is not None)
        # What is left is to write the outcome down, for which the database has its own patience.
        await asyncio.wait({delivery.task})
        answer = delivery.task.result()
        return CommandAnswer(answer.state, answer.replayed or known is not None)

    def _start(self, order: Order) -> _Delivery:
        if len(self._on_their_way) >= self._limit:
            raise TooManyCommands
        delivery = _Delivery(order)
        delivery.task = asyncio.create_task(self._deliver(delivery))
        delivery.task.add_done_callback(_retrieve)
        self._on_their_way[order.id] = delivery
        return delivery

    async def _deliver(self, delivery: _Delivery) -> CommandAnswer:
        try:
            async with asyncio.timeout(self.time_limit_seconds):
                answer = await self._until_executed(delivery)
            delivery.executed.set_result(None)
            await self._record(delivery, answer.state)
            return answer
        except (DependencyFailed, VehicleOffline, TimeoutError) as error:
            if delivery.promised:
                await self._record(delivery, "failed")
            if isinstance(error, TimeoutError):
                raise DependencyFailed(GATEWAY) from None
            raise
        finally:
            del self._on_their_way[delivery.order.id]

    async def _until_executed(self, delivery: _Delivery) -> CommandAnswer:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._attempt(delivery.order)
            except (DependencyFailed, VehicleOffline):
                if not delivery.promised:
                    raise
            await asyncio.sleep(self._random.uniform(0.5, 1.0) * pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)

    async def _attempt(self, order: Order) -> CommandAnswer:
        path = f"/vehicles/{order.vin}/commands/{order.command}"
        headers = {"idempotency-key": order.id}
        began_at = time.monotonic()
        try:
            with self._dependencies.call(GATEWAY):
                async with asyncio.timeout(self._timeout_seconds):
                    reply = await self.http.post(path, headers, order.arguments.encode())
                _require_answer(reply)
        except (OSError, ValueError) as error:
            logger.warning("gateway: %s", str(error) or "no answer in time")
            raise DependencyFailed(GATEWAY) from error
        if time.monotonic() - began_at <= self._patience_seconds:
            self._in_vain = 0
        if reply.status == 409:
            raise CommandIdReused
        if reply.status == 504:
            raise VehicleOffline
        return CommandAnswer("done", replayed=b'"duplicate"' in reply.body)

    async def _record(self, delivery: _Delivery, state: str) -> None:
        order = delivery.order
        try:
            if state == "pending":
                await self._garage.promise(order)
            else:
                await self._garage.finish(order, state)
        except DependencyFailed:
            # What became of the command, the client hears from the answer, not from the database.
            logger.warning("command %s is %s but not recorded", order.id, state)

    async def close(self) -> None:
        """Give up what is on its way and close the connections."""
        tasks = [delivery.task for delivery in self._on_their_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.http.close()


async def _is_settled(delivery: _Delivery, patience_seconds: float) -> bool:
    """Wait until the car has executed it or it failed; return False when it takes longer."""
    either: set[asyncio.Future[Any]] = {delivery.executed, delivery.task}
    first = asyncio.FIRST_COMPLETED
    done, _ = await asyncio.wait(either, timeout=patience_seconds, return_when=first)
    return bool(done)


def _require_answer(reply: Reply) -> None:
    if reply.status not in (200, 409, 504) or not reply.body:
        raise ValueError(f"answered {reply.status}")


def _retrieve(task: asyncio.Task[CommandAnswer]) -> None:
    """Look at the exception of a task that nobody awaits, lest asyncio complains."""
    if not task.cancelled():
        task.exception()
