"""Attributes of a file that somebody asks for, sequences included, as plain values."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from node.domain.matching import Key, Value
from node.headers.elements import read_elements
from node.headers.header import skip_meta, transfer_syntax_of

Values = dict[str, Value]
BINARY = frozenset({"OB", "OW", "OF", "OD", "OL", "OV", "OB or OW", "UN"})


def values_of(path: Path, keys: Mapping[str, Key]) -> Values:
    """The attributes of a Part 10 file that were asked for; what is absent or broken is left out.

    Raises BadInput where the file does not parse, OSError where it is not there.
    """
    syntax = UID(transfer_syntax_of(path))
    tags = {tag for name in keys if (tag := tag_for_keyword(name)) is not None}
    with path.open("rb") as file:
        skip_meta(file)
        elements = read_elements(file, str(syntax), whole=tags)
    asked = Dataset({tag: elements.get_item(tag, keep_deferred=True) for tag in elements.keys() if int(tag) in tags})  # noqa: SIM118
    asked.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian, _encodings(elements))
    return _values(asked, keys)


def _encodings(elements: Dataset) -> list[str]:
    """Python's names of the character sets; an unknown one costs only the text that is in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return convert_encodings(elements.get("SpecificCharacterSet") or "ISO_IR 6")
    except Exception:  # noqa: BLE001 - conversion of a broken value may raise anything
        return ["latin-1"]


def _values(data_set: Dataset, keys: Mapping[str, Key]) -> Values:
    """By keyword; of an item all that is in it where nothing particular is asked for."""
    names = keys or [name for tag in data_set.keys() if (name := keyword_for_tag(tag))]  # noqa: SIM118
    found: Values = {}
    for name in names:
        inside = keys[name].inside if keys else {}
        value = _value(data_set, name, inside)
        if value is not None:
            found[name] = value
    return found


def _value(data_set: Dataset, name: str, inside: Mapping[str, Key]) -> Value:
    try:
        value = data_set.get(name)
        if isinstance(value, Items):
            return tuple(_values(item, inside) for item in value)
        return None if dictionary_VR(name) in BINARY else plain(value)
    except Exception:  # noqa: BLE001 - conversion of a broken value may raise anything; it is left out
        return None


def plain(value: object) -> Value:
    """A value of pydicom's as text or number, several as a tuple of texts."""
    if isinstance(value, (MultiValue, list, tuple)):
        return tuple(str(part) for part in value)
    if value is None or type(value) in (int, float):  # pydicom's own numbers keep how they were written
        return cast("int | float | None", value)
    return str(value).strip("\0 ")


def element_of(name: str, key: Key, value: Value) -> DataElement:
    """The opposite: an element for an answer, empty where there is no value."""
    if key.vr == "SQ":
        items = value if isinstance(value, (list, tuple)) else ()
        return DataElement(name, "SQ", [item_of(item, key.inside) for item in items if isinstance(item, Mapping)])
    return DataElement(name, key.vr, list(value) if isinstance(value, tuple) else value)


def item_of(values: Mapping[str, Value], keys: Mapping[str, Key]) -> Dataset:
    """An item with the attributes that were asked for, or with all."""
    wanted = keys or {name: Key(_vr(name, value)) for name, value in values.items()}
    item = Dataset()
    for name, key in wanted.items():
        item.add(element_of(name, key, values.get(name)))
    return item


def _vr(name: str, value: Value) -> str:
    vr = dictionary_VR(name)
    if " or " in vr:
        vr = "SS" if isinstance(value, int) and value < 0 and "SS" in vr else vr.split(" or ")[0]
    return vr


def key_of(element: DataElement) -> Key:
    """What one element of an identifier asks for. Raises ValueError for a sequence of several items (C.2.2.2.6)."""
    if element.VR != "SQ":
        return Key(element.VR, text_of(element.value))
    items = list(element.value or ())
    if len(items) > 1:
        raise ValueError("a sequence to match by has one item")
    inside = {name: key_of(each) for item in items for each in item if (name := keyword_for_tag(each.tag))}
    return Key("SQ", inside=inside)


def text_of(value: object) -> str:
    """A key's value; several are joined by a backslash."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip("\0 ")
    if not isinstance(value, (list, tuple, MultiValue)):
        return str(value).strip()
    return "\\".join(str(part).strip() for part in value)
