"""Joining a server: everything that it says is checked against the invitation before it is kept."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from client.link import check_place
from shared.canonical import read_json
from shared.data.catalogue import Catalogue
from shared.errors import ConfigError, PrivacyError
from shared.files import make_folder, write_atomically
from shared.invitation import Invitation, read_invitation
from shared.printable import printable
from shared.published import ADAPTER, CATALOGUE, MANIFEST, catalogue_of, check_files, read_manifest

SECONDS = 60.0
MOST_BYTES = 1 << 30
"""Of a release's largest file."""
NODE = "node.toml"
_BEGUN = "joining"  # in a node's folder until the server has said that it is enrolled
_FEW = 1 << 20


class Unheard(ConfigError):
    """Whether a node was enrolled is not known: its key may be in use."""


class Untrusted(ConfigError):
    """Whoever answers shows no certificate that holds, or one of another authority."""


class Server:
    """A server by its own authority, an invitation's, and no other.

    Parameters
    ----------
    address : str
        host:port.
    authority : str
        Its certificate, PEM.
    """

    def __init__(self, address: str, authority: str) -> None:
        self._address = address
        try:
            self._context = ssl.create_default_context(cadata=authority)
        except (ssl.SSLError, ValueError):
            raise ConfigError("authority: not a certificate; ask for another invitation") from None

    @classmethod
    def of(cls, invitation: Invitation) -> Server:
        """The one of an invitation."""
        return cls(invitation.address, invitation.authority)

    def check_trusted(self) -> None:
        """Refuse at once one whose certificate does not hold; one that is silent may come yet.

        Raises
        ------
        Untrusted
            Saying what to do.
        """
        try:
            self._ask("GET", "/releases/latest", None, _FEW)
        except Untrusted:
            raise
        except ConfigError:
            return

    def get(self, path: str, most: int = _FEW) -> bytes | None:
        """What lies at a path; None if there is nothing.

        Raises
        ------
        ConfigError
            If the server cannot be reached, is another one, or answers more than `most` bytes.
        """
        status, body = self._ask("GET", path, None, most)
        if status == 404:
            return None
        if status != 200:
            raise ConfigError(f"https://{self._address}{path}: answers {status}; try again later")
        return body

    def enrol(self, token: str, key: str) -> str:
        """Register a node's public key; the number it is known by.

        Raises
        ------
        ConfigError
            In the server's words, if it refuses.
        Unheard
            If it says neither yes nor no.
        """
        body = json.dumps({"token": token, "key": key}).encode()
        try:
            status, answer = self._ask("POST", "/enrol", body, _FEW)
            told: Any = read_json(answer)
            said = str(told["node" if status == 201 else "error"])
        except ConfigError as error:
            raise Unheard(str(error)) from None
        except (ValueError, KeyError, TypeError):
            raise Unheard(f"https://{self._address}/enrol: answers {status}") from None
        if status >= 500:
            raise Unheard(f"{self._address}: {printable(said[:200])}")
        if status != 201:
            raise ConfigError(f"{self._address}: {printable(said[:200])}")
        return said

    def _ask(self, method: str, path: str, body: bytes | None, most: int) -> tuple[int, bytes]:
        link = http.client.HTTPSConnection(self._address, timeout=SECONDS, context=self._context)
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            link.request(method, path, body, headers)
            answer = link.getresponse()
            found = answer.read(most + 1)
        except ssl.SSLCertVerificationError as error:
            raise Untrusted(f"{self._address}: {_why(error)}") from None
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or error or type(error).__name__
            raise ConfigError(f"{self._address}: cannot be reached ({why})") from None
        finally:
            link.close()
        if len(found) > most:
            raise ConfigError(f"https://{self._address}{path}: more than {most} bytes")
        return answer.status, found


def invited(file: Path, operator: str | None = None) -> tuple[Catalogue, str]:
    """What a device is made from: the public items and the operator of an invitation.

    Parameters
    ----------
    file : Path
        An invitation. Its token is not used.
    operator : str, optional
        The key that the owner was told by another way; another one is refused.

    Raises
    ------
    ConfigError
        If the invitation or the server is not what it should be.
    """
    invitation = _of_operator(file, operator)
    text = Server.of(invitation).get("/catalogue.json", MOST_BYTES)
    if text is None:
        raise ConfigError(f"{invitation.address}: has no catalogue; is it a Starling server?")
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / CATALOGUE
        kept.write_bytes(text)
        catalogue = catalogue_of(kept)
    if catalogue.digest != invitation.catalogue:
        raise ConfigError(f"{invitation.address}: its items are not those of the invitation")
    return catalogue, invitation.operator


