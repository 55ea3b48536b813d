"""What was released, in the one form that every accountant here understands."""

from __future__ import annotations

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
from shared.privacy.relation import Relation, check_relation

History: TypeAlias = DpEvent | Sequence[tuple[DpEvent, int]]
"""One event, or pairs (event, how often); composition events may nest."""


# A ledger may come from anyone: beyond these the accountants would overflow or never end.
_LARGEST_NOISE = 1e6
_LARGEST_COUNT = 10**9
_SMALLEST_PROBABILITY = 1e-9
_AS_GOOD_AS_ONE = 1 - 1e-6


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


def steps_of(history: History, relation: Relation = "add_remove") -> tuple[Step, ...]:
    """The history as Gaussian steps in canonical order, equal ones joined.

    Raises
    ------
    ConfigError
        For an event of any other kind (none is ignored), a parameter outside its range, or
        sampling under `replace_one`.
    """
    check_relation(relation)
    counts: Counter[tuple[float, float]] = Counter()
    pairs = [(history, 1)] if isinstance(history, DpEvent) else history
    for event, count in pairs:
        _count(event, count, counts)
    if relation == "replace_one" and any(q != 1 for _, q in counts):
        raise ConfigError(
            "Poisson sampling is accounted under relation add_remove only; "
            "under replace_one every unit must take part in every release"
        )
    return tuple(Step(z, q, counts[z, q]) for z, q in sorted(counts))


def _count(event: DpEvent, count: int, counts: Counter[tuple[float, float]]) -> None:
    _check_count(count)
    # By exact type: a subclass may mean something else.
    if type(event) is NoOpDpEvent or count == 0:
        return
    if type(event) is NonPrivateDpEvent:
        counts[0.0, 1.0] += count
    elif type(event) is ComposedDpEvent:
        for part in event.events:
            _count(part, count, counts)
    elif type(event) is SelfComposedDpEvent:
        _count(event.event, count * _check_count(event.count), counts)
    elif type(event) is GaussianDpEvent:
        counts[_check_noise(event.noise_multiplier), 1.0] += count
    elif type(event) is PoissonSampledDpEvent and type(event.event) is GaussianDpEvent:
        q = event.sampling_probability
        if not 0 < q <= 1:
            raise ConfigError(f"sampling probability = {q}: expected a number in (0, 1]")
        # More is an upper bound, and spares the accountants what they cannot resolve.
        counted = max(float(q), _SMALLEST_PROBABILITY) if q < _AS_GOOD_AS_ONE else 1.0
        counts[_check_noise(event.event.noise_multiplier), counted] += count
    else:
        raise ConfigError(f"{event}: no accountant here covers this kind of event")


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
