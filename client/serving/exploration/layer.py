"""A Bayesian last layer: a Gaussian linear model over what the frozen model says of an item.

    theta ~ N(m0, diag(s0^2))            reward = x . theta + N(0, sigma^2)
    G = sum over shown of x x',  b = sum of x reward            the sufficient statistics
    P = diag(s0^-2) + G / sigma^2,       m = P^-1 (s0^-2 m0 + b / sigma^2)

and theta given what was seen is N(m, P^-1). The statistics add up over slates, days and people:
they may stay on a device, or be one more sum that is released with noise.

An item is shown at a place that is looked at with a known chance: there reward is expected to be
that chance times x . theta, so x is multiplied by it before it enters the statistics.

References
----------
Bishop 2006, Pattern Recognition and Machine Learning, section 3.3.
Riquelme, Tucker, Snoek 2018, Deep Bayesian Bandits Showdown (neural-linear: the Bayesian last
layer). https://arxiv.org/abs/1802.09127
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from client.serving.exploration.slates import Array
from shared.errors import ConfigError


@dataclass(frozen=True)
class Posterior:
    """Of one layer or of many at once, [...].

    Attributes
    ----------
    mean : float64 [..., p]
    root : float64 [..., p, p]
        W with covariance W' W.
    """

    mean: Array
    root: Array

    def expected(self, features: Array) -> Array:
        """Mean reward [..., items] of items with features [..., items, p]."""
        return np.asarray((features @ self.mean[..., None])[..., 0])

    def spread(self, features: Array) -> Array:
        """Standard deviation of that mean, [..., items]."""
        turned = features @ np.swapaxes(self.root, -1, -2)
        return np.asarray(np.sqrt(np.einsum("...ip,...ip->...i", turned, turned)))

    def draws(self, features: Array, normal: Array, scale: float = 1.0) -> Array:
        """Rewards under sampled theta, [..., M, items].

        Parameters
        ----------
        features : float64 [..., items, p]
        normal : float64 [..., M, p]
            Standard normal numbers.
        scale : float
            Of the posterior's standard deviations, >= 0.
        """
        theta = self.mean[..., None, :] + scale * normal @ self.root  # [..., M, p]
        return np.asarray(theta @ np.swapaxes(features, -1, -2))


@dataclass(frozen=True)
class BayesianLayer:
    """The prior, and the noise of rewards.

    Parameters
    ----------
    prior_mean, prior_sd : float64 [p]
        Standard deviations above 0.
    noise : float
        sigma > 0, of one reward around its mean; of clicks at most 1/2.

    Raises
    ------
    ConfigError
        For a value outside its range.
    """

    prior_mean: Array
    prior_sd: Array
    noise: float

    def __post_init__(self) -> None:
        if self.prior_mean.shape != self.prior_sd.shape or self.prior_mean.ndim != 1:
            raise ConfigError(
                f"prior mean {self.prior_mean.shape} and sd {self.prior_sd.shape}: expected [p] "
                "both"
            )
        if not (self.noise > 0 and bool((self.prior_sd > 0).all())):
            raise ConfigError(f"noise = {self.noise}: expected numbers above 0, as of prior_sd")

    def statistics(self, features: Array, rewards: Array) -> tuple[Array, Array]:
        """G [..., p, p] and b [..., p] of n items that were shown.

        Parameters
        ----------
        features : float64 [..., n, p]
            Times the chance that the place was looked at.
        rewards : float64 [..., n]
        """
        turned = np.swapaxes(features, -1, -2)
        return np.asarray(turned @ features), np.asarray((turned @ rewards[..., None])[..., 0])

    def posterior(self, gram: Array, moment: Array) -> Posterior:
        """What is believed after statistics G [..., p, p] and b [..., p].

        Raises
        ------
        ConfigError
            If G is no sum of squares and leaves no positive precision.
        """
        precision = np.diag(self.prior_sd**-2) + gram / self.noise**2
        try:
            lower = np.linalg.cholesky(precision)
        except np.linalg.LinAlgError:
            raise ConfigError("statistics: G is not positive semi-definite") from None
        root = np.linalg.inv(lower)  # covariance = root' root
        right = self.prior_mean * self.prior_sd**-2 + moment / self.noise**2
        mean = np.swapaxes(root, -1, -2) @ (root @ right[..., None])
        return Posterior(mean[..., 0], root)
