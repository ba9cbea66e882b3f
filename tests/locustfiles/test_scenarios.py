"""Every scenario under plain Locust, as a user starts it, all at once against one backend.

And one of them against two other services: a shop, by one class, and a car maker that is ailing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from launchday.metric_names import CRITICALITIES
from launchday.runs.audit import audit_record
from launchday.runs.stop import Stop
from launchday.runs.stored import Question, ask
from tests.locustfiles.generators import FEW, SMALL, Generator, endpoints, outcomes
from tests.locustfiles.servers import OWN_CLASS, AilingService, Service, ShopService, serving
from tests.target_service.processes import ADMIN_TOKEN, FAST, FREE_PORTS, ROOT, Process

pytestmark = pytest.mark.e2e

# What makes the scenario what it is.
JOURNEYS = {
    "launch_day": {"reserve", "look", "unlock"},
    "regional_incident": {"look", "poll", "telemetry"},
    "reconnect_storm": {"cold_start", "resume", "upload_backlog"},
    "maintenance_return": {"watch_status", "cold_start", "poll"},
    "shared_deadline": {"reserve", "open_app"},
    "app_release": {"open_app", "poll"},
    "evening_commute": {"unlock", "climate", "open_app", "poll", "telemetry"},
    "midnight_charging": {"start_charging", "telemetry"},
    "breakpoint": {"reserve", "look", "unlock"},
}

# On a busy machine answers may be slow or come too late, but never these.
NEVER = {"client_error", "server_error", "invalid", "throttled", "dependency", "shed"}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("target")
    gateway = Process("target_service.gateway", home / "gateway", FREE_PORTS)
    settings = {
        **FREE_PORTS,
        **FAST,
        "TARGET_GATEWAY_URL": gateway.url,
        "TARGET_ADMIN_TOKEN": ADMIN_TOKEN,
        "TARGET_SHEDDING": "off",  # a machine that is busy must not make it refuse
        "TARGET_DATABASE_URL": f"sqlite:///{home / 'car.db'}",
    }
    started = Process("target_service", home / "target", settings)
    yield started
    started.close()
    gateway.close()


@pytest.fixture(scope="module")
def shop() -> Iterator[Service]:
    with serving(ShopService()) as service:
        yield service


@pytest.fixture(scope="module")
def ailing() -> Iterator[Service]:
    with serving(AilingService()) as service:
        yield service


@pytest.fixture(scope="module")
def started(
    target: Process, shop: Service, ailing: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Generator]]:
    """All at once: each of them waits most of its time."""
    home = tmp_path_factory.mktemp("generators")
    (home / "our_shop.py").write_text(OWN_CLASS)
    # The machine of the tests may be slow, and nobody is to come again because of that.
    quiet = ["--headless", "--only-summary", "--exit-code-on-error=0"]
    common = [*quiet, *FEW, "--request-timeout-seconds=30"]
    common += ["--max-users=300"]
    ours = [*common, "--host", target.url, "--fleet-size=20", "--retry-policy=none"]
    ours += ["--pull-share=0", "--restart-share=0"]
    generators = {
        name: Generator(name, [*ours, *curve], home / name) for name, curve in SMALL.items()
    }
    elsewhere = {
        "shop": [
            "--host", shop.url, f"--backend={home / 'our_shop.py'}:OurShop",
            "--shares=look=1,reserve=2", "--retry-policy=retry_after", "--patience-seconds=30",
        ],
        "ailing": ["--host", ailing.url, "--shares=reserve=2,unlock=1", "--restart-share=1"],
    }  # fmt: skip
    for name, arguments in elsewhere.items():
        arguments = [*common, *SMALL["launch_day"], *arguments]
        generators[name] = Generator("launch_day", arguments, home / name)
    yield generators
    for generator in generators.values():
        generator.close()


def test_every_scenario_of_the_folder_is_tried_here() -> None:
    scenarios = {path.stem for path in (ROOT / "locustfiles").glob("[a-z]*.py")}
    assert scenarios - {"three_regions"} == set(SMALL) == set(JOURNEYS)


@pytest.mark.parametrize("name", SMALL)
def test_it_plays_its_journeys_and_is_served(name: str, started: dict[str, Generator]) -> None:
    generator = started[name].finish()
    assert generator.process.returncode == 0, generator.output
    assert "Traceback" not in generator.output
    record = generator.record
    assert record.complete
    assert record.crashes == 0, record.crash_words
    scheduled = sum(each.scheduled for each in record.arrivals.values())
    assert scheduled == record.schedules[0].expected_arrivals
    begun = sum(each.started for each in record.arrivals.values())
    assert sum(generator.endings.values()) == begun, "every journey that began has an ending"
    assert not outcomes(record) & NEVER, "everything that is asked for exists"
    done = {words.removesuffix(": done") for words in generator.endings if ": done" in words}
    assert JOURNEYS[name] <= done


@pytest.mark.parametrize("name", SMALL)
def test_every_endpoint_has_a_class(name: str, started: dict[str, Generator]) -> None:
    classes = endpoints(started[name].finish().record)
    assert classes.pop("status", {"unclassified"}) == {"unclassified"}, "it is never shed"
    assert classes
    for endpoint, its_classes in classes.items():
        assert its_classes <= set(CRITICALITIES), endpoint


def test_what_was_promised_is_stored_and_done_once(
    target: Process, started: dict[str, Generator]
) -> None:
    commute = started["evening_commute"].finish()
    assert commute.record.complete
    ask(
        Question(target.url, ADMIN_TOKEN, commute.began_unix, exclusive=False), commute.home, Stop()
    )
    audit = audit_record(commute.home)
    assert audit.keys > 0
    assert audit.clean, audit


def test_a_chatty_build_sends_more_for_the_same_journeys(started: dict[str, Generator]) -> None:
    """From the third second on all have it: 2.1 times as many reading requests on the whole."""
    release = started["app_release"].finish()
    counts = {name.partition(":")[0]: count for name, count in release.endings.items()}
    before = 3 * counts["open_app"] + counts["look"] + counts["unlock"]
    sent = sum(
        cell.count
        for (_, endpoint, *_), cell in release.record.cells.items()
        if endpoint in ("vehicles", "state", "notifications")
    )
    assert 1.4 * before < sent < 3 * before
    commands = sum(c.count for (_, name, *_), c in release.record.cells.items() if name == "unlock")
    assert commands == counts["unlock"], "what changes something is sent once"


def test_a_scenario_that_is_asked_for_nonsense_says_so_in_words(
    target: Process, tmp_path: Path
) -> None:
    wrong = Generator(
        "evening_commute",
        ["--headless", "--host", target.url, *FEW, "--shares=lok=3"],
        tmp_path / "home",
    ).finish()
    assert wrong.process.returncode == 2
    assert "ERROR/launchday: launchday: --shares is 'lok=3'; there is no journey" in wrong.output
    assert "Traceback" not in wrong.output


def test_one_class_takes_a_scenario_of_ours_to_a_service_of_theirs(
    shop: Service, started: dict[str, Generator]
) -> None:
    generator = started["shop"].finish()
    assert generator.process.returncode == 0, generator.output
    assert {asked.path.split("/")[1] for asked in shop.asked} == {"products", "orders"}
    assert {asked.authorization for asked in shop.asked} == {None}, "nobody signs in there"
    assert endpoints(generator.record) == {"product": {"sheddable"}, "order": {"critical"}}
    assert {words.partition(":")[0] for words in generator.endings} == {"look", "reserve"}


def test_a_retry_comes_when_the_server_said_and_with_the_same_key(
    shop: Service, started: dict[str, Generator]
) -> None:
    generator = started["shop"].finish()
    orders = [tries for tries in shop.by_key().values() if len(tries) == 2]
    assert len(orders) >= generator.endings["reserve: done"] >= 5
    for first, second in orders:
        assert second.seconds - first.seconds >= 1
        assert first.body == second.body == {"item": 1}


def test_who_restarts_the_app_signs_in_again_and_still_wants_the_same(
    ailing: Service, started: dict[str, Generator]
) -> None:
    generator = started["ailing"].finish()
    assert generator.process.returncode == 0, generator.output
    assert generator.endings["reserve: done"] >= 5
    wanted = sum(count for words, count in generator.endings.items() if "reserve" in words)
    sign_ins = sum(asked.path == "/v1/sessions" for asked in ailing.asked)
    assert sign_ins > 8, "the eight owners of the beginning, and who started the app anew"
    orders = [t for t in ailing.by_key().values() if t[0].path == "/v1/reservations"]
    assert len(orders) == wanted, "one key for each who wants one, whatever happens"
    again = [tries for tries in orders if len(tries) == 2]
    assert again
    for first, second in again:
        assert first.authorization != second.authorization


def test_who_cannot_unlock_over_the_network_uses_the_phone_key(
    started: dict[str, Generator],
) -> None:
    endings = started["ailing"].finish().endings
    assert endings["unlock: degraded"] >= 3
    assert not any(name.startswith("unlock: gave up") for name in endings)
