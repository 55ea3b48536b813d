"""What is going to be released: the terms of a guarantee with the least noise that keeps it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dp_accounting import DpEvent, NoOpDpEvent, SelfComposedDpEvent

from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.privacy.accounting.accountant import Side, calibrate
from shared.privacy.accounting.events import event_to_json
from shared.privacy.contribution.evaluation import METRICS_CLIP
from shared.privacy.contribution.histogram import HISTOGRAM_CLIP
from shared.privacy.contribution.moments import MOMENTS_CLIP
from shared.privacy.mechanisms.gaussian import GaussianMechanism, Mechanism, UpdateWithBits
from shared.privacy.plan.shared_noise import (
    calibrate_shares,
    histogram_sum,
    moments_sum,
    update_sum,
)
from shared.privacy.plan.terms import Terms, device_terms, server_terms


@dataclass(frozen=True)
class PlannedRelease:
    """One kind of release under a guarantee.

    Attributes
    ----------
    kind : str
        The ledger's word for it, such as "update".
    mechanism : Mechanism
    event : DpEvent
        What one such release is recorded as.
    times : int
        How often it may happen.
    """

    kind: str
    mechanism: Mechanism
    event: DpEvent
    times: int


@dataclass(frozen=True, kw_only=True)
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
        """z of each noised sum of updates; 0 without a budget, and without rounds."""
        update = self.of("update")
        return update.mechanism.noise_multiplier if update else 0.0

    @property
    def histogram_noise_multiplier(self) -> float | None:
        """z of the popularity histogram; None if there is none."""
        return self._noise("histogram")

    @property
    def moments_noise_multiplier(self) -> float | None:
        """z of what people have together; None if that is not released."""
        return self._noise("moments")

    @property
    def metrics_noise_multiplier(self) -> float | None:
        """z of private metrics; None if there are none."""
        return self._noise("metrics")

    def _noise(self, kind: str) -> float | None:
        planned = self.of(kind)
        return planned.mechanism.noise_multiplier if planned else None

    def stated(self) -> dict[str, Any]:
        """As a point of `results.json` states it, before its cost is read from the ledger."""
        return {
            **self.guarantee.stated(),
            "noise_multiplier": self.noise_multiplier,
            "sampling_probability": self.sampling_probability,
            "steps": self.steps,
            "updates": self.updates,
            "histogram_noise_multiplier": self.histogram_noise_multiplier,
            "histogram_sampling": self.histogram_sampling,
            "moments_noise_multiplier": self.moments_noise_multiplier,
            "moments_sampling": self.histogram_sampling,
            "metrics_noise_multiplier": self.metrics_noise_multiplier,
            "metrics_sampling": self.metrics_sampling,
            "clipping_norm": self.clip.norm,
            "correlation": self.correlation.stated() if self.correlation else None,
            "releases": {
                planned.kind: {"event": event_to_json(planned.event), "times": planned.times}
                for planned in self.releases
            },
        }


def server_plan(config: ExperimentConfig, users: int) -> Plan | None:
    """`server_terms` with their noise.

    Raises
    ------
    ConfigError
        If delta is too large for so many users, or no noise meets the budget.
    """
    terms = server_terms(config, users)
    if terms is not None and terms.guarantee.trust == "distributed":
        _check_histogram(terms, config)
        return Plan(**vars(terms), releases=_shared_releases(terms, config, users))
    return _calibrated(terms, config)


def device_plan(config: ExperimentConfig, users: int) -> Plan | None:
    """`device_terms` with their noise; errors as for `server_plan`."""
    return _calibrated(device_terms(config, users), config)


def _calibrated(terms: Terms | None, config: ExperimentConfig) -> Plan | None:
    if terms is None:
        return None
    _check_histogram(terms, config)
    beside = _beside(terms)
    found = calibrate(terms.guarantee, *_main(terms), tuple(beside.values()))
    noise = dict(zip(beside, found.sides, strict=True)) | {terms.main: found.noise_multiplier}
    return Plan(**vars(terms), releases=_gaussian_releases(terms, noise))


def _main(terms: Terms) -> tuple[int, float]:
    """How many releases get what is left of the budget, and with what sampling."""
    if terms.main == "histogram":
        return 1, terms.histogram_sampling
    return 1 if terms.correlation else terms.updates * terms.steps, terms.sampling_probability


def _check_histogram(terms: Terms, config: ExperimentConfig) -> None:
    wanted, share = config.federation.popularity_start, config.privacy.histogram_share
    left = terms.main == "histogram"  # whatever its share is, it gets what is left
    if math.isfinite(terms.guarantee.budget) and wanted and share == 0 and not left:
        raise ConfigError(
            "privacy.histogram_share = 0 does not go with federation.popularity_start = true: the "
            "histogram would have no budget; change one of them"
        )


def _beside(terms: Terms) -> dict[str, Side]:
    """What takes a share of the budget beside the main releases, by kind."""
    sampling = {
        "histogram": terms.histogram_sampling,
        "moments": terms.histogram_sampling,
        "metrics": terms.metrics_sampling,
    }
    return {
        kind: Side(terms.shares[kind], q, terms.times[kind])
        for kind, q in sampling.items()
        if kind in terms.times and kind != terms.main
    }


def _update(terms: Terms, noise_multiplier: float) -> GaussianMechanism | UpdateWithBits:
    """Of one noised sum of updates; with the bits that the clip adapts by, if it does."""
    if terms.count_noise:
        return UpdateWithBits.of(noise_multiplier, terms.count_noise)
    return GaussianMechanism(noise_multiplier, terms.clip)


def _updates(terms: Terms, noise_multiplier: float) -> list[PlannedRelease]:
    """Of the rounds: each a release, or all one that is counted before the first of them."""
    times = terms.times["update"]
    if terms.correlation is not None:
        every = terms.correlation.mechanism(noise_multiplier, terms.clip)
        return [
            PlannedRelease("training", every, every.event(), 1),
            PlannedRelease("update", every, NoOpDpEvent(), times),
        ]
    update = _update(terms, noise_multiplier)
    step = update.event(terms.sampling_probability)
    event = step if terms.steps == 1 else SelfComposedDpEvent(step, terms.steps)
    return [PlannedRelease("update", update, event, times)]


def _gaussian_releases(terms: Terms, noise: dict[str, float]) -> tuple[PlannedRelease, ...]:
    """Every kind of release that the terms have; z by kind."""
    planned = _updates(terms, noise["update"]) if terms.updates else []
    for kind, clip, sampling in (
        ("histogram", HISTOGRAM_CLIP, terms.histogram_sampling),
        ("moments", MOMENTS_CLIP, terms.histogram_sampling),
        ("metrics", METRICS_CLIP, terms.metrics_sampling),
    ):
        if kind in terms.times:
            one = GaussianMechanism(noise.get(kind, 0.0), clip)
            planned.append(PlannedRelease(kind, one, one.event(sampling), terms.times[kind]))
    return tuple(planned)


def _shared_releases(
    terms: Terms, config: ExperimentConfig, users: int
) -> tuple[PlannedRelease, ...]:
    """Of sums whose noise comes in shares."""
    sums = {"update": update_sum, "histogram": histogram_sum, "moments": moments_sum}
    beside = {
        kind: (sums[kind](config, users), terms.shares[kind])
        for kind in terms.times
        if kind != terms.main
    }
    main = sums[terms.main](config, users), terms.times[terms.main]
    first, *others = calibrate_shares(terms.guarantee, *main, tuple(beside.values()))
    found = {terms.main: first, **dict(zip(beside, others, strict=True))}
    return tuple(
        PlannedRelease(kind, found[kind], found[kind].event(), terms.times[kind])
        for kind in terms.times
    )
