"""The policy: what an operator promises a device for one run, signed, with an end.

One text for one policy: canonical JSON, accepted only if it is, byte for byte, what would be
written for its content. Fields of an unknown name or format are refused, never ignored.

    {"policy": {...}, "signature": Ed25519 over "starling policy 2\\n" and the canonical content}
"""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dp_accounting import DpEvent
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from shared.canonical import LARGEST, canonical_json, read_json
from shared.errors import ConfigError, PrivacyError
from shared.files import read_file
from shared.privacy.accounting.events import event_from_json
from shared.privacy.guarantee import Guarantee
from shared.privacy.keys import is_signed_by, public_hex, sign

FORMAT = "starling policy 2"
_STRICT = ConfigDict(extra="forbid", strict=True)
_LARGEST = 1_000_000  # bytes of a policy from anyone: real ones have about two thousand


def _event(value: Any) -> Any:
    event_from_json(value)  # refuses what no ledger records
    return value


def _time(value: Any) -> Any:
    if not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is None:
        raise ValueError("expected a time with its zone, such as 2026-11-22T13:00:00+00:00")
    return value


Count = Annotated[int, Field(ge=1, lt=LARGEST)]
Time = Annotated[str, BeforeValidator(_time)]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Word = Annotated[str, Field(pattern=r"^[\w ./+-]{1,80}$")]


@dataclass(frozen=True, config=_STRICT)
class PromisedRelease:
    """One kind of release, and what it costs a unit that takes part in it.

    Attributes
    ----------
    kind : str
        The ledger's word: "histogram", "update", ...
    mechanism : str
    noise_multiplier : float
        z >= 0, relative to the clipping norm.
    clipping_norm : float
        > 0: of what one unit adds. Where the mechanism's name says that the clip adapts, of the
        first round; a later one is at most 1000 times that, see
        `shared.privacy.contribution.adaptive_clip`.
    times : int
        How often at most, of one device.
    separation : int
        At least so many rounds from one participation of a device to the next; 0 sets no limit.
    event : dict
        The DpEvent of one participation as JSON, for someone who knows that the device took part:
        no cohort amplifies it.
    """

    kind: Word
    mechanism: Word
    noise_multiplier: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    clipping_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    times: Count
    separation: Annotated[int, Field(ge=0, lt=LARGEST)]
    event: Annotated[dict[str, Any], BeforeValidator(_event)]

    @property
    def cost(self) -> DpEvent:
        """The event as accountants take it."""
        return event_from_json(self.event)


@dataclass(frozen=True, config=_STRICT)
class Promise:
    """One guarantee; a policy of both units has two.

    Attributes
    ----------
    guarantee : Guarantee
        In the text its fields stand beside the releases, and its budget is called epsilon.
    releases : tuple of PromisedRelease
    """

    guarantee: Guarantee
    releases: tuple[PromisedRelease, ...]

    def of(self, kind: str) -> PromisedRelease | None:
        """The release of that kind, if it is promised."""
        return next((release for release in self.releases if release.kind == kind), None)


@dataclass(frozen=True, config=_STRICT)
class Policy:
    """Everything that a device is promised, and asked to hold itself to.

    Attributes
    ----------
    promises : tuple of Promise
        At least one.
    users : int
        Size of the population that each delta rests on.
    rounds : int
        Of the whole run; 0 where it asks for what is released once alone.
    windows, window_length : int
        The contribution bound of an update: of one person at most so many windows of so many
        interactions. A histogram counts a person's whole training history, within its clip.
    aggregation : str
    schema : str
        Digest of the adapter's names and shapes.
    settings : str
        SHA-256 of the settings, see `shared.config.settings_hash`.
    valid_from, valid_until : str
        ISO times with their zone.
    issuer : str
        The operator's public key, 64 hexadecimal digits.
    """

    promises: Annotated[tuple[Promise, ...], Field(min_length=1)]
    users: Count
    rounds: Annotated[int, Field(ge=0, lt=LARGEST)]
    windows: Count
    window_length: Count
    aggregation: Word
    schema: Word
    settings: Hex
    valid_from: Time
    valid_until: Time
    issuer: Hex

    @property
    def from_time(self) -> datetime:
        """The first instant at which it holds."""
        return datetime.fromisoformat(self.valid_from)

    @property
    def until_time(self) -> datetime:
        """The first instant at which it holds no more."""
        return datetime.fromisoformat(self.valid_until)


_ADAPTER = TypeAdapter(Policy)


