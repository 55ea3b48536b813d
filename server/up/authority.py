"""The server's certificate and the authority that signs it: nodes trust this one and no other."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.errors import ConfigError
from shared.files import read_file

DAYS = 825
"""How long both certificates hold."""
_SKEW = timedelta(minutes=5)  # of a device's clock behind the server's


def certificates(hosts: Sequence[str]) -> dict[str, bytes]:
    """A new authority and a server's certificate by it, PEM by file name.

    Parameters
    ----------
    hosts : sequence of str
        Names and addresses by which nodes reach the server: each is in the certificate.
    """
    now = datetime.now(UTC)
    above, own = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    issuer = _name("Starling operator's authority")
    about = _begun(issuer, issuer, above.public_key(), now)
    authority = (
        about.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(above.public_key()), critical=False
        )
        .sign(above, SHA256())
    )
    names: list[x509.GeneralName] = [general_name(host) for host in hosts]
    server = (
        _begun(_name(hosts[0][:64]), issuer, own.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False
        )
        .sign(above, SHA256())
    )
    return {
        "ca.pem": authority.public_bytes(Encoding.PEM),
        "ca.key": _private(above),
        "server.pem": server.public_bytes(Encoding.PEM),
        "server.key": _private(own),
    }


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


def check_certificate(file: Path, hosts: Sequence[str]) -> datetime:
    """Until when a server's certificate holds.

    Raises
    ------
    ConfigError
        If it cannot be read, does not hold now, or lacks one of the hosts.
    """
    try:
        found = x509.load_pem_x509_certificate(read_file(file))
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, x509.ExtensionNotFound):
        raise ConfigError(f"{file}: not a server's certificate (PEM, with its names)") from None
    now, until = datetime.now(UTC), found.not_valid_after_utc
    if not found.not_valid_before_utc <= now < until:
        raise ConfigError(
            f"{file}: holds from {found.not_valid_before_utc:%Y-%m-%d} until {until:%Y-%m-%d}, not "
            "now; put a certificate by the same authority there, or set the clock"
        )
    for host in hosts:
        if general_name(host) not in names:
            raise ConfigError(
                f"{file}: is not for {host}, which nodes are told to connect to; make one with "
                "starling server init --host"
            )
    return until


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=DAYS))
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
