from __future__ import annotations

from pathlib import Path

import pytest

from launchday.errors import SettingsError
from launchday.settings import load_settings, toxiproxy_url


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOXIPROXY_URL", raising=False)


def write(text: str) -> None:
    Path("launchday.toml").write_text(text)


def test_without_a_file_everything_has_a_default() -> None:
    settings = load_settings()
    assert settings.rules.objective_seconds == 0.5
    assert settings.local.slots == 20
    assert toxiproxy_url(settings) is None


def test_the_environment_beats_the_file_for_one_nested_key(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[rules]\nobjective_seconds = 0.3\ngoodput_share = 0.8\n")
    monkeypatch.setenv("LAUNCHDAY_RULES__OBJECTIVE_SECONDS", "0.2")
    rules = load_settings().rules
    assert (rules.objective_seconds, rules.goodput_share) == (0.2, 0.8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[rules]\nobjectiv_seconds = 1\n",
            r"unknown setting rules.objectiv_s.*mean objective_s",
        ),
        ("[ruels]\n", r"unknown setting ruels .*did you mean rules"),
        ("[rules]\nobjective_seconds = 0\n", r"rules.objective_seconds .* is 0: .*greater than 0"),
        ("[rules]\ngoodput_share = 1.5\n", r"rules.goodput_share .* is 1.5: .*less than or equal"),
        ("[local]\ntarget_port = 70000\n", r"local.target_port .* is 70000"),
        ("[local]\nslots = 'many'\n", r"local.slots .* is 'many'"),
        ("[local\n", r"launchday.toml is no valid TOML"),
        ("a = '\x00'\n", r"launchday.toml is no valid TOML"),
    ],
)
def test_a_wrong_setting_is_one_sentence_that_names_it(text: str, words: str) -> None:
    write(text)
    with pytest.raises(SettingsError, match=words):
        load_settings()


@pytest.mark.parametrize(
    "name", ["LAUNCHDAY_RULES", "LAUNCHDAY_TARGET__YOURS", "LAUNCHDAY_SCENARIO"]
)
def test_a_variable_that_cannot_be_read_is_one_sentence(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "abc")
    with pytest.raises(SettingsError):
        load_settings()


def test_bytes_that_are_no_text_are_one_sentence() -> None:
    Path("launchday.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="no valid TOML"):
        load_settings()


def test_parameters_of_a_scenario_are_free() -> None:
    write("[scenario.launch_day]\nbaseline_rps = 12.5\nmultiple = 3\n")
    assert load_settings().scenario["launch_day"] == {"baseline_rps": 12.5, "multiple": 3}


def test_toxiproxy_url_comes_from_the_environment_first(monkeypatch: pytest.MonkeyPatch) -> None:
    write('[run]\ntoxiproxy_url = "http://127.0.0.1:1"\n')
    assert toxiproxy_url(load_settings()) == "http://127.0.0.1:1"
    monkeypatch.setenv("TOXIPROXY_URL", "http://127.0.0.1:2")
    assert toxiproxy_url(load_settings()) == "http://127.0.0.1:2"


def test_a_toxiproxy_url_without_a_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOXIPROXY_URL", "http://")
    with pytest.raises(SettingsError, match="TOXIPROXY_URL is"):
        toxiproxy_url(load_settings())


def test_a_toxiproxy_url_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOXIPROXY_URL", "localhost:8474")
    with pytest.raises(SettingsError, match="TOXIPROXY_URL is 'localhost:8474'; it must begin"):
        toxiproxy_url(load_settings())


@pytest.mark.parametrize("token", ["", "two words", "zwölf", "a\\nb", "  "])
def test_an_admin_token_that_fits_no_header_is_refused_and_not_shown(token: str) -> None:
    write(f'[target]\nadmin_token = "{token}"\n')
    with pytest.raises(SettingsError, match=r"target.admin_token: .*one word") as refused:
        load_settings()
    assert not token.strip() or token not in str(refused.value)


def test_an_admin_token_is_no_number_and_not_shown_either() -> None:
    write("[target]\nadmin_token = 8473\n")
    with pytest.raises(SettingsError, match=r"target.admin_token") as refused:
        load_settings()
    assert "8473" not in str(refused.value)


def test_an_admin_token_is_shown_by_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUNCHDAY_TARGET__ADMIN_TOKEN", "secret-of-the-target")
    settings = load_settings()
    assert "secret" not in repr(settings)
    assert settings.target.admin_token is not None
    assert settings.target.admin_token.get_secret_value() == "secret-of-the-target"
