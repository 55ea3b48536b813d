"""What an operator publishes to devices: the catalogue, and adapters, each under its signature.

A release is a folder: `release.json`, signed, and the files whose SHA-256 it names, the adapter
(`adapter.safetensors`) and the catalogue (`catalogue.json`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from shared.canonical import canonical_json, read_json
from shared.data.catalogue import Catalogue
from shared.errors import DataError, PrivacyError
from shared.files import read_file
from shared.privacy.keys import is_signed_by, public_hex, sign

MANIFEST, ADAPTER, CATALOGUE = "release.json", "adapter.safetensors", "catalogue.json"
_CONTEXT = b"starling release\0"
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def catalogue_text(catalogue: Catalogue) -> str:
    """A catalogue as canonical JSON: equal exactly for equal ones."""
    return canonical_json({"items": list(catalogue.item_ids), "texts": list(catalogue.texts)})


def catalogue_of(file: Path) -> Catalogue:
    """What `catalogue_text` wrote; a DataError if it is missing or anything else."""
    try:
        tree = read_json(read_file(file))
        ids, texts = tree["items"], tree["texts"]
        if not all(isinstance(each, str) for each in (*ids, *texts)):
            raise TypeError("expected text")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: not a published catalogue ({error})") from None
    return Catalogue(tuple(ids), tuple(texts))


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Manifest:
    """What the operator says of one release.

    Attributes
    ----------
    version : int
        >= 1; a later release has a larger one.
    issued : str
        UTC, ISO 8601.
    settings : str
        Hash of the settings it was trained under.
    files : mapping of str to str
        SHA-256 of each file by its name: adapter and catalogue.
    """

    version: Annotated[int, Field(ge=1)]
    issued: str
    settings: str
    files: Mapping[str, _Digest]


def signed_manifest(manifest: Manifest, key: Ed25519PrivateKey) -> str:
    """The text of `release.json`."""
    content = asdict(manifest) | {"issuer": public_hex(key)}
    return canonical_json({"content": content, "signature": sign(key, _message(content))})


def read_manifest(text: bytes | str, operator: str) -> Manifest:
    """A manifest that an operator signed.

    Raises
    ------
    PrivacyError
        If another signed it, or it is damaged or none.
    """
    try:
        tree = read_json(text)
        content, signature = dict(tree["content"]), tree["signature"]
        issuer = content.pop("issuer")
    except (ValueError, KeyError, TypeError):
        raise PrivacyError("release.json: not a signed release") from None
    if issuer != operator:
        raise PrivacyError(
            f"release.json: signed by {str(issuer)[:16]}..., this device heeds {operator[:16]}..."
        )
    if not is_signed_by(operator, _message(content | {"issuer": issuer}), signature):
        raise PrivacyError("release.json: the signature is not over this release")
    try:
        return TypeAdapter(Manifest).validate_json(canonical_json(content))
    except ValidationError as error:
        raise PrivacyError(f"release.json: {error.errors()[0]['msg']}") from None


def check_files(manifest: Manifest, folder: Path) -> None:
    """Refuse a folder whose files are not those of the manifest.

    Raises
    ------
    PrivacyError
        Naming the file.
    """
    for name in (ADAPTER, CATALOGUE):
        try:
            found = digest_of(folder / name)
        except OSError as error:
            raise PrivacyError(f"{folder / name}: cannot be read ({error.strerror})") from None
        if manifest.files.get(name) != found:
            raise PrivacyError(f"{folder / name}: not the file that was released")


def digest_of(file: Path) -> str:
    """SHA-256 (hex) of a file of a release."""
    return hashlib.sha256(read_file(file)).hexdigest()


def _message(content: Mapping[str, Any]) -> bytes:
    return _CONTEXT + canonical_json(content).encode()
