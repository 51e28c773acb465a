"""Languages that reports are written in."""

from enum import StrEnum


class Language(StrEnum):
    """What people read: sentences and the meanings of codes. Codes themselves, logs and commands stay as they are."""

    EN = "en"
    ZH = "zh"
    """Chinese, simplified characters."""
    DE = "de"
