"""Whether a caller is who it says: its certificate belongs to its AE title, and its user proves to be one."""

import logging
from dataclasses import dataclass
from typing import Protocol

from pynetdicom.pdu_primitives import UserIdentityNegotiation

from node.dicom.users import Identity, Users
from node.domain.peers import Sender
from node.errors import SettingsError

log = logging.getLogger(__name__)

OTHER_CERTIFICATE = "its certificate is not that of this AE title"
NEEDS_TLS = "this AE title is heard over TLS only"
NO_USER = "this AE title is heard only with a user"
WRONG_USER = "its user is not proven"


class Caller(Protocol):
    """An association that is asked for."""

    is_secure: bool
    certified: frozenset[str]


class Doubt(Exception):
    """The caller did not prove what it says; the message is the reason."""


class UserInDoubt(Doubt):
    """The same of its user."""


@dataclass(frozen=True)
class Trust:
    """What callers must prove."""

    users: Users | None = None
    """None: nobody is asked who its user is."""
    user_required_of: frozenset[str] = frozenset()
    """Calling AE titles."""

    def certified(self, caller: Caller, sender: Sender) -> None:
        """Raises Doubt where the sender has to have a certificate, and this is not it."""
        if sender.certificate and not caller.is_secure:
            raise Doubt(NEEDS_TLS)
        if sender.certificate and sender.certificate.lower() not in caller.certified:
            raise Doubt(OTHER_CERTIFICATE)

    def user(self, caller: Caller, ae_title: str, identity: Identity | None) -> str:
        """Who its user is; empty where it says nothing, and need not. Raises UserInDoubt.

        What is said without TLS is not listened to: anybody could have heard it.
        """
        if ae_title in self.user_required_of:
            if not caller.is_secure:
                raise UserInDoubt(NEEDS_TLS)
            if identity is None:
                raise UserInDoubt(NO_USER)
        if self.users is None or identity is None or not caller.is_secure:
            return ""
        try:
            proven = self.users.proven(identity, has_certificate=bool(caller.certified))
        except SettingsError as error:
            log.error("no user can be proven", extra={"error": str(error)})
            proven = None
        if proven is None:
            raise UserInDoubt(WRONG_USER)
        return proven


def accepted() -> UserIdentityNegotiation:
    """The positive response (PS3.7 D.3.3.7.2): it has nothing to say for the types that are taken here."""
    answer = UserIdentityNegotiation()
    answer.server_response = b""
    return answer
