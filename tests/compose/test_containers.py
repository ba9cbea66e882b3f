"""Rules for images and containers, as linters of Dockerfiles and of compose files have them."""

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
    "services"
]
DOCKERFILES = [ROOT / "Dockerfile", *sorted((ROOT / "tests/compose/standins").glob("*/Dockerfile"))]
SECRET = re.compile(
    r"(?i)(password|passwd|secret|token|api_?key|private_?key)\S*[=:]\s*['\"]?\w{6,}"
)
each_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def instructions(path: Path) -> list[tuple[str, str]]:
    """Each with its arguments; continued lines joined, comments left out."""
    lines = [x for x in path.read_text(encoding="utf-8").splitlines() if not x.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    parts = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(word.upper(), rest.strip()) for word, _, rest in parts]


def of(path: Path, word: str) -> list[str]:
    return [rest for name, rest in instructions(path) if name == word]


@each_dockerfile
def test_the_image_begins_with_one_that_is_named_with_its_version(path: Path) -> None:
    bases = of(path, "FROM")
    assert bases
    for base in bases:
        assert re.fullmatch(r"[\w./-]+:[\w.-]+( AS \w+)?", base), base
        assert not re.search(r":(latest|stable|edge)\b", base), base


@each_dockerfile
def test_the_container_does_not_run_as_root(path: Path) -> None:
    assert of(path, "USER")[-1].partition(":")[0] not in ("0", "root")


@each_dockerfile
def test_files_are_copied_and_never_fetched_or_unpacked_on_the_way(path: Path) -> None:
    assert of(path, "ADD") == []
    assert not any(re.search(r"\b(curl|wget) .*http", each) for each in of(path, "RUN"))


@each_dockerfile
def test_nothing_of_a_package_manager_stays(path: Path) -> None:
    for command in of(path, "RUN"):
        if "apt-get" in command:
            assert "--no-install-recommends" in command
            assert "rm -rf /var/lib/apt/lists/*" in command
            assert not re.search(r"\b(dist-)?upgrade\b", command)
            assert command.index("update") < command.index("install"), "in one layer"
        assert not re.search(r"\bapt (install|update)\b|\bsudo\b", command)


@each_dockerfile
def test_commands_are_lists_so_that_signals_arrive(path: Path) -> None:
    for command in of(path, "CMD") + of(path, "ENTRYPOINT"):
        assert command.startswith("["), command
    assert len(of(path, "CMD")) == 1


@each_dockerfile
def test_no_frontend_is_fetched_to_read_the_file(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^#\s*(syntax|escape)\s*=", text, re.M | re.I)


@each_dockerfile
def test_no_secret_is_in_the_image(path: Path) -> None:
    for word, rest in instructions(path):
        if word in ("ENV", "ARG", "LABEL"):
            assert not SECRET.search(rest), rest


def test_dependencies_are_installed_by_hash_and_leave_no_cache() -> None:
    path = ROOT / "Dockerfile"
    assert of(path, "FROM") == ["python:3.13.7-slim-trixie"]
    assert of(path, "USER") == ["10001:10001"]
    (locked,) = [each for each in of(path, "RUN") if "requirements.lock" in each]
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(locked.split())
    assert "PIP_NO_CACHE_DIR=1" in " ".join(of(path, "ENV"))
    assert all("pip install" not in each or "--no-deps" in each for each in of(path, "RUN"))


def test_only_what_the_image_needs_is_sent_to_the_builder() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert rules[0] == "*", "everything is left out that is not named"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {part for each in of(ROOT / "Dockerfile", "COPY") for part in each.split()[:-1]}
    assert {re.sub(r"\[(\w)\]", r"\1", part) for part in copied} == let_in
    assert len(rules) < 25


def test_what_is_sent_to_the_builder_is_small_and_no_secret() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    let_in = tuple(rule[1:] for rule in rules if rule.startswith("!"))
    sent = [name for name in listed if PurePosixPath(name).parts[:1] and _under(name, let_in)]
    assert sent
    assert sum((ROOT / name).stat().st_size for name in sent) < 8_000_000
    bad = ("*.pem", "*.key", "*.env", ".env*", "id_*", "*password*.txt", "*.pgpass")
    assert [n for n in sent if any(fnmatch(PurePosixPath(n).name, each) for each in bad)] == []


def _under(name: str, roots: tuple[str, ...]) -> bool:
    return any(name == root or name.startswith(f"{root}/") for root in roots)


@each_service
def test_no_root_file_system_can_be_written(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    for mount in service.get("tmpfs", []):
        assert mount.partition(":")[0] in ("/tmp", "/var/run/postgresql")


@each_service
def test_what_is_mounted_from_the_checkout_cannot_be_written(name: str) -> None:
    mounts = SERVICES[name].get("volumes", [])
    assert all(mount.endswith(":ro") for mount in mounts if mount.startswith((".", "/", "~")))
    assert not any("docker.sock" in mount for mount in mounts)


@each_service
def test_no_container_shares_a_name_space_with_the_machine(name: str) -> None:
    service = SERVICES[name]
    for key in ("network_mode", "pid", "ipc", "userns_mode", "privileged", "devices"):
        assert key not in service


@each_service
def test_logs_cannot_fill_the_disk(name: str) -> None:
    options = SERVICES[name]["logging"]["options"]
    assert options.keys() >= {"max-size", "max-file"}


def test_no_secret_is_in_the_compose_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|KEY|SECRET", variable):
                given = re.fullmatch(r"\$\{\w+:-\}", str(value))
                assert given or str(value).startswith("/passwords/"), f"{name}: {variable}"
        assert not SECRET.search(" ".join(map(str, service.get("command", [])))), name
