"""The server's certificate and the authority that signs it: nodes trust this one and no other.

Invitations carry the authority's certificate, so it lives for as long as a federation may; the
server's own is renewed from it, and nodes go on.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.errors import ConfigError
from shared.files import read_file

DAYS, AUTHORITY_DAYS = 825, 3650
"""How long a server's certificate and its authority's hold; the first within the second."""
SOON = 30
"""Days before the end at which a renewal is asked for."""
_SKEW = timedelta(minutes=5)  # of a device's clock behind the server's
_RENEW = "make another with starling server renew"


@dataclass(frozen=True)
class Until:
    """When what a server shows ends.

    Attributes
    ----------
    certificate, authority : datetime
        UTC.
    """

    certificate: datetime
    authority: datetime

    @property
    def days(self) -> int:
        """Whole days for which the certificate still holds; negative: since when it does not."""
        return (self.certificate - datetime.now(UTC)).days


def lasts(until: Until) -> str:
    """How long a certificate holds, in words: from a month before its end on, what to do."""
    end = f"{until.certificate:%Y-%m-%d}"
    if until.days < 0:
        return f"has not held since {end}; {_RENEW}"
    asked = f": {_RENEW}" if until.days < SOON else ""
    return f"holds until {end}, for {until.days} days{asked}"


def certificates(hosts: Sequence[str]) -> dict[str, bytes]:
    """A new authority and a server's certificate by it, PEM by file name.

    Parameters
    ----------
    hosts : sequence of str
        Names and addresses by which nodes reach the server: each is in the certificate.
    """
    key, issuer = ec.generate_private_key(ec.SECP384R1()), _name("Starling operator's authority")
    until = datetime.now(UTC) + timedelta(days=AUTHORITY_DAYS)
    authority = (
        _begun(issuer, issuer, key.public_key(), until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    return {
        "ca.pem": authority.public_bytes(Encoding.PEM),
        "ca.key": _private(key),
        **_issued(authority, key, hosts),
    }


def renewed(authority: Path, key: Path, hosts: Sequence[str]) -> dict[str, bytes]:
    """Another certificate of a server, with a key of its own, by the authority that nodes trust.

    Parameters
    ----------
    authority, key : Path
        The authority's certificate and private key.
    hosts : sequence of str
        As `certificates`.

    Raises
    ------
    ConfigError
        If one of them is missing, they do not belong together, or the authority holds no more.
    """
    above = _certificate(authority)
    try:
        own = load_pem_private_key(read_file(key), None)
    except OSError as error:
        raise ConfigError(
            f"{key}: cannot be read ({error.strerror}); put the authority's key back, without it "
            "nothing can be signed that nodes trust"
        ) from None
    except (ValueError, TypeError):
        raise ConfigError(f"{key}: not a private key (PEM); restore it from a copy") from None
    if not isinstance(own, ec.EllipticCurvePrivateKey) or not _belong(above, own.public_key()):
        raise ConfigError(f"{key}: not the key of {authority}; restore the two from one copy")
    _check_authority(authority, above)
    return _issued(above, own, hosts)


def until_of(certificate: Path, authority: Path) -> Until:
    """When both end; a ConfigError if one cannot be read."""
    return Until(*(_certificate(file).not_valid_after_utc for file in (certificate, authority)))


def check_certificate(certificate: Path, key: Path, authority: Path, hosts: Sequence[str]) -> Until:
    """Until when what a server shows holds.

    Parameters
    ----------
    certificate, key : Path
        The server's own.
    authority : Path
        The certificate of the one that signed it.
    hosts : sequence of str
        By which nodes reach the server.

    Raises
    ------
    ConfigError
        If one of them cannot be read or does not hold now, they do not belong together, or one of
        the hosts is not in it.
    """
    found, above = _certificate(certificate), _certificate(authority)
    _check_authority(authority, above)
    _check_now(certificate, found, _RENEW)
    try:
        found.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature):
        raise ConfigError(
            f"{certificate}: is not by {authority}, which nodes trust; {_RENEW}"
        ) from None
    try:
        own = load_pem_private_key(read_file(key), None)
    except OSError as error:
        raise ConfigError(f"{key}: cannot be read ({error.strerror}); {_RENEW}") from None
    except (ValueError, TypeError):
        raise ConfigError(f"{key}: not a private key (PEM); {_RENEW}") from None
    if not isinstance(own, ec.EllipticCurvePrivateKey) or not _belong(found, own.public_key()):
        raise ConfigError(f"{key}: not the key of {certificate}; {_RENEW}")
    names = _names(certificate, found)
    for host in hosts:
        if general_name(host) not in names:
            raise ConfigError(
                f"{certificate}: is not for {host}, which nodes are told to connect to; make one "
                "with starling server renew --host"
            )
    return Until(found.not_valid_after_utc, above.not_valid_after_utc)


def general_name(host: str) -> x509.GeneralName:
    """A host as certificates name it; a ConfigError for what is neither a name nor an address."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.split(".")
    plain = all(label and label.replace("-", "").isalnum() for label in labels) and host.isascii()
    if not plain or len(host) > 253:
        raise ConfigError(f"--host {host!r}: expected a name such as server.example, or an address")
    return x509.DNSName(host)


def _issued(
    authority: x509.Certificate, key: ec.EllipticCurvePrivateKey, hosts: Sequence[str]
) -> dict[str, bytes]:
    """A new certificate and its key, PEM by file name."""
    own = ec.generate_private_key(ec.SECP384R1())
    until = min(datetime.now(UTC) + timedelta(days=DAYS), authority.not_valid_after_utc)
    signer = cast("ec.EllipticCurvePublicKey", authority.public_key())
    server = (
        _begun(_name(hosts[0][:64]), authority.subject, own.public_key(), until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([general_name(host) for host in hosts]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
        .sign(key, SHA256())
    )
    return {"server.key": _private(own), "server.pem": server.public_bytes(Encoding.PEM)}


def _certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(read_file(file))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise ConfigError(f"{file}: not a certificate (PEM); restore it from a copy") from None


def _names(file: Path, found: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        raise ConfigError(
            f"{file}: not a server's certificate (with its names); {_RENEW}"
        ) from None


def _check_authority(file: Path, found: x509.Certificate) -> None:
    _check_now(file, found, "invite every node anew, from a new server folder")


def _check_now(file: Path, found: x509.Certificate, otherwise: str) -> None:
    start, end = found.not_valid_before_utc, found.not_valid_after_utc
    if not start <= datetime.now(UTC) < end:
        raise ConfigError(
            f"{file}: holds from {start:%Y-%m-%d} until {end:%Y-%m-%d}, not now; {otherwise}, "
            "or set the clock"
        )


def _belong(found: x509.Certificate, key: ec.EllipticCurvePublicKey) -> bool:
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return bool(found.public_key().public_bytes(*form) == key.public_bytes(*form))


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - _SKEW)
        .not_valid_after(until)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
