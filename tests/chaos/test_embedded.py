from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launchday.chaos.toxiproxy import Toxiproxy
from launchday.commands.toxiproxy import toxiproxy as toxiproxy_command
from launchday.errors import SettingsError
from tests.chaos.support import (
    DEADLINE_SECONDS,
    connected,
    embedded,
    embedded_process,
    process,
)
from tests.chaos.wire import first_line
from tests.ports import free_port

COMMAND = [sys.executable, "-m", "launchday.chaos.embedded"]


def failed(*arguments: str) -> str:
    """What a server that cannot start says."""
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_taken_api_port_is_one_line_and_exit_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"127.0.0.1:{port}: bind: address already in use" in failed("--port", str(port))


def test_a_wrong_config_is_one_line_and_exit_2(tmp_path: Path) -> None:
    config = tmp_path / "proxies.json"
    assert "No such file" in failed("--port", "0", "--config", str(config))
    config.write_text('[{"name": "gateway"}]')
    said = failed("--port", "0", "--config", str(config))
    assert "missing required field: upstream at proxy 1" in said
    assert str(config) in said


def test_the_config_creates_its_proxies(tmp_path: Path) -> None:
    config = tmp_path / "proxies.json"
    proxy = {"name": "gateway", "listen": f"127.0.0.1:{free_port()}", "upstream": "127.0.0.1:1"}
    config.write_text(json.dumps([proxy]))
    with embedded("--config", str(config)) as url:
        toxiproxy = Toxiproxy(url)
        assert toxiproxy.proxies()["gateway"].listen == proxy["listen"]
        toxiproxy.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_0_even_with_open_connections(
    number: signal.Signals, echo: str
) -> None:
    with embedded_process() as (started, url):
        toxiproxy = Toxiproxy(url)
        link = toxiproxy.create_proxy("echo", "127.0.0.1:0", echo)
        toxiproxy.add_toxic(link.name, "t", "timeout", "downstream", 1.0, {"timeout": 0})
        with connected(link.listen) as client:
            client.sendall(b"ping")
            start = time.perf_counter()
            started.send_signal(number)
            _, said = started.communicate(timeout=DEADLINE_SECONDS)
            assert (started.returncode, said) == (0, b"")
            assert time.perf_counter() - start < DEADLINE_SECONDS / 2
        toxiproxy.close()


def test_the_command_starts_it_alone() -> None:
    command = [str(Path(sys.executable).with_name("launchday")), "toxiproxy", "--port"]
    with process(*command, "0", "--seed", "7") as started:
        url = first_line(started).split()[-1]
        toxiproxy = Toxiproxy(url)
        assert toxiproxy.version() == "2.12.0-launchday"
        toxiproxy.close()
        started.send_signal(signal.SIGTERM)
        assert started.wait(timeout=DEADLINE_SECONDS) == 0


def test_the_command_refuses_a_config_that_is_not_there(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.json")
    with pytest.raises(SettingsError, match=r"none\.json: No such file or directory"):
        toxiproxy_command.main(["--port", "0", "--config", missing], standalone_mode=False)
