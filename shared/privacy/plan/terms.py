"""What one guarantee is going to count, fixed before anything is released.

Server and device derive the same plan from the settings and the public number of users, so the
noise they add, the ledger they keep and the budget they refuse to exceed come from one place.

    row              who adds noise   what is counted
    _UserCentral     server           every round, amplified by the Poisson-sampled cohort
    _UserScheduled   server, dp_ftrl  all rounds at once, not amplified: the cohort is known
    _UserDistributed all devices      every round, not amplified: the server draws the cohort
    _ExampleCentral  server           every round, not amplified by the cohort
    _ExampleLocal    device           every participation, on the device's own ledger
    _NotPrivate      nobody           every round; whoever reads the ledger sees that it is open

Under both units two of them hold: `_UserCentral` at the server, `_ExampleLocal` on the device.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.privacy.accounting.accountant import check_resolved, default_delta
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.contribution.units import (
    devices_add_noise,
    devices_share_noise,
    example_clip,
    examples_per_user,
    metrics_times,
    quantile_rule,
    sums_securely,
)
from shared.privacy.guarantee import (
    EXAMPLE_CENTRAL,
    EXAMPLE_LOCAL,
    USER_CENTRAL,
    USER_DISTRIBUTED,
    USER_SCHEDULED,
    Guarantee,
    Trust,
    Unit,
    in_sums,
)
from shared.privacy.plan.correlation import Correlation, correlation
from shared.privacy.plan.exact_sum import fewest_in_any
from shared.privacy.plan.shared_noise import histogram_sum, update_sum
from shared.privacy.plan.split import main_kind, shares


@dataclass(frozen=True, kw_only=True)
class Terms:
    """One guarantee as the settings alone fix it, and what will count towards it.

    Attributes
    ----------
    guarantee : Guarantee
    clip : L2Clip
        Of what one unit adds to a noised sum.
    sampling_probability : float
        With which a unit is in a noised sum, as the accountants may count it.
    steps : int
        Noised sums in one update: the device's local steps under local noise, else 1.
    updates : int
        How many updates there may be: rounds, or one device's participations; 0 without rounds.
    histogram_sampling : float
        With which a unit is in the histogram, as the accountants may count it; in the moments
        too, which are of a sample of their own.
    metrics_sampling : float
        With which a unit is in private metrics, as the accountants may count it.
    count_noise : float
        Standard deviation of the noise that the adaptive clip's count should have; 0 without one.
    times : dict of str to int
        How often each kind of release may happen, by the ledger's word for it.
    shares : dict of str to float
        What each kind gets of the budget, see `shared.privacy.plan.split`.
    correlation : Correlation or None
        Of the noise of all updates together; None where it is independent.
    """

    guarantee: Guarantee
    clip: L2Clip
    updates: int
    times: dict[str, int]
    shares: dict[str, float]
    sampling_probability: float = 1.0
    histogram_sampling: float = 1.0
    metrics_sampling: float = 1.0
    count_noise: float = 0.0
    steps: int = 1
    correlation: Correlation | None = None

    @property
    def main(self) -> str:
        """The kind of release that gets what the others leave of the budget."""
        return main_kind(self.times)


@dataclass(frozen=True)
class _Row(ABC):
    """A row of the table under one point's settings.

    Unless it says otherwise it hides a person, who is in every sum of every round.
    """

    config: ExperimentConfig
    users: int

    training = 0  # times that a mechanism of all rounds together is counted

    @staticmethod
    @abstractmethod
    def applies(config: ExperimentConfig) -> bool:
        """Whether the settings give this guarantee."""

    @property
    @abstractmethod
    def trust(self) -> Trust: ...

    @property
    @abstractmethod
    def adversary(self) -> str: ...

    @property
    def unit(self) -> Unit:
        return "user"

    @property
    def units(self) -> int:
        """How many there are: delta is at most one over them."""
        return self.users

    @property
    def budget(self) -> float:
        return self.config.privacy.epsilon

    @property
    def budget_name(self) -> str:
        return "epsilon (--epsilon)"

    @property
    def updates(self) -> int:
        return self.config.federation.fixed_rounds

    @property
    def times(self) -> dict[str, int]:
        times = {
            "update": self.updates,
            "metrics": metrics_times(self.config),
            "training": self.training,
            "histogram": int(self.config.federation.popularity_start),
            "moments": int(self.shares.get("moments", 0.0) > 0),
        }
        return {kind: number for kind, number in times.items() if number}

    @property
    def shares(self) -> dict[str, float]:
        """Of every kind that there may be; moments with a share of 0 are not released."""
        wanted = {
            "update": self.updates,
            "metrics": metrics_times(self.config),
            "histogram": self.config.federation.popularity_start,
            "moments": self.config.model.moments_rank,
        }
        kinds = [kind for kind, any_ in wanted.items() if any_]
        return shares(self.config, self.heard, self.guarantee.delta, self.budget, kinds)

    @property
    def heard(self) -> int:
        """How many people one noise hides: what a sum says beside its noise grows with them."""
        return self.users

    @property
    def guarantee(self) -> Guarantee:
        privacy, units = self.config.privacy, self.units
        default = default_delta(units)  # refuses what is no number of them
        delta = default if privacy.delta is None else privacy.delta
        check_resolved(delta, self.budget, ("privacy.delta (--delta)", self.budget_name))
        if delta >= 1 / units:
            raise ConfigError(
                f"privacy.delta (--delta) = {delta:g}: expected below 1/{units} = {1 / units:.2g}, "
                f"one over the {self.unit}s; from there on, publishing one {self.unit} outright "
                "would be allowed"
            )
        return Guarantee(
            unit=self.unit,
            relation="zero_out",  # the number of people is public
            trust=self.trust,
            adversary=self.adversary,
            delta=delta,
            group=privacy.group_size,
            budget=self.budget,
        )

    def terms(self) -> Terms:
        """The row in figures; refuses a delta that is too large for so many units."""
        clip = L2Clip(self.config.privacy.clipping_norm)
        return Terms(
            guarantee=self.guarantee,
            clip=clip,
            updates=self.updates,
            times=self.times,
            shares=self.shares,
        )


class _UserCentral(_Row):
    """The server noises every round's sum; who does not learn the cohort learns less."""

    trust = "central"

    @property
    def adversary(self) -> str:
        return _seen(USER_CENTRAL, self.config, self.users)

    @staticmethod
    def applies(config: ExperimentConfig) -> bool:
        return _by_server(config, "gaussian") and config.privacy.unit != "example"

    def terms(self) -> Terms:
        privacy, federation, users = self.config.privacy, self.config.federation, self.users
        cohort, adapts = federation.expected_cohort(users), quantile_rule(self.config) is not None
        return replace(
            super().terms(),
            sampling_probability=cohort / users,
            histogram_sampling=federation.expected_popularity_cohort(users) / users,
            metrics_sampling=federation.expected_metrics_cohort(users) / users,
            count_noise=privacy.clipping_count_noise * cohort if adapts else 0.0,
        )


