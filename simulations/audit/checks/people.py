"""What one person adds: within the clip, with the weight of everyone else, sampled as claimed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, chi2, norm
from scipy.stats import f as f_ratio
from scipy.stats import t as student

from simulations.audit.checks.noise import noised, unseen
from simulations.audit.checks.risk import RISK, finding, not_shown
from simulations.audit.findings import Finding
from simulations.audit.replay.observed import (
    TRAINING,
    Exchange,
    Observed,
    Release,
    Sums,
    Vector,
)

CLIP, LAYERS, WEIGHTS, SAMPLING = "clip", "clip of each layer", "weights", "sampling"
TURNS = "turns"

_ROUNDING = 1e-4  # relative, of a norm
_FREE = 50  # directions that noise is estimated by, at least
_MANY = 50  # people, from which on how often all of them are asked is about normal together
_TAIL = 0.01  # of a risk: for what is normal about the middle alone

Weight = Callable[[Vector], Vector]


def clip(observed: Sums) -> Finding:
    """Whether nobody's contribution is longer than its clip, canaries far beyond it included."""
    found = [each for each in observed.releases if math.isfinite(each.limit) and _seen(each)]
    if not found:
        return not_shown(CLIP, "Nobody's own contribution was seen")
    longest = {id(each): _norms(each.exchange.contributions).max(initial=0.0) for each in found}
    worst = max(found, key=lambda each: longest[id(each)] / each.limit)
    ratio = float(longest[id(worst)] / worst.limit)
    figures = {"longest over the clip": ratio, "sums": float(len(found))}
    right = f"In {len(found)} sums nobody's part is longer than its limit, the clip"
    if ratio <= 1 + _ROUNDING:
        gone = unseen(observed)
        why = f"No {gone} was seen as it was released: nothing is known of its parts"
        return not_shown(CLIP, why) if gone else finding(CLIP, "", right, figures)
    words = f"{worst.exchange.name}: a contribution is {ratio:.4g} times as long as its clip"
    if worst.exchange.kind == "update" and _each_layer_is_within(observed, worst):
        return finding(LAYERS, f"{words}; each tensor alone is within it", right, figures)
    return finding(CLIP, words, right, figures)


def _seen(release: Release) -> bool:
    return release.exchange.known and len(release.exchange.members) > 0


def _norms(rows: npt.NDArray[np.float32]) -> Vector:
    norms: Vector = np.linalg.norm(rows.astype(np.float64), axis=1)
    return norms


def _each_layer_is_within(observed: Sums, release: Release) -> bool:
    rows, most = release.exchange.contributions, release.limit * (1 + _ROUNDING)
    slices = [observed.schema.slice_of(name) for name in observed.schema.names]
    return len(slices) > 1 and all(_norms(rows[:, at]).max() <= most for at in slices)


def weights(observed: Sums) -> Finding:
    """Whether everyone counts once in what is released: as much as everyone else, and no more.

    What a release holds beyond the sum is noise, which goes along with nobody's contribution. So it
    is projected on what was sent: all of it, what those with more (and fewer) interactions sent,
    and each canary's own, in units of the noise that is there. Under equal weights these are
    Student's, the last together F, as the noise is estimated.
    """
    kinds = ("update", TRAINING)
    found = [each for each in noised(observed) if each.exchange.kind in kinds and _seen(each)]
    found = [each for each in found if each.found > 0 and each.freedom >= _FREE]
    if not found:
        return not_shown(WEIGHTS, "No sum of updates whose parts and whose noise were seen")
    freedom = sum(each.freedom for each in found)
    by: dict[str, Weight] = {
        "everyone": lambda counts: np.ones_like(counts),
        "those with more interactions": lambda counts: counts / counts.mean() - 1,
        "those with fewer interactions": lambda counts: counts.mean() / counts - 1,
    }
    shown = {who: _along(observed, found, of) for who, of in by.items()}
    chance = {who: 2 * float(student.sf(abs(far), freedom)) for who, far in shown.items()}
    chance["each canary"] = _canaries_apart(observed, found, freedom)
    who = min(chance, key=lambda each: chance[each])
    wrong = chance[who] < RISK / len(chance)
    figures = {f"p of {name}": of for name, of in chance.items()}
    words = f"The weight of {who} is not one" if wrong else ""
    return finding(WEIGHTS, words, "Everyone counts once, as far as noise lets one see", figures)


def _along(observed: Sums, found: list[Release], weight: Weight) -> float:
    """How far releases lie along so weighted contributions, in standard deviations."""
    inner, square = 0.0, 0.0
    for each in found:
        sent = each.exchange.contributions.astype(np.float64)
        counts = np.array([observed.histories[key] for key in each.exchange.members], dtype=float)
        direction = weight(np.maximum(counts, 1)) @ sent
        inner += float(each.rest @ direction) / each.found**2
        square += float(direction @ direction) / each.found**2
    return inner / math.sqrt(square) if square else 0.0


