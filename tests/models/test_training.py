"""Training data says the truth about itself, patients are never on both sides, and a killed run goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from node.errors import SettingsError
from tests.realdata import DATA, folder
from workers.networks.classifier import ClassifierConfig
from workers.networks.nodenet import REFERENCE_DIAMETER_MM, NodeNet, NodeNetConfig
from workers.training import candidates
from workers.training.backgrounds import Background
from workers.training.card import Card, Figure, with_figures, with_folds, write_card
from workers.training.classifier import begun_from
from workers.training.compose import Bank, Mix, compose, thick_slices
from workers.training.crowded import _around
from workers.training.folds import make_folds
from workers.training.loop import Run, Training
from workers.training.make import Order, make
from workers.training.measure_classifier import Looked, is_first
from workers.training.measure_segmenter import Outline, figures_of
from workers.training.patch import Ball, Patch
from workers.training.real import FOLDS, KEPT_FOR_TESTS, RealNodule, held_out, read_nodules
from workers.training.targets import COARSE, FINE, maps
from workers.training.window import window


def background(sharp: bool = False) -> Background:
    """A block of lung with a wall at low x."""
    hu = np.full((130, 130, 130), -850, np.int16)
    hu[:, :, :20] = 40
    points = np.argwhere(hu[::4, ::4, ::4] < -800) * 4
    return Background(
        "block", hu, sharp, points.astype(np.int16), points[:, 2] - 20.0, points.astype(np.int16), (0, 130), 1
    )


def real_nodule() -> RealNodule:
    """A ball of 10 mm in slices of 2 mm, as the real ones come."""
    z, y, x = np.ogrid[:6, :96, :96]
    inside = ((z - 2.5) * 2) ** 2 + ((y - 48) * 0.7) ** 2 + ((x - 48) * 0.7) ** 2 <= 25
    hu = np.where(inside, 30, -870).astype(np.int16)
    return RealNodule("n", "p", hu, inside, inside, (2.0, 0.7, 0.7), 10.0, 5, 6, 3)


def patch_with(*balls: Ball) -> Patch:
    empty = np.full((64, 64, 64), -850, np.float32)
    return Patch(empty, 1.25, list(balls), np.zeros(empty.shape, bool), np.zeros_like(empty))


def tiny_detector() -> NodeNet:
    return NodeNet(NodeNetConfig(widths=(4, 4, 8, 8), blocks=(1, 1, 1, 1), head=8)).eval()


class TestTargets:
    """What NodeNet shall say."""

    def test_the_peak_its_offset_and_its_size_lead_back_to_the_nodule(self) -> None:
        target, weight = maps(patch_with(Ball((30.0, 21.0, 40.0), 10.0, "solid")), FINE)
        cell = np.unravel_index(int(target[0].argmax()), target[0].shape)
        assert target[0][cell] == 1
        back = (np.array(cell) + target[1:4, cell[0], cell[1], cell[2]]) * 4 + 1.5
        assert back == pytest.approx((30, 21, 40))
        assert REFERENCE_DIAMETER_MM * np.exp(target[4][cell]) == pytest.approx(10)
        assert weight.min() == 1

    def test_a_mass_belongs_to_the_coarse_map_and_is_ignored_by_the_fine_one(self) -> None:
        patch = patch_with(Ball((32.0, 32.0, 32.0), 45.0, "solid"))
        (fine, fine_weight), (coarse, _) = maps(patch, FINE), maps(patch, COARSE)
        assert coarse[0].max() == 1
        assert fine[0].max() == 0
        assert fine_weight[8, 8, 8] == 0

    def test_between_the_two_both_answer(self) -> None:
        patch = patch_with(Ball((32.0, 32.0, 32.0), 26.0, "solid"))
        assert maps(patch, FINE)[0][0].max() == maps(patch, COARSE)[0][0].max() == 1

    def test_hidden_and_tiny_nodules_are_neither_right_nor_wrong(self) -> None:
        patch = patch_with(
            Ball((16.0, 16.0, 16.0), 9.0, "solid", visible=False), Ball((48.0, 48.0, 48.0), 2.5, "solid")
        )
        target, weight = maps(patch, FINE)
        assert target[0].max() == 0
        assert weight[4, 4, 4] == weight[12, 12, 12] == 0
        assert weight[8, 4, 12] == 1

    def test_unknown_background_is_not_judged_but_a_nodule_in_it_is(self) -> None:
        patch = patch_with(Ball((30.0, 30.0, 30.0), 10.0, "solid"))
        patch.unknown[:] = True
        target, weight = maps(patch, FINE)
        assert weight[0, 0, 0] == 0
        assert weight[target[0] == 1].all()


class TestCompose:
    """What patches are made of."""

    def bank(self, sharp: bool = False) -> Bank:
        return Bank([real_nodule()], [], [background(sharp)], Mix(empty=0, drawn_in_real=0, context=0, mass=0, most=1))

    def test_a_sample_depends_on_its_seed_alone(self) -> None:
        first, again, other = (compose(self.bank(), 64, 1.25, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert np.array_equal(first.hu, again.hu)
        assert not np.array_equal(first.hu, other.hu)

    def test_a_nodule_is_where_its_label_says(self) -> None:
        for seed in range(12):
            patch = compose(self.bank(), 64, 1.25, np.random.default_rng(seed))
            for ball in patch.balls:
                z, y, x = (round(c) for c in ball.center_zyx)
                assert patch.hu[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].mean() > -350
                assert patch.share[z, y, x] > 0.5

    def test_thick_slices_keep_a_constant_and_blur_a_point_along_z_only(self) -> None:
        weights = thick_slices(64, 1.0, (5.0, 5.0), 0.3)
        assert np.allclose(weights.sum(axis=1), 1, atol=1e-5)
        assert weights[10:54].max() <= 0.2 + 1e-6


class Line(nn.Module):
    """The smallest network."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def squares(network: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    return {"square": ((network(batch[0]) - 2 * batch[0]) ** 2).mean()}


