"""The noise of releases: how much there is, of what shape, and whether it is fresh each time."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from scipy.stats import chi2, kstest, norm

from shared.privacy.accounting.events import SkellamDpEvent
from shared.privacy.accounting.steps import Step, steps_of
from simulations.audit.checks.risk import RISK, finding, not_shown
from simulations.audit.findings import Finding
from simulations.audit.replay.observed import TRAINING, Observed, Release, Sums

SCALE, MEAN, DROPOUTS = "noise scale", "noise for a mean", "noise after dropouts"
SHAPE, FRESH = "noise shape", "noise fresh"

_RAW = 1e-9  # of the claimed noise: there is none
_NEAR = 0.2  # relative: how near a ratio must be to be explained by a number
_FEW = 50  # numbers, below which a distribution has no shape
_ALL = 200  # releases, of which all pairs are compared


def noised(observed: Sums) -> list[Release]:
    """Releases whose noise is claimed and whose sum without it is known."""
    return [each for each in observed.releases if each.deviation > 0 and each.exchange.known]


def unseen(observed: Sums) -> str:
    """A kind that was asked for, and of which no sum was seen as it was released; empty: none."""
    if not isinstance(observed, Observed) or observed.plan is None:
        return ""
    seen = {each.exchange.kind for each in observed.releases if each.exchange.known}
    kinds = {each.kind for each in observed.exchanges if observed.plan.of(each.kind)}
    if observed.plan.correlation is not None and "update" in kinds:
        kinds.add(TRAINING)
    return min(kinds - seen, default="")


def noise_scale(observed: Sums) -> Finding:
    """Whether every release holds as much noise as plan and ledger claim.

    The part of a release that no weighting of what was sent explains is the noise in `freedom`
    directions: its square over the claimed variance is chi-square, exactly. Where noise comes in
    shares more than what is claimed is right, and less is not.
    """
    found = noised(observed)
    if not found:
        return not_shown(SCALE, "No release whose noise could be seen")
    ratios = [each.found / each.deviation for each in found]
    by_ledger = [_ratio_to_ledger(observed, each) for each in found]
    wrong = [
        (each, ratio)
        for each, ratio in zip(found, ratios, strict=True)
        if _unlikely(observed, each, RISK / (2 * len(found)))
    ]
    unlike = [each for each, ratio in zip(found, by_ledger, strict=True) if abs(ratio - 1) > 1e-6]
    figures = {"releases": float(len(found)), "smallest ratio": min(ratios)}
    figures |= {"largest ratio": max(ratios)}
    right = (
        f"Each of {len(found)} releases has as much noise as is claimed "
        f"({min(ratios):.3f} to {max(ratios):.3f} times)"
    )
    if not wrong and not unlike:
        gone = unseen(observed)
        why = f"No {gone} was seen as it was released: nothing is known of its noise"
        return not_shown(SCALE, why) if gone else finding(SCALE, "", right, figures)
    if not wrong:
        words = f"{unlike[0].exchange.name}: plan and ledger claim different noise"
        return finding(SCALE, words, right, figures)
    first, ratio = wrong[0]
    name, why = _named(observed, first, ratio)
    words = f"{first.exchange.name}: {ratio:.3g} times the noise that is claimed{why}"
    return finding(name, f"{words}; so in {len(wrong)} of {len(found)} releases", right, figures)


def _unlikely(observed: Sums, release: Release, risk: float) -> bool:
    square = float(release.apart @ release.apart) / release.deviation**2
    if chi2.cdf(square, release.freedom) < risk:
        return True
    return not _in_shares(observed) and bool(chi2.sf(square, release.freedom) < risk)


def _in_shares(observed: Sums) -> bool:
    return observed.promised is not None and observed.promised.trust == "distributed"


def _named(observed: Sums, release: Release, ratio: float) -> tuple[str, str]:
    """What kind of mistake makes noise this small, where one is known to."""
    expected = observed.expected(release.exchange.kind)
    if abs(ratio * expected - 1) < _NEAR:
        return MEAN, f", as if it were for the mean of {expected:g} people, not for their sum"
    there, asked = len(release.exchange.members), len(release.exchange.asked)
    if _in_shares(observed) and there < asked:
        return DROPOUTS, f", in a sum of {there} of {asked}"
    return SCALE, ""


def _ratio_to_ledger(observed: Sums, release: Release) -> float:
    """The plan's noise over that of the ledger's entry; 1 where there is no such entry."""
    if not isinstance(observed, Observed) or observed.ledger is None:
        return 1.0
    kind, number = release.exchange.kind, release.exchange.round
    recorded = (kind, 0 if kind == TRAINING else number)  # of which all rows are one
    for entry in observed.ledger.entries:
        if (entry.release, entry.round) == recorded:
            if isinstance(entry.event, SkellamDpEvent):
                return 1.0
            steps = [step for step in steps_of([(entry.event, 1)]) if isinstance(step, Step)]
            planned = observed.plan.planned(entry.release) if observed.plan else None
            if len(steps) == 1 and planned is not None:
                return planned.mechanism.noise_multiplier / steps[0].noise_multiplier
    return 1.0


def noise_shape(observed: Sums) -> Finding:
    """Whether noise is Gaussian, as plan and ledger say: Kolmogorov-Smirnov, release by release.

    With the scale that it has, so that how much there is stays another question's.
    """
    found = [each for each in noised(observed) if len(each.vector) >= _FEW]
    found = [each for each in found if each.standardised.std() > _RAW]
    if not found:
        return not_shown(SHAPE, "No release with enough noise to have a shape")
    least, at = 1.0, found[0]
    for each in found:
        drawn = each.standardised[each.standardised != 0]
        chance = float(kstest(drawn / math.sqrt(float(np.mean(drawn**2))), norm.cdf).pvalue)
        least, at = min((least, at), (chance, each), key=lambda one: one[0])
    wrong = least < RISK / len(found)
    words = f"{at.exchange.name}: its noise is not Gaussian" if wrong else ""
    right = f"The noise of {len(found)} releases looks Gaussian"
    return finding(SHAPE, words, right, {"least p": least, "releases": float(len(found))})


def noise_fresh(observed: Sums) -> Finding:
    """Whether no two releases, of whatever rounds and kinds, share noise.

    The first numbers that both have are uncorrelated then: their inner product is about normal,
    with the variance that is left of independent numbers by what no weights explain of either. Of
    more than some hundred releases, those in turn are compared and others drawn at random.
    """
    found = [each for each in noised(observed) if len(each.vector) >= _FEW]
    found = [each for each in found if each.found > _RAW * each.deviation and each.freedom >= _FEW]
    pairs = _pairs(len(found))
    if not pairs:
        return not_shown(FRESH, "Fewer than two releases with noise")
    most, worst = 0.0, pairs[0]
    for pair in pairs:
        far = _along(found[pair[0]], found[pair[1]])
        if abs(far) > abs(most):
            most, worst = far, pair
    wrong = abs(most) > float(norm.isf(RISK / (2 * len(pairs))))
    one, two = (found[at].exchange.name for at in worst)
    words = (
        f"{one} and {two}: the same noise, {most:.1f} standard deviations alike" if wrong else ""
    )
    right = f"No two releases have the same noise ({len(pairs)} pairs compared)"
    return finding(FRESH, words, right, {"most alike": most, "pairs": float(len(pairs))})


def _pairs(count: int) -> list[tuple[int, int]]:
    """All of them; of many those in turn, the first with all, and others at random."""
    if count <= _ALL:
        return list(combinations(range(count), 2))
    random = np.random.default_rng(count)
    some = {(at, at + 1) for at in range(count - 1)} | {(0, at) for at in range(1, count)}
    drawn = random.integers(count, size=(_ALL**2 // 2, 2))
    some |= {(min(pair), max(pair)) for pair in drawn.tolist() if pair[0] != pair[1]}
    return sorted(some)


def _along(one: Release, two: Release) -> float:
    """How far two rests go along with each other, in standard deviations of independent ones."""
    size = min(len(one.vector), len(two.vector))
    a, b = one.apart[:size] / one.found, two.apart[:size] / two.found
    spans = one.span[:size], two.span[:size]
    left = size - sum(float((span**2).sum()) for span in spans)
    left += float(((spans[0].T @ spans[1]) ** 2).sum())
    return float(a @ b) / math.sqrt(left) if left >= _FEW else 0.0
