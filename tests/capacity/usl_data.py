"""The published data sets and their goldens, where they are; a seeded twin that always is."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launchday.capacity.usl import Usl

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "usl"
NAMES = ("specsdm91", "raytracer_rows_1_to_6", "raytracer", "oracledb", "synthetic", "cisco")

Points = list[tuple[float, float]]


def goldens() -> dict[str, Any]:
    """The file of goldens; the test is skipped where it is not."""
    if not FOLDER.is_dir():
        pytest.skip("the published data sets are not beside this folder")
    found: dict[str, Any] = json.loads((FOLDER / "goldens.json").read_text(encoding="utf-8"))
    return found


def golden(name: str) -> dict[str, Any]:
    """What is published and computed of one data set."""
    found: dict[str, Any] = next(one for one in goldens()["datasets"] if one["id"] == name)
    return found


def published_points(name: str) -> Points:
    """The points of one data set."""
    one = golden(name)
    with (FOLDER / one["file"]).open(encoding="utf-8", newline="") as file:
        points = [(float(row[one["x"]]), float(row[one["y"]])) for row in csv.DictReader(file)]
    return points if one["rows"] == "all" else points[:6]


def noisy(law: Usl, loads: list[float], noise: float, seed: int) -> Points:
    """Points of a law with normal noise, a share of the throughput."""
    factors = 1 + noise * np.random.default_rng(seed).standard_normal(len(loads))
    return [(n, law.throughput(n) * float(f)) for n, f in zip(loads, factors, strict=True)]
