import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.manifests import ROOT, named
from tests.kubernetes.test_references import MADE_BY_HAND, OVERLAYS

PAGE = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
BLOCKS = re.findall(r"```(?:ba)?sh\n(.*?)```", PAGE, re.S)


def test_every_path_in_the_page_exists() -> None:
    paths = set(re.findall(r"(?<![\w/.])(?:deploy|dashboards)/[\w./-]*\w", PAGE))
    paths -= {path for path in paths if "$" in path or path.endswith("rules/")}
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for link in re.findall(r"\]\((?!http)([^)#]+)", PAGE):
        assert (ROOT / "docs" / link).exists(), link


def test_the_command_for_the_secret_makes_every_key_and_no_other() -> None:
    (command,) = [block for block in BLOCKS if "create secret generic" in block]
    ((name, keys),) = MADE_BY_HAND.items()
    assert f"create secret generic {name} " in command
    assert set(re.findall(r'--from-file="\$made/(\w+)"', command)) == keys


def test_workloads_and_services_in_the_page_are_there() -> None:
    cluster = OVERLAYS["cluster"]
    found = set(re.findall(r"\b(deployment|service|job)/([\w-]+)", PAGE))
    assert found
    for kind, name in found:
        assert named(cluster, kind.capitalize(), name)


def test_numbers_of_the_page_are_those_of_the_files() -> None:
    autoscaler = named(OVERLAYS["cluster"], "HorizontalPodAutoscaler", "target")["spec"]
    least, most = autoscaler["minReplicas"], autoscaler["maxReplicas"]
    assert f"| `cluster` | {least} to {most}, equally in three zones |" in WORDS
    assert f"`maxReplicas` is {most} ({most * 160} requests/s" in WORDS
    offered = autoscaler["metrics"][1]["pods"]["target"]["averageValue"]
    assert f"a replica per {offered} offered requests/s" in WORDS


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not on PATH")
def test_the_rules_become_what_the_operator_reads(tmp_path: Path) -> None:
    (block,) = [block for block in BLOCKS if "PrometheusRule" in block]
    (tmp_path / "kubectl").write_text("#!/bin/sh\ncat\necho ---\n")
    (tmp_path / "kubectl").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    shown = subprocess.run(
        ["bash", "-euc", block[block.index("for rules") :]],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rules = [each for each in yaml.safe_load_all(shown) if each]
    assert {each["kind"] for each in rules} == {"PrometheusRule"}
    for each in rules:
        name = each["metadata"]["name"].removeprefix("launchday-")
        source = yaml.safe_load((ROOT / f"dashboards/rules/{name}.yml").read_text())
        assert each["spec"] == source
    assert len(rules) == len(list((ROOT / "dashboards/rules").glob("*.yml")))
