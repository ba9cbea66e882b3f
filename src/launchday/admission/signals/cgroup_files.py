"""Where the numbers of a Linux control group are, in version 2 and in version 1."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
LONGEST_FILE_BYTES = 65536
# Version 1 says "no limit" with the largest number of pages that a signed integer holds.
NO_LIMIT_BYTES = 2**60


class Account(NamedTuple):
    """What one group used, and what it may use.

    CPU: seconds of CPU since the group exists, and CPUs. Memory: bytes, both.
    """

    used: Callable[[], float]
    allowed: Callable[[], float]


def cpu_accounts(root: Path, membership: Path) -> list[Account]:
    """Return the accounts of the own group and of each above it that has a quota.

    Without a quota the own group may use the CPUs of its set, or all. The calls of an account
    raise OSError or ValueError when a file cannot be read.
    """
    quota, usage, cpus = _version_1_cpu, "cpuacct", "cpuset.effective_cpus"
    if _is_version_2(root):
        quota, usage, cpus = _version_2_cpu, "cpu", "cpuset.cpus.effective"
    cpuset = _groups(root, membership, "cpuset")[0] / cpus
    groups = zip(_groups(root, membership, "cpu"), _groups(root, membership, usage), strict=False)
    accounts = [quota(group, used_by, cpuset) for group, used_by in groups]
    return [
        account
        for depth, account in enumerate(accounts)
        if _readable(account) and (depth == 0 or account.allowed() < _count_cpus(cpuset))
    ]


def memory_accounts(root: Path, membership: Path) -> list[Account]:
    """Return the accounts of the own group and of those above it that have a limit.

    Page cache that can be dropped at once (`inactive_file`) does not count as used.
    """
    names = ("memory.usage_in_bytes", "memory.limit_in_bytes", b"total_inactive_file")
    if _is_version_2(root):
        names = ("memory.current", "memory.max", b"inactive_file")
    groups = _groups(root, membership, "memory")
    accounts = [_memory(group, *names) for group in groups]
    return [account for account in accounts if _readable(account) and _is_limited(account)]


def _is_version_2(root: Path) -> bool:
    return (root / "cgroup.controllers").is_file()


def _groups(root: Path, membership: Path, controller: str) -> list[Path]:
    """Return the own group and those above it, as far as they are visible here."""
    mount = root
    if not _is_version_2(root):
        mount = next((d for d in root.glob("*") if controller in d.name.split(",")), root)
    path = _own_path(membership, "" if mount == root else controller)
    group = mount / path
    # In a container the path may be the one on the host, while its own group is the mount.
    if not group.is_dir():
        group = mount
    groups = [group]
    while groups[-1] != mount:
        groups.append(groups[-1].parent)
    return groups


def _own_path(membership: Path, controller: str) -> str:
    try:
        lines = _read(membership).decode().splitlines()
    except (OSError, ValueError):
        return ""
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            return "" if ".." in path else path.lstrip("/")
    return ""


def _version_2_cpu(group: Path, usage: Path, cpuset: Path) -> Account:
    def used() -> float:
        return _entry(usage / "cpu.stat", b"usage_usec") / 1e6

    def allowed() -> float:
        try:
            quota, period = _read(group / "cpu.max").split()
        except FileNotFoundError:
            return _count_cpus(cpuset)
        return _count_cpus(cpuset) if quota == b"max" else int(quota) / int(period)

    return Account(used, allowed)


def _version_1_cpu(group: Path, usage: Path, cpuset: Path) -> Account:
    def used() -> float:
        return int(_read(usage / "cpuacct.usage")) / 1e9

    def allowed() -> float:
        try:
            quota = int(_read(group / "cpu.cfs_quota_us"))
        except FileNotFoundError:
            return _count_cpus(cpuset)
        period = int(_read(group / "cpu.cfs_period_us"))
        return _count_cpus(cpuset) if quota <= 0 else quota / period

    return Account(used, allowed)


def _memory(group: Path, current: str, limit: str, reclaimable: bytes) -> Account:
    def used() -> float:
        return int(_read(group / current)) - _entry(group / "memory.stat", reclaimable)

    def allowed() -> float:
        text = _read(group / limit).strip()
        return float("inf") if text == b"max" else int(text)

    return Account(used, allowed)


def _readable(account: Account) -> bool:
    try:
        account.used()
        account.allowed()
    except (OSError, ValueError, ArithmeticError):
        return False
    return True


def _is_limited(account: Account) -> bool:
    return 0 < account.allowed() < NO_LIMIT_BYTES


def _count_cpus(cpuset: Path) -> float:
    """Count a list like 0-3,8; all CPUs of the machine when there is none."""
    count = 0
    try:
        for part in _read(cpuset).strip().split(b","):
            first, _, last = part.partition(b"-")
            count += int(last or first) - int(first) + 1
    except (OSError, ValueError):
        count = 0
    return float(count if count > 0 else os.cpu_count() or 1)


def _entry(path: Path, key: bytes) -> int:
    for line in _read(path).splitlines():
        name, _, value = line.partition(b" ")
        if name == key:
            return int(value)
    raise ValueError(f"{path} has no {key.decode()}")


def _read(path: Path) -> bytes:
    # Half the time of open().read(); a file kept open would be inherited, and would leak.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, LONGEST_FILE_BYTES)
    finally:
        os.close(descriptor)
