"""A request over a Unix socket to the device's own process, and its answer: nothing else is said.

A frame is a magic word, a version, a kind and a length, then that many bytes: the lengths of two
parts, the first, canonical JSON, the second, bytes as they are, and all the rest, arrays
(safetensors). One connection carries one request and one answer. Whoever sends anything else is
told that there is none.

Each side asks the system who the other is (`SO_PEERCRED`): a device answers the users whom its
owner named, a relay asks only the owner of the folder that the socket lies in.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from shared.canonical import canonical_json, read_json
from shared.errors import DECLINED, ConfigError, Declined, ProtocolError
from shared.request import Answer, Letter, Ranks, Request
from shared.update import Update

MAGIC, VERSION = b"STAR", 1
MOST_BYTES = 1 << 28
"""Of a frame; refused before anything of it is read."""
REQUEST, UPDATE, RANKS, LETTER, DECLINE, FAILURE = range(1, 7)

READ_SECONDS = 30.0
"""How long one side may take to send a frame that it has begun, or to take one."""
ANSWER_SECONDS = 3600.0
"""How long a relay waits for an answer: a device may be at work for somebody else, then trains."""

_HEAD = struct.Struct("!4sBBQ")
_PARTS = struct.Struct("!II")
_CHUNK = 1 << 20
_PEER = struct.Struct("3i")  # struct ucred: process, user, group
_PATH_BYTES = 107  # that a system has for a socket's name

_ARRAYS = {REQUEST: ("float32", "int32"), UPDATE: ("float32", "uint32", "uint64")}
_Kind = type | tuple[type, ...]
_FIELDS: dict[str, _Kind] = {
    **dict.fromkeys(("round", "users"), int),
    **dict.fromkeys(("settings", "policy", "schema", "phase"), str),
    "merge": bool,
    "clip": (int, float),
}
_STAGED: dict[str, _Kind] = {"release": str, "content": str}
_BESIDE = ("data", "columns", "user", "state", "operator", "roster", "evaluator")


@dataclass(frozen=True)
class Frame:
    """One side's words.

    Attributes
    ----------
    kind : int
        REQUEST to FAILURE.
    fields : mapping
        Of JSON.
    content : bytes
        A stage's; else empty.
    arrays : mapping of str to array
    """

    kind: int
    fields: Mapping[str, Any]
    content: bytes = b""
    arrays: Mapping[str, NDArray[Any]] | None = None

    def pack(self) -> bytes:
        """Its bytes, head included.

        Raises
        ------
        ProtocolError
            If it is longer than `MOST_BYTES`, or holds what JSON cannot.
        """
        try:
            words = canonical_json(dict(self.fields)).encode()
            arrays = save({n: np.ascontiguousarray(a) for n, a in (self.arrays or {}).items()})
        except (ValueError, TypeError, KeyError, SafetensorError) as error:
            raise ProtocolError(f"cannot be sent to a device: {type(error).__name__}") from None
        rest = arrays if self.arrays else b""
        length = _PARTS.size + len(words) + len(self.content) + len(rest)
        if length > MOST_BYTES:
            raise ProtocolError(f"a frame of {length} bytes: expected at most {MOST_BYTES}")
        head = _HEAD.pack(MAGIC, VERSION, self.kind, length)
        return b"".join(
            (head, _PARTS.pack(len(words), len(self.content)), words, self.content, rest)
        )


def head_of(data: bytes) -> tuple[int, int]:
    """Kind and length of the frame that a head begins.

    Raises
    ------
    ProtocolError
        If it is none, of another version, or too long.
    """
    if len(data) != _HEAD.size:
        raise ProtocolError("a frame that ends early")
    magic, version, kind, length = _HEAD.unpack(data)
    if magic != MAGIC:
        raise ProtocolError("not a frame of this protocol")
    if version != VERSION:
        raise ProtocolError(f"a frame of version {version}: expected {VERSION}")
    if not REQUEST <= kind <= FAILURE:
        raise ProtocolError(f"a frame of kind {kind}: expected {REQUEST} to {FAILURE}")
    if not _PARTS.size <= length <= MOST_BYTES:
        raise ProtocolError(f"a frame of {length} bytes: expected at most {MOST_BYTES}")
    return kind, length


def body_of(kind: int, body: bytes) -> Frame:
    """A frame from what follows its head.

    Raises
    ------
    ProtocolError
        If it is not written in the one way that there is.
    """
    if len(body) < _PARTS.size:
        raise ProtocolError("a frame that ends early")
    words, content = _PARTS.unpack_from(body)
    first, second = _PARTS.size + words, _PARTS.size + words + content
    if second > len(body):
        raise ProtocolError("a frame whose parts are longer than it")
    text, rest = body[_PARTS.size : first], body[second:]
    try:
        fields = read_json(text)
        canonical = isinstance(fields, dict) and canonical_json(fields).encode() == text
    except ValueError:
        canonical = False
    if not canonical:
        raise ProtocolError("a frame whose words are no canonical JSON object")
    return Frame(kind, fields, body[first:second], _arrays(rest, _ARRAYS.get(kind, ())))


def _arrays(data: bytes, kinds: Collection[str]) -> dict[str, NDArray[Any]]:
    if not data:
        return {}
    try:
        found: dict[str, NDArray[Any]] = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError):
        raise ProtocolError("a frame whose arrays are no safetensors") from None
    if not found or any(str(array.dtype) not in kinds for array in found.values()):
        raise ProtocolError(f"a frame's arrays: expected some, of {' or '.join(kinds) or 'none'}")
    return found


def request_frame(request: Request, node: int) -> Frame:
    """A request, and as whom the server addresses the device."""
    fields = dict(request.fields())
    sealed = fields.pop("sealed", b"")
    content = sealed if isinstance(sealed, bytes) else b""
    fields |= {"message": request.message, "node": str(node)}  # beyond 2^53: as text
    return Frame(REQUEST, fields, content, request.arrays)


def request_of(frame: Frame) -> tuple[Request, int]:
    """What `request_frame` wrote.

    Raises
    ------
    ProtocolError, ConfigError
        If it is anything else; as `Request.read`.
    """
    given = dict(frame.fields)
    message, node = given.pop("message", None), given.pop("node", None)
    if frame.kind != REQUEST or not isinstance(message, str) or not _is_node(node):
        raise ProtocolError("expected a request, its message and its node")
    expected = _FIELDS | (_STAGED if "release" in given else {})
    if given.keys() != expected.keys() or not all(_is(given[n], k) for n, k in expected.items()):
        raise ProtocolError("a request with other fields than a request's")
    if frame.content:
        given["sealed"] = frame.content
    request = Request.read(message, given, frame.arrays or {})
    if bool(request.stage) != ("release" in given):
        raise ProtocolError("a request with other fields than a request's")
    return request, int(str(node))


def _is(value: object, kind: _Kind) -> bool:
    """Whether a JSON value is of a kind: true is no number here."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _is_node(value: object) -> bool:
    plain = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20
    return plain and int(str(value)) < 2**64


