"""How well scores tell two groups apart, each rate with its exact interval.

An interval counts observations as independent. Where people are observed under several models, or
share one model's noise, it says how well these very observations are described, and no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, norm, rankdata

from shared.errors import ConfigError

Scores = npt.NDArray[np.float64]
Bits = npt.NDArray[np.bool_]

FALSE_ALARMS = (0.001, 0.01)
"""Of those who are not in, at which what is found is told."""
_DECADES = np.logspace(-3, 0, 31)  # of false alarms, of a picture in log scale


@dataclass(frozen=True)
class Rate:
    """A share, and where it lies.

    Attributes
    ----------
    value, low, high : float
        In [0, 1].
    count, trials : int
        What it is the quotient of; 0 of 0 where it is none.
    """

    value: float
    low: float
    high: float
    count: int = 0
    trials: int = 0

    @classmethod
    def of(cls, count: int, trials: int, confidence: float = 0.95) -> Rate:
        """A binomial share with its Clopper-Pearson interval.

        Parameters
        ----------
        count, trials : int
            0 <= count <= trials, trials >= 1.
        confidence : float
            In (0, 1), of the interval: at each end half the risk.

        Examples
        --------
        >>> nothing = Rate.of(0, 100)
        >>> nothing.low, round(nothing.high, 3)
        (0.0, 0.036)
        """
        if not 0 <= count <= trials or trials < 1:
            raise ConfigError(f"{count} of {trials}: expected 0 <= count <= trials, trials >= 1")
        risk = (1 - confidence) / 2
        low = float(beta.ppf(risk, count, trials - count + 1)) if count else 0.0
        high = float(beta.ppf(1 - risk, count + 1, trials - count)) if count < trials else 1.0
        return cls(count / trials, low, high, count, trials)


@dataclass(frozen=True)
class Found:
    """How well one score tells those who are in from those who are not.

    Attributes
    ----------
    at : dict of float to Rate
        By rate of false alarms: the share that is found of those who are in, at the lowest
        threshold with no more false alarms than that.
    auc : Rate
    curve : list of (float, float)
        False alarms and what is found, at ten rates a decade from 0.1 %: the curve in log scale.
    inside, outside : int
        Observations of both kinds.
    """

    at: dict[float, Rate]
    auc: Rate
    curve: list[tuple[float, float]]
    inside: int
    outside: int

    @classmethod
    def of(
        cls,
        scores: Scores,
        included: Bits,
        confidence: float = 0.95,
        rates: Sequence[float] = FALSE_ALARMS,
    ) -> Found:
        """Of scores [n], larger where somebody seems to be in, and whether they are [n].

        Raises
        ------
        ConfigError
            If one of the kinds is missing.
        """
        there, out = scores[included], np.sort(scores[~included])
        if not (len(there) and len(out)):
            raise ConfigError(
                f"{len(there)} in and {len(out)} out: expected at least one of each to tell apart"
            )
        return cls(
            at={rate: Rate.of(_above(there, out, rate), len(there), confidence) for rate in rates},
            auc=auc(scores, included, confidence),
            curve=[(float(r), _above(there, out, r) / len(there)) for r in _DECADES],
            inside=len(there),
            outside=len(out),
        )

    def told(self, rate: float) -> str:
        """What is found at a rate of false alarms, in words."""
        found = self.at[rate]
        return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%}) at {rate:.1%} false alarms"


def auc(scores: Scores, included: Bits, confidence: float = 0.95) -> Rate:
    """Chance that one who is in scores above one who is not, ties counted half.

    The interval is DeLong's, on the logit.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson 1988, Comparing the Areas under Two or More Correlated Receiver
    Operating Characteristic Curves.
    """
    ranks = rankdata(scores)
    inside, outside = int(included.sum()), int((~included).sum())
    # Of each observation: the share of the other kind that it is on the right side of.
    above = (ranks[included] - rankdata(scores[included])) / outside
    below = 1 - (ranks[~included] - rankdata(scores[~included])) / inside
    value = float(above.mean())
    spread = math.sqrt(sum(x.var(ddof=1) / len(x) if len(x) > 1 else 0.25 for x in (above, below)))
    if not 0 < value < 1 or not spread:
        edge = Rate.of(round(value * min(inside, outside)), min(inside, outside), confidence)
        return Rate(value, edge.low, edge.high)
    logit, width = math.log(value / (1 - value)), spread / (value * (1 - value))
    away = float(norm.ppf((1 + confidence) / 2)) * width
    low, high = (1 / (1 + math.exp(-x)) for x in (logit - away, logit + away))
    return Rate(value, low, high)


def _above(there: Scores, out: Scores, rate: float) -> int:
    """How many of those who are in lie above all but a share of those who are out, sorted."""
    allowed = math.floor(rate * len(out) + 1e-9)
    if allowed >= len(out):
        return len(there)
    return int((there > out[len(out) - 1 - allowed]).sum())
