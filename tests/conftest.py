"""What holds for every test."""

from __future__ import annotations

import inspect
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests.void import measure

# A shell that runs the tests in the background lets them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline is an absolute time: on a shared machine it says nothing about our code.
settings.register_profile("launchday", deadline=None)
settings.load_profile("launchday")


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lease files of a test are its own, also those that its processes write."""
    home = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    return home


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that measures (``alone``) is made again when the host took the machine away."""
    if pyfuncitem.get_closest_marker("alone") is None:
        return None
    names = inspect.signature(pyfuncitem.function).parameters
    wanted = {name: pyfuncitem.funcargs[name] for name in names}
    measure(lambda: pyfuncitem.obj(**wanted))
    return True
