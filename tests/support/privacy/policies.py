"""Signed policies as a server makes them, and keys that are not the operator's."""

from dataclasses import replace
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.config import ExperimentConfig
from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.privacy.policy.issue import DAYS, policy_of
from shared.privacy.policy.signed import Policy, signed

OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def operator() -> str:
    """The public key of the operator whose home the tests have."""
    return public_hex(load_or_create_signing_key())


def made(
    config: ExperimentConfig, users: int, schema: str, start: datetime | None = None, days=DAYS
) -> Policy:
    return policy_of(config, users, schema, operator(), start or datetime.now(UTC), days)


def sealed(policy: Policy) -> str:
    return signed(policy, load_or_create_signing_key())


def agreed(config: ExperimentConfig, users: int, schema: str, **when) -> str:
    """The text that a server sends with its requests."""
    return sealed(made(config, users, schema, **when))


def noisier(policy: Policy, by: float) -> Policy:
    """As a machine would sign it whose search for Gaussian noise ended so much higher."""

    def one(release):
        z = release.noise_multiplier * by
        return replace(release, noise_multiplier=z, event=_noisier(release.event, by))

    promised = (replace(p, releases=(*map(one, p.releases),)) for p in policy.promises)
    return replace(policy, promises=(*promised,))


def _noisier(event, by):
    if "event" in event:
        return event | {"event": _noisier(event["event"], by)}
    return event | {"noise_multiplier": event["noise_multiplier"] * by}
