"""Cars that sleep, wake slowly, are offline, fail or answer late: pure, seeded, no clock inside."""

from __future__ import annotations

import math
import struct
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from statistics import NormalDist

from target_service.gateway_settings import GatewaySettings

WAKE_CV = 0.5
# A spell offline lasts this many times `offline_seconds`, so that cars do not return in step.
SPELL_SPREAD = (0.5, 1.5)
# More than any fleet here: cars that nobody asked for long are met anew.
REMEMBERED_CARS = 1_000_000

_STANDARD_NORMAL = NormalDist()


class Outcome(StrEnum):
    """What became of one command, each counted under exactly one word.

    A car executed the command when it is `executed` or `late` (executed, but answered late), and
    at no other time. `duplicate`: it had executed it before. `offline`: it cannot be reached.
    `failed`: the gateway itself could not pass it on.
    """

    EXECUTED = "executed"
    LATE = "late"
    DUPLICATE = "duplicate"
    OFFLINE = "offline"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Visit:
    """What one command meets: its outcome, how long until the car can act, how long the answer."""

    outcome: Outcome
    wake_seconds: float
    answer_seconds: float


@dataclass(slots=True)
class _Car:
    """One car. Only a sleeper has times of sleep, only a roamer has spells."""

    sleeper: bool
    roamer: bool
    phase: float
    spell_seconds: float
    asked: int = 0
    awake_at_seconds: float = 0.0
    asleep_at_seconds: float = -math.inf

    def is_offline(self, now_seconds: float) -> bool:
        """Return whether a roamer is in its offline spell: half of the time, in turns."""
        turns = now_seconds / (2 * self.spell_seconds) + self.phase
        return self.roamer and turns % 1.0 < 0.5


class Cars:
    """All cars, known by their VIN only; the same seed and questions give the same answers.

    A share of the cars (`sleeping_share`) sleeps when first asked, takes `wake_seconds` on
    average to wake (lognormal, coefficient of variation 0.5), and sleeps again
    `awake_seconds` after it was last asked. Another share (`offline_share`) is out of reach in
    spells of `offline_seconds` on average, with as long spells between. Of the commands to cars
    in reach, `late_share` are executed and answered `late_seconds` late; `failure_share` of all
    commands fail in the gateway and reach no car. Answers take `latency_seconds` on average
    (lognormal, coefficient of variation `latency_cv`).
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._cars: OrderedDict[str, _Car] = OrderedDict()

    def visit(self, vin: str, now_seconds: float) -> Visit:
        """Send one command to a car at `now_seconds`, on a clock that never goes back."""
        settings, car = self._settings, self._car(vin)
        car.asked += 1
        fate, latency, wake = _uniforms(f"{settings.seed}:{vin}:{car.asked}")
        answer_seconds = _lognormal(latency, settings.latency_seconds, settings.latency_cv)
        if fate < settings.failure_share:
            return Visit(Outcome.FAILED, 0.0, answer_seconds)
        if car.is_offline(now_seconds):
            return Visit(Outcome.OFFLINE, 0.0, answer_seconds)
        wake_seconds = self._wake(car, now_seconds, wake) if car.sleeper else 0.0
        if fate < settings.failure_share + settings.late_share:
            return Visit(Outcome.LATE, wake_seconds, answer_seconds + settings.late_seconds)
        return Visit(Outcome.EXECUTED, wake_seconds, answer_seconds)

    def _car(self, vin: str) -> _Car:
        car = self._cars.get(vin)
        if car is None:
            car = self._cars[vin] = self._new_car(vin)
            if len(self._cars) > REMEMBERED_CARS:
                self._cars.popitem(last=False)
        return car

    def _new_car(self, vin: str) -> _Car:
        settings = self._settings
        share, phase, spell = _uniforms(f"{settings.seed}:{vin}")
        sleeper = share < settings.sleeping_share
        shortest, longest = SPELL_SPREAD
        return _Car(
            sleeper=sleeper,
            roamer=not sleeper and share < settings.sleeping_share + settings.offline_share,
            phase=phase,
            spell_seconds=settings.offline_seconds * (shortest + spell * (longest - shortest)),
        )

    def _wake(self, car: _Car, now_seconds: float, uniform: float) -> float:
        if now_seconds >= car.asleep_at_seconds:
            wake_seconds = _lognormal(uniform, self._settings.wake_seconds, WAKE_CV)
            car.awake_at_seconds = now_seconds + wake_seconds
        ready_at_seconds = max(now_seconds, car.awake_at_seconds)
        car.asleep_at_seconds = ready_at_seconds + self._settings.awake_seconds
        return ready_at_seconds - now_seconds


def _uniforms(text: str) -> tuple[float, float, float]:
    """Hash to three numbers inside (0, 1): no generator per car, which would cost 2.5 kB each."""
    one, two, three = struct.unpack("<3I", blake2b(text.encode(), digest_size=12).digest())
    return (one + 0.5) / 2**32, (two + 0.5) / 2**32, (three + 0.5) / 2**32


def _lognormal(uniform: float, mean: float, cv: float) -> float:
    """Return the quantile of the lognormal distribution: sigma^2 = ln(1 + cv^2)."""
    if cv == 0:
        return mean
    variance = math.log1p(cv * cv)
    return mean * math.exp(math.sqrt(variance) * _STANDARD_NORMAL.inv_cdf(uniform) - variance / 2)
