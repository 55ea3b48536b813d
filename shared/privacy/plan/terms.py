"""What one guarantee is going to count, fixed before anything is released.

Server and device derive the same plan from the settings and the public number of users, so the
noise they add, the ledger they keep and the budget they refuse to exceed come from one place.

    unit      trust     who adds noise   what is counted
    user      central   server           every round, amplified by the Poisson-sampled cohort
    user      central   server, dp_ftrl  all rounds at once, not amplified: the cohort is known
    user      distrib.  all devices      every round, not amplified: the server draws the cohort
    example   central   server           every round, not amplified by the cohort
    example   local     device           every participation, on the device's own ledger
    both      central   both             user-level at the server, example-level on the device
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.privacy.accounting.accountant import default_delta
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.contribution.units import (
    devices_add_noise,
    example_clip,
    examples_per_user,
    metrics_times,
    quantile_rule,
)
from shared.privacy.guarantee import (
    EXAMPLE_CENTRAL,
    EXAMPLE_LOCAL,
    USER_CENTRAL,
    USER_DISTRIBUTED,
    USER_SCHEDULED,
    Relation,
)
from shared.privacy.plan.correlation import Correlation, correlation
from shared.privacy.plan.shared_noise import histogram_sum, update_sum


@dataclass(frozen=True)
class Terms:
    """One guarantee as the settings alone fix it: unit, adversary, budget, and what will count.

    Attributes
    ----------
    unit : {"user", "example"}
    trust : {"central", "distributed", "local"}
    relation : {"add_remove"}
    adversary : str
    delta : float
    group : int
        How many units it covers together.
    budget : float
        Epsilon; infinity for a point that is not private.
    clip : L2Clip
        Of what one unit adds to a noised sum.
    sampling_probability : float
        With which a unit is in a noised sum, as the accountants may count it.
    steps : int
        Noised sums in one update: the device's local steps under local noise, else 1.
    updates : int
        How many updates there may be: rounds, or one device's participations.
    histogram_sampling : float
        With which a unit is in the histogram, as the accountants may count it.
    metrics_sampling : float
        With which a unit is in private metrics, as the accountants may count it.
    count_noise : float
        Standard deviation of the noise that the adaptive clip's count should have; 0 without one.
    times : dict of str to int
        How often each kind of release may happen, by the ledger's word for it.
    correlation : Correlation or None
        Of the noise of all updates together; None where it is independent.
    """

    unit: str
    trust: str
    relation: Relation
    adversary: str
    delta: float
    group: int
    budget: float
    clip: L2Clip
    sampling_probability: float
    steps: int
    updates: int
    histogram_sampling: float
    metrics_sampling: float
    count_noise: float
    times: dict[str, int]
    correlation: Correlation | None


def server_terms(config: ExperimentConfig, users: int) -> Terms | None:
    """The server's guarantee; None where every message is private before it arrives.

    Parameters
    ----------
    config : ExperimentConfig
        Of one point.
    users : int
        Size of the population, >= 1: public.

    Raises
    ------
    ConfigError
        If delta is too large for so many users.
    """
    privacy = config.privacy
    private = math.isfinite(privacy.epsilon)
    if private and privacy.trust == "local":
        return None
    if private and privacy.trust == "distributed":
        # The server is the adversary and draws the cohort: nothing amplifies.
        return _terms(
            config,
            "user",
            USER_DISTRIBUTED.format(_survivors(config, users)),
            protected=users,
            clip=L2Clip(privacy.clipping_norm),
            sampling=1.0,
            histogram_sampling=1.0,
            updates=config.federation.rounds,
        )
    if private and privacy.unit == "example":
        # One step a round on every user's examples. A sampled cohort hides users, not which of a
        # sampled user's examples counted, so it amplifies nothing here.
        return _terms(
            config,
            "example",
            EXAMPLE_CENTRAL,
            protected=users * examples_per_user(config),
            clip=example_clip(config),
            sampling=privacy.example_sampling,
            histogram_sampling=1.0,
            updates=config.federation.rounds,
        )
    if private and privacy.mechanism == "dp_ftrl":
        return _terms(  # whoever knows the cohorts knows who else was asked: nothing amplifies
            config,
            "user",
            USER_SCHEDULED,
            protected=users,
            clip=L2Clip(privacy.clipping_norm),
            sampling=1.0,
            histogram_sampling=1.0,
            updates=config.federation.rounds,
            correlated=correlation(config, users),
        )
    cohort = config.federation.expected_cohort(users)
    return _terms(
        config,
        "user" if privacy.unit == "both" else privacy.unit,
        USER_CENTRAL,
        protected=users,
        clip=L2Clip(privacy.clipping_norm),
        sampling=cohort / users,
        histogram_sampling=config.federation.expected_popularity_cohort(users) / users,
        updates=config.federation.rounds,
        metrics_sampling=config.federation.expected_metrics_cohort(users) / users,
        count_noise=privacy.clipping_count_noise * cohort if quantile_rule(config) else 0.0,
        trust="central",  # without a budget too: then the server sees what no one noised
    )


def device_terms(config: ExperimentConfig, users: int) -> Terms | None:
    """One device's own guarantee; None where the device adds no noise.

    Every participation counts, whoever was sampled: the server knows the cohort. Only the
    examples that the device itself draws, unseen, amplify. Devices hold disjoint examples, so what
    each of them guarantees holds for all of them together, by parallel composition.

    Parameters and errors as for `server_terms`.
    """
    privacy = config.privacy
    if not devices_add_noise(config):
        return None
    rounds = config.federation.rounds
    return _terms(
        config,
        "example",
        EXAMPLE_LOCAL,
        protected=users * examples_per_user(config),
        clip=example_clip(config),
        sampling=privacy.example_sampling,
        histogram_sampling=1.0,
        updates=min(privacy.max_participations or rounds, rounds),
        trust="local",
        steps=config.train.local_steps,
        budget=privacy.example_epsilon if privacy.unit == "both" else None,
    )


def _terms(
    config: ExperimentConfig,
    unit: str,
    adversary: str,
    *,
    protected: int,
    clip: L2Clip,
    sampling: float,
    histogram_sampling: float,
    updates: int,
    metrics_sampling: float = 1.0,
    count_noise: float = 0.0,
    trust: str | None = None,
    steps: int = 1,
    budget: float | None = None,
    correlated: Correlation | None = None,
) -> Terms:
    privacy = config.privacy
    delta = default_delta(protected) if privacy.delta is None else privacy.delta
    if delta > 1 / protected:
        raise ConfigError(
            f"privacy.delta = {delta:g}: at most 1/{protected} = {1 / protected:.2g}, one over the "
            f"{unit}s; above that, publishing one {unit} outright would be allowed"
        )
    times = {"update": updates, "metrics": metrics_times(config)}
    if correlated is not None:
        times["training"] = 1
    if config.federation.popularity_start:
        times["histogram"] = 1
    return Terms(
        unit=unit,
        trust=trust or privacy.trust,
        relation=privacy.relation,
        adversary=adversary,
        delta=delta,
        group=privacy.group_size,
        budget=privacy.epsilon if budget is None else budget,
        clip=clip,
        sampling_probability=sampling,
        steps=steps,
        updates=updates,
        histogram_sampling=histogram_sampling,
        metrics_sampling=metrics_sampling,
        count_noise=count_noise,
        times={kind: number for kind, number in times.items() if number},
        correlation=correlated,
    )


def _survivors(config: ExperimentConfig, users: int) -> str:
    """Whose noise is counted on, in words."""
    updates = update_sum(config, users).survivors
    words = f"{updates} of the devices in every sum"
    if not config.federation.popularity_start:
        return words
    histogram = histogram_sum(config, users).survivors
    return words if histogram == updates else f"{words} of a round and {histogram} in the histogram"
