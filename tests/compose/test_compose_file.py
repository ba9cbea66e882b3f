import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from launchday.chaos.experiment import load_experiment
from launchday.runs.stack import REGIONS
from launchday.settings import load_settings
from target_service.gateway_settings import GatewaySettings
from target_service.settings import TargetSettings

ROOT = Path(__file__).resolve().parents[2]
CONDUCTORS = {"launchday", "surge", "regions"}
ENDS_BY_ITSELF = {*CONDUCTORS, "passwords"}


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


COMPOSE: dict[str, Any] = read("docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LINKS: dict[str, dict[str, Any]] = {
    link["name"]: link for link in json.loads((ROOT / "deploy/proxies.json").read_text())
}
each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def test_every_part_of_the_stack_is_there() -> None:
    assert SERVICES.keys() >= {
        "target", "gateway", "postgres", "toxiproxy", "prometheus", "grafana", "locust-master",
        "locust-worker", "launchday", "balancer", "reports", "surge", "regions",
    }  # fmt: skip


@each_service
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_the_database_and_the_fault_injector_publish_nothing() -> None:
    assert "ports" not in SERVICES["postgres"]
    assert "ports" not in SERVICES["toxiproxy"]


@each_service
def test_images_are_pinned_or_built_here(name: str) -> None:
    service = SERVICES[name]
    assert "build" in service or re.search(r":v?\d+(\.\d+)+(-alpine)?$", service["image"]), service[
        "image"
    ]


@each_service
def test_no_service_is_root_or_may_become_it(name: str) -> None:
    service = SERVICES[name]
    assert service["user"].partition(":")[0] not in ("", "0", "root")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    assert "privileged" not in service


@each_service
def test_what_keeps_running_has_a_health_check(name: str) -> None:
    service = SERVICES[name]
    assert ("healthcheck" in service) == (name not in ENDS_BY_ITSELF)
    assert (service["restart"] == "unless-stopped") == (name not in ENDS_BY_ITSELF)


