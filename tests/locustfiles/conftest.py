"""The shared parts of the scenarios, importable as Locust makes them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "locustfiles"))
