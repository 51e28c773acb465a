"""Models in the data directory: pinned, private, chosen, and nothing half installed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from node.catalog import installation, jobs, tables
from node.catalog.session import Catalog
from node.domain.audit import EventKind
from node.errors import SettingsError, WeightsError
from tests.brought import inference_json, write_configs, write_onnx
from tests.conftest import Typed
from tests.flow import queued
from tests.peers import require_library
from tests.studies import AT
from workers.models import Shipped, chosen, in_shadow, named, store
from workers.models.bundle import WEIGHTS
from workers.models.store import choose, content, install, registry_of, remove, shade

FILES = {"model.toml": b"settings", "deep/model.onnx": b"weights"}


@pytest.fixture
def with_onnx() -> None:
    """A test that runs a model."""
    require_library("onnxruntime", "onnx")


def modes(folder: Path) -> set[str]:
    return {f"{'d' if path.is_dir() else 'f'}{path.stat().st_mode & 0o777:o}" for path in folder.rglob("*")}


def test_a_model_is_kept_privately_and_pinned_file_by_file(tmp_path: Path) -> None:
    entry = install(tmp_path, "ours", "onnx", "1.0", FILES)
    assert content(tmp_path, entry) == FILES
    assert registry_of(tmp_path).entries == (entry,)
    assert modes(tmp_path) == {"d700", "f600"}
    other = install(tmp_path, "theirs", "onnx", "1.0", FILES | {"model.toml": b"other settings"})
    assert other.sha256 != entry.sha256


def test_one_changed_byte_is_refused_and_never_loaded(tmp_path: Path) -> None:
    entry = install(tmp_path, "ours", "onnx", "1.0", FILES)
    choose(tmp_path, "ours")
    (tmp_path / "models" / "ours" / "model.toml").write_bytes(b"Settings")
    with pytest.raises(WeightsError, match=r"'ours' is not what was added: the SHA-256 of model.toml differs\.$"):
        content(tmp_path, entry)
    with pytest.raises(WeightsError, match="is not what was added"):
        chosen(tmp_path).prepare("cpu")


def _missing(file: Path) -> None:
    file.unlink()


def _linked(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def _linked_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))
    file.parent.symlink_to("elsewhere")


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("spoil", [_missing, _linked, _linked_folder, _pipe])
def test_what_is_no_plain_file_of_the_model_is_not_read(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    entry = install(tmp_path, "ours", "onnx", "1.0", FILES)
    spoil(tmp_path / "models" / "ours" / "deep" / "model.onnx")
    with pytest.raises(WeightsError, match="of the model is"):
        content(tmp_path, entry)


@pytest.mark.parametrize("path", ["../registry.json", "/etc/passwd", "deep/../../x", ""])
def test_no_path_leaves_the_folder_of_a_model(tmp_path: Path, path: str) -> None:
    with pytest.raises(WeightsError, match="no file below its own folder"):
        store.plain_file(tmp_path, path)


@pytest.mark.parametrize("name", ["shipped", "", "..", "a/b", ".hidden", "x" * 21, "two words"])
def test_names_that_are_none_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="no name for a model"):
        install(tmp_path, name, "onnx", "1.0", FILES)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_keeps_its_model(tmp_path: Path) -> None:
    entry = install(tmp_path, "ours", "onnx", "1.0", FILES)
    with pytest.raises(WeightsError, match="already"):
        install(tmp_path, "ours", "onnx", "2.0", {"model.toml": b"other"})
    assert content(tmp_path, entry) == FILES


def test_an_addition_that_fails_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    install(tmp_path, "ours", "onnx", "1.0", FILES)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SettingsError, match="cannot be kept"):
        install(tmp_path, "theirs", "onnx", "1.0", {"a/b": b"1", "a": b"its name is a folder by then"})
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_killed_addition_left_is_no_model_and_is_replaced(tmp_path: Path) -> None:
    install(tmp_path, "ours", "onnx", "1.0", FILES)
    (tmp_path / "models" / "theirs").mkdir()
    (tmp_path / "models" / "theirs" / "half").write_bytes(b"half")
    assert [each.name for each in registry_of(tmp_path).entries] == ["ours"]
    entry = install(tmp_path, "theirs", "onnx", "1.0", FILES)
    assert content(tmp_path, entry) == FILES
    assert not (tmp_path / "models" / "theirs" / "half").exists()


def test_the_shipped_detector_reads_until_another_is_chosen_and_again_afterwards(tmp_path: Path) -> None:
    assert chosen(tmp_path) == Shipped()
    entry = install(tmp_path, "ours", "onnx", "1.0", FILES)
    assert chosen(tmp_path) == Shipped()
    choose(tmp_path, "ours")
    detector = chosen(tmp_path)
    assert (detector.version, detector.sha256) == ("ours 1.0", entry.sha256)
    choose(tmp_path, "shipped")
    assert chosen(tmp_path) == Shipped()


def test_the_shipped_detector_takes_the_place_of_no_other_because_a_file_is_broken_or_gone(tmp_path: Path) -> None:
    install(tmp_path, "ours", "onnx", "1.0", FILES)
    choose(tmp_path, "ours")
    registry = tmp_path / "models" / "registry.json"
    told = json.loads(registry.read_text())
    for broken in ("{", "[]", json.dumps(told | {"models": []}), json.dumps({"models": {}})):
        registry.write_text(broken)
        with pytest.raises(WeightsError, match="cannot be read"):
            chosen(tmp_path)
    registry.write_text(json.dumps(told | {"models": {}}))
    with pytest.raises(WeightsError, match="no model 'ours'"):
        chosen(tmp_path)
    registry.unlink()
    with pytest.raises(WeightsError, match="is missing"):
        chosen(tmp_path)


def test_one_model_reads_in_shadow_until_another_does_or_it_is_used(tmp_path: Path) -> None:
    assert in_shadow(tmp_path) == ""
    ours, theirs = (install(tmp_path, name, "onnx", "1.0", FILES) for name in ("ours", "theirs"))
    for name in ("ours", "theirs"):
        shade(tmp_path, name)
        assert (in_shadow(tmp_path), chosen(tmp_path)) == (name, Shipped())
    choose(tmp_path, "theirs")
    assert (in_shadow(tmp_path), chosen(tmp_path)) == ("", named(tmp_path, "theirs"))
    shade(tmp_path, "shipped")
    choose(tmp_path, "ours")
    assert (in_shadow(tmp_path), registry_of(tmp_path).entries) == ("shipped", (ours, theirs))
    shade(tmp_path, "")
    assert in_shadow(tmp_path) == ""


def test_what_is_in_use_is_not_its_own_shadow_and_what_is_not_here_is_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be its own shadow"):
        shade(tmp_path, "shipped")
    with pytest.raises(WeightsError, match="no model 'theirs'"):
        shade(tmp_path, "theirs")


def test_a_registry_of_an_older_version_has_nothing_in_shadow(tmp_path: Path) -> None:
    install(tmp_path, "ours", "onnx", "1.0", FILES)
    file = tmp_path / "models" / "registry.json"
    told = json.loads(file.read_bytes())
    del told["in_shadow"]
    file.write_text(json.dumps(told))
    assert (registry_of(tmp_path).in_use, in_shadow(tmp_path)) == ("shipped", "")
    file.write_text("{")
    assert in_shadow(tmp_path) == ""


def test_a_model_that_is_removed_leaves_no_file_and_its_name_is_free(tmp_path: Path) -> None:
    entry = install(tmp_path, "ours", "onnx", "1.0", FILES)
    install(tmp_path, "theirs", "onnx", "1.0", FILES)
    assert remove(tmp_path, "ours") == entry
    assert [each.name for each in registry_of(tmp_path).entries] == ["theirs"]
    assert sorted(each.name for each in (tmp_path / "models").iterdir()) == ["registry.json", "theirs"]
    install(tmp_path, "ours", "onnx", "2.0", {"model.toml": b"other"})


def test_what_is_needed_is_not_removed(tmp_path: Path) -> None:
    install(tmp_path, "used", "onnx", "1.0", FILES)
    install(tmp_path, "tried", "onnx", "1.0", FILES)
    choose(tmp_path, "used")
    shade(tmp_path, "tried")
    before = sorted(tmp_path.rglob("*"))
    for name, why in (("used", "is in use"), ("tried", "is in shadow"), ("shipped", "cannot be"), ("none", "no model")):
        with pytest.raises(WeightsError, match=why):
            remove(tmp_path, name)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_shadow_is_begun_seen_and_ended_by_command_and_a_model_removed(
    typed: Typed, with_onnx: None, tmp_path: Path
) -> None:
    data = ("--data", str(tmp_path / "data"))
    folder = str(write_onnx(tmp_path / "brought"))
    for name in ("peak", "other"):
        assert typed("models", "add", folder, "--name", name, *data)[0] == 0
    assert typed("models", "use", "peak", "--shadow", *data)[0] == 0
    listed = typed("models", "list", *data)[1].splitlines()
    assert [line.split()[0] for line in listed if line.endswith("shadow")] == ["peak"]
    shadows = {(each["name"], each["task"]): each["in_shadow"] for each in json.loads(
        typed("models", "list", "--json", *data)[1])}  # fmt: skip
    assert [name for name, tried in shadows.items() if tried] == [("peak", "detector")]
    for refused in (("remove", "peak"), ("use", "shipped", "--shadow"), ("use", "other", "--no-shadow")):
        code, said = typed("models", *refused, *data)
        assert (code, len(said.splitlines()), said.startswith("nodus: ")) == (1, 1, True)
    assert typed("models", "use", "peak", "--no-shadow", *data)[0] == 0
    assert in_shadow(tmp_path / "data") == ""
    assert typed("models", "remove", "peak", *data)[0] == 0
    assert [each.name for each in registry_of(tmp_path / "data").entries] == ["other"]


def test_models_are_listed_added_chosen_and_verified_by_command(typed: Typed, with_onnx: None, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    folder = write_onnx(tmp_path / "brought")
    assert typed("models", "add", str(folder), "--name", "peak", "--data", data)[0] == 0
    code, said = typed("models", "use", "peak", "--data", data, "--json")
    assert (code, json.loads(said)[0]["in_use"]) == (0, True)
    listed = json.loads(typed("models", "list", "--data", data, "--json")[1])
    used = {(each["name"], each["task"]): each["in_use"] for each in listed}
    assert used == {
        ("shipped", "classifier"): True,
        ("shipped", "composition"): True,
        ("shipped", "detector"): False,
        ("shipped", "segmenter"): True,
        ("peak", "detector"): True,
    }
    assert typed("models", "verify", "--data", data)[0] == 0
    (tmp_path / "data" / "models" / "peak" / "model.toml").write_text("")
    code, said = typed("models", "verify", "--data", data)
    assert (code, said.count("is not what was added")) == (1, 1)
    assert typed("models", "use", "shipped", "--data", data)[0] == 0
    code, said = typed("models", "use", "peak", "--data", data)
    assert (code, len(said.splitlines())) == (1, 1)
    assert chosen(tmp_path / "data") == Shipped()


def test_a_choice_is_in_the_audit_trail_of_the_node(typed: Typed, left_catalog: Catalog, data: Path) -> None:
    with left_catalog.writing() as session:
        installation.make(session)
    assert typed("models", "use", "shipped", "--data", str(data))[0] == 0
    with left_catalog.reading() as session:
        rows = session.execute(select(tables.audit.c.kind, tables.audit.c.detail)).all()
    (detail,) = (detail for kind, detail in rows if kind == EventKind.MODEL_CHOSEN)
    assert json.loads(detail) == {"model": "shipped", "weights_sha256": Shipped().sha256}


def test_who_ends_a_shadow_ends_its_jobs_and_all_of_it_is_in_the_audit_trail(
    typed: Typed, with_onnx: None, left_catalog: Catalog, data: Path, tmp_path: Path
) -> None:
    flow = queued(left_catalog, studies=3)
    with left_catalog.writing() as session:
        installation.make(session)
    folder = str(write_onnx(tmp_path / "brought"))
    for name in ("peak", "other"):
        assert typed("models", "add", folder, "--name", name, "--data", str(data))[0] == 0
    for number, command in enumerate((("peak", "--no-shadow"), ("other", "--shadow"), ("peak",))):
        assert typed("models", "use", "peak", "--shadow", "--data", str(data))[0] == 0
        with left_catalog.writing() as session:
            jobs.open_beside(session, jobs.get(session, number + 1), "peak", AT)
        assert typed("models", "use", *command, "--data", str(data))[0] == 0
        assert flow.jobs()[-1]["state"] == "cancelled"
    assert typed("models", "remove", "other", "--data", str(data))[0] == 0
    kinds = [entry.kind.removeprefix("model ") for entry in flow.audit() if entry.kind.startswith("model")]
    assert kinds == ["added", "added", "in shadow", "out of shadow", "in shadow", "in shadow",
                     "in shadow", "chosen", "removed"]  # fmt: skip


def _another_task(folder: Path) -> Path:
    folder = write_configs(folder, task="Spleen segmentation")
    (folder / WEIGHTS).write_bytes(b"")
    return folder


def _without_weights(folder: Path) -> Path:
    return write_configs(folder)


def _of_another_network(folder: Path) -> Path:
    folder = write_configs(folder, inference_json(backbone="$__import__('os').system('true')"))
    (folder / WEIGHTS).write_bytes(b"")
    return folder


def _of_links(folder: Path) -> Path:
    folder = write_configs(folder)
    (folder / WEIGHTS).symlink_to("/etc/hostname")
    return folder


def _of_a_card_alone(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.toml").write_text("version = 3")
    return folder


def _of_nothing(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "brought", [_another_task, _without_weights, _of_another_network, _of_links, _of_a_card_alone, _of_nothing]
)
def test_what_cannot_be_added_is_one_sentence_and_exit_code_1_and_leaves_nothing(
    typed: Typed, tmp_path: Path, brought: Callable[[Path], Path]
) -> None:
    folder, data = brought(tmp_path / "brought"), tmp_path / "data"
    code, said = typed("models", "add", str(folder), "--name", "theirs", "--data", str(data))
    assert code == 1
    assert len(said.splitlines()) == 1 and said.startswith("nodus: ") and said.rstrip().endswith(".")
    assert not data.exists()