@each_service
def test_services_wait_until_what_they_need_is_ready(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        ready = "service_completed_successfully" if needed in ENDS_BY_ITSELF else "service_healthy"
        assert how["condition"] == ready, f"{name} -> {needed}"


def test_toxiproxy_is_the_version_that_we_know_and_says_how_it_is() -> None:
    toxiproxy = SERVICES["toxiproxy"]
    assert toxiproxy["image"] == "ghcr.io/shopify/toxiproxy:2.12.0"
    assert toxiproxy["healthcheck"]["test"] == ["CMD", "/toxiproxy-cli", "list"]
    assert "-host=0.0.0.0" in toxiproxy["command"]


def test_the_target_reaches_what_it_depends_on_through_a_link_only() -> None:
    for variable, link in (("TARGET_GATEWAY_URL", "gateway"), ("TARGET_DATABASE_URL", "database")):
        port = LINKS[link]["listen"].rpartition(":")[2]
        address = SERVICES["target"]["environment"][variable]
        assert re.search(rf"//([^/]*@)?toxiproxy:{port}(/|$)", address)


def test_conducted_clients_reach_the_target_through_the_link_edge_only() -> None:
    port = LINKS["edge"]["listen"].rpartition(":")[2]
    conductor = SERVICES["launchday"]["environment"]
    assert conductor["LAUNCHDAY_TARGET__URL"] == f"http://toxiproxy:{port}"
    assert SERVICES["surge"]["environment"] == conductor
    assert LINKS["edge"]["upstream"] == "balancer:8000"


def test_whatever_leads_to_the_target_leads_to_the_balancer() -> None:
    assert "ports" not in SERVICES["target"]
    assert [port.rpartition(":")[2] for port in SERVICES["balancer"]["ports"]] == ["8000"]
    assert "--host=http://balancer:8000" in SERVICES["locust-master"]["command"]


def test_the_database_is_alone_with_its_link_in_a_network_without_a_way_out() -> None:
    assert COMPOSE["networks"] == {"database": {"internal": True}}
    inside = {name for name, each in SERVICES.items() if "database" in each.get("networks", [])}
    assert inside == {"postgres", "toxiproxy"}
    assert SERVICES["postgres"]["networks"] == ["database"]
    assert SERVICES["toxiproxy"]["networks"] == ["default", "database"]


def test_the_links_of_the_experiments_are_there_with_a_service_behind_each() -> None:
    folder = ROOT / "chaos"
    experiments = [load_experiment(path.stem, folder) for path in folder.glob("[!_]*.py")]
    wanted = {link for experiment in experiments for link in experiment.links}
    assert wanted - set(REGIONS) == LINKS.keys()
    assert all(link["upstream"].partition(":")[0] in SERVICES for link in LINKS.values())
    assert all(link["enabled"] for link in LINKS.values())
    listens = [link["listen"] for link in LINKS.values()]
    assert len(set(listens)) == len(listens)


def test_down_with_volumes_removes_all_of_them() -> None:
    """Compose leaves out what only services of profiles have, unless these are named."""
    mounts = {
        m for each in SERVICES.values() if "profiles" not in each for m in each.get("volumes", ())
    }
    assert COMPOSE["volumes"].keys() <= {mount.partition(":")[0] for mount in mounts}


def test_the_leases_outlive_the_conductor_that_wrote_them() -> None:
    conductor = SERVICES["launchday"]
    state = conductor["environment"]["XDG_STATE_HOME"]
    assert f"state:{state}" in conductor["volumes"]
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (owned,) = re.findall(r"install -d -o launchday -g launchday (.+)$", image, re.M)
    assert state in owned.split(), "a new volume belongs to whom its directory belongs to"


def test_no_password_is_written_down() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if "PASSWORD" in variable:
                allowed = value.startswith("/passwords/") or re.fullmatch(r"\$\{\w+:-\}", value)
                assert allowed, f"{name}: {variable}"
    assert "@" in SERVICES["target"]["environment"]["TARGET_DATABASE_URL"]
    assert not re.search(r":[^/@]+@", SERVICES["target"]["environment"]["TARGET_DATABASE_URL"])


def test_keys_are_files_of_the_volume_of_passwords_and_have_no_default() -> None:
    target = SERVICES["target"]
    for variable in ("TARGET_ADMIN_TOKEN", "TARGET_SESSION_KEY"):
        assert variable not in target["environment"]
        assert target["environment"][f"{variable}_FILE"].startswith("/passwords/")
    token = target["environment"]["TARGET_ADMIN_TOKEN_FILE"]
    conductor = SERVICES["launchday"]
    assert conductor["entrypoint"] == ["deploy/conduct.sh", token]
    assert "passwords:/passwords:ro" in {*target["volumes"]} & {*conductor["volumes"]}
    script = (ROOT / "deploy/passwords.sh").read_text(encoding="utf-8")
    assert "for key in admin_token session_key;" in script


def test_the_target_has_the_time_to_drain() -> None:
    drain_seconds = TargetSettings.model_fields["drain_seconds"].default
    delay_seconds = float(SERVICES["target"]["environment"]["TARGET_DRAIN_DELAY_SECONDS"])
    grace_seconds = int(SERVICES["target"]["stop_grace_period"].removesuffix("s"))
    assert grace_seconds > delay_seconds + drain_seconds


def test_every_setting_of_the_services_exists() -> None:
    for name, prefix, known in (
        ("target", "TARGET_", TargetSettings.model_fields),
        ("gateway", "GATEWAY_", GatewaySettings.model_fields),
    ):
        variables = [v for v in SERVICES[name]["environment"] if v.startswith(prefix)]
        settings = {v.removeprefix(prefix).removesuffix("_FILE").lower() for v in variables}
        assert settings
        assert settings <= known.keys()


def test_the_cars_remember_in_a_volume_what_they_executed() -> None:
    gateway = SERVICES["gateway"]
    folder = str(Path(gateway["environment"]["GATEWAY_JOURNAL"]).parent)
    assert gateway["volumes"] == [f"journal:{folder}"]
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(rf"install -d -o launchday .* {folder}\b", image)


def test_a_second_stack_can_stand_beside_the_first() -> None:
    for name, service in SERVICES.items():
        assert "container_name" not in service, name
        for port in service.get("ports", []):
            assert re.fullmatch(r"127\.0\.0\.1:\$\{\w+_PUBLISHED_PORT:-\d+\}:\d+", port), name
    assert all(not settings for settings in COMPOSE["volumes"].values()), "none has a fixed name"
    assert all("name" not in settings for settings in COMPOSE["networks"].values())


def test_one_variable_makes_the_stack_another_region() -> None:
    region = "${TARGET_REGION:-us}"
    assert SERVICES["target"]["environment"]["TARGET_REGION"] == region
    assert f"--region={region}" in SERVICES["locust-master"]["command"]
    variable = "LAUNCHDAY_SCENARIO__LAUNCH_DAY__REGION"
    assert SERVICES["launchday"]["environment"][variable] == region


def test_the_region_of_the_environment_reaches_the_scenario(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAUNCHDAY_SCENARIO__LAUNCH_DAY__REGION", "eu")
    assert load_settings().scenario["launch_day"]["region"] == "eu"


def test_everybody_may_look_at_the_dashboards_and_nobody_change_them() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    provider = read("dashboards/provisioning/dashboards/launchday.yaml")["providers"][0]
    assert provider["allowUiUpdates"] is False
    folder = provider["options"]["path"]
    assert f"./dashboards/grafana:{folder}:ro" in SERVICES["grafana"]["volumes"]
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == folder
    assert (ROOT / "dashboards/grafana" / home.name).is_file()


def test_prometheus_scrapes_every_second_what_the_stack_exports() -> None:
    config = read("dashboards/prometheus.yml")
    assert config["global"]["scrape_interval"] == "1s"
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    found = {n: job["dns_sd_configs"][0] for n, job in jobs.items() if "dns_sd_configs" in job}
    fixed = [job["static_configs"][0] for name, job in jobs.items() if name not in found]
    scraped = {target for each in fixed for target in each["targets"]}
    assert scraped >= {"gateway:9101", "toxiproxy:8474", "launchday:9102", "balancer:8404"}
    assert scraped >= {f"launchday:{port}" for port in range(9103, 9107)}  # its generator's
    assert all(target.partition(":")[0] in {*SERVICES, "localhost"} for target in scraped)
    by_name = {(each["names"][0], each["type"], each["port"]) for each in found.values()}
    assert by_name == {("target", "A", 9100), ("locust-worker", "A", 9646)}
    assert "--metrics-port=9646" in SERVICES["locust-worker"]["command"]
    assert {"-proxy-metrics", "-runtime-metrics"} <= set(SERVICES["toxiproxy"]["command"])


def test_prometheus_finds_the_conductor_by_its_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    conductor = SERVICES["launchday"]
    for variable, value in conductor["environment"].items():
        if variable.startswith("LAUNCHDAY_RUN__"):
            monkeypatch.setenv(variable, value)
    run = load_settings().run
    assert run.metrics_host == "0.0.0.0"
    jobs = {job["job_name"]: job for job in read("dashboards/prometheus.yml")["scrape_configs"]}
    targets = jobs["launchday"]["static_configs"][0]["targets"]
    assert targets == [f"{conductor['hostname']}:{run.metrics_port}"]
    assert "ports" not in conductor


def test_grafana_knows_the_scrape_interval() -> None:
    source = read("dashboards/provisioning/datasources/prometheus.yaml")["datasources"][0]
    interval = read("dashboards/prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval
    assert source["url"] == "http://prometheus:9090"


@pytest.mark.parametrize("name", sorted(CONDUCTORS))
def test_conducting_a_run_does_not_change_how_many_replicas_there_are(name: str) -> None:
    started, waiting = set[str](), [name]
    while waiting:
        needed = SERVICES[waiting.pop()].get("depends_on", {}).keys()
        waiting += needed - started
        started |= needed
    assert started == {"passwords", "toxiproxy", "prometheus"}
    assert not any("deploy" in SERVICES[each] for each in started), "`run` sets their number back"
