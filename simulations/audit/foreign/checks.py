"""Checks that only foreign runs need: a clip seen from its outside, fixed cohorts, claimed cost."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
from dp_accounting import (
    GaussianDpEvent,
    NeighboringRelation,
    PoissonSampledDpEvent,
    SampledWithoutReplacementDpEvent,
    get_epsilon_gaussian,
)
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from scipy.stats import hypergeom, norm

from simulations.audit.checks import people, record
from simulations.audit.checks.risk import FILES, RISK, finding, not_shown
from simulations.audit.findings import Finding
from simulations.audit.foreign.run import Claim, ForeignRun
from simulations.audit.foreign.sums import Stated, clipped

SEEN = "whoever is handed clients' updates and what was released, round by round"

_RELATIONS = {
    "zero_out": NeighboringRelation.REPLACE_SPECIAL,
    "replace_one": NeighboringRelation.REPLACE_ONE,
}
_GRID = 1e-4  # of losses
_NEAR = 5e-3  # relative: how far a cost may lie above a claim that was rounded
_LEAST = 0.3  # noise multiplier, below which losses of sampled cohorts do not fit on a grid
_HOPELESS = 1e12  # square of the signal over the noise, beyond which epsilon is no figure
_MUCH = 1e5  # noise multiplier, above which it is counted as this
_OFTEN = 10**5  # rounds, above which they are not composed


def clip_unseen(run: ForeignRun, sums: Stated) -> Finding:
    """Whether a sum holds what the claimed clip takes away of updates, as they reached the server.

    What they have beyond the clip is a known vector; noise goes along with it by chance alone.
    """
    inner = square = 0.0
    noise = {each.exchange.round: each for each in sums.releases}
    for each in run.rounds:
        release = noise.get(each.number)
        if each.sent is None or each.clipped is not None or release is None:
            continue
        beyond = (each.sent - clipped(each.sent, run.claim.clipping_norm)).astype(np.float64).sum(0)
        scale = max(release.found, release.rounding, 1e-9 * float(np.linalg.norm(beyond)))
        if scale > 0:
            inner += float(release.rest @ beyond) / scale**2
            square += float(beyond @ beyond) / scale**2
    limit = float(norm.isf(RISK))
    if square <= (2 * limit) ** 2:
        why = "No update is seen after its clip, and none is so long that noise could not hide it"
        return not_shown(people.CLIP, why)
    share = inner / square
    figures = {"share of what is beyond the clip": share, "deviations": inner / math.sqrt(square)}
    wrong = "Sums hold what is beyond the clip"
    right = "Sums hold nothing of what is beyond the clip"
    return finding(people.CLIP, wrong if inner > limit * math.sqrt(square) else "", right, figures)


def fixed_cohorts(taking_part: Stated) -> Finding:
    """Whether cohorts are as large as claimed, each drawn anew without replacement.

    How many are in two of them in turn is hypergeometric then.
    """
    cohorts = [each.exchange for each in taking_part.releases]
    size, users = taking_part.claim.sampling.cohort, taking_part.users
    if not cohorts:
        return not_shown(people.SAMPLING, "Nobody says who was asked")
    other = [each for each in cohorts if len(each.asked) != size]
    figures = {"claimed cohort": float(size), "rounds": float(len(cohorts))}
    if other:
        words = f"{other[0].name}: {len(other[0].asked)} are asked, of {size} claimed"
        return finding(people.SAMPLING, words, "", figures)
    chances = {"": 1.0}
    for one, two in pairwise(cohorts):
        both = len({*one.asked} & {*two.asked})
        low = float(hypergeom.cdf(both, users, size, size))
        high = float(hypergeom.sf(both - 1, users, size, size))
        chances[f"{one.name} and {two.name}: {both} people in common"] = 2 * min(low, high)
    chances |= people.often(cohorts, users, size / users)
    what = min(chances, key=lambda each: chances[each])
    wrong = what if chances[what] < RISK / len(chances) else ""
    figures["least p"] = min(1.0, chances[what])
    right = f"Cohorts of {size} look drawn anew each round"
    return finding(people.SAMPLING, wrong, right, figures)


def rounds(run: ForeignRun) -> Finding:
    """Whether there are as many rounds as are claimed, and counted."""
    last, there = run.rounds[-1].number, len(run.rounds)
    figures = {"claimed": float(run.claim.rounds), "recorded": float(there)}
    right = f"All {there} rounds that are claimed are here"
    if last > run.claim.rounds:
        words = f"There is a round {last}, of {run.claim.rounds} claimed"
        return finding(record.LEDGER, words, right, figures, FILES)
    if there < run.claim.rounds:
        why = f"{there} of {run.claim.rounds} rounds are here"
        return not_shown(record.LEDGER, why, FILES)
    return finding(record.LEDGER, "", right, figures, FILES)


def cost(run: ForeignRun, sums: Stated) -> Finding:
    """What the claimed mechanism costs, counted by `dp_accounting`, beside what is claimed.

    Each round at the noise that its divisor and weights leave of what is claimed; rounds that are
    not here at the least of these, or as claimed.
    """
    claim = run.claim
    noises = [each.deviation / each.limit for each in sums.releases]
    heaviest = [each.limit for each in sums.releases]
    if math.inf in heaviest or (claim.weights == "examples" and not heaviest):
        why = "How much the heaviest client weighs is not told"
        return not_shown(record.EPSILON, why, FILES)
    planned = claim.deviation(run.divisor or claim.cohort) / claim.clipping_norm
    default = min(noises, default=planned)
    counted = Counter(noises)
    counted[default] += max(0, claim.rounds - len(noises))
    found, how, exact = _counted(claim, +counted)
    figures = {"recomputed": found, "claimed": claim.epsilon, "delta": claim.delta}
    figures |= {"least noise multiplier": default}
    if math.isinf(claim.epsilon):
        return Finding(
            record.EPSILON, "not shown", FILES, f"None is claimed; {found:.3f} {how}", figures
        )
    words = f"The claimed mechanism costs {found:.3f} {how}, of {claim.epsilon:g} claimed"
    over = found > claim.epsilon * (1 + _NEAR)
    if over and not exact:
        words = f"{words}; that is an upper bound, and no accountant here gives the claim"
        return Finding(record.EPSILON, "not shown", FILES, words, figures)
    return finding(record.EPSILON, words if over else "", words, figures, FILES)


def _counted(claim: Claim, noises: Counter[float]) -> tuple[float, str, bool]:
    """Epsilon, how it was counted, and whether that is what it is, not only a bound."""
    apart = 2.0 if claim.relation == "replace_one" else 1.0  # clipping norms, of two sums
    square = sum(times * _signal(apart, noise) ** 2 for noise, times in noises.items())
    whole = math.inf
    if square < _HOPELESS:
        deviation = min(_MUCH, 1 / math.sqrt(square))
        whole = float(get_epsilon_gaussian(deviation, claim.delta))
    kind, share = claim.sampling.kind, claim.sampling.probability
    fits = min(noises) >= _LEAST * apart and sum(noises.values()) <= _OFTEN
    if kind == "everyone" or share >= 1:
        return whole, "with everyone in every round", True
    if kind == "poisson" and fits:
        accountant = PLDAccountant(_RELATIONS[claim.relation], value_discretization_interval=_GRID)
        for noise, times in noises.items():
            accountant.compose(PoissonSampledDpEvent(share, GaussianDpEvent(noise)), times)
        return float(accountant.get_epsilon(claim.delta)), "with Poisson sampling", True
    if kind == "fixed" and claim.relation == "replace_one" and fits:
        renyi = RdpAccountant(neighboring_relation=NeighboringRelation.REPLACE_ONE)
        size = claim.sampling.cohort
        for noise, times in noises.items():
            event = GaussianDpEvent(noise / apart)
            renyi.compose(SampledWithoutReplacementDpEvent(claim.clients, size, event), times)
        found = float(renyi.get_epsilon(claim.delta))
        if found < whole:
            return found, "with cohorts of fixed size (RDP)", False
    return whole, "without amplification by sampling", False


def _signal(apart: float, noise: float) -> float:
    return apart / noise if noise else math.inf
