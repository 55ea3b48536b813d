"""Whether a model ranks better than what it is compared with: one rule for a point and a seed mean.

A difference is a model's metric minus a reference's, person by person over the same people, with
the 95% interval of `simulations.summary.interval`. "Above" and "below" are said where the whole
interval is; anything else is "not shown". Each comparison stands alone: nothing corrects for their
number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from shared.config import ExperimentConfig, at_epsilon
from shared.metrics import discounted_gains, hits, standard_error
from simulations.results import Point, Reference, Results, Stated, Tree
from simulations.summary import interval

METRICS = {
    "hr@10": "HR@10",
    "ndcg@10": "NDCG@10",
    "full_hr@10": "full HR@10",
    "full_ndcg@10": "full NDCG@10",
}
SAME_MODEL = "same_model"
BASELINES = {
    "popularity": "popularity",
    "zero_shot": "zero-shot",
    "local_only": "local only",
    "popularity_private": "its own histogram",
    "start": "its own start",
}
"""What a model that was worth training is above: of `results.references`, then of the point."""

ABOVE, BELOW, NOT_SHOWN = "above", "below", "not shown"
Pairs = dict[str, dict[str, Tree]]  # by reference, then metric: `difference`, `se`, ...


@dataclass(frozen=True)
class Difference:
    """A model's metric minus a reference's, with its 95% interval.

    Attributes
    ----------
    mean, low, high : float
        In [-1, 1].
    """

    mean: float
    low: float
    high: float

    @classmethod
    def over(cls, pairs: Sequence[tuple[float, float]], users: float) -> Difference:
        """Of one model or several seeds.

        Parameters
        ----------
        pairs : sequence of (float, float)
            Of each seed the mean difference over people and its standard error.
        users : float
            How many people, at least 2.
        """
        means, errors = [mean for mean, _ in pairs], [error for _, error in pairs]
        return cls(float(np.mean(means)), *interval(means, errors, users, least=-1.0))

    @property
    def verdict(self) -> str:
        """`above`, `below` or `not shown`."""
        return ABOVE if self.low > 0 else BELOW if self.high < 0 else NOT_SHOWN

    def stated(self) -> dict[str, object]:
        """As `results.json` holds it."""
        return {
            "difference": self.mean,
            "low": self.low,
            "high": self.high,
            "verdict": self.verdict,
        }

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class Compared:
    """All points of one target epsilon beside what they are compared with.

    Attributes
    ----------
    epsilon : float
    seeds : list
    with_ : dict of dict of Difference
        By reference and metric, over seeds.
    below_alone : list of (object, str, str)
        Seed, reference and metric where one seed alone is below and the mean is not.
    """

    epsilon: float
    seeds: list[object]
    with_: dict[str, dict[str, Difference]]
    below_alone: list[tuple[object, str, str]]

    def stated(self) -> dict[str, object]:
        """As `results.json` holds it."""
        return {
            "epsilon_target": self.epsilon if math.isfinite(self.epsilon) else "inf",
            "seeds": self.seeds,
            "with": _each(self.with_),
        }


def pairs_of(one: Stated, others: Mapping[str, Stated]) -> Pairs:
    """What is stated of a part of a run beside references over the same people, by their ranks."""
    found: Pairs = {}
    for name, other in others.items():
        mine, theirs = _per_person(one), _per_person(other)
        users = min((len(values) for values in [*mine.values(), *theirs.values()]), default=0)
        if users < 2 or any(mine[metric].size != theirs[metric].size for metric in mine):
            continue
        found[name] = {}
        for metric, values in mine.items():
            apart = values - theirs[metric]
            pair = float(apart.mean()), standard_error(apart)
            own = Difference.over([pair], users).stated()
            found[name][metric] = {**own, "se": pair[1]}
    return found


def with_comparisons(
    points: Sequence[Point], references: Mapping[str, Reference]
) -> tuple[list[Point], dict[str, Reference]]:
    """Finished parts of a run, with what they say of each other under `compared`."""
    done = [
        Point({**point.stated, "compared": pairs_of(point, beside(point, references))})
        for point in points
    ]
    told = dict(references)
    if SAME_MODEL in told:
        same = told[SAME_MODEL]
        pairs = pairs_of(same, beside(same, references))
        told[SAME_MODEL] = Reference({**same.stated, "compared": pairs})
    return done, told


def beside(part: Point | Reference, references: Mapping[str, Reference]) -> dict[str, Reference]:
    """What a point, or the reference `same_model`, is compared with, as far as it is stated."""
    same = isinstance(part, Point) and part.number("epsilon_target") < math.inf
    names = [name for name in references if name in BASELINES or (same and name == SAME_MODEL)]
    return {name: references[name] for name in names} | own_references(part)


def own_references(part: Stated) -> dict[str, Reference]:
    """What a trained model states beside itself: its histogram and its start."""
    beside = Stated(part.table("references"))
    return {name: Reference(beside.table(name)) for name in beside.stated if name in BASELINES}


def seed_means(points: Sequence[Point]) -> list[Compared]:
    """One comparison per target epsilon, ascending, from what the points state of themselves."""
    groups: dict[float, list[Point]] = {}
    for point in points:
        groups.setdefault(point.target, []).append(point)
    return [_mean(target, groups[target]) for target in sorted(groups)]


def stated_means(points: Sequence[Point]) -> list[dict[str, object]]:
    """The same as `results.json` holds it, of those that are compared with anything."""
    return [entry.stated() for entry in seed_means(points) if entry.with_]


def of_reference(reference: Reference | None) -> dict[str, dict[str, Difference]]:
    """What a reference states of itself beside others; empty for none."""
    return {} if reference is None else _differences([reference])


def without_noise(results: Results) -> dict[str, dict[str, Difference]]:
    """Gains of the model that the noised points train, without noise: what shares are of.

    Of the reference `same_model`, or of the points at infinity where their settings are the same.
    """
    if SAME_MODEL in results.references:
        return of_reference(results.references[SAME_MODEL])
    if settings_apart(results.config):
        return {}
    entries = [entry for entry in seed_means(results.points) if math.isinf(entry.epsilon)]
    return entries[0].with_ if entries else {}


def share(gain: Difference, whole: Difference | None) -> float | None:
    """Which part of a whole gain it is; None unless both are shown to be above zero."""
    if whole is None or {gain.verdict, whole.verdict} != {ABOVE}:
        return None
    return gain.mean / whole.mean


def settings_apart(config: Tree) -> dict[str, tuple[object, object]]:
    """By name, settings of the noised points and of those at infinity, where they differ."""
    settings = Stated(config)
    found = {}
    for section, replaced in settings.table("private").items():
        usual = settings.table(section)
        for name, value in cast("Tree", replaced).items():
            if usual.get(name) != value:
                found[f"{section}.{name}"] = (value, usual.get(name))
    return found


def same_model(config: ExperimentConfig) -> ExperimentConfig:
    """The settings of a sweep's noised points, of its first seed, with noise off.

    Updates of users are clipped as under noise, at `privacy.clipping_norm` where that would adapt;
    gradients of single examples, and sums of products (flexlora), are not. The histogram is exact.
    """
    noised = next(epsilon for epsilon in config.sweep.epsilons if math.isfinite(epsilon))
    point = at_epsilon(config, noised, config.sweep.seeds[0])
    privacy = replace(point.privacy, epsilon=math.inf, clip_without_noise=True)
    return replace(point, privacy=privacy)


def planned_references(config: ExperimentConfig, apart: bool) -> list[str]:
    """References that a run computes: `same_model` only where there is a point without one."""
    noised = any(math.isfinite(epsilon) for epsilon in config.sweep.epsilons)
    return [str(n) for n in config.sweep.references if n != SAME_MODEL or (noised and apart)]


def rule(results: Results) -> str:
    """When a difference is called one, in a sentence."""
    several = any(len(entry.seeds) > 1 for entry in seed_means(results.points))
    seeds = "and seeds together" if several else "alone: another seed may differ"
    return (
        "Above, below: the whole 95% interval of the difference, person by person over the same "
        f"people, lies there (over people {seeds}). Comparisons are not corrected for their number."
    )


def remarks(results: Results, *, failing: bool = False) -> list[str]:
    """One line per target epsilon: what it is not shown to be above, and by which metric.

    And one of the same model without noise, which what noise leaves of a gain is a share of. With
    `failing` only of points, and of those where there is any.
    """
    entries = seed_means(results.points)
    lines = [_remark(entry) for entry in entries if not (failing and _holds(entry))]
    if not failing and (told := of_reference(results.references.get(SAME_MODEL))):
        words = _words(told) or [_all_above(told)]
        lines.append(f"same model without noise: {'; '.join(words)}")
    return lines


def _holds(entry: Compared) -> bool:
    known = [told for ref, told in entry.with_.items() if ref in BASELINES]
    every = all(each.verdict == ABOVE for told in known for each in told.values())
    return bool(known) and every and not entry.below_alone


def _remark(entry: Compared) -> str:
    name = f"{entry.epsilon:g}" if math.isfinite(entry.epsilon) else "inf"
    if not any(ref in BASELINES for ref in entry.with_):
        return f"epsilon {name}: compared with nothing, so nothing shows that training helped"
    parts = _words(entry.with_)
    for seed, ref in dict.fromkeys((seed, ref) for seed, ref, _ in entry.below_alone):
        metrics = ", ".join(METRICS[m] for *at, m in entry.below_alone if at == [seed, ref])
        parts.append(f"seed {seed} alone below {BASELINES[ref]} ({metrics})")
    return f"epsilon {name}: {'; '.join(parts or [_all_above(entry.with_)])}"


def _words(with_: Mapping[str, Mapping[str, Difference]]) -> list[str]:
    """What it is below, and what not shown to be above; empty if above everything."""
    parts = []
    for verdict, word in ((BELOW, "below"), (NOT_SHOWN, "not shown above")):
        where = {ref: _metrics(told, verdict) for ref, told in with_.items() if ref in BASELINES}
        for metrics in dict.fromkeys(filter(None, where.values())):
            refs = ", ".join(BASELINES[ref] for ref, found in where.items() if found == metrics)
            parts.append(f"{word} {refs} ({metrics})")
    return parts


def _all_above(with_: Mapping[str, object]) -> str:
    return f"above {', '.join(BASELINES[ref] for ref in with_ if ref in BASELINES)}, in all metrics"


def _metrics(told: Mapping[str, Difference], verdict: str) -> str:
    names = [METRICS[metric] for metric, each in told.items() if each.verdict == verdict]
    return "all metrics" if len(names) == len(METRICS) else ", ".join(names)


def _per_person(part: Stated) -> dict[str, npt.NDArray[np.float64]]:
    """Each metric's value for every person, in the order of people; empty without ranks."""
    ranks = part.table("ranks")
    if not ranks:
        return {}
    found = {}
    for prefix, name in (("", "sampled"), ("full_", "full")):
        found[f"{prefix}hr@10"] = hits(cast("list[int]", ranks[name]))
        found[f"{prefix}ndcg@10"] = discounted_gains(cast("list[int]", ranks[name]))
    return found


