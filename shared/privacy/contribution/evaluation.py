"""Private evaluation metrics from devices: what one person contributes, what a release says.

    x_i = (h_i - 1/2, g_i - 1/2, 1/2)          h_i, g_i: hit@10 and NDCG@10 of the held-out item
    S   = sum over i in the sample of x_i + z (sqrt(3) / 2) N(0, I)
    n~  = 2 S_3,   hit rate = 1/2 + S_1 / n~,   NDCG = 1/2 + S_2 / n~

How many of the people asked have a held-out item is theirs to keep, so the count is released too,
as the third coordinate. Every coordinate is centred: it then reaches 1/2 instead of 1, which
quarters the variance of the noise, and the count's error enters times |rate - 1/2| only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors import ProtocolError
from shared.metrics import discounted_gains, hits
from shared.privacy.contribution.clipping import L2Clip

Vector = npt.NDArray[np.float64]

METRICS_SCHEMA = "metrics:hr@10,ndcg@10,users"
METRIC_NAMES = ("hr@10", "ndcg@10")
DIM = 3

# Three coordinates of at most 1/2 each: nothing that a device computes is ever cut.
METRICS_CLIP = L2Clip(math.sqrt(0.75))

# What is said of all released metrics.
ABOUT = {
    "status": "released: with the noise of the ledger's metrics entries",
    "of": "each person's held-out validation item, never the test's",
    "confidence": 0.95,
}

_HALF = 0.5
_FEWEST = 1e-3  # people: below it a ratio has no meaning, and its square no digits
_QUANTILE = 1.959963984540054  # of the standard normal: intervals of 95%


def metric_contributions(ranks: Sequence[int]) -> npt.NDArray[np.float32]:
    """What people whose held-out items have these ranks contribute.

    Parameters
    ----------
    ranks : sequence of int, [n]
        0-based, among the target and its sampled negatives; nobody's, for no rank.

    Returns
    -------
    float32 [n, 3]
        Each of L2 norm at most sqrt(3) / 2, whatever the ranks are. Someone without a held-out
        item contributes nothing at all, as one who is not there.
    """
    if not len(ranks):
        return np.zeros((0, DIM), dtype=np.float32)
    import torch  # where something is clipped, not where plans ask for the sensitivity

    rows = np.stack([hits(ranks), discounted_gains(ranks), np.ones(len(ranks))], axis=1)
    rows -= _HALF
    clipped: npt.NDArray[np.float32] = METRICS_CLIP(
        torch.from_numpy(rows.astype(np.float32))
    ).numpy()
    return clipped


@dataclass(frozen=True)
class MetricEstimate:
    """One released metric.

    Attributes
    ----------
    value : float
        In [0, 1]: of all people with a held-out item.
    low, high : float
        In [0, 1]. The interval holds the exact value of the whole population in about 95% of
        releases, where z is at least a half: it counts the noise, and that only a sample was
        asked, whose error is not quite normal.
    standard_error : float
        The error that noise and sampling imply; infinite where the noise drowns the count.
    """

    value: float
    low: float
    high: float
    standard_error: float


@dataclass(frozen=True)
class MetricsRelease:
    """All that one release says.

    Attributes
    ----------
    users : float
        Estimated number of people in the sample who were evaluated.
    metrics : dict of str to MetricEstimate
        `hr@10` and `ndcg@10`.
    """

    users: float
    metrics: dict[str, MetricEstimate]

    def plain(self) -> dict[str, Any]:
        """As nested plain values."""
        return {"users": self.users} | {name: asdict(m) for name, m in self.metrics.items()}


def selection_score(found: Mapping[str, Any]) -> float:
    """What selection goes by: HR@10 + NDCG@10 of a release; -1 where it says nothing.

    Parameters
    ----------
    found : mapping
        `MetricsRelease.plain`, infinity as a number or as "inf".

    Notes
    -----
    Noise that drowns the count carries a ratio anywhere, as to 1: such a figure must not win.
    """
    told = [found[name] for name in METRIC_NAMES]
    if any(
        math.isinf(float(one["standard_error"])) or (one["low"] <= 0 and one["high"] >= 1)
        for one in told
    ):
        return -1.0
    return sum(float(one["value"]) for one in told)


def selected_round(releases: Sequence[Mapping[str, Any]]) -> int | None:
    """The round of the release with the best score, the first of equals; None if none has any."""
    best = max(releases, key=selection_score, default=None)
    return int(best["round"]) if best is not None and selection_score(best) >= 0 else None


def estimate_metrics(
    sums: Vector, noise_multiplier: float, sampling_probability: float
) -> MetricsRelease:
    """Read a release: post-processing, free under privacy.

    Parameters
    ----------
    sums : float64 [3]
        S, the noised sum of contributions.
    noise_multiplier : float
        z >= 0.
    sampling_probability : float
        q in (0, 1] of each person.

    Raises
    ------
    ProtocolError
        For another shape, or numbers that are not finite.

    Notes
    -----
    With theta = rate - 1/2 and the true sums, S_1 - theta n~ has mean zero and variance

        V(theta) = sigma^2 (1 + 4 theta^2) + (1 - q) n (1/4 - theta^2),   sigma = z sqrt(3) / 2:

    the noise of both, and the variance of a Poisson sample's ratio (for NDCG, which is at most the
    hit, an upper bound). The interval is the set of theta with (S_1 - theta n~)^2 <= 1.96^2 V,
    which is valid however small n~ is; it is all of [0, 1] where nothing can be said.

    References
    ----------
    Fieller. Some Problems in Interval Estimation. JRSS B 16(2), 1954.
    """
    if sums.shape != (DIM,) or not np.isfinite(sums).all():
        raise ProtocolError(f"metrics of shape {sums.shape}: expected ({DIM},), all finite")
    count = float(sums[2]) / _HALF
    noise = (noise_multiplier * METRICS_CLIP.norm) ** 2
    sampling = (1 - sampling_probability) * max(count, 0.0)
    return MetricsRelease(
        users=count,
        metrics={
            name: _estimate(float(total), count, noise, sampling)
            for name, total in zip(METRIC_NAMES, sums[:2], strict=True)
        },
    )


def _estimate(total: float, count: float, noise: float, sampling: float) -> MetricEstimate:
    """theta with theta count ~ total, and the interval of all that are compatible."""
    if count < _FEWEST:  # not told from nobody
        return MetricEstimate(_HALF, 0.0, 1.0, math.inf)
    theta, noise, sampling = total / count, noise / count**2, sampling / count**2
    low, high = _fieller(theta, noise, sampling)
    value = _cut(theta)  # noise may carry the ratio, and its interval, to either side of [0, 1]
    error = math.sqrt(noise * (1 + 4 * value**2) + sampling * (0.25 - value**2))
    return MetricEstimate(_HALF + value, min(low, _HALF + value), max(high, _HALF + value), error)


def _fieller(theta: float, noise: float, sampling: float) -> tuple[float, float]:
    """Ends in [0, 1] of {t: (theta - t)^2 <= k^2 V(t)}, plus 1/2; all in units of the count."""
    k = _QUANTILE**2
    curved, flat = 4 * noise - sampling, noise + sampling / 4  # V = curved t^2 + flat
    a = 1 - k * curved
    inside = k * (flat + theta**2 * curved - k * curved * flat)  # theta^2 - a c
    if a <= 0 or inside < 0:
        return 0.0, 1.0
    root = math.sqrt(inside)
    return _HALF + _cut((theta - root) / a), _HALF + _cut((theta + root) / a)


def _cut(theta: float) -> float:
    return min(max(theta, -_HALF), _HALF)
