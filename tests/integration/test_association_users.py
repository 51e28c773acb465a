"""User identities (PS3.7 D.3.3.7): who administers says who it is, over TLS, and proves it."""

import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.sop_class import Verification

from node.dicom.answers import keep_answers
from node.dicom.users import UsersFile
from node.domain import passcode
from node.errors import SettingsError
from tests.conftest import Typed
from tests.servers import Nodus, eventually, nodus
from tests.sites import Site

SECRET = b"correct horse battery"
USERNAME, WITH_PASSCODE, KERBEROS, TOKEN = 1, 2, 3, 5


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Nodus]:
    """Callers that call themselves ADMIN must say who their user is."""
    folder = tmp_path_factory.mktemp("node")
    UsersFile(folder / "users").write({"ada": passcode.hash_of(SECRET), "grace": ""})
    users = {"users_file": str(folder / "users"), "user_required_of": ["ADMIN"], "jwt_key": str(site.pem("node"))}
    users |= {"jwt_key": str(public_key(site, folder / "jwt.pem")), "tls_clients": "asked"}
    with nodus(folder / "data", **site.settings(refusals_every_s=0.5, request_timeout_s=30.0, **users)) as node:
        yield node


def public_key(site: Site, path: Path) -> Path:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    key = load_pem_private_key(site.key("ca").read_bytes(), None).public_key()
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def token(site: Site, key: str = "ca", **claims: object) -> bytes:
    told = {"sub": "grace", "aud": "NODUS", "exp": time.time() + 600, **claims}
    return jwt.encode(
        {name: value for name, value in told.items() if value is not None}, site.key(key).read_bytes(), "RS256"
    ).encode()


def call(
    node: Nodus,
    site: Site,
    identity: tuple[int, bytes, bytes] | None = None,
    *,
    aet: str = "ADMIN",
    certificate: str = "",
    plain: bool = False,
) -> Association:
    """An association that is asked for with a user, and with a positive response if there is one."""
    ae = AE(aet)
    ae.add_requested_context(Verification)
    items = []
    if identity:
        item = UserIdentityNegotiation()
        item.user_identity_type, item.primary_field, item.secondary_field = identity
        item.positive_response_requested = True
        items.append(item)
    tls = None if plain else (site.client(certificate), "localhost")
    port = node.dicom_port if plain else node.tls_port
    association = keep_answers(ae.associate("127.0.0.1", port, ae_title="NODUS", ext_neg=items, tls_args=tls))
    if association.is_established:
        assert association.send_c_echo().Status == 0x0000
        association.release()
    return association


def answered(association: Association) -> bool:
    """Whether it was accepted with the positive response that was asked for."""
    return association.is_released and association.acceptor.user_identity is not None


@pytest.mark.parametrize("user", ["passcode", "token", "certificate"])
def test_a_user_is_believed_and_told_so_and_stands_in_the_audit_trail(node: Nodus, site: Site, user: str) -> None:
    identity, certificate = {
        "passcode": ((WITH_PASSCODE, b"ada", SECRET), ""),
        "token": ((TOKEN, token(site), b""), ""),
        "certificate": ((USERNAME, b"grace", b""), "ct1"),
    }[user]
    assert answered(call(node, site, identity, certificate=certificate))
    name = "ada" if user == "passcode" else "grace"
    eventually(lambda: [each for each in node.audit("association closed") if f'"user": "{name}"' in each.detail])


