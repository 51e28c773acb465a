"""The character set of an answer: the one that was asked in where it can say all of it, else Unicode."""

import warnings
from copy import deepcopy
from io import BytesIO
from typing import cast

from pydicom import Dataset
from pydicom.multival import MultiValue
from pynetdicom.dsutils import decode, encode

UNICODE = "ISO_IR 192"


def settle_charset(answer: Dataset, asked: object) -> None:
    """Set SpecificCharacterSet (PS3.3 C.12.1.1.2). Who asks without one gets Unicode: for ASCII they are the same."""
    names = list(asked) if isinstance(asked, (MultiValue, list)) else [str(asked or "")]
    is_other = names not in ([""], [UNICODE]) and _says_all(deepcopy(answer), names)
    answer.SpecificCharacterSet = names if is_other else UNICODE


def _says_all(answer: Dataset, names: list[str]) -> bool:
    """Whether an answer is the same when it has been written and read; a copy, for names keep how they were written."""
    answer.SpecificCharacterSet = names
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = decode(BytesIO(cast("bytes", encode(answer, False, True))), False, True)
            return all(str(element.value) == str(read[element.tag].value) for element in answer if element.VR != "SQ")
    except Exception:  # noqa: BLE001 - an unknown character set raises anything; Unicode is always understood
        return False
