"""The networks' shapes, the way from CT to patches and back, and weights that load only as recorded."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from node.errors import WeightsError
from workers.networks import weights
from workers.networks.blocks import depth_to_space, scaled_hu, space_to_depth
from workers.networks.classifier import Classifier, ClassifierConfig
from workers.networks.nodenet import NodeNet, NodeNetConfig
from workers.networks.patches import Line, cube, filtered, sample, upright, validity
from workers.networks.segmenter import Segmenter, SegmenterConfig

TINY = NodeNetConfig(widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), head=8)


def tiny_detector() -> NodeNet:
    torch.manual_seed(0)
    return NodeNet(TINY).eval().requires_grad_(False)


def test_depth_to_space_undoes_space_to_depth() -> None:
    volume = torch.arange(2 * 3 * 4 * 6 * 8, dtype=torch.float32).view(2, 3, 4, 6, 8)
    assert torch.equal(depth_to_space(space_to_depth(volume)), volume)


def test_nodenet_maps_nodules_at_stride_4_and_masses_at_stride_8() -> None:
    fine, coarse = tiny_detector()(torch.zeros(2, 1, 32, 48, 64))
    assert fine.shape == (2, 5, 8, 12, 16)
    assert coarse.shape == (2, 5, 4, 6, 8)


def test_a_fresh_nodenet_says_next_to_nothing() -> None:
    fine, _ = tiny_detector()(torch.zeros(1, 1, 32, 32, 32))
    assert float(torch.sigmoid(fine[:, 0]).max()) < 0.05


def test_the_segmenter_gives_a_logit_for_every_voxel() -> None:
    network = Segmenter(SegmenterConfig(widths=(8, 8, 8), blocks=(1, 1, 1))).eval()
    assert network(torch.zeros(2, 1, 48, 48, 48)).shape == (2, 1, 48, 48, 48)


def test_the_classifier_gives_nodule_and_type_logits() -> None:
    network = Classifier(ClassifierConfig(widths=(8, 8, 8, 8))).eval()
    assert network(torch.zeros(3, 2, 48, 48, 48), torch.zeros(3)).shape == (3, 4)


def test_patches_of_large_nodules_have_larger_voxels() -> None:
    config = SegmenterConfig()
    assert config.spacing_mm(5) == config.finest_mm
    assert config.spacing_mm(30) * config.patch == pytest.approx(config.reach * 30)
    assert config.spacing_mm(500) == config.coarsest_mm


def test_grey_values_are_scaled_from_air_to_bone() -> None:
    assert scaled_hu(torch.tensor([-3000.0, -1024.0, 400.0, 3000.0])).tolist() == pytest.approx([-1, -1, 1, 1.281])


class TestPatches:
    """From any volume to isotropic boxes along the patient's axes, and back."""

    def volume(self) -> np.ndarray:
        return np.random.default_rng(0).integers(-1000, 500, (9, 11, 13)).astype(np.int16)

    def test_an_axial_volume_is_taken_as_it_is(self) -> None:
        affine = np.array([[0, 0, 0.7, -50], [0, 0.7, 0, -60], [2.5, 0, 0, 10], [0, 0, 0, 1.0]])
        ct = upright(self.volume(), affine)
        assert np.array_equal(ct.hu, self.volume())
        assert ct.spacing_zyx_mm.tolist() == pytest.approx([2.5, 0.7, 0.7])

    @pytest.mark.parametrize("columns", [(2, 1, 0), (1, 2, 0), (0, 2, 1), (2, 0, 1)])
    @pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
    def test_any_orientation_is_turned_so_that_axes_rise_with_lps(
        self, columns: tuple[int, ...], signs: tuple[int, ...]
    ) -> None:
        hu, affine = self.volume(), np.eye(4)
        affine[:3, :3] = 0
        for axis, (component, sign) in enumerate(zip(columns, signs, strict=True)):
            affine[component, axis] = sign * (1 + axis)
        affine[:3, 3] = [5, -7, 9]
        ct = upright(hu, affine)
        assert (np.diag(ct.affine[[2, 1, 0]][:, [0, 1, 2]]) > 0).all()
        voxel = np.array([3, 4, 5])
        at = ct.index((affine @ [*voxel, 1.0])[None, :3])[0]
        assert ct.hu[tuple(np.rint(at).astype(int))] == hu[tuple(voxel)]

    @pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, 1)])
    def test_a_box_goes_back_to_where_it_was_cut(self, signs: tuple[int, ...]) -> None:
        hu, affine = self.volume(), np.eye(4)
        affine[:3, :3] = 0
        for axis, (component, sign) in enumerate(zip((1, 2, 0), signs, strict=True)):
            affine[component, axis] = sign
        ct = upright(hu, affine)
        box = (slice(2, 6), slice(1, 4), slice(3, 8))
        positive, offset = ct.to_original(ct.hu[box] > 0, [part.start for part in box])
        there = tuple(slice(o, o + n) for o, n in zip(offset, positive.shape, strict=True))
        assert np.array_equal(positive, hu[there] > 0)

    def test_sampling_at_the_voxels_gives_the_voxels(self) -> None:
        hu = self.volume()
        lines = [Line(0.0, 1.0, n) for n in hu.shape]
        assert np.allclose(sample(hu, (lines[0], lines[1], lines[2])).numpy(), hu)

    @pytest.mark.parametrize(("step", "within"), [(0.4, 0.001), (1.0, 0.001), (1.7, 0.2), (2.5, 0.2)])
    def test_a_ramp_keeps_its_place_to_a_fifth_of_a_voxel(self, step: float, within: float) -> None:
        ramp = np.broadcast_to(np.arange(40, dtype=np.float32), (4, 4, 40))
        here = Line(0.0, 1.0, 4)
        sampled = sample(ramp, (here, here, Line(5.0, step, 8)))[1, 1].numpy()
        assert np.abs(sampled - (5 + step * np.arange(8))).max() < within

    def test_outside_the_scan_is_air_and_known_to_be_unseen(self) -> None:
        hu = np.zeros((4, 4, 4), np.int16)
        lines = (Line(-2.0, 1.0, 8), Line(0.0, 1.0, 4), Line(0.0, 1.0, 4))
        assert sample(hu, lines)[:, 1, 1].tolist() == [-1024] * 2 + [0] * 4 + [-1024] * 2
        assert validity(hu.shape, lines)[:, 1, 1].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]

    def test_a_cube_is_centred_on_its_point(self) -> None:
        hu = np.full((20, 20, 20), -800, np.int16)
        hu[10, 12, 8] = 1000
        box, _ = cube(upright(hu, np.eye(4)[[2, 1, 0, 3]]), np.array([10.0, 12.0, 8.0]), 1.0, 7)
        assert np.unravel_index(int(box.argmax()), box.shape) == (3, 3, 3)

    def test_filtering_applies_each_matrix_along_its_axis(self) -> None:
        rng = np.random.default_rng(1)
        image = rng.normal(size=(3, 4, 5)).astype(np.float32)
        z, y, x = (rng.normal(size=(n, n)).astype(np.float32) for n in image.shape)
        assert np.allclose(filtered(image, (z, y, x)), np.einsum("az,by,cx,zyx->abc", z, y, x, image), atol=1e-4)
        assert np.array_equal(filtered(image, (None, None, None)), image)


