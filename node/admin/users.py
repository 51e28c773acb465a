"""Users who administer by DICOM: who there is, and their passcodes."""

from pathlib import Path

from node.admin.opened import opened
from node.admin.view import View
from node.catalog import audit
from node.dicom.users import UsersFile, is_name
from node.domain import passcode
from node.domain.audit import Event, EventKind
from node.errors import SettingsError, Unavailable
from node.settings import Settings

SHORTEST = 12
"""Characters of a passcode: it can be tried from the network."""


def listed(settings: Settings) -> View:
    """One row a user."""
    users = UsersFile(_path(settings)).read()
    rows = [{"user": name, "passcode": "yes" if known else "no"} for name, known in sorted(users.items())]
    return View(rows, ("user", "passcode"), rows)


def put(settings: Settings, name: str, secret: str | None) -> View:
    """Make a user, or give one a new passcode; without one it comes by token or certificate. Raises SettingsError."""
    if not is_name(name):
        raise SettingsError("A user's name has 1 to 64 characters, and no blank or colon.")
    if secret is not None and len(secret) < SHORTEST:
        raise SettingsError(f"A passcode has at least {SHORTEST} characters.")
    file = UsersFile(_path(settings))
    known = "" if secret is None else passcode.hash_of(secret.encode())
    _change(settings, file, {**_read(file), name: known}, "user set", name)
    return View({"user": name}, note=f"{name} is a user; the node knows it from now on.")


def remove(settings: Settings, name: str) -> View:
    """Forget a user. Raises Unavailable where there is none."""
    file = UsersFile(_path(settings))
    users = file.read()
    if users.pop(name, None) is None:
        raise Unavailable(f"There is no user {name}; `nodus users` lists them.")
    _change(settings, file, users, "user removed", name)
    return View({"user": name}, note=f"{name} is no user any more.")


def _path(settings: Settings) -> Path:
    if settings.users_file is None:
        raise SettingsError("The settings name no users_file.")
    return settings.users_file


def _read(file: UsersFile) -> dict[str, str]:
    return file.read() if file.path.exists() else {}


def _change(settings: Settings, file: UsersFile, users: dict[str, str], what: str, name: str) -> None:
    """The audit row first: a change that nobody knows of is worse than a row of one that did not come about."""
    with opened(settings) as catalog, catalog.writing() as session:
        audit.append(session, Event(EventKind.USER_CHANGED, actor="operator", detail={"what": what, "user": name}))
        file.write(users)