class _NotPrivate(_UserCentral):
    """No budget: the server sees what no one noised, whatever other points promise."""

    @staticmethod
    def applies(config: ExperimentConfig) -> bool:
        return not math.isfinite(config.privacy.epsilon)

    @property
    def unit(self) -> Unit:
        return "example" if self.config.privacy.unit == "example" else "user"


class _UserScheduled(_Row):
    """The server's correlated noise: whoever knows the cohorts knows who else was asked."""

    trust = "central"
    training = 1

    @property
    def adversary(self) -> str:
        return _seen(USER_SCHEDULED, self.config, self.users)

    @staticmethod
    def applies(config: ExperimentConfig) -> bool:
        return _by_server(config, "dp_ftrl") and config.privacy.unit != "example"

    def terms(self) -> Terms:
        return replace(super().terms(), correlation=correlation(self.config, self.users))


class _UserDistributed(_Row):
    """The noise comes in shares: the server is the adversary and draws the cohort."""

    trust = "distributed"

    @staticmethod
    def applies(config: ExperimentConfig) -> bool:
        return devices_share_noise(config)

    @property
    def adversary(self) -> str:
        return USER_DISTRIBUTED.format(_survivors(self.config, self.users))


class _ExampleCentral(_Row):
    """One step a round on every user's examples, noised by the server.

    A sampled cohort hides users, not which of a sampled user's examples counted, so it amplifies
    nothing here.
    """

    unit = "example"
    trust: Trust = "central"
    adversary = EXAMPLE_CENTRAL

    @staticmethod
    def applies(config: ExperimentConfig) -> bool:
        return _by_server(config, "gaussian") and config.privacy.unit == "example"

    @property
    def units(self) -> int:
        return self.users * examples_per_user(self.config)

    def terms(self) -> Terms:
        sampling, clip = self.config.privacy.example_sampling, example_clip(self.config)
        return replace(super().terms(), clip=clip, sampling_probability=sampling)


