"""Rényi differential privacy of a history: Gaussian releases by a library, Skellam ones by a bound.

For two sums that a unit moves apart by a vector of whole numbers with norms D1 and D2, and Skellam
noise of variance mu in every coordinate, Agarwal, Kairouz and Liu bound the Rényi divergence of
whole order alpha >= 2 by

    alpha D2^2 / (2 mu) + min(((2 alpha - 1) D2^2 + 6 D1) / (4 mu^2), 3 D1 / (2 mu)),

the Gaussian's plus a term that vanishes with more noise. Divergences of releases add up, order by
order, and the best order gives epsilon.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import numpy as np
from dp_accounting import NeighboringRelation
from dp_accounting.rdp import RdpAccountant, compute_epsilon
from numpy.typing import NDArray

from shared.privacy.accounting.steps import SkellamStep, Step, Steps

# The bound is stated for whole orders.
_WHOLE_ORDERS = (*range(2, 129), *range(144, 513, 16), 1024, 2048)


def renyi_epsilon(steps: Steps, delta: float) -> float:
    """Epsilon at delta of steps whose unit moves a sum by one clipping norm.

    Parameters
    ----------
    steps : tuple of Step or SkellamStep
        Relation `zero_out`; every release with noise.
    delta : float
        In (0, 1).

    References
    ----------
    Agarwal, Kairouz, Liu. The Skellam Mechanism for Differentially Private Federated Learning.
    NeurIPS 2021. https://arxiv.org/abs/2110.04995
    Canonne, Kamath, Steinke. The Discrete Gaussian for Differential Privacy. 2020, proposition 12
    (from orders to epsilon). https://arxiv.org/abs/2004.00010
    """
    discrete = [step for step in steps if isinstance(step, SkellamStep)]
    gaussian = _composed(steps, whole_orders=bool(discrete))
    if not discrete:
        return float(gaussian.get_epsilon(delta))
    orders = np.array(_WHOLE_ORDERS, dtype=np.float64)
    divergences = gaussian.rdp + sum(
        step.times * skellam_divergence(step, orders) for step in discrete
    )
    epsilon, _ = compute_epsilon(_WHOLE_ORDERS, divergences, delta)
    return float(epsilon)


def skellam_divergence(step: SkellamStep, orders: NDArray[np.float64]) -> NDArray[np.float64]:
    """The bound above for one release, at whole orders >= 2.

    Parameters
    ----------
    step : SkellamStep
    orders : numpy.ndarray
        float64, [orders].

    Returns
    -------
    numpy.ndarray
        float64, [orders].
    """
    mu, d2, d1 = step.variance, step.l2_sensitivity, step.l1_sensitivity
    excess = np.minimum(
        ((2 * orders - 1) * d2**2 + 6 * d1) / (4 * mu**2),
        3 * d1 / (2 * mu),
    )
    bound: NDArray[np.float64] = orders * d2**2 / (2 * mu) + excess
    return bound


def _composed(steps: Steps, *, whole_orders: bool) -> RdpAccountant:
    accountant = RdpAccountant(
        _WHOLE_ORDERS if whole_orders else None,
        neighboring_relation=NeighboringRelation.REPLACE_SPECIAL,
    )
    with _quiet("absl"):  # one warning for every order whose series is left out
        for step in steps:
            if isinstance(step, Step):
                accountant.compose(step.event(), step.times)
    return accountant


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
