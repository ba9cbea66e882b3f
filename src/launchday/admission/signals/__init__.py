"""What tells besides the queue that the service cannot take more."""

from launchday.admission.signals.cgroup import CgroupCPU, CgroupMemory
from launchday.admission.signals.contract import Signal
from launchday.admission.signals.downstream import Downstream
from launchday.admission.signals.loop_lag import LoopLag
from launchday.admission.signals.thread_pool import ThreadPool

__all__ = ["CgroupCPU", "CgroupMemory", "Downstream", "LoopLag", "Signal", "ThreadPool"]