def test_a_run_that_was_killed_between_epochs_ends_like_one_that_was_not(tmp_path: Path) -> None:
    samples = TensorDataset(torch.randn(20, 1, 1, 1, 1, generator=torch.Generator().manual_seed(0)))
    ends = []
    for name, stops in (("whole", 0), ("killed", 1)):
        (tmp_path / name).mkdir()
        run = Run(tmp_path / name, 1, 10, None, batch=4, epoch=5, workers=0, warm_up=2)
        training = Training(Line(), run, "line")
        training.epoch(samples, squares, lambda line: None)
        training = Training(Line(), run, "line") if stops else training
        training.epoch(samples, squares, lambda line: None)
        ends.append((training.step, float(training.average["weight"])))
    assert ends[0] == ends[1]
    assert ends[0][0] == 10


def test_a_run_needs_either_steps_or_minutes(tmp_path: Path) -> None:
    for steps, minutes in ((None, None), (5, 1.0)):
        with pytest.raises(SettingsError, match="either --steps or --minutes"):
            make(Order("detector", None, steps, minutes, 1, tmp_path, "cpu", False), print)


def test_the_lungs_rim_counts_although_points_are_but_a_sample_of_it() -> None:
    shape = (40, 40, 40)
    inside = np.argwhere(np.ones((17, 17, 17), bool)) + 8
    sample = inside[::33]
    counted = _around(sample.astype(np.int16), shape)
    assert counted[tuple((inside // 4).T)].all()
    assert not counted[0].any()


def test_a_nodule_in_its_own_slices_is_where_its_truth_says_and_nothing_counts_outside_them() -> None:
    chest = window(real_nodule(), np.random.default_rng(0))
    (truth,) = chest.truths
    center = np.argwhere(chest.hu > -300).mean(axis=0)
    assert np.abs(center - np.array(truth.center_lps_mm[::-1])).max() < 0.7
    away = np.array([[0, 0, 0], [-12, 0, 0], [12, 0, 0]])  # its slices reach 5 mm up and down
    assert chest.counts(center + away).tolist() == [True, False, False]


def test_the_second_look_is_taught_at_what_the_detector_fires_on_around_a_real_nodule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodule = real_nodule()
    x, y, z = window(nodule, np.random.default_rng(0)).truths[0].center_lps_mm
    peaks = [
        (z, y + 1.0, x, 9.0, 0.8),
        (z, y, x + 20.0, 6.0, 0.7),
        (z, y + 12.0, x, 6.0, 0.6),  # within 8 mm of its rim: nobody's
        (z, y, x + 31.0, 6.0, 0.5),  # at the rim of what its slices show
        (z, y - 2.0, x, 9.0, 0.4),  # a second peak on the nodule
        (z, y, x - 20.0, 6.0, 0.02),  # too weak for a second look
    ]
    monkeypatch.setattr(candidates, "peaks_in", lambda network, chest: peaks)
    samples = candidates.from_slices(nodule, tiny_detector(), ClassifierConfig(), np.random.default_rng(0))
    assert [(one.nodule, one.diameter_mm, one.type) for one in samples] == [(True, 9.0, 0), (False, 6.0, -1)]
    assert [round(1 / (1 + np.exp(-one.detector_logit)), 3) for one in samples] == [0.8, 0.7]
    middle = len(samples[0].hu) // 2
    assert samples[0].hu[middle, middle, middle] == pytest.approx(30, abs=40)
    assert samples[1].hu[middle, middle, middle] == pytest.approx(-870, abs=40)


def test_a_nodule_that_the_detector_misses_is_taught_all_the_same() -> None:
    (only,) = candidates.from_slices(real_nodule(), tiny_detector(), ClassifierConfig(), np.random.default_rng(0))
    assert only.nodule
    assert only.diameter_mm == pytest.approx(10, rel=0.5)


def test_the_classifier_begins_with_what_the_detector_sees_and_takes_no_notice_of_what_was_scanned() -> None:
    torch.manual_seed(0)
    detector = tiny_detector()
    network = begun_from(detector).eval()
    theirs, ours = detector.state_dict(), network.state_dict()
    assert all(
        torch.equal(ours[key], theirs[key]) for key in ("encoder.levels.3.0.first.0.weight", "merge4.down.weight")
    )
    patch = torch.randn(1, 2, 48, 48, 48)
    other = patch.clone()
    other[:, 1] = 0
    assert torch.equal(network(patch, torch.zeros(1)), network(other, torch.zeros(1)))
    (up,) = (level for level in detector.encoder(patch[:, :1])[-1:])
    assert torch.allclose(network.encoder(patch)[-1], up, atol=1e-5)


@pytest.mark.parametrize(
    ("others", "first"),
    [
        ([], True),
        ([(20.0, 0.5)], True),
        ([(20.0, 0.7)], False),
        ([(7.0, 0.7)], True),  # within 8 mm of its rim: nobody's
        ([(14.0, 0.7)], False),
    ],
)
def test_a_nodule_is_first_where_nothing_away_from_it_has_a_higher_score(
    others: list[tuple[float, float]], first: bool
) -> None:
    chest = window(real_nodule(), np.random.default_rng(0))
    x, y, z = chest.truths[0].center_lps_mm

    def at(mm: float, score: float) -> Looked:
        return Looked((x + mm, y, z), score, float(np.log(score / (1 - score))))

    found = [at(*each) for each in others]
    assert is_first(chest, [*found, at(2.0, 0.6)]) is first
    assert not is_first(chest, found)


def test_a_card_says_what_made_the_model_what_it_measured_and_what_it_is_not(tmp_path: Path) -> None:
    figures = (Figure("Dice, mean", 0.8123, (0.79, 0.83), 40, "held-out nodules"),)
    card = Card(
        "segmenter",
        "9",
        "ab" * 32,
        "nodus train segmenter --steps 3 --seed 1",
        "c0ffee",
        12,
        (("a", "b", "CC"),),
        figures,
    )
    write_card(card, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    for part in (
        "not validated on clinical data",
        "ab" * 32,
        "--steps 3",
        "c0ffee",
        "0.812",
        "0.790 to 0.830",
        "| 40 |",
    ):
        assert part in text
    again = (Figure("Dice, mean", 0.75, None, 41, "other nodules"), Figure("Dice, median", 0.8, None, 41, "others"))
    renewed = with_figures(text, again, "measuring")
    assert with_figures(renewed, figures, "measuring").replace("| measured again by | measuring |\n", "") == text
    assert [line for line in renewed.splitlines() if line not in text.splitlines()] == [
        "| measured again by | measuring |",
        "| Dice, mean | 0.750 |  | 41 | other nodules |",
        "| Dice, median | 0.800 |  | 41 | others |",
    ]
    with pytest.raises(ValueError, match="no card"):
        with_figures("# something else", again, "measuring")


@pytest.mark.realdata
def test_no_patient_is_in_training_and_validation_and_test_patients_are_in_neither() -> None:
    folder("nodules")
    training, validation = read_nodules(DATA)
    first, second = ({n.patient for n in part} for part in (training, validation))
    assert not first & second
    assert not (first | second) & KEPT_FOR_TESTS
    assert all(held_out(patient) for patient in second)
    assert 0.08 < len(second) / len(first | second) < 0.22
    assert len(training) + len(validation) == 693


@pytest.mark.realdata
def test_every_patient_is_in_one_fold() -> None:
    folder("nodules")
    held = [{nodule.name for nodule in read_nodules(DATA, fold)[1]} for fold in range(FOLDS)]
    assert sum(map(len, held)) == len(set().union(*held)) == 693
    assert min(map(len, held)) > 100
    training, validation = read_nodules(DATA, 3)
    assert not {n.patient for n in training} & {n.patient for n in validation}


def test_folds_are_of_the_segmenter_and_of_real_patients(tmp_path: Path) -> None:
    for model, real in (("detector", tmp_path), ("segmenter", None)):
        with pytest.raises(SettingsError, match="give --real"):
            make_folds(Order(model, real, 5, None, 1, tmp_path, "cpu", False), print)
    for install, measure in ((True, False), (False, True)):
        with pytest.raises(SettingsError, match="without --install and --measure"):
            make_folds(Order("segmenter", tmp_path, 5, None, 1, tmp_path, "cpu", install, measure), print)
    with pytest.raises(SettingsError, match="either --steps or --minutes"):
        make_folds(Order("segmenter", tmp_path, 5, 1.0, 1, tmp_path, "cpu", False), print)


def test_what_folds_showed_stands_in_the_card_once_and_stays_when_its_weights_are_measured_again(
    tmp_path: Path,
) -> None:
    figures = (Figure("Dice, mean", 0.8, None, 40, "held-out nodules"),)
    write_card(Card("segmenter", "9", "ab", "train", "c0ffee", 12, (), figures), tmp_path / "card.md")
    card = (tmp_path / "card.md").read_text()
    rows = [Outline(0.9, 1.0, 5.0, "solid"), Outline(0.7, 0.8, 12.0, "ground-glass")]
    folded = with_folds(with_folds(card, figures_of(rows[:1]), "a first time"), figures_of(rows), "five at once")
    assert "a first time" not in folded
    for part in (
        "five at once",
        "| Dice, mean | 0.800 |",
        "| Dice, mean, under 8 mm | 0.900 |",
        "ground-glass | 0.700",
    ):
        assert part in folded
    assert folded.count("## Five folds") == folded.count("## Never tested") == 1
    assert "## Five folds" in with_figures(folded, figures, "measuring")
    assert set(card.splitlines()) <= set(folded.splitlines())


@pytest.mark.realdata
def test_majority_masks_have_the_diameter_of_the_luna16_table() -> None:
    folder("nodules")
    ratios = []
    rows = (DATA / "nodules" / "lidc-nodules-dev.csv").read_text().splitlines()
    told = {row.split(",")[0]: float(row.split(",")[10]) for row in rows[1:]}
    for nodule in read_nodules(DATA)[1]:
        ratios.append(nodule.diameter_mm / told[nodule.name])
    assert np.median(ratios) == pytest.approx(1, abs=0.05)
