"""The noise of devices' own: enough in every message, and no two messages with the same."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import chi2

from shared.privacy.mechanisms.gaussian import GaussianMechanism
from simulations.audit.checks.risk import RISK, finding, not_shown
from simulations.audit.findings import Finding
from simulations.audit.replay.observed import Observed, Vector

DEVICES, SAME = "noise of each device", "noise of devices alike"

_FEW = 20  # numbers of a message, below which nothing is said of its noise


def devices_noise(observed: Observed) -> Finding:
    """Whether each device's message has its noise, and no two have the same.

    A message is a signal that nobody knows and its noise; its square over the noise's variance is
    chi-square, or more for the signal. So is that of a difference over twice the variance. Too
    small a square is therefore unlikely whatever the signals are. It is no test of what a large
    signal hides.
    """
    plan, decay = observed.device, observed.config.train.weight_decay
    planned = plan.of("update") if plan else None
    if planned is None or not isinstance(planned.mechanism, GaussianMechanism) or decay:
        return not_shown(DEVICES, "No device adds noise of its own")
    variance = planned.mechanism.standard_deviation**2 * observed.config.train.local_steps
    messages = [
        row.astype(np.float64)
        for each in observed.exchanges
        if each.kind == "update"
        for row in each.contributions
    ]
    if len(messages) < 2 or len(messages[0]) < _FEW or not variance:
        return not_shown(DEVICES, "Fewer than two messages with noise")
    rows = np.stack(messages)
    squares = (rows**2).sum(1)
    apart = _between(rows, squares)
    dim, figures = rows.shape[1], {"messages": float(len(rows))}
    pairs = len(rows) * (len(rows) - 1) / 2
    own = float(chi2.cdf(squares.min() / variance, dim))
    alike = float(chi2.cdf(apart / (2 * variance), dim))
    figures |= {"smallest over claimed": math.sqrt(float(squares.min()) / (dim * variance))}
    figures |= {"nearest over claimed": math.sqrt(apart / (2 * dim * variance))}
    right = f"Each of {len(rows)} messages has its noise, and no two have the same"
    if alike < RISK / (2 * pairs):
        words = "Two messages differ by less than their noise would make them: it is the same"
        return finding(SAME, words, right, figures)
    words = (
        "A message is smaller than its noise alone would be" if own < RISK / (2 * len(rows)) else ""
    )
    return finding(DEVICES, words, right, figures)


def _between(rows: Vector, squares: Vector) -> float:
    """The smallest squared distance of two of them."""
    found = squares[:, None] + squares - 2 * rows @ rows.T
    return float(max(0.0, found[~np.eye(len(rows), dtype=bool)].min()))
