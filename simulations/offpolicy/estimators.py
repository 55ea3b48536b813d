"""Estimators of a policy's value from another policy's log.

Row i of the log shows item a_i at its place to somebody in context x_i and earns r_i. With mu the
policy that logged, pi the one to be valued, and S_i what stands above a_i in its slate,

    u_i = product of pi / mu over the places above        (1 where every row is a choice of its own)
    w_i = u_i pi(a_i | x_i, S_i) / mu(a_i | x_i, S_i)
    v_i = sum over a of pi(a | x_i, S_i) q(x_i, a)        q: a model of the reward
    q_i = q(x_i, a_i)

and each estimator of V(pi) = E_pi[r], the mean reward of a shown item, is a mean over n rows:

    DM         1/n sum v_i
    IPS        1/n sum w_i r_i
    SNIPS      sum w_i r_i / sum w_i
    DR         1/n sum u_i v_i + w_i (r_i - q_i)
    switch-DR  1/n sum u_i v_i + w_i 1[w_i <= tau] (r_i - q_i)

IPS and DR are unbiased where mu is known and positive wherever pi is. Along a slate they are the
cascade's, in which an item's reward may depend on the items above it. DM takes the items above as
the log has them, which for policies far from mu and long slates is an error of its own.

References
----------
Dudik, Langford and Li 2011, Doubly Robust Policy Evaluation and Learning.
Swaminathan and Joachims 2015, The Self-Normalized Estimator for Counterfactual Learning.
Wang, Agarwal and Dudik 2017, Optimal and Adaptive Off-policy Evaluation in Contextual Bandits.
Kiyohara et al. 2022, Doubly Robust Off-Policy Evaluation for Ranking Policies under the Cascade
Behavior Model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_QUANTILES = np.array([*np.linspace(0, 0.95, 20), *np.linspace(0.955, 1, 10)])  # of weights

NAMES = {
    "dm": "direct method (DM)",
    "ips": "inverse propensities (IPS)",
    "snips": "self-normalised (SNIPS)",
    "dr": "doubly robust (DR)",
    "switch_dr": "switch-DR",
}


@dataclass(frozen=True)
class Terms:
    """What the estimators are sums of; all arrays float64 [n].

    Attributes
    ----------
    rewards : r, in [0, 1].
    weights : w, >= 0.
    above : u, >= 0.
    expected : v, in [0, 1].
    modelled : q, in [0, 1].
    """

    rewards: Floats
    weights: Floats
    above: Floats
    expected: Floats
    modelled: Floats


def contributions(terms: Terms, tau: float) -> dict[str, tuple[Floats, Floats]]:
    """By estimator, numerators and denominators of the rows, both [n]: it is sum / sum.

    Parameters
    ----------
    terms : Terms
    tau : float
        Above which switch-DR trusts the model alone; > 0.

    Examples
    --------
    >>> row = np.array
    >>> found = contributions(
    ...     Terms(row([1.0, 0.0]), row([2.0, 0.5]), row([1.0, 1.0]), row([0.5, 0.5]),
    ...           row([0.25, 0.5])), tau=1.0)
    >>> {name: float(top.sum() / below.sum()) for name, (top, below) in found.items()}
    {'dm': 0.5, 'ips': 1.0, 'snips': 0.8, 'dr': 1.125, 'switch_dr': 0.375}
    """
    each = np.ones_like(terms.rewards)
    known = terms.above * terms.expected
    corrections = terms.weights * (terms.rewards - terms.modelled)
    return {
        "dm": (terms.expected, each),
        "ips": (terms.weights * terms.rewards, each),
        "snips": (terms.weights * terms.rewards, terms.weights),
        "dr": (known + corrections, each),
        "switch_dr": (known + corrections * (terms.weights <= tau), each),
    }


def estimates(terms: Terms, tau: float) -> dict[str, float]:
    """All five; SNIPS is nan where no row has a weight."""
    with np.errstate(invalid="ignore"):
        return {
            name: float(np.divide(top.sum(), below.sum()))
            for name, (top, below) in contributions(terms, tau).items()
        }


def choose_switch(terms: Terms, most: float) -> float:
    """tau of switch-DR: of the weights' quantiles, the least bound on the squared error.

    As Wang et al. 2017, section 3.3: the variance of the mean, and the square of what the model may
    be wrong by where it alone is trusted, which is at most the share of such choices under pi times
    `most`, a bound on an expected reward. The share is estimated by 1 - mean(w 1[w <= tau]), which
    one large weight does not move.
    """
    found = []
    for tau in np.unique(np.quantile(terms.weights, _QUANTILES)):
        top, _ = contributions(terms, float(tau))["switch_dr"]
        alone = max(0.0, 1 - float((terms.weights * (terms.weights <= tau)).mean()))
        found.append((float(top.var()) / len(top) + (alone * most) ** 2, float(tau)))
    return min(found)[1]
