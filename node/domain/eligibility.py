"""Which CT series can be read, how well, and which of several is best.

The limits are those of the design and of what the models saw in training; each refusal has a code for SQL and a
sentence for people.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from node.domain.instance import CtAttributes, InstanceHeader
from node.domain.stack import Stack, stack_of

MIN_SLICES = 40
IN_PLANE_MM = (0.3, 1.2)
FULL_THICKNESS_MM, DEGRADED_THICKNESS_MM = 3.0, 5.0
THINNER_IS_BETTER_MM = (1.5, 2.0, 2.5, 3.0)
CHEST_COVERAGE_MM = 150.0
MAX_TILT_FROM_AXIAL_DEG = 10.0
ADULT_YEARS = 18
ROUNDING_MM = 0.051
"""Scanners write 3.000001 or 5.04 for what they call 3 and 5."""

NOT_A_SLICE = frozenset(
    {
        *("LOCALIZER", "SCOUT", "TOPOGRAM", "MPR", "REFORMATTED", "MIP", "MINIP", "AVERAGE", "PROJECTION"),
        *("SECONDARY", "DOSE", "BIOPSY", "FLUORO", "IODINE", "Z_EFF", "VNC"),
    }
)
"""Any of these in ImageType (PS3.3 C.7.6.1.1.2, C.8.2.1.1.1) says: not an original slice of the patient."""

LOSSY_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{last}" for last in ("50", "51", "81", "91", "203"))

CHEST_WORDS = re.compile(r"CHEST|THORA|LUNG|PULM|\bTAP\b|\bCAP\b|LDCT|WHOLE ?BODY", re.IGNORECASE)
OTHER_BODY_PARTS = re.compile(r"HEAD|BRAIN|SKULL|SINUS|NECK|SPINE|PELVIS|KNEE|ANKLE|FOOT|HAND|WRIST|HIP", re.IGNORECASE)
EXPIRATION = re.compile(r"\bEXP(IRAT|\b)", re.IGNORECASE)


class Level(StrEnum):
    """How far a series can be read; the order is the order of preference."""

    FULL = "full"
    PARTIAL = "partial"
    """Readable, with a limitation that the report names."""
    DEGRADED = "degraded"
    """Thick slices: small nodules are not assessed, no category."""
    REFUSED = "refused"


@dataclass(frozen=True)
class Eligibility:
    """The verdict on one series."""

    level: Level
    refusals: tuple[str, ...]
    """Codes of the rules that refused it."""
    reasons: tuple[str, ...]
    """A sentence for each refusal, or for each limitation of a readable series."""
    instance_uids: tuple[str, ...] = ()
    """SOP Instance UIDs of the images to read; empty when refused."""
    digest: str = ""
    """SHA-256 over the images to read: two verdicts with one digest mean the same input."""
    score: tuple[float, ...] = ()
    """Larger is better; compares series of one study."""


@dataclass(frozen=True)
class _Facts:
    """What the rules look at: the images of a series that could be slices of a patient."""

    images: Sequence[InstanceHeader]
    cts: Sequence[CtAttributes]
    """CT attributes of the same images."""
    stack: Stack | None
    """None when some image lacks its geometry."""

    @property
    def thickness_mm(self) -> float:
        """The coarser of slice thickness and step: small nodules hide in either."""
        nominal = max(ct.slice_thickness_mm or 0.0 for ct in self.cts)
        return max(nominal, self.stack.step_mm if self.stack else 0.0)

    @property
    def spacings_mm(self) -> set[tuple[float, float] | None]:
        return {ct.pixel_spacing_mm for ct in self.cts}

    @property
    def sizes(self) -> set[tuple[int | None, int | None]]:
        return {(ct.rows, ct.columns) for ct in self.cts}

    @property
    def owners(self) -> set[tuple[tuple[str, ...], str]]:
        return {(patient_of(image), image.frame_of_reference_uid) for image in self.images}


@dataclass(frozen=True)
class _Rule:
    code: str
    sentence: str
    fires: Callable[[_Facts], object]


def _spacing_is_odd(facts: _Facts) -> bool:
    low, high = IN_PLANE_MM
    return any(not all(low <= mm <= high for mm in spacing) for spacing in facts.spacings_mm if spacing)


REFUSALS = (
    _Rule("geometry-missing", "Position, orientation or pixel spacing is missing.", lambda f: f.stack is None),
    _Rule(
        "size-varies",
        "The images differ in size or pixel spacing.",
        lambda f: len(f.sizes) > 1 or len(f.spacings_mm) > 1,
    ),
    _Rule("orientation-varies", "The images differ in orientation.", lambda f: f.stack and not f.stack.parallel),
    _Rule(
        "not-axial",
        "The slices are not axial.",
        lambda f: f.stack and f.stack.tilt_from_axial_deg > MAX_TILT_FROM_AXIAL_DEG,
    ),
    _Rule(
        "too-few-slices",
        f"There are fewer than {MIN_SLICES} slices.",
        lambda f: f.stack and f.stack.count < MIN_SLICES,
    ),
    _Rule("position-twice", "Several images lie at one position.", lambda f: f.stack and f.stack.duplicate_positions),
    _Rule("slices-missing", "Slices are missing or unevenly spaced.", lambda f: f.stack and not f.stack.even),
    _Rule("gantry-tilt", "The gantry was tilted.", lambda f: f.stack and f.stack.sheared),
    _Rule("pixel-spacing", f"The pixel spacing is outside {IN_PLANE_MM[0]} to {IN_PLANE_MM[1]} mm.", _spacing_is_odd),
    _Rule(
        "slices-too-thick",
        f"The slices are thicker than {DEGRADED_THICKNESS_MM:.0f} mm.",
        lambda f: f.thickness_mm > DEGRADED_THICKNESS_MM + ROUNDING_MM,
    ),
    _Rule(
        "not-hounsfield",
        "The pixel values are not in Hounsfield units.",
        lambda f: not all(ct.rescaled for ct in f.cts),
    ),
    _Rule("burned-in", "The pixels carry burned-in text.", lambda f: any(ct.burned_in for ct in f.cts)),
    _Rule(
        "under-age",
        f"The patient is under {ADULT_YEARS}.",
        lambda f: any(ct.patient_age_years is not None and ct.patient_age_years < ADULT_YEARS for ct in f.cts),
    ),
    _Rule(
        "patient-varies",
        "The images name different patients or frames of reference.",
        lambda f: len(f.owners) > 1,
    ),
)

LIMITATIONS = (
    (
        Level.DEGRADED,
        _Rule(
            "thick-slices",
            "Slices are thicker than 3 mm: nodules under 6 mm were not assessed.",
            lambda f: f.thickness_mm > FULL_THICKNESS_MM + ROUNDING_MM,
        ),
    ),
    (
        Level.PARTIAL,
        _Rule(
            "lossy",
            "The images were compressed with loss: faint nodules may be missed.",
            lambda f: any(ct.lossy for ct in f.cts) or {i.transfer_syntax_uid for i in f.images} & LOSSY_SYNTAXES,
        ),
    ),
    (
        Level.PARTIAL,
        _Rule(
            "short-coverage",
            f"The series covers less than {CHEST_COVERAGE_MM:.0f} mm: parts of the lungs were not assessed.",
            lambda f: f.stack and f.stack.coverage_mm < CHEST_COVERAGE_MM,
        ),
    ),
)


def judge(headers: Iterable[InstanceHeader]) -> Eligibility:
    """Judge one series by the headers of all its instances."""
    images = [(header, header.ct) for header in headers if header.ct is not None]
    if not images:
        return _refused(("not-ct", "These are not CT images."))
    slices = [(header, ct) for header, ct in images if _is_slice(header.modality, ct.image_type)]
    if not slices:
        return _refused(
            ("not-original-axial", "There are only localizers or derived images, no original axial slices.")
        )
    facts = _one_acquisition(_facts(slices))
    refusals = [rule for rule in REFUSALS if rule.fires(facts)]
    if refusals:
        return _refused(*((rule.code, rule.sentence) for rule in refusals))
    return _readable(facts)


def _facts(slices: Sequence[tuple[InstanceHeader, CtAttributes]]) -> _Facts:
    cts = [ct for _, ct in slices]
    complete = all(ct.frames and ct.pixel_spacing_mm for ct in cts)
    frames = [frame for ct in cts for frame in ct.frames]
    return _Facts([header for header, _ in slices], cts, stack_of(frames) if complete else None)


def _refused(*reasons: tuple[str, str]) -> Eligibility:
    return Eligibility(Level.REFUSED, tuple(code for code, _ in reasons), tuple(text for _, text in reasons))


def _readable(facts: _Facts) -> Eligibility:
    limits = [(level, rule) for level, rule in LIMITATIONS if rule.fires(facts)]
    levels = {level for level, _ in limits}
    level = next((each for each in (Level.DEGRADED, Level.PARTIAL) if each in levels), Level.FULL)
    uids = tuple(sorted(image.sop_instance_uid for image in facts.images))
    versions = sorted(f"{image.sop_instance_uid} {image.version}".strip() for image in facts.images)
    digest = hashlib.sha256("\n".join(versions).encode()).hexdigest()
    return Eligibility(level, (), tuple(rule.sentence for _, rule in limits), uids, digest, _score(facts, level))


def _score(facts: _Facts, level: Level) -> tuple[float, ...]:
    """Level, inspiration, thinness, whole chest, no contrast, matrix, length, and the later one of equals."""
    stack = facts.stack
    assert stack is not None
    coarser = sum(facts.thickness_mm > limit + ROUNDING_MM for limit in THINNER_IS_BETTER_MM)
    return (
        float(len(Level) - list(Level).index(level)),
        -float(any(EXPIRATION.search(image.series_description) for image in facts.images)),
        -float(coarser),
        float(stack.coverage_mm >= CHEST_COVERAGE_MM),
        -float(any(ct.contrast for ct in facts.cts)),
        float(facts.cts[0].columns or 0),
        float(stack.count),
        max(_clock(ct.content_time) for ct in facts.cts),
    )


def _clock(time: str) -> float:
    """HHMMSS of a TM value (PS3.5 Table 6.2-1), as a number to compare; 0 for what is none."""
    digits = time.partition(".")[0]
    return float(digits[:6].ljust(6, "0")) if digits.isascii() and digits.isdigit() else 0.0


def _is_slice(modality: str, image_type: Sequence[str]) -> bool:
    words = {part for value in image_type[:4] for part in (value, *value.split())}
    derived = image_type[:1] == ("DERIVED",)
    return modality in ("", "CT") and not words & NOT_A_SLICE and not (derived and image_type[2:3] != ("AXIAL",))


def _one_acquisition(facts: _Facts) -> _Facts:
    """Of several acquisitions filed under one series, the one with the most slices (the first of equals)."""
    if facts.stack is None or not facts.stack.duplicate_positions:
        return facts
    groups: dict[int, list[tuple[InstanceHeader, CtAttributes]]] = defaultdict(list)
    for image, ct in zip(facts.images, facts.cts, strict=True):
        groups[ct.acquisition_number or 0].append((image, ct))
    number = max(groups, key=lambda each: (len(groups[each]), -each))
    return _facts(groups[number])


def patient_of(header: InstanceHeader) -> tuple[str, ...]:
    """Who an image says that it is of. Delimiters at the end of a name say nothing (PS3.5 6.2.1)."""
    name = header.patient_name.rstrip("^= ")
    return header.patient_id, header.issuer_of_patient_id, name, header.patient_birth_date, header.patient_sex


def are_of_one_patient(headers: Iterable[InstanceHeader]) -> bool:
    """Whether images name no two patients: else what is said of one of them may be said of somebody else."""
    return len(set(map(patient_of, headers))) <= 1


def may_be_chest(headers: Iterable[InstanceHeader]) -> bool:
    """Whether a CT that was not read could have been meant for us: its texts say chest, or name no other part."""
    texts = _texts(headers)
    return bool(CHEST_WORDS.search(texts)) or not OTHER_BODY_PARTS.search(texts)


def says_chest(headers: Iterable[InstanceHeader]) -> bool:
    """Whether the texts of a CT say that it is one of the chest, whatever its pixels show."""
    return bool(CHEST_WORDS.search(_texts(headers)))


def _texts(headers: Iterable[InstanceHeader]) -> str:
    return " ".join(
        f"{header.body_part_examined} {header.study_description} {header.series_description} {header.protocol_name}"
        for header in headers
        if header.ct is not None
    )


def best(candidates: Iterable[tuple[str, Eligibility]]) -> str | None:
    """Series Instance UID of the best readable series; of equals the lowest UID, so that the choice never flickers."""
    readable = sorted((uid, verdict) for uid, verdict in candidates if verdict.level is not Level.REFUSED)
    return max(readable, key=lambda pair: pair[1].score, default=(None, None))[0]