class _ExampleLocal(_ExampleCentral):
    """Every device noises its own steps and counts every participation: the server knows them.

    Only the examples that the device itself draws, unseen, amplify. Devices hold disjoint
    examples, so what each guarantees holds for all of them together, by parallel composition.
    """

    trust = "local"
    adversary = EXAMPLE_LOCAL

    @staticmethod
    def applies(config: ExperimentConfig) -> bool:
        return devices_add_noise(config)

    @property
    def heard(self) -> int:
        """Every device adds a noise of its own, so that of a sum grows with the root."""
        return math.isqrt(self.users)

    @property
    def budget(self) -> float:
        inner = self._inner
        return self.config.privacy.epsilon if inner is None else inner

    @property
    def budget_name(self) -> str:
        return super().budget_name if self._inner is None else "privacy.example_epsilon"

    @property
    def _inner(self) -> float | None:
        privacy = self.config.privacy
        return privacy.example_epsilon if privacy.unit == "both" else None

    @property
    def updates(self) -> int:
        rounds = self.config.federation.fixed_rounds
        return min(self.config.privacy.max_participations or rounds, rounds)

    def terms(self) -> Terms:
        return replace(super().terms(), steps=self.config.train.local_steps)


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
        If delta is too large for so many users, or epsilon too small to be accounted.
    """
    rows = (_NotPrivate, _UserCentral, _UserScheduled, _UserDistributed, _ExampleCentral)
    return next((row(config, users).terms() for row in rows if row.applies(config)), None)


def device_terms(config: ExperimentConfig, users: int) -> Terms | None:
    """One device's own guarantee; None where the device adds no noise. As for `server_terms`."""
    return _ExampleLocal(config, users).terms() if _ExampleLocal.applies(config) else None


def _by_server(config: ExperimentConfig, mechanism: str) -> bool:
    """Whether the server adds noise of that kind."""
    privacy = config.privacy
    private = math.isfinite(privacy.epsilon) and privacy.trust == "central"
    return private and privacy.mechanism == mechanism


def _seen(adversary: str, config: ExperimentConfig, users: int) -> str:
    """Whom a guarantee holds against, as contributions reach the server on real devices."""
    if not sums_securely(config, simulated=False):
        return adversary
    return in_sums(adversary, fewest_in_any(config, users), config.privacy.colluding)


def _survivors(config: ExperimentConfig, users: int) -> str:
    """Whose noise is counted on, in words."""
    federation = config.federation
    rounds = [update_sum(config, users).counted] if federation.fixed_rounds else []
    before = [histogram_sum(config, users).counted] if federation.popularity_start else []
    first, *others = [*rounds, *before]
    words = f"{first.survivors} of the {first.fewest} or more devices in every sum"
    for other in others:
        if other != first:
            words += (
                f" of a round and {other.survivors} of the {other.fewest} or more in the histogram"
            )
    return words
