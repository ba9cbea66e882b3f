"""What the README shows is true: its commands exist, its code runs, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from launchday import __version__
from launchday.commands import launchday
from launchday.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(program: str) -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith(program)]


def test_the_python_snippets_run_and_the_middleware_is_in_place() -> None:
    for block in blocks("python"):
        code = block + "\napp.build_middleware_stack()\n"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def words_of_command(arguments: list[str]) -> list[str]:
    """`curves show NAME` is two words, `run NAME` is one."""
    command: click.Command = launchday
    words: list[str] = []
    for word in arguments:
        if not isinstance(command, click.Group) or word not in command.commands:
            break
        command = command.commands[word]
        words.append(word)
    return words


@pytest.mark.parametrize("arguments", commands(".venv/bin/launchday"), ids=" ".join)
def test_the_commands_take_the_options_shown(arguments: list[str]) -> None:
    shown = [a for a in arguments if a.startswith("-")]
    helped = subprocess.run(
        [sys.executable, "-m", "launchday", *words_of_command(arguments), "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    for option in shown:
        assert re.search(rf"(^|[\s,]){re.escape(option)}\b", helped), option


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for arguments in commands("make"):
        assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE)


def test_links_lead_to_files_and_ports_are_those_of_the_compose_file() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    for link in re.findall(r"\]\(([^)]+)\)", README):
        port = re.match(r"http://127\.0\.0\.1:(\d+)", link)
        if port:
            assert f":-{port[1]}}}" in compose, link
        else:
            assert (ROOT / link).exists(), link


def test_the_settings_file_lists_every_setting_with_its_default() -> None:
    text = (ROOT / "launchday.toml").read_text()
    shown = tomllib.loads(re.sub(r"^# (?=\w+ = |\[)", "", text, flags=re.MULTILINE))
    defaults = Settings().model_dump(mode="json")
    illustrations = {"url", "metrics_url", "capacity_rps", "toxiproxy_url", "shed_limit"}
    illustrations |= {"database_url", "admin_token", "metrics_port"}
    for table in ("target", "rules", "run", "local"):
        assert set(shown[table]) == set(defaults[table]), table
        for key in set(shown[table]) - illustrations:
            assert shown[table][key] == defaults[table][key], f"{table}.{key}"


def test_the_changelog_speaks_of_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