def answer_frame(answer: Answer) -> Frame:
    """What a device answers."""
    if isinstance(answer, Letter):
        return Frame(LETTER, {}, answer.content)
    if isinstance(answer, Ranks):
        told = {"sampled": [int(n) for n in answer.sampled], "full": [int(n) for n in answer.full]}
        return Frame(RANKS, told)
    numbers = {"weight": answer.weight, "norm": answer.norm, "bits": answer.bits}
    told_numbers = {name: float(value) for name, value in numbers.items()}
    fields = {**told_numbers, "ring": int(answer.ring), "schema": answer.schema}
    return Frame(UPDATE, fields, arrays={"vector": answer.vector})


def declined_frame(word: str) -> Frame:
    """That the device takes no part, in its one word."""
    return Frame(DECLINE, {"word": word})


FAILED = Frame(FAILURE, {})
"""That the device could not answer: why is for its owner, in its own log."""


def answer_of(frame: Frame) -> Answer:
    """What `answer_frame` wrote.

    Raises
    ------
    Declined
        If the device takes no part; it says a word.
    ProtocolError
        If it failed, or said anything else.
    """
    if frame.kind == DECLINE and frame.fields.get("word") in DECLINED:
        word = str(frame.fields["word"])
        raise Declined("declined by the device's process; its own log says why", word)
    if frame.kind == FAILURE:
        raise ProtocolError("the device's process could not answer; its own log says why")
    if frame.kind == LETTER and not frame.fields:
        return Letter(frame.content)
    if frame.kind == RANKS and frame.fields.keys() == {"sampled", "full"}:
        sampled, full = (_numbers(frame.fields[name]) for name in ("sampled", "full"))
        return Ranks(sampled, full)
    arrays = frame.arrays or {}
    names = {"weight", "norm", "bits", "ring", "schema"}
    if frame.kind == UPDATE and frame.fields.keys() == names and arrays.keys() == {"vector"}:
        told = dict(frame.fields)
        kinds = [_is(told[name], (int, float)) for name in ("weight", "norm", "bits")]
        if all(kinds) and _is(told["ring"], int) and _is(told["schema"], str):
            return Update(vector=arrays["vector"], **told)
    raise ProtocolError("the device's process answered something else than an answer")


