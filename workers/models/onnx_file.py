"""An ONNX detector and the model.toml that describes it (deploy/MODELS.md): a volume in, candidates out."""

import itertools
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from node.errors import ModelFailed, OutOfMemory, WeightsError
from workers.detect import Candidate, LungField
from workers.models.bundle import Count, Length, Number, Share
from workers.models.grid import FALLING, RISING, Grid, Shape
from workers.models.store import VERSION
from workers.networks.budget import Budget, is_memory
from workers.volume import Volume

CARD = "model.toml"
TASK = "lung nodule detection"
EXTERNAL = b"\x0a\x08location"
"""Key of a tensor that lies in another file (onnx.proto, StringStringEntryProto): nothing would pin that file."""

Triple = tuple[Length, Length, Length]
Counts = tuple[Count, Count, Count]


class Card(BaseModel):
    """model.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    task: Annotated[str, Field(pattern=f"^{TASK}$")]
    version: str = Field(pattern=f"^{VERSION.pattern}$")
    file: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.onnx$")
    """Beside model.toml."""
    axes: str
    """Three letters: where the three axes of the input rise to in the patient, as SPL or RAS."""
    spacing_mm: Triple
    """Of the input's voxels, in the order of the axes."""
    hu_window: tuple[Number, Number]
    """Becomes 0 to 1, clipped."""
    least_score: Share
    """Candidates below are dropped."""
    multiple: Counts = (1, 1, 1)
    """Voxels along each axis are a multiple of this."""
    window: Counts | None = None
    """Size of an input that is always the same; unset: the lungs in one piece."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if sorted(max(RISING.find(each), FALLING.find(each)) for each in self.axes) != [0, 1, 2]:
            raise ValueError("axes must be one letter each of S or I, P or A, L or R")
        if self.hu_window[0] >= self.hu_window[1]:
            raise ValueError("hu_window must rise")
        return self

    @property
    def shape(self) -> Shape:
        """Of the input; at least one window fits into it."""
        return Shape(self.axes, self.spacing_mm, self.window or self.multiple, self.hu_window)


def card(raw: bytes) -> Card:
    """Read model.toml. Raises WeightsError."""
    try:
        return Card(**tomllib.loads(raw.decode()))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise WeightsError(f"{CARD} is not understood: {where or 'all of it'}: {first['msg']}.") from None
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{CARD} is no TOML file.") from error


class OnnxDetector:
    """A session of onnxruntime, and what it wants."""

    def __init__(self, wanted: Card, session: Any) -> None:
        self._card = wanted
        self._session = session
        self._input = session.get_inputs()[0].name

    def find(self, volume: Volume, lungs: LungField, may_take: Budget) -> tuple[Candidate, ...]:
        """Candidates in the lungs, best first. Raises OutOfMemory, ModelFailed."""
        grid = Grid.over(volume, lungs, self._card.shape)
        image = grid.image().numpy()
        found = [self._at(image, start, size) for start, size in windows(image.shape, self._card.window)]
        rows = np.concatenate(found)
        return grid.candidates(rows[~(rows[:, 4] < self._card.least_score)], lungs)  # not a number stays, and is told

    def _at(self, image: NDArray[np.float32], start: tuple[int, ...], size: tuple[int, ...]) -> NDArray[np.float64]:
        box = tuple(slice(low, low + count) for low, count in zip(start, size, strict=True))
        return self.rows(image[box]) + np.array([*start, 0, 0])

    def rows(self, image: NDArray[np.float32]) -> NDArray[np.float64]:
        """Image with the axes of the card to (n, 5): centre in voxels, diameter in mm, score. Raises ModelFailed."""
        try:
            (rows,) = self._session.run(None, {self._input: np.ascontiguousarray(image[None, None])})
        except Exception as error:
            if is_memory(error):
                raise OutOfMemory("There is not enough memory for the detector.") from error
            raise ModelFailed(f"The detector could not be run ({type(error).__name__}).") from error
        if rows.ndim != 2 or rows.shape[1] != 5:
            raise ModelFailed(f"The detector gave an array of shape {rows.shape}, not candidates (n, 5).")
        return np.asarray(rows, np.float64)


def windows(
    shape: tuple[int, ...], window: tuple[int, ...] | None
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Start and size of the parts of an image; neighbours share a quarter."""
    if window is None:
        yield (0,) * len(shape), shape
        return
    starts = [
        sorted({min(k, whole - part) for k in range(0, whole, max(part * 3 // 4, 1))})
        for whole, part in zip(shape, window, strict=True)
    ]
    for start in itertools.product(*starts):
        yield start, window


def load(files: Mapping[str, bytes], device: str) -> OnnxDetector:
    """Open a session and try it on air. Raises WeightsError, ModelFailed where it does not do what its card says."""
    wanted = card(files[CARD])
    raw = files[wanted.file]
    if EXTERNAL in raw:
        raise WeightsError(f"{wanted.file} keeps tensors in other files: save it as one file.")
    session = _session(wanted.file, raw, device)
    _require_inputs(wanted, session.get_inputs())
    detector = OnnxDetector(wanted, session)
    detector.rows(np.zeros(wanted.window or wanted.multiple, np.float32))
    return detector


def _session(name: str, raw: bytes, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise WeightsError("An ONNX model needs the extra of that name: install nodus[onnx].") from error
    wanted = ["CUDAExecutionProvider"] * (device == "cuda") + ["CPUExecutionProvider"]
    providers = [each for each in wanted if each in onnxruntime.get_available_providers()]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(raw, options, providers=providers)
    except Exception as error:
        raise WeightsError(f"{name} is no ONNX model that onnxruntime can run.") from error


def _require_inputs(wanted: Card, inputs: Any) -> None:
    """One image (1, 1, a, b, c); its size is free, or the window's."""
    if len(inputs) != 1 or len(inputs[0].shape) != 5 or inputs[0].type != "tensor(float)":
        raise WeightsError(f"{wanted.file} does not take one float32 image of shape (1, 1, a, b, c).")
    fixed = [size for size in inputs[0].shape[2:] if isinstance(size, int)]
    if fixed and tuple(fixed) != wanted.window:
        raise WeightsError(f"{wanted.file} takes images of {fixed} voxels alone: say so by window in {CARD}.")