def join(file: Path, node: Path, socket: Path, operator: str | None = None) -> Invitation:
    """Make a node's folder: its key, enrolled; or go on where the server's answer was lost.

    The token is good for one key, and for that as often as it asks: who tries again with the same
    invitation and folder is the same node.

    Parameters
    ----------
    file : Path
        The invitation; its token is used up.
    node : Path
        New, or one whose enrolment was not heard of.
    socket : Path
        Of the device's process.
    operator : str, optional
        As `invited`.

    Raises
    ------
    ConfigError
        If anything is not as it should be; nothing is left behind.
    Unheard
        If the server's answer was lost. The folder stays: its key may be enrolled.
    """
    invitation = _of_operator(file, operator)
    begun = _begun(node, invitation)
    if not socket.is_absolute():
        raise ConfigError(f"--socket {str(socket)!r}: give a full path")
    if socket.parent.exists():
        check_place(socket)
    server = Server.of(invitation)
    if server.get("/releases/latest") is None and server.get("/catalogue.json", MOST_BYTES) is None:
        raise ConfigError(f"{invitation.address}: is no Starling server")
    try:
        _write(node, invitation, socket, new=not begun)
        server.enrol(invitation.token, (node / "node.pub").read_text())
        (node / _BEGUN).unlink()
    except OSError as error:
        if not begun:
            shutil.rmtree(node, ignore_errors=True)
        raise ConfigError(f"--node {node}: cannot be written ({error.strerror})") from None
    except Unheard as error:
        raise Unheard(
            f"{error}: the node may be enrolled nonetheless, and {node} is kept: type the same "
            "again, to be the same node"
        ) from None
    except ConfigError:
        shutil.rmtree(node, ignore_errors=True)
        raise
    return invitation


def _begun(node: Path, invitation: Invitation) -> bool:
    """Whether a node's folder is one whose enrolment was not heard of, by the same invitation."""
    if not node.exists() and not node.is_symlink():
        return False
    try:
        before = (node / _BEGUN).read_text()
        complete = (node / "node.pub").is_file() and (node / "node.key").is_file()
    except OSError:
        raise ConfigError(f"--node {node}: is there already; give a new folder") from None
    if before != _known_by(invitation) or not complete:
        raise ConfigError(
            f"--node {node}: was begun with another invitation; give that one, or a new folder"
        )
    return True


def _known_by(invitation: Invitation) -> str:
    return hashlib.sha256(invitation.token.encode()).hexdigest()


def fetch_release(file: Path, into: Path) -> Path:
    """Put the last release of an invitation's server into a folder, checked; the folder.

    Raises
    ------
    ConfigError
        As `invited`; if there is no release yet.
    PrivacyError
        If it is not signed by the invitation's operator, or a file is not the one released.
    """
    invitation = read_invitation(file)
    server = Server.of(invitation)
    text = server.get("/releases/latest")
    if text is None:
        raise ConfigError(f"{invitation.address}: nothing was released yet")
    manifest = read_manifest(text, invitation.operator)
    folder = into / str(manifest.version)
    make_folder(folder)
    (folder / MANIFEST).write_bytes(text)
    for name in (ADAPTER, CATALOGUE):
        content = server.get(f"/releases/{manifest.version}/{name}", MOST_BYTES)
        if content is None:
            raise PrivacyError(f"release {manifest.version}: {name} is missing at the server")
        (folder / name).write_bytes(content)
    check_files(manifest, folder)
    return folder


_EXPIRED, _NOT_YET, _ANOTHER_NAME = 10, 9, {62, 64}  # of OpenSSL: X509_V_ERR_...


def _why(error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with a server's certificate, and what to do."""
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if error.verify_code == _EXPIRED:
        return (
            f"its certificate has expired, if it is {now}: set this clock if it is not; else tell "
            "the operator, whose starling server renew it takes and nothing here"
        )
    if error.verify_code == _NOT_YET:
        return f"its certificate does not hold yet, if it is {now}: set this device's clock"
    if error.verify_code in _ANOTHER_NAME:
        return "its certificate is for another address; ask the operator for starling server renew"
    return f"not the server of this invitation ({error.verify_message})"


def _of_operator(file: Path, operator: str | None) -> Invitation:
    invitation = read_invitation(file)
    if operator is not None and invitation.operator != operator:
        raise ConfigError(
            f"{file}: is of the operator {invitation.operator[:16]}..., --operator says "
            f"{operator[:16]}...; ask for an invitation of that one"
        )
    try:
        late = datetime.now(UTC) >= datetime.fromisoformat(invitation.expires)
    except (ValueError, TypeError):
        late = True
    if late:
        raise ConfigError(f"{file}: expired at {invitation.expires}; ask for another invitation")
    return invitation


def _write(node: Path, invitation: Invitation, socket: Path, *, new: bool) -> None:
    make_folder(node)
    node.chmod(0o700)
    if new:
        key = ec.generate_private_key(ec.SECP384R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        write_atomically(node / "node.key", private)
        (node / "node.key").chmod(0o600)
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        write_atomically(node / "node.pub", public)
        write_atomically(node / _BEGUN, _known_by(invitation))
    write_atomically(node / "ca.pem", invitation.authority)
    told = {"superlink": invitation.address, "device": str(socket)}
    write_atomically(node / NODE, tomli_w.dumps(told))
