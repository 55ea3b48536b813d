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
from shared.privacy.accounting.accountant import calibrate
from shared.privacy.plan.planned import PlannedRelease, gaussian_releases, sides
from shared.privacy.plan.shared_noise import calibrate_shares, histogram_sum, update_sum
from shared.privacy.plan.terms import Terms, device_terms, server_terms


@dataclass(frozen=True)
class Plan(Terms):
    """The terms with the least noise that keeps all their releases within the budget.

    Attributes
    ----------
    releases : tuple of PlannedRelease
        One of each kind.
    """

    releases: tuple[PlannedRelease, ...]

    def of(self, kind: str) -> PlannedRelease | None:
        """The planned release of a kind; None if there is none."""
        return next((planned for planned in self.releases if planned.kind == kind), None)

    def planned(self, kind: str) -> PlannedRelease:
        """As `of`, where there must be one.

        Raises
        ------
        ConfigError
            For a kind that is not planned.
        """
        planned = self.of(kind)
        if planned is None:
            raise ConfigError(f"release {kind!r}: not planned under these settings")
        return planned

    @property
    def noise_multiplier(self) -> float:
        """z of each noised sum of updates; 0 without a budget."""
        update = self.of("update")
        return update.mechanism.noise_multiplier if update else 0.0

    @property
    def histogram_noise_multiplier(self) -> float | None:
        """z of the popularity histogram; None if there is none."""
        histogram = self.of("histogram")
        return histogram.mechanism.noise_multiplier if histogram else None

    @property
    def metrics_noise_multiplier(self) -> float | None:
        """z of private metrics; None if there are none."""
        metrics = self.of("metrics")
        return metrics.mechanism.noise_multiplier if metrics else None


def server_plan(config: ExperimentConfig, users: int) -> Plan | None:
    """`server_terms` with their noise.

    Raises
    ------
    ConfigError
        If delta is too large for so many users, or no noise meets the budget.
    """
    terms = server_terms(config, users)
    if terms is not None and terms.trust == "distributed":
        _check_histogram(terms, config)
        return Plan(**vars(terms), releases=_shared_releases(terms, config, users))
    return _calibrated(terms, config)


def device_plan(config: ExperimentConfig, users: int) -> Plan | None:
    """`device_terms` with their noise; errors as for `server_plan`."""
    return _calibrated(device_terms(config, users), config)


def _calibrated(terms: Terms | None, config: ExperimentConfig) -> Plan | None:
    if terms is None:
        return None
    privacy = config.privacy
    has_histogram = config.federation.popularity_start
    _check_histogram(terms, config)
    found = calibrate(
        terms.budget,
        terms.delta,
        1 if terms.correlation else terms.updates * terms.steps,
        terms.sampling_probability,
        terms.relation,
        privacy.histogram_share if has_histogram else 0.0,
        terms.histogram_sampling,
        sides(terms, privacy.metrics_share),
        group=terms.group,
    )
    return Plan(**vars(terms), releases=gaussian_releases(terms, found))


def _check_histogram(terms: Terms, config: ExperimentConfig) -> None:
    wanted, share = config.federation.popularity_start, config.privacy.histogram_share
    if math.isfinite(terms.budget) and wanted and share == 0:
        raise ConfigError(
            "privacy.histogram_share = 0 does not go with federation.popularity_start = true: the "
            "histogram would have no budget; change one of them"
        )


def _shared_releases(
    terms: Terms, config: ExperimentConfig, users: int
) -> tuple[PlannedRelease, ...]:
    """Of sums whose noise comes in shares."""
    wanted = config.federation.popularity_start
    update, histogram = calibrate_shares(
        terms.budget,
        terms.delta,
        update_sum(config, users),
        terms.updates,
        histogram_sum(config, users) if wanted else None,
        config.privacy.histogram_share if wanted else 0.0,
        terms.group,
    )
    planned = [PlannedRelease("update", update, update.event(), terms.times["update"])]
    if histogram is not None:
        planned.append(PlannedRelease("histogram", histogram, histogram.event(), 1))
    return tuple(planned)
