"""The class that --backend names, from a file of the user's."""

from __future__ import annotations

import importlib.util
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from _backend import Backend
from _connected_car import ConnectedCar

_HERE = Path(__file__).parent


def backend_class(named: str) -> Callable[[Namespace], Backend]:
    """The class that `FILE.py:CLASS` names; an empty text names the reference backend.

    FILE is looked for beside the scenarios, then from the working directory.

    Raises:
        ValueError: there is no such file, or no such class in it.
    """
    if not named:
        return ConnectedCar
    file, _, name = named.rpartition(":")
    paths = [path for path in (_HERE / file, Path(file)) if path.is_file()]
    if not paths or not name:
        raise ValueError(
            f"--backend is {named!r}; it must be FILE.py:CLASS, the file in {_HERE.name}/ or a path"
        )
    found = getattr(_imported(paths[0]), name, None)
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise ValueError(f"--backend is {named!r}, but {paths[0].name} has no Backend {name!r}")
    return found


def _imported(path: Path) -> ModuleType:
    name = f"launchday_backend_{path.stem}"  # so that it hides no module of that name
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"--backend: {path.name} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        raise ValueError(f"--backend: {path.name} cannot be imported ({words})") from error
    return module
