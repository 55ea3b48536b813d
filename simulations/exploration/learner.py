"""What a federated bandit learns of clicks: of items from everybody, of tastes on each device.

A slate's place p, looked at with chance e_p, that shows item i to person u is expected to give

    reward = e_p (mu_i + x_ui . theta_u) + N(0, sigma^2)

with x_ui = [how well i fits u's state, the item's vector] from the frozen model, theta_u of one
person alone (`client.serving.exploration.layer`), and mu_i, what the text does not say, of all.

*On each device* G_u and b_u of the layer are kept; they never leave it.

*From everybody*, once a day, the sums over people of what they contribute (see
`shared.privacy.contribution.feedback`): N_i = sum of e_p^2, S_i = sum of e_p (reward - e_p x .
theta_u) over the places that showed i. With prior mu_i ~ N(m0, t0^2), and V_N, V_S the variances
of the noise that N and S hold,

    S_i / N_i ~ N(mu_i, (N_i sigma^2 + V_S + m^2 V_N) / N_i^2)

gives the posterior of mu_i. What is older counts less: sums, variances and statistics are
multiplied by `memory` once a day (noise is then post-processed, never made again).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.serving.exploration import BayesianLayer, Beliefs, Posterior

Array = NDArray[np.float64]

_LEAST = 1e-9


@dataclass(frozen=True)
class Prior:
    """What is believed before anybody clicked.

    Attributes
    ----------
    mean, sd : float
        Of mu_i.
    fit, fit_sd : float
        Of the weight of how well an item fits a person's state.
    taste_sd : float
        Of the weights of an item's vector together.
    noise : float
        sigma.
    memory : float
        In (0, 1]: what a day leaves of what was learned before it.
    """

    mean: float = 0.2
    sd: float = 0.2
    fit: float = 0.05
    fit_sd: float = 0.05
    taste_sd: float = 0.2
    noise: float = 0.4
    memory: float = 0.97
    keep: float = 0.7


class Learner:
    """The beliefs of everybody's devices, and of their server.

    Parameters
    ----------
    vectors : float64 [items, p]
        Public, of mean squared length 1.
    met : bool [people, items]
        What everybody met before.
    prior : Prior
    draws : int
        M of Thompson sampling, >= 1.
    """

    def __init__(
        self, vectors: Array, met: NDArray[np.bool_], prior: Prior, draws: int, width: int = 16
    ) -> None:
        people = len(met)
        self.full, self.vectors = vectors, vectors[:, :width]
        self.prior, self._draws = prior, draws
        sd = np.concatenate([[prior.fit_sd], np.full(width, prior.taste_sd)])
        mean = np.concatenate([[prior.fit], np.zeros(width)])
        self._layer = BayesianLayer(mean, sd, prior.noise)
        self._gram = np.zeros((people, width + 1, width + 1))
        self._moment = np.zeros((people, width + 1))
        self._states = met @ vectors / np.maximum(met.sum(1, keepdims=True), 1)  # [people, p]
        items = len(vectors)
        self._sums = np.zeros((2, items))  # N, S
        self._variances = np.zeros(2)
        self._posterior: Posterior | None = None

    def fits(self) -> Array:
        """How well items fit people's states, of mean 0 and sd 1 over items, [people, items]."""
        scores = self._states @ self.full.T
        scores -= scores.mean(1, keepdims=True)
        return np.asarray(scores / np.maximum(scores.std(1, keepdims=True), _LEAST))

    def items(self) -> tuple[Array, Array]:
        """Mean and variance of every mu_i, [items] each."""
        prior, (count, total) = self.prior, self._sums
        held = np.maximum(count, _LEAST)
        variance = held * prior.noise**2 + self._variances[1] + prior.mean**2 * self._variances[0]
        information = np.where(count > _LEAST, held**2 / variance, 0.0)
        precision = prior.sd**-2 + information
        mean = (prior.mean * prior.sd**-2 + information * total / held) / precision
        return mean, 1 / precision

    def beliefs(self, name: str, strength: float, rng: np.random.Generator) -> Beliefs:
        """What everybody's device believes today; spreads and draws where the policy asks."""
        mean, variance = self.items()
        fits = self.fits()
        self._posterior = found = self._layer.posterior(self._gram, self._moment)
        own = found.mean[:, :1] * fits + found.mean[:, 1:] @ self.vectors.T
        whole = mean + own  # [people, items]
        spread, draws = np.zeros((1, 1)), np.zeros((1, 1, 1))
        if name == "linucb":
            spread = np.sqrt(variance + self._own_variance(found, fits))
        if name == "thompson":
            normal = rng.standard_normal((len(own), self._draws, len(mean) + fits.shape[1] * 0))
            theta = rng.standard_normal((len(own), self._draws, self.vectors.shape[1] + 1))
            theta = strength * theta @ found.root  # [people, M, p + 1]
            draws = whole[:, None] + strength * np.sqrt(variance) * normal
            draws += theta[..., :1] * fits[:, None] + theta[..., 1:] @ self.vectors.T
        return Beliefs(whole, spread, draws, mean)

    def _own_variance(self, found: Posterior, fits: Array) -> Array:
        """Of x_ui . theta_u, [people, items]."""
        covariance = np.swapaxes(found.root, -1, -2) @ found.root
        first = covariance[:, :1, 0] * fits**2
        cross = 2 * fits * (covariance[:, 0, 1:] @ self.vectors.T)
        turned = covariance[:, 1:, 1:] @ self.vectors.T  # [people, p, items]
        return np.asarray(first + cross + np.einsum("ip,upi->ui", self.vectors, turned))

    def learn(self, slates: NDArray[np.int64], clicks: NDArray[np.bool_], seen: Array) -> Array:
        """Keep what a day's slates gave on the devices; return what goes into the sum.

        Parameters
        ----------
        slates : int64 [people, slate]
        clicks : bool [people, slate]
        seen : float64 [people, slate]
            Chance that each place was looked at; 0 where nobody was there.

        Returns
        -------
        float64 [people, 2, items]
            Each one's own N and S of today.
        """
        if self._posterior is None:
            raise RuntimeError("learn before beliefs")
        fits = np.take_along_axis(self.fits(), slates, 1)
        x = np.concatenate([fits[..., None], self.vectors[slates]], axis=-1) * seen[..., None]
        expected = (x @ self._posterior.mean[..., None])[..., 0]
        mean, _ = self.items()
        gram, moment = self._layer.statistics(x, clicks - seen * mean[slates])
        # What is forgotten gives way to the prior, which the layer adds anew.
        self._gram = self.prior.memory * self._gram + gram
        self._moment = self.prior.memory * self._moment + moment
        own = np.zeros((len(slates), 2, len(self.vectors)))
        rows = np.arange(len(slates))[:, None]
        own[rows, 0, slates] = seen**2
        own[rows, 1, slates] = seen * (clicks - expected)
        return own

    def hear(self, total: Array, variances: Array) -> None:
        """Take over a day's sums [2, items] and the variances [2] of the noise in them."""
        memory = self.prior.memory
        self._sums = memory * self._sums + total
        self._variances = memory**2 * self._variances + variances

    def meet(self, slates: NDArray[np.int64], clicks: NDArray[np.bool_]) -> None:
        """Move people's states towards what they clicked."""
        for place in range(slates.shape[1]):
            people = np.flatnonzero(clicks[:, place])
            vectors = self.full[slates[people, place]]
            k = self.prior.keep
            self._states[people] = k * self._states[people] + (1 - k) * vectors
