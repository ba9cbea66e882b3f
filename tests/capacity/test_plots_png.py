"""The PNGs: one for each picture, the same plan the same bytes, gaps said in words."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the extra plots is not installed")

from launchday.capacity.plots.pictures import pictures
from launchday.capacity.plots.png import render_png, write_pngs
from tests.capacity.plans import plan


def test_six_files_are_written_and_named_after_what_they_show(tmp_path: Path) -> None:
    paths = write_pngs(plan(), tmp_path / "made")
    assert [path.name for path in paths] == [
        "capacity-scalability.png",
        "capacity-latency.png",
        "capacity-utilisation.png",
        "capacity-residuals.png",
        "capacity-retries.png",
        "capacity-replicas.png",
    ]
    for path in paths:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        assert (width, height) == (1280, 880)


def test_a_picture_without_data_is_a_file_that_says_why() -> None:
    nothing = pictures(plan(per_replica=None, found=None))[5]
    assert nothing.missing
    assert render_png(nothing, "UNVALIDATED").startswith(b"\x89PNG")


def test_the_same_picture_gives_the_same_bytes() -> None:
    picture = pictures(plan())[1]
    assert render_png(picture, "UNVALIDATED") == render_png(picture, "UNVALIDATED")
