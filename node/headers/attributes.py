"""Any attribute of an image by its keyword, as rules ask for it: which there are, how they compare, what they are."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pydicom.tag import Tag

from node.domain.criteria import Criterion, Kind, criterion
from node.errors import BadInput
from node.headers.values import numbers, text, years

NUMBERS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "AS"})
TEXTS = frozenset({"AE", "CS", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
TOLD = NUMBERS | {"CS", "UI", "AE"}
"""Values of these name nobody, outside of the patient's own group: codes, numbers, UIDs."""
PATIENT_GROUP = 0x0010


def criterion_of(keyword: str, asked: Sequence[object]) -> Criterion:
    """What is asked of an attribute. Raises ValueError with a sentence where it is none, or cannot be asked for."""
    number = tag_for_keyword(keyword)
    if number is None:
        raise ValueError(f"{keyword!r} is no keyword of a DICOM attribute (PS3.6), such as StudyDescription")
    vr = dictionary_VR(number)
    kind = Kind.DATE if vr == "DA" else Kind.NUMBER if vr in NUMBERS else Kind.TEXT if vr in TEXTS else None
    if kind is None:
        raise ValueError(f"{keyword} cannot be asked for: its value is a {vr} (PS3.5 6.2)")
    return criterion(keyword, kind, asked, told=vr in TOLD and Tag(number).group != PATIENT_GROUP)


def attributes_of(path: Path, keywords: Iterable[str]) -> dict[str, list[str]]:
    """Keyword to values of one image; what is absent or unreadable is not in it. AS is given in years.

    Raises BadInput for a file that is no DICOM file, OSError for one that cannot be read.
    """
    wanted = [*keywords]
    try:
        image = dcmread(path, stop_before_pixels=True, specific_tags=["SpecificCharacterSet", *wanted])
    except OSError:
        raise
    except Exception as error:
        raise BadInput(f"The file is no DICOM file ({type(error).__name__}).") from error
    found = {keyword: _values(image, keyword) for keyword in wanted}
    return {keyword: values for keyword, values in found.items() if values}


def _values(image: Dataset, keyword: str) -> list[str]:
    vr = dictionary_VR(tag_for_keyword(keyword) or 0)
    if vr == "AS":
        age = years(text(image, keyword))
        return [] if age is None else [str(age)]
    if vr in NUMBERS:
        return [f"{each:.15g}" for each in numbers(image, keyword)]
    return [each.strip() for each in text(image, keyword).split("\\") if each.strip()]


def identity_of(path: Path) -> Mapping[str, str]:
    """Study and Series Instance UID of a file. Raises BadInput, OSError."""
    found = attributes_of(path, ("StudyInstanceUID", "SeriesInstanceUID"))
    if len(found) < 2:
        raise BadInput("The file names no study or series.")
    return {keyword: values[0] for keyword, values in found.items()}
