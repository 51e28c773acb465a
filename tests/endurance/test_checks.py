"""The checks of a campaign see what they are for."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydicom import Dataset
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian

from node.domain.delivery import ResultKind
from tests.endurance import kills, soak
from tests.endurance.__main__ import conclude
from tests.endurance.arrivals import what_came
from tests.endurance.checks import every_destination_has_its_results_once
from tests.endurance.exams import Exam, short_chest
from tests.endurance.logs import troubles
from tests.endurance.modalities import Ledger
from tests.endurance.site import Setup
from tests.endurance.vitals import Sample, trend

EXAM = replace(short_chest("1"), payloads=())


def report(folder: Path, name: str, uid: str = "1.2.3", text: str = "") -> Path:
    """One SR as a PACS stored it."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID, image.StudyInstanceUID = ComprehensiveSRStorage, uid, EXAM.study_uid
    image.Modality, image.SeriesDescription = "SR", text
    image.ensure_file_meta()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(folder / name, enforce_file_format=True)
    return folder / name


def wrongs(folder: Path) -> list[str]:
    """What is wrong with a study that is due one report, when a PACS has stored these files."""
    ledger = Ledger(exams={EXAM.study_uid: EXAM})
    site = SimpleNamespace(pacs={"PACS": None}, received=lambda _: sorted(folder.iterdir()))
    return list(every_destination_has_its_results_once(site, ledger))  # type: ignore[arg-type]


def test_the_same_report_twice_is_allowed_and_so_is_one_that_was_cut_when_its_pacs_was_killed(tmp_path: Path) -> None:
    whole = report(tmp_path, "1")
    shutil.copy(whole, tmp_path / "2")
    (tmp_path / "3").write_bytes(whole.read_bytes()[:-10])
    (tmp_path / "4").write_bytes(b"")
    assert wrongs(tmp_path) == []
    assert what_came(tmp_path.iterdir())[EXAM.study_uid].stored == 2


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (lambda folder: report(folder, "2", uid="1.2.4"), f"PACS has {{'{ResultKind.SR}': 2}}"),
        (lambda folder: report(folder, "2", text="other"), "different bytes under one UID"),
        (lambda folder: (folder / "1").unlink(), "PACS has {} of study"),
    ],
    ids=["another UID", "other bytes", "none"],
)
def test_a_second_report_other_bytes_and_none_are_seen(
    tmp_path: Path, second: Callable[[Path], object], says: str
) -> None:
    report(tmp_path, "1")
    second(tmp_path)
    assert any(says in wrong.replace("<ResultKind.SR: 'SR'>", "'SR'") for wrong in wrongs(tmp_path))


def test_results_of_a_study_that_nobody_sent_are_seen(tmp_path: Path) -> None:
    path = report(tmp_path, "1")
    came = what_came([path])
    assert Exam("other", (), frozenset()).study_uid not in came
    ledger = Ledger(exams={})
    site = SimpleNamespace(pacs={"PACS": None}, received=lambda _: [path])
    (wrong,) = every_destination_has_its_results_once(site, ledger)  # type: ignore[arg-type]
    assert "1 studies that nobody sent" in wrong


def test_logs_may_tell_of_absence_and_of_nothing_else() -> None:
    lines = [
        json.dumps(
            {"message": "a step failed", "exc_info": '  File "x"\nConnectionTimeout\n\n  File\nOperationalError'}
        ),
        json.dumps({"message": "a step failed", "exc_info": '  File "x"\nKeyError'}),
        json.dumps({"message": "all is well"}),
        "Traceback (most recent call last):",
        '  File "y"',
        '{"message": "from another process"}',
        "ConnectionResetError: [Errno 104]",
        "Traceback (most recent call last):",
        "sqlite3.DatabaseError: database disk image is malformed",
    ]
    assert dict(troubles("\n".join(lines))) == {
        "a step failed: KeyError": 1,
        "sqlite3.DatabaseError: database disk image is malformed": 1,
    }


def test_memory_that_grows_is_not_flat() -> None:
    assert trend([(second, 100.0 + second % 3) for second in range(100)]).flat
    growing = trend([(second, 100.0 + second) for second in range(100)])
    assert not growing.flat
    assert growing.slope_per_hour == pytest.approx(3600)


FLAT: list[Sample] = [(second, 100.0) for second in range(100)]
GROWING: list[Sample] = [(second, 100.0 + second) for second in range(100)]
EMBEDDED = Setup.EMBEDDED


@pytest.mark.parametrize(
    ("studies", "last_per_s", "memory", "wrong"),
    [
        (1000, 9.1, {"node": FLAT, "receiver 1": FLAT, "pool child 1": GROWING}, []),
        (1000, 8.9, {"node": FLAT}, ["throughput"]),
        (1000, 9.1, {"node": GROWING}, ["the memory of node"]),
        (1000, 9.1, {"node": FLAT, "receiver 2": GROWING}, ["the memory of receiver 2"]),
        (999, 1.0, {"node": GROWING}, []),
    ],
    ids=["holds", "slower", "node grows", "receiver grows", "too short"],
)
def test_a_full_soak_fails_where_throughput_or_memory_do_not_hold(
    studies: int, last_per_s: float, memory: dict[str, list[Sample]], wrong: list[str]
) -> None:
    report = soak.Report(EMBEDDED, 1, studies, 0, first_per_s=10.0, last_per_s=last_per_s, memory=memory)
    report.wrongs += report.losses()
    assert [each.startswith(begin) for each, begin in zip(report.wrongs, wrong, strict=True)] == [True] * len(wrong)
    assert ("no verdict under 1000 studies" in "".join(report.lines())) == (studies < 1000)
    with pytest.raises(SystemExit) as ended:
        conclude([report])
    assert bool(ended.value.code) == bool(wrong)


def test_memory_is_judged_since_half_of_the_studies_were_there() -> None:
    samples = [(float(second), 100.0 + min(second, 50)) for second in range(100)]
    assert not trend(samples).flat
    assert trend(soak.warm(samples, [0.0, 10.0, 50.0, 60.0])).flat
    assert soak.warm(samples, [0.0, 500.0]) == [(99.0, 150.0)]


def test_throughput_is_compared_under_the_same_load_until_all_is_at_work_nothing_counts() -> None:
    alone, beside = [0.1 * k for k in range(100)], [10 + k for k in range(40)]
    assert soak.throughput([*alone, *beside], since=10) == (1.0, 1.0)
    assert soak.throughput([*alone, *beside, *(49 + 2 * k for k in range(1, 41))], since=10) == (1.0, 0.5)
    assert soak.throughput(alone, since=math.inf) == (0.0, 0.0)
    unknown = soak.Report(EMBEDDED, 1, 1000, 0)
    assert [loss.startswith("throughput says nothing") for loss in unknown.losses()] == [True]


@pytest.mark.parametrize(
    ("rounds", "between", "verdict", "wrong"),
    [(100, 50, "well", 0), (100, 51, "TOO FEW", 1), (99, 99, "no verdict under 100 kills", 0)],
)
def test_a_full_campaign_fails_where_most_blows_missed_their_stage(
    rounds: int, between: int, verdict: str, wrong: int
) -> None:
    report = kills.Report(EMBEDDED, 1, rounds=rounds, between=between)
    assert any(line.endswith(f"just after: {verdict}") for line in report.lines())
    assert len(report.misses()) == wrong
