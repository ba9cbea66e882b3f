"""However a conductor ends, its faults end: every way out on both servers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launchday.chaos.lease_file import found
from launchday.chaos.toxiproxy import Toxiproxy
from tests.chaos.support import DEADLINE_SECONDS, process, wait_for

HOLDER = Path(__file__).with_name("holder.py")
LEASE_SECONDS = 1.5
ENDS = {
    "normal": ("brief", None),
    "exception": ("raises", None),
    "Ctrl-C": ("rude", signal.SIGINT),
    "SIGTERM, handled": ("polite", signal.SIGTERM),
    "SIGTERM, not handled": ("rude", signal.SIGTERM),
    "kill -9": ("rude", signal.SIGKILL),
    "hang": ("rude", signal.SIGSTOP),
}


@contextmanager
def holding(toxiproxy: Toxiproxy, upstream: str, mode: str) -> Iterator[subprocess.Popen[bytes]]:
    """A conductor whose faults are in."""
    for link in ("slow", "dead"):
        toxiproxy.create_proxy(link, "127.0.0.1:0", upstream)
    command = (sys.executable, str(HOLDER), toxiproxy.url, mode, "", str(LEASE_SECONDS))
    with process(*command) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"holding\n"
        yield holder


def left(toxiproxy: Toxiproxy) -> list[str]:
    """What is still broken."""
    proxies = toxiproxy.proxies()
    toxics = [f"{name}: {toxic.name}" for name, p in proxies.items() for toxic in p.toxics]
    return toxics + [f"{name} is down" for name, p in proxies.items() if not p.enabled]


QUICK = ("Ctrl-C", "kill -9", "hang")


@pytest.mark.parametrize(
    "end", [end if end in QUICK else pytest.param(end, marks=pytest.mark.slow) for end in ENDS]
)
def test_no_fault_is_left_however_the_conductor_ends(
    toxiproxy: Toxiproxy, healthz: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mode, number = ENDS[end]
    with holding(toxiproxy, healthz, mode) as holder:
        if number is not None:
            assert len(left(toxiproxy)) == 2
            holder.send_signal(number)
        began = time.monotonic()
        assert wait_for(lambda: not left(toxiproxy))
        took = time.monotonic() - began
        if end == "hang":
            # Whoever hangs loses the faults, and not before its lease is over.
            assert took >= LEASE_SECONDS / 2
            holder.send_signal(signal.SIGCONT)
            assert holder.wait(DEADLINE_SECONDS) != 0
        elif number != signal.SIGKILL:
            holder.wait(DEADLINE_SECONDS)
    assert left(toxiproxy) == []
    assert wait_for(lambda: not found(toxiproxy.url))
    with capsys.disabled():
        sys.stdout.write(f"\n  {end}: 0 faults left after {took:.2f} s ")
