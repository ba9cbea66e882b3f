import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.manifests import BUILT, FOLDER, ROOT, build, kustomization, plain

KUSTOMIZATIONS = sorted(path.parent for path in FOLDER.rglob("kustomization.yaml"))
NOT_FOR_KUBECTL = {"conduct.sh", "adapter.values.yaml"}
HASH = re.compile(r"-[2456789bcdfghkmt]{10}$")


def files_of(folder: Path) -> list[Path]:
    wanted = kustomization(folder)
    names = [*wanted.get("resources", []), *wanted.get("components", [])]
    names += [patch["path"] for patch in wanted.get("patches", [])]
    for generator in wanted.get("configMapGenerator", []):
        names += [entry.rpartition("=")[2] for entry in generator.get("files", [])]
    return [(folder / name).resolve() for name in names]


def test_what_a_kustomization_names_is_there() -> None:
    missing = [path for folder in KUSTOMIZATIONS for path in files_of(folder) if not path.exists()]
    assert missing == []


def test_no_file_is_left_out_of_the_kustomizations() -> None:
    used = {path for folder in KUSTOMIZATIONS for path in files_of(folder)}
    files = {path for path in FOLDER.rglob("*") if path.is_file()}
    left = {path for path in files - used if path.name != "kustomization.yaml"}
    assert {path.name for path in left} == NOT_FOR_KUBECTL
    starts = {FOLDER / name for name in BUILT}
    assert {folder for folder in KUSTOMIZATIONS if folder not in used} == starts


def test_every_board_becomes_a_config_map() -> None:
    boards = {path.resolve() for path in (ROOT / "dashboards/grafana").glob("*.json")}
    assert boards == set(files_of(FOLDER / "dashboards"))


def test_a_config_map_holds_a_board_and_is_small_enough() -> None:
    for each in build(FOLDER / "dashboards"):
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        ((name, text),) = each["data"].items()
        assert name == f"{each['metadata']['name']}.json"
        assert len(text.encode()) < 1024 * 1024  # what the API server takes


def test_only_the_dashboards_need_files_from_outside() -> None:
    for folder in KUSTOMIZATIONS:
        outside = [path for path in files_of(folder) if FOLDER not in path.parents]
        assert bool(outside) == (folder.name == "dashboards"), folder


def test_every_overlay_says_which_image_and_where() -> None:
    images = [kustomization(FOLDER / name)["images"] for name in BUILT if name != "dashboards"]
    assert all(image == images[0] for image in images)


def kustomize(name: str) -> list[Any]:
    tool = shutil.which("kustomize")
    command = [tool, "build"] if tool else [shutil.which("kubectl"), "kustomize"]
    if command[0] is None:
        pytest.skip("neither kustomize nor kubectl is on PATH")
    command += ["--load-restrictor", "LoadRestrictionsNone"] if name == "dashboards" else []
    shown = subprocess.run(
        [str(part) for part in [*command, FOLDER / name]], capture_output=True, check=False
    )
    assert shown.returncode == 0, shown.stderr.decode()
    return list(yaml.safe_load_all(shown.stdout))


def without_hashes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_hashes(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_hashes(each) for each in value]
    return HASH.sub("", value) if isinstance(value, str) else value


@pytest.mark.parametrize("name", BUILT)
def test_kustomize_builds_what_these_tests_read(name: str) -> None:
    built = without_hashes(kustomize(name))
    assert plain(built) == plain(build(FOLDER / name))
