"""The table of README.md has every scenario, and names what exists."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
ROW = re.compile(r"^\| S(\d+) \|[^|]*\|([^|]*)\|", re.MULTILINE)
PROOF = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")


def test_every_scenario_names_a_test_or_benchmark_that_exists() -> None:
    rows = ROW.findall((HERE / "README.md").read_text())
    assert [int(number) for number, _ in rows] == list(range(31))
    for number, cell in rows:
        proofs = PROOF.findall(cell)
        assert proofs, f"S{number} is not proved"
        for file, test in proofs:
            path = REPOSITORY / file if "/" in file else HERE / file
            assert path.is_file(), file
            assert not path.name.startswith("test_") or f"def {test}(" in path.read_text(), test


def test_every_test_that_names_a_scenario_names_one_that_exists() -> None:
    texts = [path.read_text() for path in HERE.glob("test_*.py")]
    numbers = {int(found) for text in texts for found in re.findall(r"def test_s(\d+)_", text)}
    assert max(numbers) <= 30
