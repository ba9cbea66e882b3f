"""The links of the local stack that an experiment asks for, on real processes."""

from __future__ import annotations

import re
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from launchday.chaos.toxiproxy import Toxiproxy
from launchday.errors import PreflightError
from launchday.runs import local_database
from launchday.runs.local_database import address_of, programs, through
from launchday.runs.processes import Processes
from launchday.runs.stack import LocalStack, RunningStack, running
from launchday.runs.stop import Stop


def start(stack: LocalStack, path: Path, until: ExitStack) -> RunningStack:
    processes = until.enter_context(Processes(path / "logs"))
    return until.enter_context(running(stack, processes, Stop()))


def has_postgresql() -> bool:
    try:
        programs()
    except PreflightError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.skipif(not has_postgresql(), reason="no PostgreSQL server programs on this machine")
def test_a_link_to_a_database_of_its_own_and_one_to_the_clients(tmp_path: Path) -> None:
    with ExitStack() as until:
        stack = LocalStack(links=("database", "edge"))
        started = start(stack, tmp_path, until)
        files = re.search(r"(\S+/launchday-postgresql-\w+)/data", _log(tmp_path, "initdb"))
        assert files
        assert Path(files[1]).is_dir()
        with closing(Toxiproxy(started.toxiproxy_url)) as toxiproxy:
            proxies = toxiproxy.proxies()
            assert sorted(proxies) == ["database", "edge", "gateway"]
            assert started.target_url.endswith(proxies["edge"].listen.rpartition(":")[2])
            assert _ready(started) == 200
            toxiproxy.set_enabled("database", False)
            # Ready again only once it is asked through the link, which is the point.
            assert _ready(started) == 503
            toxiproxy.set_enabled("database", True)
            toxiproxy.set_enabled("edge", False)
            with pytest.raises(httpx.ConnectError):
                _ready(started)
    assert not Path(files[1]).exists()


def _ready(started: RunningStack) -> int:
    url = f"{started.target_url}/readyz"
    return httpx.get(url, timeout=10.0, trust_env=False).status_code


def _log(path: Path, name: str) -> str:
    return (path / "logs" / f"{name}.log").read_text(encoding="utf-8")


def test_without_its_programs_the_setting_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_database, "_INSTALLED", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with ExitStack() as until, pytest.raises(PreflightError) as error:
        start(LocalStack(links=("database",)), tmp_path, until)
    assert "needs the link 'database', and so PostgreSQL" in str(error.value)
    assert "local.database_url" in str(error.value)


@pytest.mark.parametrize(
    ("url", "address", "after"),
    [
        ("postgresql://car@db/car", "db:5432", "postgresql://car@127.0.0.1:7/car"),
        ("postgresql://a:p%40w@h:6/x?a=b", "h:6", "postgresql://a:p%40w@127.0.0.1:7/x?a=b"),
        ("postgresql://[::1]:6/x", "[::1]:6", "postgresql://127.0.0.1:7/x"),
    ],
)
def test_a_database_of_yours_is_reached_through_the_link(
    url: str, address: str, after: str
) -> None:
    assert address_of(url) == address
    assert through(url, 7) == after


@pytest.mark.parametrize("url", ["postgresql://u:secret@a,b/x", "postgresql:///x"])
def test_a_database_that_no_link_leads_to_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(PreflightError, match=r"local\.database_url must be like") as error:
        address_of(url)
    assert "secret" not in str(error.value)
