"""What right guesses about who was in a run say of its epsilon.

Each of m canaries is in with probability 1/2, independently. An attacker scores them, names the
`guesses` most extreme ones (the upper half of them as in, the lower half as out) and is right about
`right`. Under (eps, delta) differential privacy that number is hardly more than that of randomised
response, so the largest epsilon under which so many would still have been unlikely is a lower bound
on epsilon, valid at the stated confidence whatever the scores are. It is not an estimate: a blunt
attack gives 0.

Two bounds are valid. `one_run` holds for every (eps, delta) mechanism; `gaussian_one_run` is
tighter, and holds where the mechanism is one Gaussian of that (eps, delta), as a composition of
rounds of the Gaussian mechanism is. `fitted` is an estimate: it assumes that scores are Gaussian.

References
----------
Steinke, Nasr, Jagielski 2023, Privacy Auditing with One (1) Training Run, arXiv:2305.08846.
Mahloujifar, Melis, Chaudhuri 2024, Auditing f-Differential Privacy in One Run, arXiv:2410.22235.
Andrew et al. 2024, One-shot Empirical Privacy Estimation for Federated Learning, arXiv:2302.03098.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc, expit, log_ndtr, ndtr, ndtri

from shared.errors import ConfigError

Scores = npt.NDArray[np.float64]
Bits = npt.NDArray[np.bool_]

SHARES = (0.04, 0.1, 0.25, 0.5)
"""Of the canaries, that are guessed about: chosen before a run, each at its part of the risk."""
_MOST = 64.0  # epsilon, beyond which nobody asks
_HALVINGS = 30


def right_guesses(scores: Scores, included: Bits, guesses: int) -> int:
    """How many of the most extreme scores are on the right side.

    Parameters
    ----------
    scores : float64 [m]
        Larger where a canary seems to be in.
    included : bool [m]
    guesses : int
        In [2, m], even.

    Raises
    ------
    ConfigError
        For another number.
    """
    if not 2 <= guesses <= len(scores) or guesses % 2:
        raise ConfigError(f"guesses = {guesses}: expected an even number in [2, {len(scores)}]")
    order = np.argsort(scores, kind="stable")
    half = guesses // 2
    return int((~included[order[:half]]).sum() + included[order[-half:]].sum())


def one_run(right: int, guesses: int, canaries: int, delta: float, confidence: float) -> float:
    """Lower bound on epsilon of any (eps, delta) mechanism.

    Parameters
    ----------
    right, guesses, canaries : int
        0 <= right <= guesses <= canaries.
    delta : float
        In [0, 1).
    confidence : float
        In (0, 1), of the bound.

    Returns
    -------
    float
        >= 0; 0 where nothing is shown.
    """
    _check(right, guesses, canaries)
    return _largest(lambda eps: _chance(right, guesses, canaries, eps, delta) < 1 - confidence)


def _chance(right: int, guesses: int, canaries: int, eps: float, delta: float) -> float:
    """At most that probable under (eps, delta): so many right ones, or more (Theorem 5.2)."""
    accuracy = expit(eps)
    above = _at_least(right, guesses, accuracy)
    if delta == 0 or right == 0:
        return above
    fewer = np.arange(1, right + 1)
    between = np.ones(right)  # of at least none
    between[:-1] = bdtrc(right - fewer[:-1] - 1, guesses, accuracy)
    between -= above
    return min(1.0, above + 2 * canaries * delta * float(np.max(between / fewer)))


def _at_least(right: int, guesses: int, accuracy: float) -> float:
    """Of so many independent guesses, at least so many right ones."""
    return float(bdtrc(right - 1, guesses, accuracy)) if right else 1.0


def gaussian_one_run(
    right: int, guesses: int, canaries: int, delta: float, confidence: float
) -> float:
    """Lower bound on epsilon of a Gaussian mechanism; parameters as for `one_run`."""
    _check(right, guesses, canaries)
    if delta <= 0:
        return 0.0
    risk = 1 - confidence
    shift = _largest(lambda shift: _too_many(right, guesses, canaries, shift, risk))
    return gaussian_epsilon(shift, delta)


def _too_many(right: int, guesses: int, canaries: int, shift: float, risk: float) -> bool:
    """Whether so many right guesses have probability below `risk` under that trade-off.

    The tail is bounded step by step, from `right` down to none (Algorithm 3 of the second paper,
    for two choices a canary): `at` bounds what is exactly there, `over` what lies above.
    """
    over = risk * right / canaries
    at = risk * (guesses - right) / canaries
    for count in range(right - 1, -1, -1):
        raised = max(at, float(ndtr(ndtri(over) - shift)))
        if raised == at:
            break
        at, over = raised, min(1.0, over + count / (guesses - count) * (raised - at))
    return over + at > guesses / canaries


def gaussian_epsilon(shift: float, delta: float) -> float:
    """Epsilon at delta of a Gaussian whose two worlds are `shift` standard deviations apart.

    Balle and Wang 2018: delta = Phi(s/2 - eps/s) - e^eps Phi(-s/2 - eps/s).

    Examples
    --------
    >>> round(gaussian_epsilon(0.268, 1e-5), 2)
    1.0
    """
    if shift <= 0:
        return 0.0
    return _largest(lambda eps: gaussian_delta(eps, shift) > delta)


def gaussian_delta(eps: float, shift: float) -> float:
    """Delta at epsilon of a Gaussian whose two worlds are `shift` standard deviations apart."""
    below = float(log_ndtr(-shift / 2 - eps / shift)) + eps
    return float(ndtr(shift / 2 - eps / shift)) - math.exp(min(below, 0.0))


def fitted(scores: Scores, included: Bits, delta: float) -> float:
    """An estimate of epsilon, no bound: two Gaussians through the scores of both kinds.

    Parameters
    ----------
    scores : float64 [m]
    included : bool [m]
        At least two of each.
    delta : float
        In (0, 1).
    """
    there, out = scores[included], scores[~included]
    if min(len(there), len(out)) < 2:
        return 0.0
    spread = math.sqrt((there.var(ddof=1) + out.var(ddof=1)) / 2)
    shift = (there.mean() - out.mean()) / spread if spread else math.inf
    return gaussian_epsilon(shift, delta) if math.isfinite(shift) else math.inf


Bound = Callable[[int, int, int, float, float], float]


def best(
    scores: Scores,
    included: Bits,
    delta: float,
    confidence: float,
    bound: Bound = one_run,
    shares: Sequence[float] = SHARES,
) -> float:
    """The best bound over several numbers of guesses, all of which hold together.

    Parameters
    ----------
    scores : float64 [m]
    included : bool [m]
    delta, confidence : float
        Each number of guesses is given an equal part of the risk 1 - confidence.
    bound : callable
    shares : sequence of float
        In (0, 1], of the canaries.

    Raises
    ------
    ConfigError
        For fewer than two canaries.
    """
    found = 0.0
    each = 1 - (1 - confidence) / len(shares)
    for guesses in _guesses(len(scores), shares):
        right = right_guesses(scores, included, guesses)
        found = max(found, bound(right, guesses, len(scores), delta, each))
    return found


def most_provable(
    canaries: int,
    delta: float,
    confidence: float,
    bound: Bound = one_run,
    shares: Sequence[float] = SHARES,
) -> float:
    """The largest epsilon that `best` can give: every guess is right; parameters as there.

    Examples
    --------
    >>> round(most_provable(100, 0.0, 0.95, shares=[1.0]), 2)
    3.49
    """
    each = 1 - (1 - confidence) / len(shares)
    return max(bound(n, n, canaries, delta, each) for n in _guesses(canaries, shares))


def _guesses(canaries: int, shares: Sequence[float]) -> list[int]:
    """How many are guessed about: even, at least two, at most all."""
    if canaries < 2:
        raise ConfigError(f"{canaries} canaries: expected at least 2")
    return [
        min(max(2, 2 * round(share * canaries / 2)), canaries - canaries % 2) for share in shares
    ]


def _largest(unlikely: Callable[[float], bool]) -> float:
    """Up to where so much was unlikely; what is asked falls with epsilon, and with a shift."""
    if not unlikely(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while high < _MOST and unlikely(high):
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if unlikely(middle) else (low, middle)
    return low


def _check(right: int, guesses: int, canaries: int) -> None:
    if not 0 <= right <= guesses <= canaries:
        raise ConfigError(
            f"right = {right}, guesses = {guesses}, canaries = {canaries}: expected 0 <= right <= "
            "guesses <= canaries"
        )
