"""Privacy losses summed or integrated from the definitions, without an accountant's code."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import ive, logsumexp
from scipy.stats import norm


def gaussian_epsilon(z: float, releases: int, delta: float, distance: float) -> float:
    """Of Gaussian releases whose sums are that many clipping norms apart, by integration.

    The hockey stick of N(m, 1) over e^epsilon N(0, 1), with m the distance over the noise of all
    releases together.
    """
    m = distance * math.sqrt(releases) / z
    x, width = np.linspace(-12, m + 12, 400_001, retstep=True)
    here, there = norm.pdf(x - m), norm.pdf(x)

    def excess(epsilon: float) -> float:
        return float(np.maximum(here - math.exp(epsilon) * there, 0).sum()) * width - delta

    return 0.0 if excess(0) <= 0 else float(brentq(excess, 0, 400, xtol=1e-10))


def log_pmf(size: int, mu: float) -> np.ndarray:
    """Of Skellam noise with variance mu at -size ... size: exp(-mu) I_k(mu)."""
    with np.errstate(divide="ignore"):  # beyond what a float holds
        return np.log(ive(np.abs(np.arange(-size, size + 1)), mu))


def shifted(mu: float, shift: int, order: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of noise, and of noise moved by a shift, wherever both are above zero."""
    size = int(40 * math.sqrt(mu) + 2 * order * shift + 60)
    noise = log_pmf(size + shift, mu)
    here, there = noise[shift:], noise[: len(noise) - shift]
    kept = np.isfinite(here) & np.isfinite(there)
    return here[kept], there[kept]


def skellam_divergence(mu: float, shifts: tuple[int, ...], order: float) -> float:
    """Coordinates are independent, so their divergences add up."""
    total = 0.0
    for shift in shifts:
        p, q = shifted(mu, shift, order)
        total += float(logsumexp(order * p + (1 - order) * q)) / (order - 1)
    return total


def skellam_delta(mu: float, shifts: tuple[int, ...], epsilon: float) -> float:
    """The hockey stick: the sum of what P exceeds e^epsilon Q by, over all coordinates."""
    p, q = np.zeros(1), np.zeros(1)
    for shift in shifts:
        one_p, one_q = shifted(mu, shift)
        p, q = np.add.outer(p, one_p).ravel(), np.add.outer(q, one_q).ravel()
    return float(np.maximum(np.exp(p) - np.exp(epsilon + q), 0).sum())


def skellam_epsilon(mu: float, shifts: tuple[int, ...], delta: float) -> float:
    low, high = 0.0, 500.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if skellam_delta(mu, shifts, middle) > delta else (low, middle)
    return high
