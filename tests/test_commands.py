from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from launchday import commands
from launchday.runs.audit import Audit, Finding
from launchday.settings import load_settings
from launchday.terminal import print_audit


@pytest.mark.parametrize(
    ("url_in_file", "url_given", "token"),
    [
        (None, "http://127.0.0.1:1", "secret"),
        ("http://127.0.0.1:1", None, "secret"),
        ("http://127.0.0.1:1/", "http://127.0.0.1:1", "secret"),
        ("http://127.0.0.1:1", "http://127.0.0.1:2", None),
    ],
)
def test_the_admin_token_of_one_target_is_not_told_to_another(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    url_in_file: str | None,
    url_given: str | None,
    token: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f'url = "{url_in_file}"\n' if url_in_file else ""
    Path("launchday.toml").write_text(f'[target]\n{url}admin_token = "secret"\n')
    target = commands._target(load_settings(), url_given, None)
    assert target.admin_token == token
    assert "secret" not in repr(target)


def printed(result: Audit) -> str:
    console = Console(file=io.StringIO(), width=60)
    print_audit(console, result)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_first_findings_are_listed_and_the_rest_counted() -> None:
    lost = tuple(Finding(f"key-{n:02d}", "reserve", "told 201") for n in range(25))
    text = printed(Audit(keys=25, promises=25, lost=lost))
    assert text.count("told 201") == 20 + 1  # one of them in the paragraph
    assert "5 more" in text


def test_a_key_from_outside_is_no_markup_and_is_whole() -> None:
    key = "[red]" + "x" * 100
    text = printed(Audit(ghost=(Finding(key, None, "stored, but no client sent this key"),)))
    assert "[red]" in text
    assert text.count("x") >= 200
