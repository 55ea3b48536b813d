"""A policy as settings make it: what `plan` counts, as a promise to one device.

Server and device derive the same promises from the same settings and number of users, so a device
need not believe what a signed policy says of noise: it recomputes it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.privacy.events import event_to_json
from shared.privacy.mechanism import GaussianMechanism
from shared.privacy.plan import Plan, device_plan, server_plan
from shared.privacy.policy import policy_hash
from shared.privacy.signed_policy import Policy, Promise, PromisedRelease, utc
from shared.privacy.units import examples_per_user

DAYS = 30


def promises(config: ExperimentConfig, users: int) -> tuple[Promise, ...]:
    """What the settings of one point promise a device: one guarantee, or two under both units.

    Raises
    ------
    ConfigError
        If delta is too large for so many users, or no noise meets the budget.
    """
    plans = (server_plan(config, users), device_plan(config, users))
    return tuple(_promise(plan) for plan in plans if plan is not None)


def policy_of(
    config: ExperimentConfig, users: int, schema: str, issuer: str, start: datetime, days: float
) -> Policy:
    """The policy of one point.

    Parameters
    ----------
    config : ExperimentConfig
        Of the point, digests filled in.
    users : int
        Size of the population, >= 1.
    schema : str
        Digest of the adapter.
    issuer : str
        The operator's public key.
    start : datetime
        From which it holds, with its zone.
    days : float
        For so many days, > 0 and at most 3660.

    Raises
    ------
    ConfigError
        As for `promises`, or for a number of days outside its range.
    """
    if not 0 < days <= 3660:
        raise ConfigError(f"days = {days}: expected a number above 0, at most 3660")
    return Policy(
        promises=promises(config, users),
        users=users,
        rounds=config.federation.rounds,
        windows=examples_per_user(config),
        window_length=config.model.max_length,
        aggregation=config.federation.aggregation,
        schema=schema,
        settings=policy_hash(config),
        valid_from=utc(start),
        valid_until=utc(start + timedelta(days=days)),
        issuer=issuer,
    )


def _promise(plan: Plan) -> Promise:
    return Promise(
        unit=plan.unit,  # type: ignore[arg-type]  # checked when the policy is made
        trust=plan.trust,  # type: ignore[arg-type]
        relation=plan.relation,
        epsilon=plan.budget,
        delta=plan.delta,
        releases=_releases(plan),
    )


def _releases(plan: Plan) -> tuple[PromisedRelease, ...]:
    found = [_release("update", plan.update, plan, plan.updates)]
    if plan.histogram_noise_multiplier is not None:
        found.append(_release("histogram", plan.histogram, plan, 1))
    return tuple(found)


def _release(kind: str, mechanism: GaussianMechanism, plan: Plan, times: int) -> PromisedRelease:
    event = plan.update_event() if kind == "update" else plan.histogram_event()
    if plan.unit == "user":
        # A sampled cohort hides a person from those who do not know it; the server does, and so
        # does the device itself. Which of a person's examples are drawn, only the device knows.
        event = mechanism.event(1.0)
    return PromisedRelease(
        kind=kind,
        mechanism="gaussian",
        noise_multiplier=mechanism.noise_multiplier,
        clipping_norm=mechanism.clip.norm,
        times=times,
        event=event_to_json(event),
    )
