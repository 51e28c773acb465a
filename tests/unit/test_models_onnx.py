"""An ONNX detector and its model.toml: where its candidates lie in the patient, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from node.errors import ModelFailed, WeightsError
from tests.brought import CARD, DIAMETER_MM, SCORE, Everywhere, axial, brightest_voxel, bump, volume_of, write_onnx
from tests.peers import require_library
from workers.models import onnx_file
from workers.models.onnx_file import Card, card, windows
from workers.networks.budget import budget
from workers.volume import Volume

AT = (23.0, -14.0, 31.0)
GOOD = CARD.format(axes="SPL", spacing_mm="2.0, 1.5, 1.0")


@pytest.fixture(autouse=True)
def _libraries() -> None:
    require_library("onnxruntime", "onnx")
    require_library("onnx", "dev")


def flipped_volume() -> Volume:
    """Anisotropic, its rows and columns running against the patient's axes."""
    spacing, shape, signs = (2.5, 0.7, 0.9), (40, 120, 100), (1, -1, -1)
    return volume_of(bump(AT), shape, axial(spacing, signs, (45.0, 42.0, -50.0)))


def loaded(folder: Path) -> onnx_file.OnnxDetector:
    return onnx_file.load({path.name: path.read_bytes() for path in folder.iterdir()}, "cpu")


@pytest.mark.parametrize(
    ("axes", "spacing_mm", "more"),
    [
        ("SPL", "2.0, 1.5, 1.0", ""),
        ("RAS", "1.0, 1.5, 2.0", "multiple = [16, 16, 8]"),
        ("ILA", "2.0, 1.0, 1.5", ""),
        ("PIR", "1.5, 2.0, 1.0", ""),
    ],
)
def test_a_candidate_lies_where_the_volume_has_it_whatever_the_axes(
    tmp_path: Path, axes: str, spacing_mm: str, more: str
) -> None:
    volume = flipped_volume()
    (found,) = loaded(write_onnx(tmp_path, axes, spacing_mm, more)).find(volume, Everywhere(volume), budget())
    assert (np.abs(np.array(found.center_lps_mm) - AT) <= np.array([0.5, 0.75, 1.25]) + 0.3).all()
    assert (found.diameter_mm, found.score) == pytest.approx((DIAMETER_MM, SCORE))


def test_windows_see_all_of_the_lungs_and_one_nodule_stays_one(tmp_path: Path) -> None:
    import onnx

    folder = write_onnx(tmp_path, more="window = [16, 32, 32]")
    onnx.save(brightest_voxel(size=(16, 32, 32)), folder / "peak.onnx")
    volume = flipped_volume()
    found = loaded(folder).find(volume, Everywhere(volume), budget())
    near = [each for each in found if np.linalg.norm(np.array(each.center_lps_mm) - AT) < 4]
    assert len(near) == 1
    seen = np.zeros((33, 70, 100), int)
    for start, size in windows(seen.shape, (16, 32, 32)):
        seen[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] += 1
    assert seen.min() > 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (('version = "1.2"', "version = 1.2"), "version"),
        (('task = "lung nodule detection"', 'task = "liver"'), "task"),
        (("spacing_mm = [2.0, 1.5, 1.0]", 'spacing_mm = ["2.0", 1.5, 1.0]'), "spacing_mm.0"),
        (("spacing_mm = [2.0, 1.5, 1.0]", "spacing_mm = [2.0, 1.5]"), "spacing_mm.2"),
        (("spacing_mm = [2.0, 1.5, 1.0]", "spacing_mm = [2.0, 1.5, nan]"), "spacing_mm.2"),
        (('axes = "SPL"', 'axes = "SPA"'), "axes must be"),
        (('axes = "SPL"', 'axes = "SP"'), "axes must be"),
        (('axes = "SPL"', 'axes = "zyx"'), "axes must be"),
        (("[-1024, 300]", "[300, -1024]"), "hu_window must rise"),
        (("least_score = 0.1", "least_score = 10"), "least_score"),
        (("least_score = 0.1", "least_score = 0.1\nscript = 'run.py'"), "script"),
        (("least_score = 0.1\n", ""), "least_score"),
        (("least_score = 0.1", "least_score"), "no TOML"),
        (('"peak.onnx"', '"../peak.onnx"'), "file"),
        (('"peak.onnx"', '"/etc/passwd"'), "file"),
    ],
)
def test_a_card_that_is_wrong_is_refused_by_the_name_of_what_is_wrong(change: tuple[str, str], why: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(WeightsError, match=why):
        card(GOOD.replace(*change).encode())


def test_the_card_of_the_documentation_is_one() -> None:
    text = (Path(__file__).parents[2] / "deploy" / "MODELS.md").read_text()
    assert isinstance(card(text.partition("```toml\n")[2].partition("```")[0].encode()), Card)


def of_constant(value: list[list[float]], inputs: int = 1) -> Any:
    """A model that says the same of every image."""
    from onnx import TensorProto, helper

    rows = np.array(value, np.float32)
    flat = rows.ravel().tolist()
    said = helper.make_tensor("said", TensorProto.FLOAT, rows.shape, flat)
    names = [f"image{n}" for n in range(inputs)]
    images = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, "a", "b", "c"]) for name in names]
    output = helper.make_tensor_value_info("candidates", TensorProto.FLOAT, None)
    nodes = [helper.make_node("Identity", ["said"], ["candidates"])]
    graph = helper.make_graph(nodes, "constant", images, [output], [said])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def saying(folder: Path, value: list[list[float]]) -> onnx_file.OnnxDetector:
    import onnx

    write_onnx(folder)
    onnx.save(of_constant(value), folder / "peak.onnx")
    return loaded(folder)


