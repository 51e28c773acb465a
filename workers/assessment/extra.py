"""Libraries of the extra `evaluation`, or a sentence that says how to get them."""

from importlib import import_module
from types import ModuleType

from node.errors import SettingsError


def extra(name: str) -> ModuleType:
    """Import a library of the extra. Raises SettingsError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise SettingsError(f"`nodus evaluate` needs {name} for this: install nodus[evaluation].") from error