class TestWeights:
    """Only recorded weights are loaded."""

    def folder(self, tmp_path: Path) -> Path:
        weights.save(tiny_detector(), tmp_path / "detector-1.safetensors")
        weights.record("detector", "1", tmp_path / "detector-1.safetensors", tmp_path)
        return tmp_path

    def test_recorded_weights_load_with_their_configuration(self, tmp_path: Path) -> None:
        network = weights.load("detector", self.folder(tmp_path))
        volume = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
        assert network.config == TINY
        assert torch.equal(network(volume)[0], tiny_detector()(volume)[0])

    def test_one_changed_byte_is_refused(self, tmp_path: Path) -> None:
        path = self.folder(tmp_path) / "detector-1.safetensors"
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
        with pytest.raises(WeightsError, match="not the recorded ones"):
            weights.load("detector", tmp_path)

    def test_a_missing_file_an_unknown_name_and_a_broken_registry_are_refused(self, tmp_path: Path) -> None:
        (self.folder(tmp_path) / "detector-1.safetensors").unlink()
        with pytest.raises(WeightsError, match="missing"):
            weights.load("detector", tmp_path)
        with pytest.raises(WeightsError, match="No weights"):
            weights.load("oracle", tmp_path)
        (tmp_path / "registry.json").write_text("{")
        with pytest.raises(WeightsError, match="registry"):
            weights.load("detector", tmp_path)

    def test_a_recorded_file_that_is_no_network_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "detector-2.safetensors"
        path.write_bytes(b"not tensors")
        weights.record("detector", "2", path, tmp_path)
        with pytest.raises(WeightsError, match="do not fit"):
            weights.load("detector", tmp_path)

    def test_the_shipped_weights_are_the_recorded_ones_and_small(self) -> None:
        entries = json.loads((weights.FOLDER / "registry.json").read_text())
        assert set(entries) == set(weights.KINDS)
        for name, entry in entries.items():
            assert (weights.FOLDER / entry["file"]).stat().st_size < 20_000_000
            assert weights.load(name) is not None

    def test_every_shipped_model_has_a_card_that_names_its_weights(self) -> None:
        for name, entry in weights.registry().items():
            card = (weights.FOLDER.parent / "cards" / f"{name}.md").read_text()
            assert entry.sha256 in card
            assert "not validated on clinical data" in card
