import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.kubernetes.manifests import ROOT


def conducting(tmp_path: Path, launchday: str) -> subprocess.Popen[str]:
    """deploy/kubernetes/conduct.sh with this shell script as `launchday`."""
    (tmp_path / "token").write_text("secret-of-the-stack\n")
    (tmp_path / "launchday").write_text(f"#!/bin/sh\n{launchday}\n")
    (tmp_path / "launchday").chmod(0o755)
    script = ROOT / "deploy/kubernetes/conduct.sh"
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    return subprocess.Popen(
        [str(script), str(tmp_path / "token"), "run", "launch day"],
        env={**os.environ, "PATH": path, "XDG_STATE_HOME": str(tmp_path)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )


pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not on PATH")


@pytest.mark.parametrize("code", [0, 1, 5])
def test_the_verdict_is_the_exit_code_of_the_container(tmp_path: Path, code: int) -> None:
    line = f'echo "$LAUNCHDAY_TARGET__ADMIN_TOKEN:$1:$2"; exit {code}'
    with conducting(tmp_path, line) as script:
        assert script.communicate(timeout=30)[0] == "secret-of-the-stack:run:launch day\n"
    assert script.returncode == code


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_pod_that_is_deleted_undoes_its_faults_first(
    tmp_path: Path, told: signal.Signals
) -> None:
    # Only the first process is told, as the kubelet does.
    lines = (
        "trap 'sleep 0.3; touch undone; exit 143' TERM",
        "touch begun",
        "i=0; while [ $i -lt 300 ]; do i=$((i + 1)); sleep 0.1; done",
    )
    with conducting(tmp_path, "\n".join(lines)) as script:
        deadline = time.monotonic() + 20
        while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        script.send_signal(told)
        script.wait(30)
    assert (tmp_path / "undone").exists()
    assert script.returncode == 143
