"""AE titles as the settings take them."""

from typing import Annotated

from pydantic import AfterValidator, StringConstraints


def _as_value_of_ae(title: str) -> str:
    if not (title.isascii() and title.isprintable()) or "\\" in title:
        raise ValueError("an AE title has ASCII letters, digits and signs, and no backslash (PS3.5 6.2)")
    return title


AeTitle = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=16),
    AfterValidator(_as_value_of_ae),
]
"""Blanks around it do not count (PS3.5 6.2)."""