@pytest.mark.parametrize(
    "identity",
    [
        (WITH_PASSCODE, b"ada", b"wrong horse battery"),
        (WITH_PASSCODE, b"nobody", SECRET),
        (WITH_PASSCODE, b"grace", b"\x00"),
        (WITH_PASSCODE, b"\xff\xfe", SECRET),
        (USERNAME, b"ada", b""),
        (USERNAME, b"grace", b""),
        (KERBEROS, b"ticket", b""),
        (TOKEN, b"no token", b""),
        None,
    ],
)
def test_who_proves_nothing_is_refused_and_audited(
    node: Nodus, site: Site, identity: tuple[int, bytes, bytes] | None
) -> None:
    before = count(node)
    refused = call(node, site, identity)
    assert refused.is_rejected
    eventually(lambda: count(node) > before, what="a security alert more")
    if identity is not None:
        again = call(node, site, identity, aet="OTHER")
        assert again.is_rejected, node.log()[-3000:]
    assert "horse" not in node.log() + "".join(each.detail for each in node.audit())


def count(node: Nodus) -> int:
    """Callers that were refused because of their user."""
    return sum(1 for each in node.audit("security alert") if "user" in each.detail)


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1}, {"aud": "OTHER"}, {"sub": "nobody"}, {"exp": None}, {"aud": None}, {"sub": None}, {"key": "ct1"}],
)
def test_a_token_that_is_old_or_for_others_or_of_others_is_none(
    node: Nodus, site: Site, claims: dict[str, str]
) -> None:
    refused = call(node, site, (TOKEN, token(site, **claims), b""))
    assert refused.is_rejected, (vars(refused), node.log()[-3000:])


def test_a_token_without_a_signature_is_none(node: Nodus, site: Site) -> None:
    forged = jwt.encode({"sub": "grace", "aud": "NODUS", "exp": time.time() + 600}, "", "none").encode()
    assert call(node, site, (TOKEN, forged, b"")).is_rejected


def test_without_tls_a_user_is_not_listened_to(node: Nodus, site: Site) -> None:
    assert call(node, site, (WITH_PASSCODE, b"ada", SECRET), plain=True).is_rejected
    eventually(lambda: [each for each in node.audit("security alert") if "heard over TLS only" in each.detail])
    other = call(node, site, (WITH_PASSCODE, b"ada", b"wrong"), plain=True, aet="OTHER")
    assert other.is_released
    assert not answered(other)


def test_who_need_not_say_who_its_user_is_is_heard_without(node: Nodus, site: Site) -> None:
    assert call(node, site, aet="OTHER").is_released


def test_users_are_made_and_removed_by_commands_while_the_node_runs(
    node: Nodus, site: Site, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**node.environment, "NODUS_DATA": str(node.data)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _: "a passcode of hers")
    code, said = typed("users", "set", "lise")
    assert (code, "lise is a user" in said) == (0, True)
    assert answered(call(node, site, (WITH_PASSCODE, b"lise", b"a passcode of hers")))
    assert "a passcode" not in Path(str(node.environment["NODUS_USERS_FILE"])).read_text()
    assert typed("users", "remove", "lise")[0] == 0
    assert call(node, site, (WITH_PASSCODE, b"lise", b"a passcode of hers")).is_rejected
    assert typed("users", "remove", "lise") == (1, "nodus: There is no user lise; `nodus users` lists them.\n")
    assert typed("users", "set", "no name")[0] == 1
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _: "short")
    assert "at least 12 characters" in typed("users", "set", "lise")[1]
    assert [each.detail for each in node.audit("user changed")] == [
        '{"user": "lise", "what": "user set"}',
        '{"user": "lise", "what": "user removed"}',
    ]


def test_a_file_that_is_none_of_users_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("ada:\nbob:plain\n")
    with pytest.raises(SettingsError, match="Line 2"):
        UsersFile(path).read()
    with pytest.raises(SettingsError, match="cannot be read"):
        UsersFile(tmp_path / "none").read()


@pytest.mark.parametrize("text", ["", "scrypt$1", "md5$1$1$1$00$00", "scrypt$1073741824$8$1$00$00", "scrypt$a$8$1$0$0"])
def test_what_is_no_hash_of_a_passcode_matches_none(text: str) -> None:
    assert not passcode.is_hash(text)
    assert passcode.is_hash(passcode.hash_of(b"x"))
    assert passcode.matches(b"x", passcode.hash_of(b"x"))