def _mean(target: float, points: Sequence[Point]) -> Compared:
    told = _differences(points)
    alone = [
        (point.get("seed"), ref, metric)
        for point in points
        for ref, each in _differences([point]).items()
        for metric, own in each.items()
        if ref in BASELINES and own.verdict == BELOW
        if ref in told and told[ref][metric].verdict != BELOW
    ]
    return Compared(target, [point.get("seed") for point in points], told, alone)


def _differences(parts: Sequence[Point | Reference]) -> dict[str, dict[str, Difference]]:
    """By reference and metric, over parts that all state them."""
    compared = [Stated(part.table("compared")) for part in parts]
    found: dict[str, dict[str, Difference]] = {}
    for name in compared[0].stated:
        tables = [Stated(each.table(name)) for each in compared]
        found[name] = {}
        for metric in METRICS:
            told = [Stated(table.table(metric)) for table in tables]
            pairs = [(each.number("difference"), each.number("se")) for each in told]
            users = min(Stated(part.table("metrics")).number("users") for part in parts)
            if users >= 2 and all(abs(mean) <= 1 and 0 <= error <= 1 for mean, error in pairs):
                found[name][metric] = Difference.over(pairs, users)
    return {name: told for name, told in found.items() if set(told) == set(METRICS)}


def _each(told: Mapping[str, Mapping[str, Difference]]) -> dict[str, object]:
    return {
        name: {metric: one.stated() for metric, one in each.items()} for name, each in told.items()
    }
