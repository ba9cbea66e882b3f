"""Limits that no linter knows: file sizes, hosts and paths that must not be named."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
HARD_LIMIT_LINES = 400


def tracked() -> list[Path]:
    """Files that git tracks or would track; without git what a released archive holds."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    made = {".venv", "runs", ".hypothesis", ".git"}
    made |= {".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache"}
    files = (path for path in ROOT.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return [path for path in files if path.parts[len(ROOT.parts)] not in made]


def test_no_python_file_is_longer_than_the_hard_limit() -> None:
    lengths = {p: len(p.read_text().splitlines()) for p in tracked() if p.suffix == ".py"}
    assert len(lengths) > 30
    assert {str(p): n for p, n in lengths.items() if n > HARD_LIMIT_LINES} == {}


def test_no_file_names_the_host_of_a_package_registry_or_a_path_of_a_machine() -> None:
    hosts = [
        "files.pythonhosted" + ".org",
        "pypi" + ".org",
        "registry.npmjs" + ".org",
        "proxy.golang" + ".org",
        "deb.debian" + ".org",
        "repo1.maven" + ".org",
    ]
    homes = re.compile(r"(?<![\w.-])/(?:work|farm|home/\w+|Users/\w+)/|/ro" + r"ot/")
    found = []
    for path in tracked():
        if path.suffix in {".whl", ".png"}:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path}: {host}" for host in hosts if host in text]
        found += [f"{path}: {m[0]}" for m in homes.finditer(text) if path != Path(__file__)]
    assert found == []


def test_the_locks_name_exact_versions_with_hashes_only() -> None:
    for lock in (ROOT / "requirements.lock", ROOT / "requirements-dev.lock"):
        entries = re.split(r"\n(?=\S)", lock.read_text().strip())
        assert len(entries) > 30
        for entry in entries:
            assert re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+", entry), entry
            assert "--hash=sha256:" in entry, entry
            assert "kerberos" not in entry
