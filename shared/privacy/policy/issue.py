"""A policy as settings make it: what `plan` counts, as a promise to one device.

Server and device derive the same promises from the same settings and number of users, so a device
need not believe what a signed policy says of noise: it recomputes it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dp_accounting import ComposedDpEvent, DpEvent, PoissonSampledDpEvent, SelfComposedDpEvent

from shared.config import ExperimentConfig, settings_hash
from shared.errors import ConfigError
from shared.privacy.accounting.events import event_to_json
from shared.privacy.contribution.units import examples_per_user
from shared.privacy.mechanisms.correlated import CorrelatedMechanism
from shared.privacy.mechanisms.gaussian import Mechanism, UpdateWithBits
from shared.privacy.plan.plan import Plan, PlannedRelease, device_plan, server_plan
from shared.privacy.policy.signed import Policy, Promise, PromisedRelease, utc

DAYS = 30
_NAMES = {"UpdateWithBits": "gaussian with adaptive clip", "Correlated": "dp_ftrl"}


def promises(config: ExperimentConfig, users: int) -> tuple[Promise, ...]:
    """What the settings of one point promise a device: one guarantee, or two under both units.

    Raises
    ------
    ConfigError
        If delta is too large for so many users, or no noise meets the budget.
    """
    plans = (server_plan(config, users), device_plan(config, users))
    start = config.privacy.clipping_norm
    return tuple(_promise(plan, start) for plan in plans if plan is not None)


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
        rounds=config.federation.fixed_rounds,
        windows=examples_per_user(config),
        window_length=config.model.max_length,
        aggregation=config.federation.aggregation,
        schema=schema,
        settings=settings_hash(config),
        valid_from=utc(start),
        valid_until=utc(start + timedelta(days=days)),
        issuer=issuer,
    )


def _promise(plan: Plan, start: float) -> Promise:
    """`start` is the clip of a first round, where it adapts: C_0."""
    unit = plan.guarantee.unit
    return Promise(plan.guarantee, tuple(_release(one, unit, start) for one in plan.releases))


def _release(planned: PlannedRelease, unit: str, start: float) -> PromisedRelease:
    # A sampled cohort hides a person from those who do not know it; the server does, and so does
    # the device itself. Which of a person's examples are drawn, only the device knows.
    event = _knowing_the_cohort(planned.event) if unit == "user" else planned.event
    times, separation = _limits(planned)
    # Its mechanism counts in units of the round's clip; what bounds a message is C_0 and its range.
    adapts = isinstance(planned.mechanism, UpdateWithBits)
    return PromisedRelease(
        kind=planned.kind,
        mechanism=mechanism_name(planned.mechanism),
        noise_multiplier=planned.mechanism.noise_multiplier,
        clipping_norm=start if adapts else planned.mechanism.clip.norm,
        times=times,
        separation=separation,
        event=event_to_json(event),
    )


def _limits(planned: PlannedRelease) -> tuple[int, int]:
    """How often one device may take part, and how many rounds apart."""
    mechanism = planned.mechanism
    if isinstance(mechanism, CorrelatedMechanism):  # computed for just these
        return min(planned.times, mechanism.participations), mechanism.separation
    return planned.times, 0


def _knowing_the_cohort(event: DpEvent) -> DpEvent:
    """The event for someone who knows that the unit was in the sample."""
    if type(event) is PoissonSampledDpEvent:
        return _knowing_the_cohort(event.event)
    if type(event) is SelfComposedDpEvent:
        return SelfComposedDpEvent(_knowing_the_cohort(event.event), event.count)
    if type(event) is ComposedDpEvent:
        return ComposedDpEvent([_knowing_the_cohort(part) for part in event.events])
    return event


def mechanism_name(mechanism: Mechanism) -> str:
    """What a policy calls a mechanism."""
    name = type(mechanism).__name__.removesuffix("Mechanism")
    return _NAMES.get(name, name.lower())
