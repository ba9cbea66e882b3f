"""CPU and memory of the control group, from files as Linux writes them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.admission.refusal import Refusal
from launchday.admission.signals import CgroupCPU, CgroupMemory
from launchday.admission.signals.cgroup_files import MOUNT, cpu_accounts
from launchday.admission.signals.contract import scaled

MIB = 2**20


class Tree:
    """A mount of control groups below a folder, and the file that names the own group."""

    def __init__(self, folder: Path, membership: str) -> None:
        self.root = folder / "cgroup"
        self.root.mkdir(parents=True)
        self.membership = folder / "membership"
        self.membership.write_text(membership)

    def put(self, name: str, content: object) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")

    def cpu(self, **options: Any) -> CgroupCPU:
        return CgroupCPU(root=self.root, membership=self.membership, **options)

    def memory(self, **options: Any) -> CgroupMemory:
        return CgroupMemory(root=self.root, membership=self.membership, **options)


@pytest.fixture
def v2(tmp_path: Path) -> Tree:
    """A container with half of two CPUs and 100 MiB."""
    tree = Tree(tmp_path, "0::/pod/app\n")
    tree.put("cgroup.controllers", "cpuset cpu memory")
    tree.put("pod/app/cpu.max", "100000 100000")
    tree.put("pod/app/cpuset.cpus.effective", "0-1")
    tree.put("pod/app/memory.max", 100 * MIB)
    use_cpu(tree, 0.0)
    use_memory(tree, 50, 0)
    return tree


def use_cpu(tree: Tree, seconds: float, group: str = "pod/app") -> None:
    usage = int(seconds * 1e6)
    tree.put(f"{group}/cpu.stat", f"usage_usec {usage}\nuser_usec {usage}\nsystem_usec 0")


def use_memory(tree: Tree, mib: float, cache_mib: float, group: str = "pod/app") -> None:
    tree.put(f"{group}/memory.current", int(mib * MIB))
    stat = f"anon {MIB}\ninactive_file {int(cache_mib * MIB)}\nactive_file 0"
    tree.put(f"{group}/memory.stat", stat)


def run_cpu(tree: Tree, signal: CgroupCPU, share: float, *, seconds: int = 60) -> float:
    """Use `share` CPUs for a while, asked twice a second; return the last pressure."""
    pressure = 0.0
    for half in range(seconds * 2 + 1):
        use_cpu(tree, share * half / 2)
        pressure = signal.pressure(1000 + half / 2)
    return pressure


@pytest.mark.parametrize(
    ("share", "pressure"),
    [(0.0, 0.0), (0.5, 0.0), (0.85, 0.0), (0.915, 0.5), (0.98, 1.0), (1.0, 1.0)],
)
def test_cpu_pressure_grows_from_85_to_98_percent_of_the_quota(
    v2: Tree, share: float, pressure: float
) -> None:
    signal = v2.cpu()
    assert run_cpu(v2, signal, share) == pytest.approx(pressure, abs=0.01)
    assert signal.utilization_ratio == pytest.approx(share, abs=0.001)
    assert signal.available
    assert signal.reason is Refusal.CPU


def test_a_short_burst_of_cpu_is_no_pressure_and_a_long_one_is(v2: Tree) -> None:
    assert run_cpu(v2, v2.cpu(), 1.0, seconds=2) == 0.0
    assert run_cpu(v2, v2.cpu(), 1.0, seconds=20) > 0.8


def test_without_a_quota_the_cpus_of_the_set_are_what_may_be_used(v2: Tree) -> None:
    v2.put("pod/app/cpu.max", "max 100000")
    v2.put("pod/app/cpuset.cpus.effective", "0-2,7")
    signal = v2.cpu()
    run_cpu(v2, signal, 2.0)
    assert signal.utilization_ratio == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("cpus", ["", "x-y", "3-0", "0-1-2"])
def test_without_a_readable_set_all_cpus_of_the_machine_are(v2: Tree, cpus: str) -> None:
    v2.put("pod/app/cpu.max", "max 100000")
    v2.put("pod/app/cpuset.cpus.effective", cpus)
    signal = v2.cpu()
    run_cpu(v2, signal, (os.cpu_count() or 1) / 2)
    assert signal.utilization_ratio == pytest.approx(0.5, abs=0.01)


def test_the_quota_of_a_group_above_counts(v2: Tree) -> None:
    v2.put("pod/app/cpu.max", "max 100000")
    v2.put("pod/cpu.max", "50000 100000")
    use_cpu(v2, 0.0, "pod")
    signal = v2.cpu()
    for second in range(60):
        use_cpu(v2, 0.1 * second)
        use_cpu(v2, 0.5 * second, "pod")
        signal.pressure(float(second))
    assert signal.utilization_ratio == pytest.approx(1.0, abs=0.01)


def test_what_others_use_in_a_group_above_without_a_quota_does_not_count(v2: Tree) -> None:
    use_cpu(v2, 0.0, "pod")
    signal = v2.cpu()
    for second in range(60):
        use_cpu(v2, 100.0 * second, "pod")
        assert signal.pressure(float(second)) == 0.0
    assert signal.utilization_ratio == 0.0


def test_a_new_quota_counts_from_the_next_reading_on(v2: Tree) -> None:
    signal = v2.cpu()
    run_cpu(v2, signal, 0.5)
    v2.put("pod/app/cpu.max", "50000 100000")
    assert run_cpu(v2, signal, 0.5) == 1.0


def test_files_are_read_four_times_a_second_at_most(v2: Tree) -> None:
    signal = v2.memory()
    changes = 0
    last = signal.utilization_ratio
    for hundredth in range(200):
        use_memory(v2, 10 + hundredth / 10, 0)
        signal.pressure(hundredth / 100)
        changes += signal.utilization_ratio != last
        last = signal.utilization_ratio
    assert changes == 8


@pytest.mark.parametrize(
    ("mib", "cache", "pressure"),
    [(50, 0, 0.0), (90, 0, 0.0), (92.5, 0, 0.5), (95, 0, 1.0), (100, 0, 1.0), (99, 40, 0.0)],
)
def test_memory_pressure_grows_from_90_to_95_percent_and_leaves_page_cache_out(
    v2: Tree, mib: float, cache: float, pressure: float
) -> None:
    use_memory(v2, mib, cache)
    signal = v2.memory()
    assert signal.pressure(0.0) == pytest.approx(pressure, abs=0.001)
    assert signal.utilization_ratio == pytest.approx((mib - cache) / 100)
    assert signal.reason is Refusal.MEMORY


def test_the_fullest_of_the_groups_above_counts(v2: Tree) -> None:
    v2.put("pod/memory.max", 60 * MIB)
    use_memory(v2, 57, 0, "pod")
    assert v2.memory().pressure(0.0) == pytest.approx(1.0)


def test_without_a_memory_limit_there_is_no_pressure(v2: Tree) -> None:
    v2.put("pod/app/memory.max", "max")
    use_memory(v2, 10**6, 0)
    signal = v2.memory()
    assert not signal.available
    assert signal.pressure(0.0) == signal.utilization_ratio == 0.0


def test_what_cannot_be_read_leaves_the_last_value_and_is_counted(v2: Tree) -> None:
    use_memory(v2, 92.5, 0)
    memory, cpu = v2.memory(), v2.cpu()
    before = memory.pressure(0.0)
    run_cpu(v2, cpu, 0.9)
    busy = cpu.utilization_ratio
    for content in ("", "nonsense", "memory 1\ninactive_file x"):
        v2.put("pod/app/memory.stat", content)
        v2.put("pod/app/cpu.stat", content)
    (v2.root / "pod/app/memory.current").unlink()
    for second in range(1, 4):
        assert memory.pressure(float(second)) == before
        cpu.pressure(1100.0 + second)
    assert cpu.utilization_ratio == busy
    assert memory.read_errors == cpu.read_errors == 3


def test_after_an_error_cpu_time_is_compared_with_the_last_good_reading(v2: Tree) -> None:
    signal = v2.cpu()
    run_cpu(v2, signal, 0.5)
    v2.put("pod/app/cpu.stat", "nonsense")
    for tenth in range(100):
        signal.pressure(1060 + tenth / 10)
    use_cpu(v2, 0.5 * 70)
    signal.pressure(1070.0)
    assert signal.utilization_ratio == pytest.approx(0.5, abs=0.01)


def test_a_clock_that_jumps_back_or_a_counter_that_starts_anew_gives_no_false_pressure(
    v2: Tree,
) -> None:
    signal = v2.cpu()
    run_cpu(v2, signal, 0.5)
    use_cpu(v2, 0.0)
    assert signal.pressure(1061.0) == 0.0
    for tenth in range(100):
        use_cpu(v2, 100 + 0.05 * tenth)
        assert signal.pressure(5 + tenth / 10) == 0.0
    assert signal.utilization_ratio == pytest.approx(0.5, abs=0.1)


def test_without_control_groups_neither_is_available(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for signal in (
        CgroupCPU(root=nowhere, membership=nowhere),
        CgroupMemory(root=nowhere, membership=nowhere),
    ):
        assert not signal.available
        assert [signal.pressure(now) for now in (0.0, 1.0, float("nan"))] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("line", ["0::/../else", "0::/gone", "0::/", "", "0", ":::::", "\0"])
def test_a_path_that_is_not_visible_here_means_the_group_at_the_mount(
    tmp_path: Path, line: str
) -> None:
    tree = Tree(tmp_path, line)
    tree.put("../else/memory.max", 1000 * MIB)
    use_memory(tree, 1000, 0, "../else")
    tree.put("cgroup.controllers", "cpu memory")
    tree.put("memory.max", 100 * MIB)
    use_memory(tree, 92.5, 0, ".")
    assert tree.memory().pressure(0.0) == pytest.approx(0.5)


V1_LINES = "12:cpuset:/docker/1\n4:memory:/docker/1\n1:cpu,cpuacct:/docker/1\n0::/docker/1\n"


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpuacct,cpu"])
@pytest.mark.parametrize("inside", ["docker/1", "."])
def test_version_1_is_read_where_version_2_has_no_controllers(
    tmp_path: Path, mount: str, inside: str
) -> None:
    tree = Tree(tmp_path, V1_LINES)
    tree.put(f"{mount}/{inside}/cpu.cfs_quota_us", 50000)
    tree.put(f"{mount}/{inside}/cpu.cfs_period_us", 100000)
    tree.put(f"memory/{inside}/memory.limit_in_bytes", 100 * MIB)
    tree.put(f"memory/{inside}/memory.usage_in_bytes", 98 * MIB)
    tree.put(f"memory/{inside}/memory.stat", f"inactive_file 0\ntotal_inactive_file {48 * MIB}")
    tree.put(f"{mount}/{inside}/cpuacct.usage", 0)
    cpu, memory = tree.cpu(), tree.memory()
    for second in range(60):
        tree.put(f"{mount}/{inside}/cpuacct.usage", int(second * 0.25e9))
        cpu.pressure(float(second))
    assert cpu.utilization_ratio == pytest.approx(0.5, abs=0.01)
    memory.pressure(0.0)
    assert memory.utilization_ratio == pytest.approx(0.5)


def test_version_1_says_no_limit_with_a_huge_number(tmp_path: Path) -> None:
    tree = Tree(tmp_path, V1_LINES)
    tree.put("memory/docker/1/memory.limit_in_bytes", 9223372036854771712)
    tree.put("memory/docker/1/memory.usage_in_bytes", 98 * MIB)
    tree.put("memory/docker/1/memory.stat", "total_inactive_file 0")
    assert not tree.memory().available


@pytest.mark.skipif(not cpu_accounts(MOUNT, Path("/proc/self/cgroup")), reason="no control groups")
def test_the_own_control_group_of_this_machine_counts_the_work_of_this_process() -> None:
    [own, *_] = cpu_accounts(MOUNT, Path("/proc/self/cgroup"))
    before, mine = own.used(), os.times()
    while (now := os.times()).user + now.system < mine.user + mine.system + 0.3:
        pass
    assert own.used() - before >= 0.25
    assert own.allowed() > 0


@pytest.mark.parametrize("cls", [CgroupCPU, CgroupMemory])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("starts_at_ratio", -0.1),
        ("starts_at_ratio", 1.1),
        ("starts_at_ratio", float("nan")),
        ("starts_at_ratio", "0.9"),
        ("full_at_ratio", 0.5),
        ("full_at_ratio", 1.5),
        ("full_at_ratio", None),
    ],
)
def test_wrong_thresholds_are_refused(cls: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        cls(**{"starts_at_ratio": 0.8, name: value})


@given(st.floats(), st.floats(0, 0.5), st.floats(0.01, 0.5))
def test_what_is_scaled_is_never_outside_of_0_to_1(
    value: float, start: float, width: float
) -> None:
    assert 0.0 <= scaled(value, start, start + width) <= 1.0


@settings(max_examples=50)
@given(st.text(alphabet="0123456789max -\n", max_size=20), st.binary(max_size=30))
def test_no_content_of_a_file_makes_it_raise(limit: str, stat: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder), "0::/pod/app\n")
        tree.put("cgroup.controllers", "")
        tree.put("pod/app/memory.max", limit)
        tree.put("pod/app/cpu.max", limit)
        use_memory(tree, 99, 0)
        use_cpu(tree, 0)
        signals = tree.memory(), tree.cpu()
        (tree.root / "pod/app/memory.stat").write_bytes(stat)
        (tree.root / "pod/app/cpu.stat").write_bytes(stat)
        for now in (0.0, 1.0, 2.0):
            for signal in signals:
                assert 0.0 <= signal.pressure(now) <= 1.0