def _numbers(given: object) -> list[int]:
    if not isinstance(given, list) or not all(_is(each, int) for each in given):
        raise ProtocolError("the device's process answered something else than ranks")
    return given


def send(link: socket.socket, packed: bytes, seconds: float = READ_SECONDS) -> None:
    """Send a frame; OSError if the other side does not take it in time."""
    link.settimeout(seconds)
    link.sendall(packed)


def receive(
    link: socket.socket, seconds: float = READ_SECONDS, patience: float | None = None
) -> Frame:
    """One frame.

    Parameters
    ----------
    link : socket
    seconds : float
        Until when it must be there, from its first byte on.
    patience : float, optional
        How long to wait for that first byte; default: `seconds`.

    Raises
    ------
    ProtocolError
        If it breaks a rule, ends early, or takes too long.
    """
    first = _bytes_of(link, 1, time.monotonic() + (seconds if patience is None else patience))
    until = time.monotonic() + seconds
    kind, length = head_of(first + _bytes_of(link, _HEAD.size - 1, until))
    return body_of(kind, _bytes_of(link, length, until))


def _bytes_of(link: socket.socket, count: int, until: float) -> bytes:
    """So many bytes; memory grows with what arrives, not with what was announced."""
    found = bytearray()
    while len(found) < count:
        left = until - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            link.settimeout(left)
            part = link.recv(min(_CHUNK, count - len(found)))
        except TimeoutError:
            raise ProtocolError("a frame that takes too long") from None
        if not part:
            raise ProtocolError("the other side ended before its frame did")
        found += part
    return bytes(found)


def user_of(link: socket.socket) -> int:
    """The user (uid) whose process is at the other end, as the system says."""
    given = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, user, _ = _PEER.unpack(given)
    return int(user)


def check_place(path: Path) -> int:
    """The owner (uid) of the folder that a socket lies in, in which nobody else may put one.

    Raises
    ------
    ConfigError
        If the path is too long or not full, or others than the owner may write there or look in.
    """
    if not path.is_absolute():
        raise ConfigError(f"device = {str(path)!r}: give a full path")
    if len(os.fsencode(path)) > _PATH_BYTES:
        raise ConfigError(f"{path}: a socket's path has at most {_PATH_BYTES} bytes; use a shorter")
    try:
        about = path.parent.stat()
    except OSError as error:
        raise ConfigError(f"{path.parent}: {error.strerror}; it is to hold the socket") from None
    if not stat.S_ISDIR(about.st_mode):
        raise ConfigError(f"{path.parent}: is no folder; it is to hold the socket")
    if about.st_mode & 0o027:
        raise ConfigError(
            f"{path.parent}: mode {about.st_mode & 0o777:o}: others may reach or replace the "
            "socket; chmod it to 700, or to 750 for a relay in its group"
        )
    return about.st_uid


class LinkedDevice:
    """A device whose process is reached over its socket.

    Parameters
    ----------
    path : Path
        Of the socket.
    node : int
        As whom the server addresses it.
    """

    def __init__(self, path: Path, node: int) -> None:
        self._path, self._node = path, node

    @classmethod
    def of(cls, node_config: Mapping[str, object], node: int) -> LinkedDevice:
        """The one that a node's configuration names (`device`).

        Raises
        ------
        ConfigError
            If it names none, or what a device's process alone is to know.
        """
        if told := [name for name in _BESIDE if name in node_config]:
            raise ConfigError(
                f"node configuration: {', '.join(told)}: a device's process alone is to know "
                "these (starling client init, then serve); name device alone"
            )
        if "device" not in node_config:
            raise ConfigError("node configuration: name device=SOCKET, see starling client serve")
        return cls(Path(str(node_config["device"])), node)

    def answer(self, request: Request) -> Answer:
        """What the device answers.

        Raises
        ------
        Declined
            If it takes no part.
        ProtocolError
            If it cannot answer or be reached, or says anything else.
        ConfigError
            If somebody else could be listening there.
        """
        owner = check_place(self._path)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(READ_SECONDS)
                link.connect(str(self._path))
                if user_of(link) != owner:
                    raise ConfigError(f"{self._path}: another user listens than the folder's owner")
                # A device at work for another request takes this one when it is done.
                send(link, request_frame(request, self._node).pack(), ANSWER_SECONDS)
                return answer_of(receive(link, patience=ANSWER_SECONDS))
        except OSError as error:
            raise ProtocolError(f"{self._path}: no device's process answers ({error})") from None
