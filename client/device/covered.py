"""Whether a request is one of its policy's, and whose policy that is: steps 1 and 2 of a device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from shared.errors import ConfigError, PrivacyError, ProtocolError
from shared.privacy.contribution.units import update_clip
from shared.privacy.policy.signed import Policy, read_policy, utc
from shared.request import Request

_KEY = r"[0-9a-f]{64}"


def check_request(
    request: Request, operator: str | None, time: datetime, schema: str | None
) -> Policy:
    """Steps 1 and 2: the policy of a request, if it is one, holds now, and covers the request.

    Parameters
    ----------
    request : Request
    operator : str or None
        See `shared.privacy.policy.signed.read_policy`.
    time : datetime
        Now, with its zone.
    schema : str or None
        Digest of the adapter here; None before a model is built.

    Raises
    ------
    ConfigError, PrivacyError
        In words.
    """
    policy = policy_of(request, operator)
    for why in mismatches(request, policy, time, schema):
        raise PrivacyError(why)
    return policy


def policy_of(request: Request, operator: str | None) -> Policy:
    """The policy that a request brings; parameters and errors as for `check_request`."""
    if not request.policy:
        raise PrivacyError("the request brings no policy")
    return read_policy(request.policy, operator)


def mismatches(
    request: Request, policy: Policy, time: datetime, schema: str | None
) -> Iterator[str]:
    """All in which a request is not one of its policy, in words; see `check_request`."""
    if not policy.from_time <= time < policy.until_time:
        yield (
            f"the policy holds from {policy.valid_from} until {policy.valid_until}, and it is "
            f"{utc(time)}"
        )
    if policy.settings != request.settings:
        yield "the settings asked for are not those of the policy"
    if policy.users != request.users:
        yield f"users = {request.users}: the policy rests on {policy.users}"
    if schema not in (None, policy.schema):
        yield "the policy is about another adapter than this device's"
    first = 1 if request.release == "update" else 0
    if not first <= request.round_number <= policy.rounds:
        yield f"the policy has rounds {first} to {policy.rounds}"
    if request.release == "update":
        try:
            update_clip(request.config, request.clip)
        except (ConfigError, ProtocolError) as error:
            yield str(error)


def operator_key(where: str, given: object) -> str:
    """The operator's public key as an owner gave it, 64 hexadecimal digits.

    Raises
    ------
    ConfigError
        For anything else, naming where it was given.
    """
    key = str(given).lower()
    if not re.fullmatch(_KEY, key):
        raise ConfigError(
            f"{where}: operator = {str(given)[:80]!r}: expected the operator's public key, 64 hex "
            "digits, as the operator published it (starling policy key)"
        )
    return key


def typed_key(flag: str, given: str) -> str:
    """The same as it is typed: itself, or a file that holds what `starling policy key` printed."""
    file = Path(given)
    try:
        kind = "folder" if file.is_dir() else "file" if file.is_file() else ""
    except (OSError, ValueError):  # too long for a name, or none
        kind = ""
    key = given
    if kind == "file":  # of whatever lies there no more than a key's length matters
        key = file.read_bytes()[:200].decode("ascii", "replace").strip()
    if not re.fullmatch(_KEY, key.lower()):
        there = f"a {kind} that holds no such key" if kind else "neither a key nor a file with one"
        raise ConfigError(
            f"{flag} {given[:80]}: {there}; expected the operator's public key, 64 hex digits, as "
            "starling policy key prints it"
        )
    return key.lower()