def signed(policy: Policy, key: Ed25519PrivateKey) -> str:
    """The signed text of a policy, as it travels and as it is kept.

    Raises
    ------
    ConfigError
        If the policy names another issuer than this key.
    """
    if policy.issuer != public_hex(key):
        raise ConfigError(f"policy: issuer = {policy.issuer}: expected {public_hex(key)}")
    content = _content(policy)
    return canonical_json({"policy": content, "signature": sign(key, _message(content))})


@lru_cache(maxsize=64)
def read_policy(text: str, operator: str | None) -> Policy:
    """The policy of a signed text.

    Parameters
    ----------
    text : str
        From anyone.
    operator : str or None
        The public key that must have signed it, 64 hexadecimal digits. None takes the issuer that
        the policy itself names: whole, but whose it is remains open.

    Raises
    ------
    ConfigError
        If it is no policy of this version.
    PrivacyError
        If the signature is not the operator's.
    """
    content, signature = _parts(text)
    policy = _validated(content)
    if canonical_json({"policy": _content(policy), "signature": signature}) != text.strip():
        raise ConfigError("policy: not in its one canonical form; it was edited or re-formatted")
    by = policy.issuer if operator is None else operator.lower()
    if policy.issuer != by:
        raise PrivacyError(f"policy: not signed by the operator's key {by[:16]}...")
    if not is_signed_by(by, _message(content), signature):
        raise PrivacyError(
            f"policy: not signed by the operator's key {by[:16]}..., or edited since it was: its "
            "signature does not fit what it says"
        )
    return policy


def load_policy(file: Path, operator: str | None) -> Policy:
    """The policy in a file; errors as for `policy_text` and `read_policy`."""
    try:
        return read_policy(policy_text(file), operator)
    except (ConfigError, PrivacyError) as error:
        named = str(error).startswith(str(file))
        raise error if named else type(error)(f"{file}: {error}") from None


def policy_text(file: Path) -> str:
    """The text of a policy's file, without its last line end.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    try:
        return read_file(file).decode().strip()
    except IsADirectoryError:
        raise ConfigError(f"{file}: is a folder; give a signed policy, a file") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not a policy: no text") from None


def utc(time: datetime) -> str:
    """A time as a policy states it: in UTC, to the second."""
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _parts(text: str) -> tuple[Any, str]:
    if len(text) > _LARGEST:
        raise ConfigError(f"policy of {len(text)} characters: expected at most {_LARGEST}")
    try:
        tree = read_json(text)
        content, signature = tree["policy"], tree["signature"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError("policy: not the JSON of a signed policy") from None
    if not isinstance(content, dict) or not isinstance(signature, str):
        raise ConfigError("policy: not the JSON of a signed policy")
    return content, signature


def _validated(content: dict[str, Any]) -> Policy:
    if content.get("format") != FORMAT:
        raise ConfigError(f"policy: format = {content.get('format')!r}: expected {FORMAT!r}")
    try:
        fields = {name: value for name, value in content.items() if name != "format"}
        if isinstance(fields.get("promises"), list):
            fields["promises"] = [_with_guarantee(told) for told in fields["promises"]]
        return _ADAPTER.validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors()[0]
        names = [str(part) for part in first["loc"] if part != "guarantee"]
        key = ".".join("epsilon" if name == "budget" else name for name in names)
        whole = first["type"] == "missing" or isinstance(first["input"], dict)
        given = "" if whole else f" = {str(first['input'])[:60]!r}"
        why = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"policy: {key}{given}: {why}") from None


def _content(policy: Policy) -> dict[str, Any]:
    content = dataclasses.asdict(policy)
    for promise in content["promises"]:
        promise |= promise.pop("guarantee")
        promise["epsilon"] = promise.pop("budget")
    return {"format": FORMAT, **content}


def _with_guarantee(told: Any) -> Any:
    """A promise of the text as `Promise` takes it; whatever is no promise stays as it is.

    A text that calls things as `Guarantee` does comes back in other words, and is refused for it.
    """
    if not isinstance(told, dict):
        return told
    guarantee = {name: value for name, value in told.items() if name != "releases"}
    if "epsilon" in guarantee:
        epsilon = guarantee.pop("epsilon")
        guarantee["budget"] = math.inf if epsilon == "inf" else epsilon
    return {"guarantee": guarantee} | ({"releases": told["releases"]} if "releases" in told else {})


def _message(content: dict[str, Any]) -> bytes:
    return f"{FORMAT}\n{canonical_json(content)}".encode()
