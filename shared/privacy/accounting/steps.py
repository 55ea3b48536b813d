"""What was released, in the one form that every accountant here understands."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from dp_accounting import (
    ComposedDpEvent,
    DpEvent,
    GaussianDpEvent,
    NonPrivateDpEvent,
    NoOpDpEvent,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
)

from shared.errors import ConfigError
from shared.privacy.accounting.events import SkellamDpEvent
from shared.privacy.guarantee import Relation, check_relation

History: TypeAlias = DpEvent | Sequence[tuple[DpEvent, int]]
"""One event, or pairs (event, how often); composition events may nest."""


# A ledger may come from anyone: beyond these the accountants would overflow or never end.
_LARGEST_NOISE = 1e6
_LARGEST_COUNT = 10**6  # of all releases together
_SMALLEST_PROBABILITY = 1e-9
_AS_GOOD_AS_ONE = 1 - 1e-6
_LARGEST_VARIANCE = 1e30  # in squared steps of the grid


class Step(NamedTuple):
    """`times` Gaussian releases with noise multiplier z, each unit in with probability q.

    z is relative to the clipping norm; z = 0 stands for a release without noise.
    """

    noise_multiplier: float
    sampling_probability: float
    times: int

    def event(self) -> DpEvent:
        """One of the releases."""
        if self.noise_multiplier == 0:
            return NonPrivateDpEvent()
        gaussian = GaussianDpEvent(self.noise_multiplier)
        if self.sampling_probability == 1:
            return gaussian
        return PoissonSampledDpEvent(self.sampling_probability, gaussian)

    def moved(self, distance: float) -> Step:
        """The same where the sum moves `distance` times as far: the noise is worth less."""
        return self._replace(noise_multiplier=self.noise_multiplier / distance)

    @property
    def signal(self) -> float:
        """Squared signal-to-noise ratio of one release, were no one sampled out."""
        z = self.noise_multiplier
        return 1 / z**2 if z >= 1e-3 else math.inf  # without noise or as good as


class SkellamStep(NamedTuple):
    """`times` releases of whole numbers with Skellam noise, everyone in; see `SkellamDpEvent`."""

    variance: float
    l2_sensitivity: float
    l1_sensitivity: float
    times: int

    def event(self) -> DpEvent:
        """One of the releases."""
        return SkellamDpEvent(self.variance, self.l2_sensitivity, self.l1_sensitivity)

    def moved(self, distance: float) -> SkellamStep:
        """The same where the sum moves `distance` times as far."""
        l2, l1 = self.l2_sensitivity * distance, self.l1_sensitivity * distance
        return self._replace(l2_sensitivity=l2, l1_sensitivity=l1)

    @property
    def signal(self) -> float:
        """Squared signal-to-noise ratio of one release."""
        return self.l2_sensitivity**2 / self.variance


Steps: TypeAlias = tuple[Step | SkellamStep, ...]

# Beyond this sum of squared signal-to-noise ratios (an epsilon in the tens of thousands, were no
# one sampled out) infinity is reported: an upper bound too, and no work at all.
_HOPELESS = 1e5


def is_hopeless(steps: Steps) -> bool:
    """Whether there is so little noise that no accountant need work on it."""
    return sum(step.times * step.signal for step in steps) > _HOPELESS


def steps_of(history: History, relation: Relation = "zero_out") -> Steps:
    """The history as steps in canonical order, equal ones joined; Gaussian ones come first.

    Raises
    ------
    ConfigError
        For an event of any other kind (none is ignored), a parameter outside its range, or
        sampling under `replace_one`.
    """
    check_relation(relation)
    counts: Counter[Step | SkellamStep] = Counter()
    pairs = [(history, 1)] if isinstance(history, DpEvent) else history
    for event, count in pairs:
        _count(event, count, counts)
    _check_count(sum(counts.values()))
    steps = [step._replace(times=times) for step, times in counts.items()]
    gaussian = sorted(step for step in steps if isinstance(step, Step))
    discrete = sorted(step for step in steps if isinstance(step, SkellamStep))
    if relation == "replace_one" and any(step.sampling_probability != 1 for step in gaussian):
        raise ConfigError(
            "Poisson sampling is accounted under relation zero_out only; "
            "under replace_one every unit must take part in every release"
        )
    return (*gaussian, *discrete)


def _count(event: DpEvent, count: int, counts: Counter[Step | SkellamStep]) -> None:
    _check_count(count)
    # By exact type: a subclass may mean something else.
    if type(event) is NoOpDpEvent or count == 0:
        return
    if type(event) is ComposedDpEvent:
        for part in event.events:
            _count(part, count, counts)
    elif type(event) is SelfComposedDpEvent:
        _count(event.event, count * _check_count(event.count), counts)
    else:
        counts[_single(event)] += count


def _single(event: DpEvent) -> Step | SkellamStep:
    """One release as a step that happened once."""
    if type(event) is NonPrivateDpEvent:
        return Step(0.0, 1.0, 1)
    if type(event) is GaussianDpEvent:
        return Step(_check_noise(event.noise_multiplier), 1.0, 1)
    if type(event) is SkellamDpEvent:
        return _check_skellam(event)
    if type(event) is PoissonSampledDpEvent:
        q = event.sampling_probability
        if not 0 < q <= 1:
            raise ConfigError(f"sampling probability = {q}: expected a number in (0, 1]")
        # More is an upper bound, and spares the accountants what they cannot resolve.
        counted = max(float(q), _SMALLEST_PROBABILITY) if q < _AS_GOOD_AS_ONE else 1.0
        return Step(_joint_noise(event), counted, 1)
    raise ConfigError(f"{event}: no accountant here covers this kind of event")


def _joint_noise(sampled: PoissonSampledDpEvent) -> float:
    """The noise multiplier of all that is released of one and the same sample.

    Gaussian releases with z_1, z_2, ... are, each scaled by its own noise, one Gaussian vector
    that a unit in the sample moves by (1 / z_1, 1 / z_2, ...): z = (sum of 1 / z_i^2)^(-1/2).
    """
    inner = sampled.event
    parts = inner.events if type(inner) is ComposedDpEvent else [inner]
    if not parts or any(type(part) is not GaussianDpEvent for part in parts):
        raise ConfigError(f"{sampled}: no accountant here covers this kind of event")
    noise = [_check_noise(part.noise_multiplier) for part in parts]
    if len(noise) == 1:
        return noise[0]
    return math.sqrt(1 / sum(1 / z**2 for z in noise)) if min(noise) > 1e-100 else 0.0


def _check_count(count: int) -> int:
    if not (isinstance(count, int) and 0 <= count <= _LARGEST_COUNT):
        raise ConfigError(
            f"count of a release = {count}: expected a whole number from 0 to {_LARGEST_COUNT:g}"
        )
    return count


def _check_noise(noise_multiplier: float) -> float:
    if not 0 <= noise_multiplier <= _LARGEST_NOISE:  # also refuses NaN
        raise ConfigError(
            f"noise multiplier = {noise_multiplier}: expected a number from 0 to {_LARGEST_NOISE:g}"
        )
    return float(noise_multiplier)


def _check_skellam(event: SkellamDpEvent) -> SkellamStep:
    variance, l2, l1 = event.variance, event.l2_sensitivity, event.l1_sensitivity
    if not 1 / _LARGEST_VARIANCE <= variance <= _LARGEST_VARIANCE:
        raise ConfigError(
            f"Skellam variance = {variance}: expected a number from {1 / _LARGEST_VARIANCE:g} to "
            f"{_LARGEST_VARIANCE:g}"
        )
    # Of vectors the l1 norm is never the smaller one: bounds that say so were mixed up.
    if not 1 / _LARGEST_NOISE <= l2 <= l1 <= _LARGEST_VARIANCE:
        raise ConfigError(
            f"Skellam l2_sensitivity = {l2}, l1_sensitivity = {l1}: expected "
            f"{1 / _LARGEST_NOISE:g} <= l2 <= l1 <= {_LARGEST_VARIANCE:g}"
        )
    return SkellamStep(float(variance), float(l2), float(l1), 1)
