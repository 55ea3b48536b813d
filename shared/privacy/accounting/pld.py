"""Epsilon by privacy loss distributions: tight, and the figure that counts for Gaussian noise."""

from __future__ import annotations

import functools
import math

import numpy as np
from dp_accounting import DpEvent, NeighboringRelation
from dp_accounting.dp_event import MixtureOfGaussiansDpEvent
from dp_accounting.pld import PLDAccountant
from scipy.stats import binom

from shared.errors import ConfigError
from shared.privacy.accounting.steps import Step, is_hopeless
from shared.privacy.guarantee import Relation

# PLD rounds privacy losses upwards to a grid, so epsilon is an upper bound. The grid's width is
# this share of the smallest standard deviation of a step's loss, which keeps the excess below
# 1e-4 + 1e-4 epsilon (the tests compare with closed forms) ...
_RESOLUTION = 0.01
# ... and below 1e-3 + 1e-3 epsilon for mixtures, whose losses are inverted point by point ...
_MIXTURE_RESOLUTION = 0.1
# ... unless that many points would not cover the losses, which bounds time and memory.
_POINTS = 2e5
_LARGEST_SAMPLED_GROUP = 32

_RELATION = {
    "zero_out": NeighboringRelation.REPLACE_SPECIAL,
    "replace_one": NeighboringRelation.REPLACE_ONE,
}


@functools.lru_cache(maxsize=256)
def pld_epsilon(steps: tuple[Step, ...], delta: float, relation: Relation, group: int = 1) -> float:
    """Epsilon at delta, an upper bound.

    Parameters
    ----------
    steps : tuple of Step
        Relative to the clipping norm; this accountant doubles the sensitivity of `replace_one`
        itself.
    delta : float
        In (0, 1).
    relation : {"zero_out", "replace_one"}
    group : int
        k >= 1 units that are present or absent together.

    Raises
    ------
    ConfigError
        For a sampled group of more than 32.
    """
    if is_hopeless(tuple(step.moved(group) for step in steps)):
        return math.inf
    if not steps:
        return 0.0
    with np.errstate(all="ignore"):  # beyond an epsilon of about 700, exp overflows to infinity
        return float(_composed(steps, relation, group).get_epsilon(delta))


@functools.lru_cache(maxsize=256)
def loss_exceeds(
    steps: tuple[Step, ...], epsilon: float, relation: Relation, group: int = 1
) -> float:
    """The probability that the privacy loss of a history is above epsilon, in [0, 1].

        P(L > e) = delta(e) - delta'(e),   as delta(e) = E[max(0, 1 - exp(e - L))]

    Parameters
    ----------
    steps : tuple of Step
        As for `pld_epsilon`.
    epsilon : float
        >= 0; at infinity nothing exceeds it.
    relation : {"zero_out", "replace_one"}
    group : int

    Returns
    -------
    float
        Of the two directions the one with the larger delta. The derivative is a central difference
        over eight cells of the grid: correct to about one part in a hundred.
    """
    if not steps or math.isinf(epsilon):
        return 0.0
    accountant, step = _composed(steps, relation, group), 4 * _interval(steps, relation, group)
    with np.errstate(all="ignore"):
        before, here, after = (
            float(accountant.get_delta(epsilon + by)) for by in (-step, 0.0, step)
        )
    return min(max(here + (before - after) / (2 * step), 0.0), 1.0)


def _composed(steps: tuple[Step, ...], relation: Relation, group: int) -> PLDAccountant:
    accountant = PLDAccountant(
        neighboring_relation=_RELATION[relation],
        value_discretization_interval=_interval(steps, relation, group),
    )
    with np.errstate(all="ignore"):
        for step in steps:
            accountant.compose(_event(step, group), step.times)
    return accountant


def _event(step: Step, group: int) -> DpEvent:
    """One release as a group of k units sees it.

    Where all take part, k units move the sum by k C. In a Poisson sample a binomial number of them
    is in, and moves it by that many C: a mixture of Gaussians.
    """
    if step.sampling_probability == 1 or group == 1:
        return step.moved(group).event()
    if group > _LARGEST_SAMPLED_GROUP:
        raise ConfigError(
            f"group = {group}: expected at most {_LARGEST_SAMPLED_GROUP} where units are sampled; "
            "count every release as if all took part (sampling probability 1)"
        )
    present = np.arange(group + 1)
    chances = binom.pmf(present, group, step.sampling_probability)
    return MixtureOfGaussiansDpEvent(
        step.noise_multiplier, present.tolist(), (chances / chances.sum()).tolist()
    )


def _interval(steps: tuple[Step, ...], relation: Relation, group: int) -> float:
    """Width of the grid, from rough moments of the steps' privacy losses."""
    distance = group * (1 if relation == "zero_out" else 2)
    steps = tuple(step.moved(distance) for step in steps)
    # Releases over everyone compose into a single Gaussian; sampled ones are convolved in turn.
    smallest = min((q / z) * (math.sqrt(times) if q == 1 else 1.0) for z, q, times in steps)
    variance = sum(times * _variance(z, q) for z, q, times in steps)
    largest = max(0.5 / z**2 + 8 / z for z, _, _ in steps)
    span = variance / 2 + 8 * math.sqrt(variance) + largest
    is_mixed = group > 1 and any(step.sampling_probability != 1 for step in steps)
    resolution = _MIXTURE_RESOLUTION if is_mixed else _RESOLUTION
    return max(resolution * smallest, span / _POINTS)


def _variance(z: float, q: float) -> float:
    """Of one step's loss, from above: chi-squared divergence, at most that without sampling."""
    exponent = min(1 / z**2, 700.0)  # beyond that exp overflows, and the other bound is smaller
    return min(1 / z**2, q**2 * math.expm1(exponent))
