"""settings: command line before environment before file, and one sentence for each mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from node import cli
from node.domain.peers import Destination, Sender, Standing
from node.errors import SettingsError
from node.settings import Settings, load


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No NODUS_ variable and no nodus.toml of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("NODUS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "nodus.toml"
    path.write_text(text)
    return path


def test_the_defaults_are_those_of_the_operators_contract() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.ae_title, settings.web_port) == ("127.0.0.1", 11112, "NODUS", 8080)
    assert settings.data == Path("nodus-data")
    assert settings.destinations == ()
    assert settings.all_senders() == [
        Sender("*", "127.0.0.0/8", Standing.ALLOWED),
        Sender("*", "::1/128", Standing.ALLOWED),
    ]
    assert settings.database == f"sqlite:///{Path('nodus-data').absolute()}/nodus.db"
    assert settings.runs_worker


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = settings_file(tmp_path, 'port = 1\nweb_port = 1\nae_title = "FILE"\n')
    monkeypatch.setenv("NODUS_PORT", "2")
    monkeypatch.setenv("NODUS_WEB_PORT", "2")
    settings = load(file, port=3, host=None)
    assert (settings.port, settings.web_port, settings.ae_title) == (3, 2, "FILE")


def test_nodus_toml_of_the_working_directory_is_read(tmp_path: Path) -> None:
    settings_file(tmp_path, 'ae_title = "HERE"\n')
    assert load().ae_title == "HERE"


def test_nodus_config_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    monkeypatch.setenv("NODUS_CONFIG", str(settings_file(tmp_path / "etc", 'ae_title = "THERE"\n')))
    assert load().ae_title == "THERE"


def test_senders_and_destinations_of_a_file_replace_the_defaults(tmp_path: Path) -> None:
    file = settings_file(
        tmp_path,
        '[[senders]]\nae_title = "CT1"\nnetwork = "10.0.0.5"\nquiet_s = 30\nmax_study_age_days = 90\n'
        '[[destinations]]\nae_title = "PACS"\nhost = "pacs"\nport = 104\nresults = ["SR"]\nnot_analysed = false\n',
    )
    settings = load(file)
    assert settings.all_senders() == [Sender("CT1", "10.0.0.5/32", Standing.ALLOWED, 3.0, 30.0, max_study_age_days=90)]
    assert [each.destination() for each in settings.destinations] == [Destination("PACS", "pacs", 104, ("SR",), False)]


def test_who_is_told_of_events_has_one_address(tmp_path: Path) -> None:
    place = 'host = "h"\nport = '
    file = settings_file(
        tmp_path,
        f'[[destinations]]\nae_title = "A"\n{place}1\n[[destinations]]\nae_title = "B"\n{place}2\n'
        f'[[subscribers]]\nae_title = "B"\n{place}3\n',
    )
    assert {each.ae_title: each.port for each in load(file).event_receivers} == {"A": 1, "B": 3}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("port = 70000", "Setting port: Input should be less than 65536."),
        ('ae_title = "A TITLE TOO LONG FOR DICOM"', "Setting ae_title: String should have at most 16 characters."),
        ('colour = "red"', "Setting colour: Extra inputs are not permitted."),
        ('log_level = "LOUD"', "Setting log_level: String should match pattern '^(DEBUG|INFO|WARNING|ERROR)$'."),
        ('[[senders]]\nnetwork = "nowhere"', "Setting senders.0.network: Value error, 'nowhere' does not appear"),
        ('[[destinations]]\nae_title = "P"\nhost = "h"', "Setting destinations.0.port: Field required."),
        (
            '[[destinations]]\nae_title = "P"\nhost = "h"\nport = 1\nresults = ["SEG", "pdf"]',
            "Setting destinations.0.results.1: Input should be 'SEG', 'SR', 'KOS', 'GSPS', 'PDF', 'SC' or 'PM'.",
        ),
        ('language = "fr"', "Setting language: Input should be 'en', 'zh' or 'de'."),
        ("lease_s = 0.5", "Setting lease_s: Input should be greater than 1."),
        ("worker_slots = 2", "Setting worker_slots: Value error, more than one needs Redis as broker_url;"),
        ('worklist_ae_title = "NODUS"', "Setting worklist_ae_title: Value error, the worklist needs another AE title"),
        ('worklist_ae_title = " "', "Setting worklist_ae_title: String should match pattern"),
        ('[[admins]]\nae_title = "*"\nnetwork = "::1"', "Setting admins.0.ae_title: Value error, an admin is named"),
        ('[[admins]]\nae_title = "A"\nnetwork = "x"', "Setting admins.0.network: Value error, 'x' does not appear"),
        ('[[subscribers]]\nae_title = "S"\nhost = "h"', "Setting subscribers.0.port: Field required."),
        ("port = ", "The settings cannot be read: "),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence_that_names_the_setting(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(settings_file(tmp_path, text))
    assert str(error.value).startswith(sentence)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_a_mistake_in_the_environment_is_one_sentence_that_keeps_the_value_to_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NODUS_PORT", "secret-value")
    with pytest.raises(SettingsError, match=r"^Setting port: Input should be a valid integer") as error:
        load()
    assert "secret" not in str(error.value)


def test_a_broken_list_in_the_environment_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODUS_DESTINATIONS", "{oops")
    with pytest.raises(SettingsError, match=r"^The settings cannot be read: .*destinations.*\.$"):
        load()


def test_a_file_that_is_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="There is no settings file"):
        load(tmp_path / "missing.toml")
    monkeypatch.setenv("NODUS_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(SettingsError, match="There is no settings file"):
        load()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        load().port = 5


@pytest.mark.parametrize(
    ("broker", "worker", "runs"),
    [
        ("filesystem://", None, True),
        ("redis://localhost", None, False),
        ("redis://localhost", True, True),
        ("filesystem://", False, False),
    ],
)
def test_an_embedded_broker_brings_its_worker(broker: str, worker: bool | None, runs: bool) -> None:
    assert load(broker_url=broker, worker=worker).runs_worker is runs


def test_with_redis_a_worker_may_do_several_jobs_at_once() -> None:
    assert Settings(broker_url="redis://broker:6379/0", worker_slots=8).worker_slots == 8


def test_a_child_process_gets_the_very_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = settings_file(
        tmp_path,
        'ae_title = "FILE"\nminimum_free_gib = 0.25\n[[senders]]\nnetwork = "10.0.0.0/8"\n'
        '[[destinations]]\nae_title = "PACS"\nhost = "h"\nport = 104\n',
    )
    settings = load(file, data=Path("d"), worker=True)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    file.unlink()
    assert Settings().model_dump() == {**settings.model_dump(), "data": tmp_path / "d"}


@pytest.mark.parametrize(
    ("arguments", "sentence", "code"),
    [
        (["up", "--port", "70000"], "nodus: Setting port: Input should be less than 65536.\n", 1),
        (["up", "--config", "missing.toml"], "nodus: There is no settings file missing.toml.\n", 1),
        (["status", "--data", "missing"], "nodus: There is no data directory missing; name it with --data or", 1),
        (
            ["up", "--pacs", "PACS@nowhere"],
            "Error: Invalid value for '--pacs': 'PACS@nowhere' is not AET@HOST:PORT.",
            2,
        ),
        (["senders", "allow", "CT1"], "nodus: 'CT1' is not AET@NETWORK, such as CT1@10.0.0.5 or *@10.0.0.0/24.\n", 1),
        (["jobs", "--state", "lost"], "nodus: There is no job state 'lost'; there are queued, running, done, dead,", 1),
        (["sing"], "Error: No such command 'sing'.", 2),
    ],
)
def test_a_wrong_command_is_one_sentence_and_no_stack_trace(arguments: list[str], sentence: str, code: int) -> None:
    ended = subprocess.run([sys.executable, "-m", "node", *arguments], capture_output=True, text=True, timeout=60)
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.returncode == code


def test_the_options_of_up_become_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[Settings] = []
    monkeypatch.setattr(cli.daily.run, "up", lambda settings, *_: started.append(settings))
    monkeypatch.setattr(cli.daily.logs, "configure", lambda _: None)
    options = ["--data", "d", "--host", "0.0.0.0", "--port", "0", "--aet", "CTNODE", "--web-port", "1"]
    file = settings_file(tmp_path, 'ae_title = "FILE"\nlease_s = 30\n')
    pacs = ["--pacs", "ONE@pacs:104", "--pacs", "TWO@[::1]:11112"]
    cli.cli.main(["up", *options, *pacs, "--config", str(file)], standalone_mode=False)
    (settings,) = started
    assert (settings.data, settings.host, settings.port, settings.web_port) == (Path("d"), "0.0.0.0", 0, 1)
    assert (settings.ae_title, settings.lease_s) == ("CTNODE", 30)
    assert [(each.ae_title, each.host, each.port) for each in settings.destinations] == [
        ("ONE", "pacs", 104), ("TWO", "::1", 11112)
    ]  # fmt: skip


@pytest.mark.parametrize("url", ["", "https://alerts.example/hook?token=1", "http://10.0.0.9:8080"])
def test_a_webhook_is_an_http_address(url: str) -> None:
    assert load(alert_webhook_url=url).alert_webhook_url == url


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "alerts.example", "https://user:secret@alerts.example/", "ftp://x"]
)
def test_what_is_no_webhook_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(alert_webhook_url=url)
    assert str(refused.value).startswith("Setting alert_webhook_url: ")
    assert url not in str(refused.value)


@pytest.mark.parametrize("title", ["A\\B", "   ", "", "PÄCS", "A\nB"])
@pytest.mark.parametrize("of", ["node", "sender", "destination"])
def test_what_is_no_ae_title_is_refused_wherever_it_is_set(of: str, title: str) -> None:
    with pytest.raises(SettingsError, match=r"ae_title: (Value error, an AE title|String should have at least 1)"):
        if of == "node":
            load(ae_title=title)
        elif of == "sender":
            load(senders=[{"ae_title": title, "network": "10.0.0.5"}])
        else:
            load(destinations=[{"ae_title": title, "host": "h", "port": 104}])


def test_blanks_around_an_ae_title_do_not_count() -> None:
    assert load(ae_title=" CT NODE ").ae_title == "CT NODE"
