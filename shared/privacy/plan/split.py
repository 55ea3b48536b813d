"""How a budget is split over kinds of release where the settings leave the shares open.

A share is of the squared signal-to-noise ratio that the budget affords, so that a release with a
share s has the noise multiplier z_1 / sqrt(s), z_1 that of one release that would spend everything.
It is a function of what is public: how many people there are, and what they are promised.

What a sum over n people says grows with n, and its noise with 1 / mu, mu = 1 / z_1: so n mu is how
much can be told from noise at all. The histogram is told with few people. Which items people have
together takes thousands of numbers, and only from n mu of about 500 on do enough of them stand out
of the noise to be worth more than what the histogram loses by it (`benchmarks/released_once.py`).
Rounds come last: only from about 1,000 on is there something left for them.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from scipy.optimize import brentq
from scipy.special import log_ndtr

from shared.config import ExperimentConfig

KINDS = ("histogram", "moments", "metrics", "update")  # that a budget may be split over
SOME, RICH = 500.0, 1000.0  # n mu, from which on there are moments; and more than a rest for rounds
_ENDS = 1e-6, 1e4  # of mu: no budget's split depends on more
# From which n mu on, with rounds and without; what remains goes to the main releases.
_SPLITS = (
    (RICH, {"histogram": 0.15, "moments": 0.40}, {"moments": 0.75}),
    (SOME, {"histogram": 0.55, "moments": 0.40}, {"moments": 0.40}),
    (0.0, {"histogram": 0.90, "moments": 0.0}, {"moments": 0.0}),
)


def one_release(epsilon: float, delta: float) -> float:
    """mu of the Gaussian mechanism that spends a budget in one release: 1 / its noise multiplier.

    Parameters
    ----------
    epsilon : float
        > 0, finite.
    delta : float
        In (0, 1).

    Returns
    -------
    float
        In [1e-6, 1e4]; the end of that where a budget is beyond it.

    References
    ----------
    Balle, Wang. Improving the Gaussian Mechanism for Differential Privacy: Analytical Calibration
    and Optimal Denoising. ICML 2018. https://arxiv.org/abs/1805.06530

    Examples
    --------
    >>> round(one_release(8.0, 1e-4), 3)
    1.841
    """

    def excess(log_mu: float) -> float:
        mu = math.exp(log_mu)
        within, beyond = log_ndtr(mu / 2 - epsilon / mu), log_ndtr(-mu / 2 - epsilon / mu)
        lost = within + math.log1p(-math.exp(min(epsilon + beyond - within, -1e-16)))
        return lost - math.log(delta)

    least, most = _ENDS
    epsilon = min(epsilon, most**2)  # which `most` is within; far above, its terms overflow
    if excess(math.log(least)) >= 0:
        return least
    if excess(math.log(most)) <= 0:
        return most
    return math.exp(brentq(excess, math.log(least), math.log(most)))


def budget_split(
    users: int, epsilon: float, delta: float, kinds: Collection[str], group: int = 1
) -> dict[str, float]:
    """Shares of a budget by kind of release.

    Parameters
    ----------
    users : int
        >= 1.
    epsilon : float
        > 0, finite.
    delta : float
        In (0, 1).
    kinds : collection of str
        Those of `KINDS` that the run can have; metrics have a share of the settings' alone.
    group : int
        Units that the budget covers together: noise is worth as much less.

    Returns
    -------
    dict of str to float
        In [0, 1], together 1. A kind of share 0 is not released. Without "update" the histogram
        has what remains.
    """
    told = users * one_release(epsilon, delta) / group
    main = main_kind(kinds)
    rounds, none = next(splits for least, *splits in _SPLITS if told >= least)
    rule = rounds if main == "update" else none
    found = {kind: rule.get(kind, 0.0) for kind in kinds}
    found[main] = 1 - sum(share for kind, share in found.items() if kind != main)
    return found


def main_kind(kinds: Collection[str]) -> str:
    """Which of them gets what the others leave: the rounds or, without any, the histogram."""
    return "update" if "update" in kinds else "histogram"


def shares(
    config: ExperimentConfig, users: int, delta: float, budget: float, kinds: Collection[str]
) -> dict[str, float]:
    """What each of the kinds gets of a point's budget: as the settings say, else as `budget_split`.

    What the settings leave open is split as a whole budget would be.

    Parameters
    ----------
    config : ExperimentConfig
    users : int
    delta, budget : float
        Of the guarantee.
    kinds : collection of str
        As for `budget_split`.

    Returns
    -------
    dict of str to float
        As of `budget_split`; all alike where the budget is infinite, as nothing is noised.
    """
    if math.isinf(budget):
        return dict.fromkeys(kinds, 1 / len(kinds))
    privacy, main = config.privacy, main_kind(kinds)
    stated = {
        "histogram": privacy.histogram_share,
        "moments": privacy.moments_share,
        "metrics": privacy.metrics_share,
    }
    given = {k: share for k in kinds if k != main and (share := stated.get(k)) is not None}
    left = 1 - sum(given.values())
    split = budget_split(users, budget, delta, kinds, privacy.group_size)
    found = {kind: given.get(kind, left * share) for kind, share in split.items()}
    found[main] = 1 - sum(share for kind, share in found.items() if kind != main)
    return found
