from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# As Locust does: pytest and its plugins import ssl, after which it could not be replaced.
PATCHED_FIRST = """
from gevent import monkey
monkey.patch_all()
import sys, pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["recorder_in_locust.py", "recorder_and_clients_in_locust.py"])
def test_the_recorder_inside_locust(name: str) -> None:
    """All tests of a file, where Locust may change the sockets."""
    inside = str(Path(__file__).with_name(name))
    result = subprocess.run(
        [sys.executable, "-c", PATCHED_FIRST, "-q", inside],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
