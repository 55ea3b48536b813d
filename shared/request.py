"""One question of the server to a device: the only form in which it travels.

The server makes a `Request` and writes it into a message; whoever carries it reads it back and
hands it on whole, to a device, to an engine that stands for many, and to the agreement that is
asked first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from shared.canonical import canonical_json, policy_digest, read_json
from shared.config import ExperimentConfig, from_dict, settings_hash, to_dict
from shared.data.split import Phase
from shared.errors import ProtocolError
from shared.update import Arrays, Update

# What is asked for, in the ledger's word ("ranks" are on none), and the message that asks for it.
MESSAGES = {
    "update": "train",
    "ranks": "evaluate",
    "histogram": "query.histogram",
    "moments": "query.moments",
    "metrics": "query.metrics",
}
_RELEASES = {message: release for release, message in MESSAGES.items()}

# The exchanges around a secure sum that are about its masks; the one that asks for what is summed
# is the release's own message, with what the devices sent each other before.
STAGES = ("keys", "seeds", "survivors", "unmask")
SUMMED = ("update", "histogram", "moments", "metrics")  # what devices answer for a sum
_MOST_BYTES = 1 << 26  # of a stage: the keys and signatures of some 200,000 devices

Fields = Mapping[str, Any]  # of a message: text, whole numbers, numbers, true or false


@dataclass(frozen=True)
class Ranks:
    """Where held-out items rank, 0-based: for an evaluator only, never under a guarantee.

    Attributes
    ----------
    sampled, full : sequence of int
        Among sampled negatives, and in the whole catalogue, of those who have a held-out item.
    """

    sampled: Sequence[int]
    full: Sequence[int]


@dataclass(frozen=True)
class Letter:
    """What a device answers in a stage of a secure sum, see `shared.secagg.participant`.

    Attributes
    ----------
    content : bytes
    """

    content: bytes


Answer = Update | Ranks | Letter


@dataclass(frozen=True)
class Request:
    """One request of the server.

    Attributes
    ----------
    release : str
        What is asked for: a key of `MESSAGES`.
    config : ExperimentConfig
        The settings of the point.
    users : int
        Size of the population, >= 1: public, a device's delta follows from it.
    settings : str
        Hash of the settings.
    policy : str
        The signed policy of the run: without it no real device answers.
    merge : bool
        Whether sums over several clients are welcome.
    round_number : int
        >= 0; 0 is before the first round.
    arrays : mapping of str to float32 array
        The global adapter, as far as it travels; for moments the coordinates that they are asked
        in; empty for a histogram.
    schema : str
        Digest of the adapter's schema; empty for a histogram and for moments.
    phase : {"validation", "test"}
        Which held-out item is asked for; has a meaning for ranks only.
    clip : float
        This round's clipping norm under adaptive clipping; 0 where the settings fix it.
    stage : str
        Of a secure sum of `release`: one of `STAGES`; empty where the release itself is asked for.
    sealed : bytes
        What the stage is about; with the release itself, what other devices sent to this one
        through the server. Empty where nothing is summed securely.
    content : str
        With a stage, the `digest` of the request for the release itself.
    """

    release: str
    config: ExperimentConfig
    users: int
    settings: str
    policy: str = ""
    merge: bool = False
    round_number: int = 0
    arrays: Arrays = field(default_factory=dict)
    schema: str = ""
    phase: Phase = "validation"
    clip: float = 0.0
    stage: str = ""
    sealed: bytes = b""
    content: str = ""

    @property
    def message(self) -> str:
        """The type of the message that asks for it."""
        return f"query.{self.stage}" if self.stage else MESSAGES[self.release]

    @property
    def about(self) -> bytes:
        """What a secure sum is of: 32 bytes that no other release of any run has.

        All devices in it were sent the same: one that is asked with another adapter than the rest,
        which could be made so that they add nothing, finds itself in another sum.
        """
        words = (self.settings, policy_digest(self.policy), self.release, self.round_number)
        asked = canonical_json([*words, self.clip, self.digest])
        return hashlib.sha256(asked.encode()).digest()

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of what a release is computed from besides settings and data."""
        if self.stage:
            return self.content
        found = hashlib.sha256(canonical_json([self.schema, self.phase]).encode())
        for name, array in sorted(self.arrays.items()):
            about = canonical_json([name, array.dtype.str, [*array.shape]]).encode()
            found.update(hashlib.sha256(about).digest())
            found.update(hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest())
        return found.hexdigest()

    def fields(self) -> dict[str, str | int | float | bytes]:
        """All but `arrays`, as a message holds it."""
        return {
            "round": self.round_number,
            "users": self.users,
            "settings": point_settings(self.config),
            "policy": self.policy,
            "schema": self.schema,
            "phase": self.phase,
            "merge": self.merge,
            "clip": self.clip,
            **({"release": self.release, "content": self.content} if self.stage else {}),
            **({"sealed": self.sealed} if self.sealed else {}),
        }

    @classmethod
    def read(cls, message: str, fields: Fields, arrays: Arrays) -> Request:
        """What `fields` wrote into a message of that type.

        Raises
        ------
        ProtocolError
            For a message of another type, or if a field is missing.
        ConfigError
            If the settings break a rule.
        """
        stage = message.removeprefix("query.")
        stage = stage if stage in STAGES else ""
        if not stage and message not in _RELEASES:  # nor may a type be called as a release is
            raise ProtocolError(f"message type {message!r}: expected one of {list(_RELEASES)}")
        try:
            release = _summed(fields["release"]) if stage else _RELEASES[message]
            config, settings = _settings(str(fields["settings"]))
            return cls(
                release=release,
                config=config,
                users=int(fields["users"]),
                settings=settings,
                policy=str(fields["policy"]),
                merge=bool(fields["merge"]),
                round_number=int(fields["round"]),
                arrays=arrays,
                schema=str(fields["schema"]),
                phase="test" if fields["phase"] == "test" else "validation",
                clip=float(fields["clip"]),
                stage=stage,
                sealed=_bytes(fields.get("sealed", b"")),
                content=str(fields["content"]) if stage else "",
            )
        except KeyError as error:
            raise ProtocolError(
                f"request without {error}; server and client differ in version"
            ) from None

    def check(self, answer: Answer) -> None:
        """Refuse an update of another adapter than the server's.

        Raises
        ------
        ProtocolError
        """
        if self.stage:
            return
        if self.release == "update" and getattr(answer, "schema", "") != self.schema:
            raise ProtocolError("the server's adapter schema is not this device's")


def _summed(release: object) -> str:
    if release not in SUMMED:
        raise ProtocolError(f"secure sum of {str(release)[:40]!r}: expected one of {list(SUMMED)}")
    return str(release)


def _bytes(given: object) -> bytes:
    if not isinstance(given, bytes) or len(given) > _MOST_BYTES:
        raise ProtocolError(f"sealed: expected at most {_MOST_BYTES} bytes")
    return given


def point_settings(config: ExperimentConfig) -> str:
    """The settings of a point as canonical JSON: what clients are told.

    How the engine does its work is left out: it cannot change what is agreed.
    """
    tree = to_dict(config)
    for section in ("engine", "sweep", "references", "private"):
        tree.pop(section, None)
    return canonical_json(tree)


@lru_cache(maxsize=64)
def _settings(text: str) -> tuple[ExperimentConfig, str]:
    try:
        tree = read_json(text)
    except ValueError as error:
        raise ProtocolError(f"the server's settings: {error}") from None
    config = from_dict(tree, source="the server's settings")
    return config, settings_hash(config)