NAN = float("nan")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([[5, 5, 5, 8, NAN]], "not a number"),
        ([[5, NAN, 5, 8, 0.9]], "not a number"),
        ([[5, 5, 5, 8, 1.7]], "outside of 0 to 1"),
        ([[5, 5, 5, -8, 0.9]], "diameter of nothing"),
        ([[5, 5, 400, 8, 0.9]], "outside of what it was shown"),
        ([[-30, 5, 5, 8, 0.9]], "outside of what it was shown"),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error_and_not_a_negative_result(
    tmp_path: Path, rows: list[list[float]], why: str
) -> None:
    volume = flipped_volume()
    with pytest.raises(ModelFailed, match=why):
        saying(tmp_path, rows).find(volume, Everywhere(volume), budget())


def test_candidates_below_the_least_score_are_dropped_and_none_at_all_is_an_answer(tmp_path: Path) -> None:
    volume = flipped_volume()
    dull = saying(tmp_path / "dull", [[5, 5, 5, 8, 0.05]])
    assert dull.find(volume, Everywhere(volume), budget()) == ()


def test_an_output_of_another_shape_is_refused_when_the_model_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match=r"shape \(1, 4\)"):
        saying(tmp_path, [[5, 5, 5, 8]])


def test_files_that_are_no_detector_are_refused(tmp_path: Path) -> None:
    import onnx

    folder = write_onnx(tmp_path)
    (folder / "peak.onnx").write_bytes(b"not a model")
    with pytest.raises(WeightsError, match="no ONNX model"):
        loaded(folder)
    onnx.save(of_constant([[1, 1, 1, 1, 1]], inputs=2), folder / "peak.onnx")
    with pytest.raises(WeightsError, match="one float32 image"):
        loaded(folder)
    onnx.save(brightest_voxel(size=(16, 32, 32)), folder / "peak.onnx")
    with pytest.raises(WeightsError, match="say so by window"):
        loaded(folder)


def test_tensors_in_another_file_are_refused_because_nothing_pins_it(tmp_path: Path) -> None:
    import onnx

    folder = write_onnx(tmp_path)
    onnx.save(brightest_voxel(), folder / "peak.onnx", save_as_external_data=True, size_threshold=0, location="w.bin")
    with pytest.raises(WeightsError, match="as one file"):
        loaded(folder)
