"""What takes the next place of a slate, given what is believed of the items that are left.

With m_i the believed mean reward of item i, s_i its standard deviation, theta_1 ... theta_M draws
of the posterior (M sampled vectors of rewards), L the items left, best(x) = argmax over L of x,
and u_L the uniform distribution on L:

    greedy          mu(i | L) = [i = best(m)]
    epsilon_greedy  mu(i | L) = (1 - e) [i = best(m)] + e / |L|
    softmax         mu(i | L) = exp(m_i / T) / sum over L of exp(m_j / T)
    stratified      mu(i | L) = (1 - e) [i = best(m)] + e / (H |L in h(i)|)
    thompson        mu(i | L) = (1 - f) (1/M) #{k : i = best(theta_k)} + f / |L|
    linucb          mu(i | L) = [i = best(m + a s)]

Softmax over slates is Plackett-Luce: the same law as the k largest of m_i / T plus Gumbel noise.
Stratified exploration draws one of the H strata of popularity that still have items, then an item
of it: the tail is explored as often as the head.

**Exactness.** All of these are closed forms, so the propensity is exact. For Thompson sampling over
slates the chance of an argmax under the posterior itself has none; what is done instead is ensemble
sampling (Lu and Van Roy 2017): M draws are made first, and every place takes the best item of one
of them, chosen uniformly. Given the M draws the propensity is exact; with the floor f > 0 every
item that is left has one of at least f / |L|, so that importance weights are bounded. As the
draws do not depend on what comes of the slate, weighting by it is unbiased. LinUCB and greedy are
deterministic: 1 for what was shown, and no other policy's value can be estimated from their logs.

References
----------
Li, Chu, Langford, Schapire 2010, A Contextual-Bandit Approach to Personalized News Article
Recommendation. https://arxiv.org/abs/1003.0146
Agrawal, Goyal 2013, Thompson Sampling for Contextual Bandits with Linear Payoffs.
https://arxiv.org/abs/1209.3352
Lu, Van Roy 2017, Ensemble Sampling. https://arxiv.org/abs/1705.07347
Plackett 1975, The Analysis of Permutations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.serving.exploration.slates import Array, Best, Chances, Ensemble, Mask
from shared.errors import ConfigError, nearest

STRATA = 4  # of popularity, with equally many items each
FLOOR = 0.02  # share of uniform choice in Thompson sampling
# What each policy's strength means, its default, and the largest; all are above 0 but greedy's.
STRENGTHS = {
    "greedy": ("none", 0.0, 0.0),
    "epsilon_greedy": ("share of places that explore", 0.1, 1.0),
    "softmax": ("temperature, in units of reward", 0.05, 100.0),
    "stratified": ("share of places that explore", 0.1, 1.0),
    "thompson": ("standard deviations of the posterior per one of a draw's", 1.0, 100.0),
    "linucb": ("standard deviations added to the mean", 1.0, 100.0),
}
NAMES = tuple(STRENGTHS)


@dataclass(frozen=True)
class Beliefs:
    """What is believed of every item before a slate; float64 [..., items] unless said.

    Attributes
    ----------
    mean : array
        Reward expected of an item that is looked at.
    spread : array
        Its standard deviation, >= 0: what more feedback would take away.
    draws : array [..., M, items]
        Sampled rewards, for `thompson`; M >= 1.
    popularity : array [items]
        Public or released, for `stratified`.
    """

    mean: Array
    spread: Array
    draws: Array
    popularity: Array


def checked(name: str, strength: float | None = None) -> float:
    """The strength of a policy, its default where none is given.

    Raises
    ------
    ConfigError
        For a policy that there is not, or a strength out of range.
    """
    if name not in STRENGTHS:
        raise ConfigError(
            f"exploration policy {name[:40]!r}: expected one of {', '.join(NAMES)}"
            f"{nearest(name, NAMES)}"
        )
    means, usual, most = STRENGTHS[name]
    if strength is None:
        return usual
    if not (0 < strength <= most or strength == most == 0):
        wanted = f"a number above 0, at most {most:g}" if most else "0"
        raise ConfigError(f"strength of {name} ({means}) = {strength}: expected {wanted}")
    return strength


def parsed(word: str) -> tuple[str, float]:
    """A policy as it is typed, `NAME` or `NAME=STRENGTH`; errors as `checked`."""
    name, _, text = word.partition("=")
    try:
        return name, checked(name, float(text) if text else None)
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{word[:60]!r}: expected NAME or NAME=STRENGTH, as softmax=0.1"
        ) from None


def chances_of(name: str, beliefs: Beliefs, strength: float | None = None) -> Chances:
    """The policy of that name, given what is believed.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    beliefs : Beliefs
    strength : float, optional
        See `STRENGTHS`; for `thompson` the draws are made with it, and it is not used here.

    Raises
    ------
    ConfigError
        As `checked`.
    """
    return _POLICIES[name](beliefs, checked(name, strength))


def strata_of(popularity: Array) -> NDArray[np.int64]:
    """Which of the strata each item is in, 0 the least popular, int64 [items]."""
    rank = np.argsort(np.argsort(popularity, kind="stable"), kind="stable")
    return rank * STRATA // max(1, len(popularity))


def _uniform(left: Mask) -> Array:
    return np.asarray(left * (1.0 / left.sum(-1, keepdims=True)))


def _greedy(beliefs: Beliefs, strength: float) -> Chances:
    return Best(beliefs.mean)


def _epsilon_greedy(beliefs: Beliefs, strength: float) -> Chances:
    best = Best(beliefs.mean)
    return lambda left: (1 - strength) * best(left) + strength * _uniform(left)


def _softmax(beliefs: Beliefs, strength: float) -> Chances:
    def chances(left: Mask) -> Array:
        scores = np.where(left, beliefs.mean / strength, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        return np.asarray(weights / weights.sum(-1, keepdims=True))

    return chances


def _stratified(beliefs: Beliefs, strength: float) -> Chances:
    best = Best(beliefs.mean)
    members = np.eye(STRATA, dtype=bool)[strata_of(beliefs.popularity)]  # [items, strata]

    def chances(left: Mask) -> Array:
        counts = left.astype(np.float64) @ members  # [..., strata]
        share = np.where(counts > 0, 1 / np.maximum(counts, 1), 0)
        share /= (counts > 0).sum(-1, keepdims=True)
        explored = left * (share @ members.T)
        return np.asarray((1 - strength) * best(left) + strength * explored)

    return chances


def _thompson(beliefs: Beliefs, strength: float) -> Chances:
    return Ensemble(beliefs.draws, FLOOR)


def _linucb(beliefs: Beliefs, strength: float) -> Chances:
    return Best(beliefs.mean + strength * beliefs.spread)


_POLICIES: dict[str, Callable[[Beliefs, float], Chances]] = {
    "greedy": _greedy,
    "epsilon_greedy": _epsilon_greedy,
    "softmax": _softmax,
    "stratified": _stratified,
    "thompson": _thompson,
    "linucb": _linucb,
}


def least_propensity(name: str, items: int, strength: float) -> float:
    """The least chance that any item left may have under a policy; 0 where some have none."""
    shares = {"epsilon_greedy": strength, "stratified": strength / STRATA, "thompson": FLOOR}
    return shares.get(name, 0.0) / items if items else math.nan
