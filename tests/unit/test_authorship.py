"""Who signs a result, and as what."""

from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
import torch
from pydicom import dcmread

from node.domain.delivery import ResultKind
from node.errors import WeightsError
from tests.readings import reading
from workers import pipeline
from workers.authorship import Author
from workers.networks import weights
from workers.networks.classifier import Classifier, ClassifierConfig
from workers.networks.composition import Composition, CompositionConfig
from workers.networks.nodenet import NodeNet, NodeNetConfig
from workers.networks.segmenter import Segmenter, SegmenterConfig
from workers.results import encode

AUTHOR = Author("NODUS", "installation-1", datetime(2025, 3, 4, tzinfo=UTC))
SMALL = {
    "detector": NodeNet(NodeNetConfig(widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), head=8)),
    "segmenter": Segmenter(SegmenterConfig(widths=(8, 8, 8), blocks=(1, 1, 1))),
    "classifier": Classifier(ClassifierConfig(widths=(8, 8, 8, 8))),
    "composition": Composition(CompositionConfig()),
}


@dataclass(frozen=True)
class Installed:
    """A folder of weights that this process loads from."""

    folder: Path

    def put(self, version: str) -> None:
        """Install one version of every network."""
        for name, network in SMALL.items():
            with torch.no_grad():
                next(network.parameters()).add_(1.0)
            path = self.folder / f"{name}-{version}.safetensors"
            weights.save(network, path)
            weights.record(name, version, path, self.folder)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """No weights at all, in place of the shipped ones."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(weights, "FOLDER", folder)
    return Installed(folder)


def test_results_name_the_weights_that_read_the_images_not_those_installed_since(installed: Installed) -> None:
    installed.put("1")
    pipeline.prepare()
    before = pipeline.models()
    assert before.model.version == "1"
    installed.put("2")
    assert pipeline.models() == before


def test_networks_are_loaded_once(installed: Installed) -> None:
    installed.put("1")
    assert weights.ready("detector") is weights.ready("detector")


@pytest.mark.parametrize("registry", [None, "{", '{"detector": {"version": "1", "file": "gone", "sha256": "0"}}'])
def test_not_analysed_can_be_said_without_usable_weights(
    installed: Installed, registry: str | None, tmp_path: Path
) -> None:
    if registry is not None:
        (installed.folder / "registry.json").write_text(registry)
    with pytest.raises(WeightsError):
        pipeline.prepare()
    header = reading(tmp_path / "scan", 0).series.headers[0]
    first, *_ = encode(AUTHOR.notice(("The weights are missing.",), header, "0" * 64), ResultKind.SR)
    document = dcmread(BytesIO(first.data))
    assert document.SeriesDescription.startswith("AI Lung Nodule NOT ANALYSED")
    assert "Reason: The weights are missing." in [item.get("TextValue") for item in document.ContentSequence]


def test_a_notice_is_the_same_whatever_weights_are_installed(installed: Installed, tmp_path: Path) -> None:
    header = reading(tmp_path / "scan", 0).series.headers[0]
    without = AUTHOR.notice(("The slices are not axial.",), header, "0" * 64)
    installed.put("1")
    assert AUTHOR.notice(("The slices are not axial.",), header, "0" * 64) == without
