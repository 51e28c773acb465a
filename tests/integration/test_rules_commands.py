"""`nodus rules`, and `nodus up` with rules that are wrong: no node is needed, and one sentence says what is wrong."""

import json
from pathlib import Path

import pytest

from tests.conftest import Typed
from tests.sentinel import NAME, sentinels_in
from tests.studies import Series

PACS = '[[destinations]]\nae_title = "PACS"\nhost = "h"\nport = 104\n'
THIN = (
    '[[rules]]\nname = "thin"\nsender = "CT1@10.0.0.0/24"\npriority = 4\nforward = ["PACS"]\n'
    'where = { Modality = "CT", SliceThickness = "<= 3", StudyDescription = ["*thorax*", "*chest*"] }\n'
)
REST = '[[rules]]\nname = "rest"\npipeline = "store"\n'


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A study of two series, and a file that is no image."""
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    sr = Series("x", "2").having(Modality="SR", SliceThickness=None, PatientName=NAME)
    for name, one in (("a", Series("x")), ("deep/b", sr)):
        one.datasets([0])[0].save_as(folder / f"{name}.dcm", enforce_file_format=True)
    (folder / "notes.txt").write_text("no image")
    return folder


def settings(folder: Path, text: str) -> str:
    (folder / "nodus.toml").write_text(text)
    return str(folder / "nodus.toml")


def test_the_rule_that_fires_is_named_and_each_other_says_why_not(typed: Typed, tmp_path: Path, images: Path) -> None:
    config = settings(tmp_path, PACS + THIN + REST)
    code, said = typed("rules", "test", str(images), "--config", config, "--sender", "CT1@10.0.0.7", "--json")
    (study,) = json.loads(said)
    assert (code, study["rule"], study["route"]["forward"], study["route"]["priority"]) == (0, "thin", ["PACS"], 4)
    assert [(each["rule"], each["fired"]) for each in study["rules"]] == [("thin", True), ("rest", False)]
    code, said = typed("rules", "test", str(images / "a.dcm"), "--config", config, "--sender", "CT2@10.0.0.7")
    assert "the sender is CT2@10.0.0.7, not CT1@10.0.0.0/24" in said
    assert "rule 'rest' says so: pipeline store" in said
    assert sentinels_in(said) == []


def test_a_folder_without_an_image_and_a_sender_that_is_none_end_with_a_sentence(
    typed: Typed, tmp_path: Path, images: Path
) -> None:
    config = settings(tmp_path, PACS + THIN)
    assert typed("rules", "test", str(images / "notes.txt"), "--config", config)[0] == 1
    code, said = typed("rules", "test", str(images), "--config", config, "--sender", "CT1@somewhere")
    assert (code, "is not AET@HOST" in said) == (1, True)


def test_rules_are_listed_in_their_order(typed: Typed, tmp_path: Path) -> None:
    ours = '[[aes]]\nae_title = "KEEP"\npipeline = "store"\n'
    code, said = typed("rules", "--config", settings(tmp_path, PACS + ours + THIN + REST), "--json")
    assert (code, [each["rule"] for each in json.loads(said)]) == (0, ["thin", "rest", ""])
    assert "There are no rules" in typed("rules", "--config", settings(tmp_path, PACS))[1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[rules]]\nname = "r"\nwhere = { Modalty = "CT" }\n', "Rule 'r': 'Modalty' is no keyword"),
        ('[[rules]]\nname = "r"\nforward = ["X"]\n', "Rule 'r' sends to X, which is no destination"),
        (REST + '[[rules]]\nname = "late"\nsender = "CT1"\n', "Rule 'late' is never reached: rule 'rest'"),
        ('[[rules]]\nname = "r"\ncalled = "OTHER"\n', "Rule 'r' asks for called AE title OTHER"),
        ('[[rules]]\nname = "r"\nsender = "@1.2.3.4"\n', "Rule 'r': sender '@1.2.3.4' is no AE title"),
        ('[[aes]]\nae_title = "A"\n[[aes]]\nae_title = "A"\n', "AE title A is there twice in [[aes]]."),
        ('[[rules]]\nname = "r"\npipeline = "guess"\n', "rules.0.pipeline"),
        ('[[senders]]\nnetwork = "10.0.0.5"\ncalled = "X"\n', "senders.0.called"),
        ('[[senders]]\nnetwork = "10.0.0.5"\ncalled = ["X"]\n', "Sender * may call X, which is none of ours"),
    ],
)
def test_wrong_rules_end_with_one_sentence_that_names_them(
    typed: Typed, tmp_path: Path, images: Path, text: str, sentence: str
) -> None:
    config = settings(tmp_path, PACS + text)
    for command in (("rules", "test", str(images)), ("up", "--port", "0", "--web-port", "0", "--data", "d")):
        code, said = typed(*command, "--config", config)
        assert (code, len(said.strip().splitlines())) == (1, 1)
        assert sentence in said
