"""CPU and memory of the control group (container) that the process runs in."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path

from launchday.admission.limits import require_number
from launchday.admission.refusal import Refusal
from launchday.admission.signals.cgroup_files import (
    MEMBERSHIP,
    MOUNT,
    Account,
    cpu_accounts,
    memory_accounts,
)
from launchday.admission.signals.contract import scaled

PERIOD_SECONDS = 0.25
CPU_SMOOTHING_SECONDS = 5.0


class _Cgroup(ABC):
    """Reads the accounts once per period at most; an error leaves the last value."""

    def __init__(self, accounts: list[Account], starts_at: float, full_at: float) -> None:
        self._starts_at = require_number("starts_at_ratio", starts_at, at_least=0, at_most=1)
        self._full_at = require_number("full_at_ratio", full_at, above=self._starts_at, at_most=1)
        self._accounts = accounts
        self._read_at = -math.inf
        self._utilization = 0.0
        self.read_errors = 0

    @property
    def available(self) -> bool:
        """Whether there is a control group to read."""
        return bool(self._accounts)

    @property
    def utilization_ratio(self) -> float:
        """Return the used part of what is allowed, of the fullest group; 1.0 is all of it."""
        return self._utilization

    def pressure(self, now: float) -> float:
        """Return the share of the requests to refuse, 0.0 to 1.0; 0.0 when not available."""
        # A clock that jumped back must not silence it until it is back where it was.
        if self._accounts and not 0 <= now - self._read_at < PERIOD_SECONDS:
            self._refresh(now)
        return scaled(self._utilization, self._starts_at, self._full_at)

    def _refresh(self, now: float) -> None:
        try:
            self._measure(now)
        except (OSError, ValueError, ArithmeticError):
            self.read_errors += 1
        self._read_at = now

    @abstractmethod
    def _measure(self, now: float) -> None:
        """Set the utilization anew; may raise what reading and converting a file raises."""


class CgroupCPU(_Cgroup):
    """Pressure while the group uses nearly all of the CPU time that it may use.

    Every 250 ms at most: CPU seconds used since the last reading, over elapsed seconds times the
    quota (`cpu.max`; `cpu.cfs_quota_us` in version 1), of the own group and of those above it
    that have a quota; without one, times the CPUs of its set. The largest of these ratios is
    smoothed over 5 s, from 0 at the start; from `starts_at_ratio` on a growing share is refused,
    everything at `full_at_ratio`. The group throttles at 1.0: at once for all requests.

    Source: the scaled triggers of Envoy's overload manager (refresh interval 250 ms) on the
    accounting of the Linux kernel ("Control Group v2", `cpu.stat`).

    `root`, `membership`: where the control groups are mounted, and the file that names the own.
    Raises ValueError that names the argument, the value and what is allowed.
    """

    def __init__(
        self,
        *,
        starts_at_ratio: float = 0.85,
        full_at_ratio: float = 0.98,
        root: Path = MOUNT,
        membership: Path = MEMBERSHIP,
    ) -> None:
        super().__init__(cpu_accounts(root, membership), starts_at_ratio, full_at_ratio)
        self._used: list[float] = []
        self._used_at = math.nan

    @property
    def reason(self) -> Refusal:
        """What the refusals that it causes are called."""
        return Refusal.CPU

    def _measure(self, now: float) -> None:
        used = [account.used() for account in self._accounts]
        before, self._used = self._used, used
        seconds = now - self._used_at
        self._used_at = now
        # The first reading, or a clock that jumped back: nothing to compare.
        if not seconds > 0:
            return
        ratio = max(
            (new - old) / (seconds * account.allowed())
            for new, old, account in zip(used, before, self._accounts, strict=True)
        )
        keep = math.exp(-seconds / CPU_SMOOTHING_SECONDS)
        self._utilization = keep * self._utilization + (1 - keep) * min(max(ratio, 0.0), 1.0)


class CgroupMemory(_Cgroup):
    """Pressure before the kernel kills the group for its memory.

    Every 250 ms at most: memory in use without the page cache that can be dropped at once, over
    the limit (`memory.max`; `memory.limit_in_bytes` in version 1), of the fullest of the own
    group and those above it. From `starts_at_ratio` on a growing share is refused, everything at
    `full_at_ratio`. Without any limit it is not available.

    Source: the scaled triggers of Envoy's overload manager; "working set" as Kubernetes defines
    it, ``current - inactive_file``.

    `root`, `membership`: where the control groups are mounted, and the file that names the own.
    Raises ValueError that names the argument, the value and what is allowed.
    """

    def __init__(
        self,
        *,
        starts_at_ratio: float = 0.90,
        full_at_ratio: float = 0.95,
        root: Path = MOUNT,
        membership: Path = MEMBERSHIP,
    ) -> None:
        super().__init__(memory_accounts(root, membership), starts_at_ratio, full_at_ratio)

    @property
    def reason(self) -> Refusal:
        """What the refusals that it causes are called."""
        return Refusal.MEMORY

    def _measure(self, now: float) -> None:
        ratio = max(account.used() / account.allowed() for account in self._accounts)
        self._utilization = min(max(ratio, 0.0), 1.0)