def _canaries_apart(observed: Sums, found: list[Release], freedom: int) -> float:
    """Chance of canaries' weights differing so much over all rounds, if all are one."""
    canaries = observed.canaries
    if canaries is None:
        return 1.0
    total = np.zeros(len(canaries.keys))
    times = np.zeros(len(canaries.keys))
    places = {key: at for at, key in enumerate(canaries.keys) if canaries.included[at]}
    for each in found:
        there = [places[key] for key in each.exchange.members if key in places]
        total[there] += each.rest[canaries.coordinates[there]] / each.found
        times[there] += 1
    some = times > 0
    if not some.any():
        return 1.0
    count = int(some.sum())
    return float(f_ratio.sf(np.sum(total[some] ** 2 / times[some]) / count, count, freedom))


def sampling(observed: Sums) -> Finding:
    """Whether cohorts are Poisson samples of the claimed probability, each drawn anew.

    Their sizes are binomial then, together about chi-square; who is in two of them in turn, and how
    often anyone is asked, too. Claimed of everyone, a cohort is all.
    """
    cohorts = [each.exchange for each in observed.releases if each.exchange.kind == "update"]
    share = observed.expected("update") / observed.users
    if not cohorts or not observed.sampled:
        return not_shown(SAMPLING, "No cohort is claimed to be sampled")
    sizes = np.array([len(each.asked) for each in cohorts], dtype=float)
    figures = {"claimed probability": share, "mean size": float(sizes.mean())}
    if share >= 1:
        short = sizes.min() < observed.users
        words = (
            "Not everyone is asked, whom the sampling probability of 1 promises" if short else ""
        )
        return finding(SAMPLING, words, "Everyone is asked in every round", figures)
    mean, variance = observed.users * share, observed.users * share * (1 - share)
    spread = float(np.sum((sizes - mean) ** 2) / variance)
    chances = {
        "sizes vary less than a Poisson sample's": float(chi2.cdf(spread, len(sizes))),
        "sizes are not those of the claimed probability": float(chi2.sf(spread, len(sizes))),
    }
    for one, two in pairwise(cohorts):
        both, common = len({*one.asked} & {*two.asked}), share**2
        low = float(binom.cdf(both, observed.users, common))
        high = float(binom.sf(both - 1, observed.users, common))
        name = f"{one.name} and {two.name} have other people in common"
        chances[name] = min(1.0, 2 * min(low, high))
    chances |= often(cohorts, observed.users, share)
    what = min(chances, key=lambda each: chances[each])
    wrong = f"Cohorts: {what}" if chances[what] < RISK / len(chances) else ""
    figures["least p"] = chances[what]
    return finding(SAMPLING, wrong, "Cohorts look like Poisson samples of the claim", figures)


def often(cohorts: Sequence[Exchange], users: int, share: float) -> dict[str, float]:
    """Chances of how often everyone is asked, all together: spread too little, or too much.

    Parameters
    ----------
    cohorts : sequence of Exchange
    users : int
    share : float
        Of them, that is asked in a round, in (0, 1).

    The sum of squares of binomial counts, standardised, is about normal with the variance that a
    binomial's fourth moment gives it.
    """
    rounds, each = len(cohorts), share * (1 - share)
    if users < _MANY or rounds < 2 or rounds * each < 0.2:
        return {}
    counts = Counter(key for one in cohorts for key in one.asked)
    square = sum((counts[key] - rounds * share) ** 2 for key in counts)
    square += (users - len(counts)) * (rounds * share) ** 2
    spread = square / (rounds * each) - users
    far = spread / math.sqrt(users * (2 + (1 - 6 * each) / (rounds * each)))
    return {
        "the same people are asked again and again": min(1.0, float(norm.sf(far)) / _TAIL),
        "everyone is asked in turn": min(1.0, float(norm.cdf(far)) / _TAIL),
    }


def turns(observed: Observed) -> Finding:
    """Whether nobody is asked more often, or sooner again, than correlated noise is made for."""
    limits = observed.plan.correlation if observed.plan else None
    if limits is None:
        return not_shown(TURNS, "Who may take part how often is no part of what is promised")
    asked: dict[int, list[int]] = {}
    for each in observed.exchanges:
        if each.kind == "update":
            for key in each.asked:
                asked.setdefault(key, []).append(each.round)
    most = max((len(rounds) for rounds in asked.values()), default=0)
    gaps = [after - before for rounds in asked.values() for before, after in pairwise(rounds)]
    near = min(gaps, default=limits.separation)
    matrix = limits.matrix.dense()
    moved = [float(np.linalg.norm(matrix[:, np.array(at) - 1].sum(1))) for at in asked.values()]
    most_moved, counted = max(moved, default=0.0), limits.stated()["sensitivity"]
    words = ""
    if most > limits.participations:
        words = f"Somebody is asked {most} times, of {limits.participations} at most"
    elif near < limits.separation:
        words = f"Somebody is asked again after {near} rounds, of {limits.separation} at least"
    elif most_moved > counted * (1 + _ROUNDING):
        words = f"Somebody may move all rounds by {most_moved:.4g} clips, of {counted:.4g} counted"
    right = f"Nobody is asked more than {limits.participations} times, or too soon again"
    figures = {"most often": float(most), "soonest": float(near), "furthest": most_moved}
    return finding(TURNS, words, right, figures | {"counted": counted})
