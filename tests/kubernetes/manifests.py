"""Reads deploy/kubernetes as kustomize does, as far as these files use it; needs no kustomize."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kubernetes"
BUILT = ("overlays/local", "overlays/cluster", "run", "dashboards")
WORKLOADS = ("Deployment", "StatefulSet", "Job")

Object = dict[str, Any]


def build(folder: Path) -> list[Object]:
    """What `kubectl kustomize` would print, but for the hashes in the names of ConfigMaps."""
    objects: list[Object] = []
    _apply(folder, objects)
    return objects


def kustomization(folder: Path) -> Object:
    """The kustomization.yaml of a folder."""
    (found,) = _read(folder / "kustomization.yaml")
    return dict(found)


def pod_specs(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Name of the workload and specification of its pods."""
    for each in objects:
        if each["kind"] in WORKLOADS:
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def containers(spec: Object) -> list[Object]:
    """Of a pod, its sidecars included."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def named(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of this kind and name."""
    (found,) = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """All objects of these kinds."""
    return [each for each in objects if each["kind"] in kinds]


def _read(path: Path) -> list[Any]:
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def _apply(folder: Path, objects: list[Object]) -> None:
    """Resources, components, then what this kustomization itself changes."""
    wanted = kustomization(folder)
    for name in wanted.get("resources", []):
        path = folder / name
        objects += build(path) if path.is_dir() else _read(path)
    for name in wanted.get("components", []):
        _apply(folder / name, objects)
    for generator in wanted.get("configMapGenerator", []):
        _generate(folder, generator, wanted.get("generatorOptions", {}), objects)
    for patch in wanted.get("patches", []):
        _patch(_read(folder / patch["path"])[0], patch.get("target"), objects)
    _transform(wanted, objects)


def _transform(wanted: Object, objects: list[Object]) -> None:
    for replicas in wanted.get("replicas", []):
        named(objects, "Deployment", replicas["name"])["spec"]["replicas"] = replicas["count"]
    for image in wanted.get("images", []):
        _rename(image, objects)
    if namespace := wanted.get("namespace"):
        for each in objects:
            if each["kind"] != "Namespace":
                each["metadata"]["namespace"] = namespace


def _generate(folder: Path, generator: Object, common: Object, objects: list[Object]) -> None:
    data = dict(literal.split("=", 1) for literal in generator.get("literals", []))
    for entry in generator.get("files", []):
        key, _, name = entry.rpartition("=")
        data[key or Path(name).name] = (folder / name).read_text(encoding="utf-8")
    if generator.get("behavior") == "replace":
        named(objects, "ConfigMap", generator["name"])["data"] = data
        return
    metadata: Object = {"name": generator["name"]}
    if labels := common.get("labels"):
        metadata["labels"] = labels
    objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _patch(patch: Any, target: Object | None, objects: list[Object]) -> None:
    if isinstance(patch, list):
        assert target
        for operation in patch:
            _operate(operation, named(objects, target["kind"], target["name"]))
    else:
        _merge(named(objects, patch["kind"], patch["metadata"]["name"]), patch)


def _merge(into: Object, patch: Object) -> None:
    """A strategic merge of mappings; null takes away. No patch of ours has a list."""
    for key, value in patch.items():
        assert not isinstance(value, list), "lists merge by rules of their own"
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


def _operate(operation: Object, document: Any) -> None:
    """One operation of a JSON patch (RFC 6902)."""
    *path, last = operation["path"].strip("/").split("/")
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    value = copy.deepcopy(operation["value"])
    if operation["op"] == "test":
        assert document[last] == value, operation
    elif isinstance(document, list):
        assert (operation["op"], last) == ("add", "-")
        document.append(value)
    else:
        assert operation["op"] == "add" or last in document, operation
        document[last] = value


def _rename(image: Object, objects: list[Object]) -> None:
    for _, spec in pod_specs(objects):
        for container in containers(spec):
            if container["image"].rpartition(":")[0] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"


def plain(objects: list[Object]) -> list[str]:
    """In an order of its own, each as text: two lists of objects can be compared by it."""
    return sorted(json.dumps(each, sort_keys=True) for each in objects)
