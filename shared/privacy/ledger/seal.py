"""The seal: what a run claims and every file that it hands on, under one signature.

    signature = Ed25519("starling seal 1" || the file's name || its text without the signature)

A sealed file is accepted only if it is, byte for byte, what would be written for its content; so
no edit of it goes unnoticed, nor one of a file whose SHA-256 it names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.canonical import finite
from shared.files import write_atomically
from shared.privacy.keys import is_signed_by, load_or_create_signing_key, public_hex, sign

Tree = Mapping[str, object]
Digests = Mapping[str, str]
"""SHA-256 (hexadecimal) by a file's name, relative to the run's folder."""


def digests(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """Of those files of a run's folder that are there."""
    return {str(at.relative_to(folder)): _digest(at) for at in files if at.is_file()}


def write_sealed(
    file: Path, claims: Tree, files: Digests, key: Ed25519PrivateKey | None = None
) -> None:
    """Replace a file by claims under a seal; a crash leaves the old content or the new one.

    Parameters
    ----------
    file : Path
        Its name is signed too: what one file says, no other may.
    claims : mapping
        As JSON may hold it, and infinity. A seal in it is replaced.
    files : mapping
        What the seal vouches for beside the claims.
    key : Ed25519PrivateKey, optional
        Default: the operator's.
    """
    key = key or load_or_create_signing_key()
    seal: dict[str, object] = {"files": dict(files), "public_key": public_hex(key)}
    tree = {**claims, "seal": seal}
    seal["signature"] = sign(key, _message(file, tree))
    write_atomically(file, text_of(tree))


def text_of(tree: Tree) -> str:
    """What is written for a JSON value.

    Raises
    ------
    ValueError
        For NaN, or an infinity that is negative.
    """
    return json.dumps(finite(dict(tree)), indent=1, allow_nan=False)


def signer(tree: Tree) -> str | None:
    """The public key, 64 hexadecimal digits, that a sealed file names; None if it names none."""
    key = _seal(tree).get("public_key")
    return key if isinstance(key, str) else None


def sealed_files(tree: Tree) -> dict[str, Any]:
    """What a sealed file vouches for, by name."""
    files = _seal(tree).get("files")
    return dict(files) if isinstance(files, dict) else {}


def seal_problems(file: Path, tree: Tree, folder: Path) -> list[str]:
    """All that a file's seal does not hold for: empty if nothing was altered since.

    Parameters
    ----------
    file : Path
        The sealed file.
    tree : mapping
        Its content, read as JSON.
    folder : Path
        The run's, in which the files lie that the seal names.
    """
    problems = [signature_problem(file, tree)]
    problems += [file_problem(folder, name, was) for name, was in sealed_files(tree).items()]
    return [problem for problem in problems if problem]


def signature_problem(file: Path, tree: Tree) -> str:
    """Why a sealed file itself, read as JSON, is not what was signed; empty if it is."""
    if "seal" not in tree:
        return f"{file.name}: not sealed: nobody signed it"
    return "" if _is_signed(file, tree) else f"{file.name}: edited after it was sealed"


def file_problem(folder: Path, name: str, was: object) -> str:
    """Why a file of a folder is not the plain one of that SHA-256; empty if it is."""
    path, top, plain = folder / name, folder.resolve(), PurePosixPath(name)
    try:
        if plain.is_absolute() or str(plain) != name or path.resolve() != top / name:
            return f"{name!r}: sealed, but a link or a name that leads out of the folder"
        if not path.is_file():
            return f"{name!r}: sealed, but missing"
        now = _digest(path)
    except (OSError, ValueError):
        return f"{name!r}: sealed, but cannot be read"
    return "" if now == was else f"{name}: not the file that was sealed: replaced or edited"


def _is_signed(file: Path, tree: Tree) -> bool:
    signature, key = _seal(tree).get("signature"), signer(tree)
    try:
        intact = file.read_bytes() == text_of(tree).encode()
        return intact and is_signed_by(str(key), _message(file, tree), str(signature))
    except (OSError, ValueError, RecursionError):  # no text of ours: NaN, half a letter
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _seal(tree: Tree) -> Tree:
    seal = tree.get("seal")
    return seal if isinstance(seal, Mapping) else {}


def _message(file: Path, tree: Tree) -> bytes:
    seal = {name: value for name, value in _seal(tree).items() if name != "signature"}
    return f"starling seal 1\n{file.name}\n{text_of({**tree, 'seal': seal})}".encode()
