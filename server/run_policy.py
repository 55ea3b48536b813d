"""The signed policy of a run: made from its settings, or made beforehand and checked with them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from logging import WARNING
from pathlib import Path

from flwr.supercore import log

from shared.config import ExperimentConfig
from shared.errors import ConfigError, EngineError, PrivacyError
from shared.files import write_atomically
from shared.privacy.keys import load_or_create_signing_key, public_hex, trusted_public_key
from shared.privacy.policy.issue import DAYS, policy_of
from shared.privacy.policy.order import restates
from shared.privacy.policy.signed import Policy, policy_text, read_policy, signed, utc


def run_policy(
    config: ExperimentConfig, users: int, schema: str, kept: Path, given: Path | None
) -> str:
    """The signed text that goes with every request.

    Parameters
    ----------
    config : ExperimentConfig
        Of the point, digests filled in.
    users : int
        That it rests on: in a simulation all, else see `agreed_users`.
    schema : str
        Digest of the adapter.
    kept : Path
        Where the run keeps it, for those who want to read it; one that still holds is used again.
    given : Path or None
        A policy made beforehand. The operator's private key is not needed then.

    Raises
    ------
    ConfigError
        If the given policy is not that of this point and so many users, or does not hold now.
    """
    now = _now()
    if given is not None:
        text = policy_text(given)
        policy = read_policy(text, None)
        wrong = _differences(policy, config, users, schema, now)
        if wrong:
            raise ConfigError(f"{given}: {wrong[0]}; make one with starling policy make")
        _warn_of_another(policy, given)
    else:
        text = _again(config, users, schema, kept, now) or _new(config, users, schema, now)
    write_atomically(kept, text)
    return text


def agreed_users(given: Path | int, kept: Path, connected: int) -> int:
    """How many people a run on real nodes rests on: delta, q and the expected cohort follow.

    A floor: more may be connected, and each is asked with the same probability. It is agreed once,
    so that a node that is lost changes nothing: an absent person contributes nothing.

    Parameters
    ----------
    given : Path or int
        A policy made beforehand: its users; or their number, 0 leaves it open.
    kept : Path
        The policy of the run that is continued: its users.
    connected : int
        Clients, >= 1. A new run that says nothing else rests on all of them.

    Returns
    -------
    int
        >= 1.

    Raises
    ------
    ConfigError
        If fewer are connected when the run starts, or it began with another number.
    """
    before = _users_of(kept)
    named = given if isinstance(given, int) else read_policy(policy_text(given), None).users
    asked = named or before or connected
    if before not in (0, asked):
        raise ConfigError(
            f"users = {asked}: this run began with {before}, and its ledger counts for those; "
            "leave it out, or start a new run in another directory"
        )
    if not before and connected < asked:
        raise ConfigError(
            f"{connected} clients are connected, and the run rests on users = {asked}: have more "
            "connect before it starts, or agree on fewer (run configuration users=N, or starling "
            "policy make --users N)"
        )
    return asked


def _users_of(file: Path) -> int:
    """What a policy rests on; 0 if there is none that can be read."""
    try:
        return read_policy(policy_text(file), None).users
    except (ConfigError, PrivacyError):
        return 0


def check_holds(text: str, round_number: int) -> None:
    """Before a round is asked for: whether devices would still answer under the run's policy.

    Raises
    ------
    EngineError
        If it holds no more. The run can be continued, under a policy of its own.
    """
    policy, now = read_policy(text, None), _now()
    if now >= policy.until_time:
        raise EngineError(
            f"round {round_number}: the policy held until {policy.valid_until}, and it is "
            f"{utc(now)}: nobody was asked; continue the run (a simulation: --resume), under a new "
            "policy if it was given one (starling policy make)"
        )


def _now() -> datetime:
    return datetime.now(UTC)


def _warn_of_another(policy: Policy, given: Path) -> None:
    """The key may well lie elsewhere on purpose; by mistake every device would decline."""
    own = trusted_public_key()
    if own is not None and policy.issuer != own:
        log(
            WARNING,
            "%s",
            f"{given}: signed by {policy.issuer[:16]}..., this server's own key is {own[:16]}...; "
            "only devices whose owners named the first will take part",
        )


def _new(config: ExperimentConfig, users: int, schema: str, now: datetime) -> str:
    key = load_or_create_signing_key()
    return signed(policy_of(config, users, schema, public_hex(key), now, DAYS), key)


def _again(
    config: ExperimentConfig, users: int, schema: str, kept: Path, now: datetime
) -> str | None:
    """The policy of the interrupted run that is resumed, if it is ours and still holds."""
    if not kept.exists():
        return None
    text, ours = policy_text(kept), public_hex(load_or_create_signing_key())
    try:
        policy = read_policy(text, ours)
    except (ConfigError, PrivacyError):
        return None
    return None if _differences(policy, config, users, schema, now) else text


def _differences(
    policy: Policy, config: ExperimentConfig, users: int, schema: str, now: datetime
) -> list[str]:
    """In what a policy is not the one of this point, in words."""
    expected = policy_of(config, users, schema, policy.issuer, now, DAYS)
    found = [
        f"{field.name} is not what this run's settings and users = {users} give"
        for field in dataclasses.fields(Policy)
        if not field.name.startswith("valid_")
        and field.name != "promises"
        and getattr(policy, field.name) != getattr(expected, field.name)
    ]
    # What this server adds must be at least what the policy states.
    if restates(expected, policy.promises):
        found.append(f"promises are not what this run's settings and its {users} clients give")
    if not policy.from_time <= now < policy.until_time:
        found.append(f"holds from {policy.valid_from} until {policy.valid_until}, not now")
    return found
