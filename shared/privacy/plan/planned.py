"""What is planned of each kind of release: made from terms and the noise that fits the budget."""

from __future__ import annotations

from dataclasses import dataclass

from dp_accounting import DpEvent, NoOpDpEvent, SelfComposedDpEvent

from shared.privacy.accounting.accountant import Calibration, Side
from shared.privacy.contribution.evaluation import METRICS_CLIP
from shared.privacy.contribution.histogram import HISTOGRAM_CLIP
from shared.privacy.mechanisms.gaussian import GaussianMechanism, Mechanism
from shared.privacy.mechanisms.joint import UpdateWithBits
from shared.privacy.plan.terms import Terms


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


def sides(terms: Terms, metrics_share: float) -> tuple[Side, ...]:
    """What takes a share of the budget beside rounds and histogram, for calibration."""
    times = terms.times.get("metrics")
    return (Side(metrics_share, terms.metrics_sampling, times),) if times else ()


def _update(terms: Terms, noise_multiplier: float) -> GaussianMechanism | UpdateWithBits:
    """Of one noised sum of updates; with the bits that the clip adapts by, if it does."""
    if terms.count_noise:
        return UpdateWithBits.of(noise_multiplier, terms.count_noise)
    return GaussianMechanism(noise_multiplier, terms.clip)


def _updates(terms: Terms, noise_multiplier: float) -> list[PlannedRelease]:
    """Of the rounds: each a release, or all one that is counted before the first of them."""
    if terms.correlation is not None:
        every = terms.correlation.mechanism(noise_multiplier, terms.clip)
        return [
            PlannedRelease("training", every, every.event(), 1),
            PlannedRelease("update", every, NoOpDpEvent(), terms.times["update"]),
        ]
    update = _update(terms, noise_multiplier)
    step = update.event(terms.sampling_probability)
    event = step if terms.steps == 1 else SelfComposedDpEvent(step, terms.steps)
    return [PlannedRelease("update", update, event, terms.times["update"])]


def gaussian_releases(terms: Terms, found: Calibration) -> tuple[PlannedRelease, ...]:
    """Every kind of release that the terms have, with Gaussian noise."""
    planned = _updates(terms, found.noise_multiplier)
    if "histogram" in terms.times:
        histogram = GaussianMechanism(found.histogram_noise_multiplier or 0.0, HISTOGRAM_CLIP)
        event = histogram.event(terms.histogram_sampling)
        planned.append(PlannedRelease("histogram", histogram, event, 1))
    if "metrics" in terms.times:
        metrics = GaussianMechanism(found.sides[0], METRICS_CLIP)
        event = metrics.event(terms.metrics_sampling)
        planned.append(PlannedRelease("metrics", metrics, event, terms.times["metrics"]))
    return tuple(planned)
