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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.serving.exploration import BayesianLayer, Beliefs, Posterior
from shared.errors import EngineError

Array = NDArray[np.float64]
Single = NDArray[np.float32]


_LEAST, _COMMON = 1e-9, 256
_STATE = 64  # leading components that a person's state is in


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
    keep : float
        In [0, 1): what a click leaves of a person's state.
    """

    mean: float = 0.195
    sd: float = 0.12
    fit: float = 0.1
    fit_sd: float = 0.07
    taste_sd: float = 0.1
    noise: float = 0.33
    memory: float = 0.97
    keep: float = 0.7


class Learner:
    """The beliefs of everybody's devices, and of their server.

    Parameters
    ----------
    vectors : float [items, d]
        Public, leading components first, of mean squared length 1 in the first `width`.
    met : bool [people, items]
        What everybody met before.
    prior : Prior
    width : int
        Leading components that tastes are linear in.
    draws : int
        M of Thompson sampling, >= 1.
    """

    def __init__(
        self, vectors: Array, met: NDArray[np.bool_], prior: Prior, width: int, draws: int
    ) -> None:
        people = len(met)
        self.prior, self._draws = prior, draws
        self._full = vectors[:, :_STATE].astype(np.float32)
        self._vectors = self._full[:, :width]
        width = self._vectors.shape[1]  # of so few items there may be fewer
        sd = np.concatenate([[prior.fit_sd], np.full(width, prior.taste_sd)])
        mean = np.concatenate([[prior.fit], np.zeros(width)])
        self._layer = BayesianLayer(mean, sd, prior.noise)
        self._gram = np.zeros((people, width + 1, width + 1))
        self._moment = np.zeros((people, width + 1))
        counts = np.maximum(met.sum(1, keepdims=True), 1)
        self._states = (met @ self._full / counts).astype(np.float32)  # [people, d]
        self._sums = np.zeros((2, len(vectors)))  # N, S
        self._variances = np.zeros(2)
        self._today: tuple[Posterior, Array] | None = None  # and how well items fit

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
        """What everybody's device believes today; spreads and draws where the policy asks.

        The numbers behind a person's draws depend on their place alone, whoever else is there.
        """
        mean, variance = self.items()
        fits, found = self._fits(), self._layer.posterior(self._gram, self._moment)
        self._today = found, fits
        vectors, mine = self._vectors, found.mean.astype(np.float32)
        whole = mine[:, :1] * fits + mine[:, 1:] @ vectors.T + mean.astype(np.float32)
        spread: Array = np.zeros((1, 1))
        draws: NDArray[Any] = np.zeros((1, 1, 1))
        if name == "linucb":
            spread = np.sqrt(np.maximum(variance + self._own_variance(found, fits), 0.0))
            # All hear of a day's answers at its end: with equal bonuses all would try the same.
            # Each device's are between none and the whole, drawn anew each day (RandUCB).
            spread = spread * rng.random(spread.shape, dtype=np.float32)
        if name == "thompson":
            # Of what all share, as many draws as are kept apart; each person's are among them.
            common = rng.standard_normal((_COMMON, len(mean)), dtype=np.float32)
            common *= strength * np.sqrt(variance).astype(np.float32)
            shape = (len(whole), self._draws)
            theta = strength * rng.standard_normal((*shape, len(found.mean[0]))) @ found.root
            own: Single = theta.astype(np.float32)
            draws = np.asarray(common[rng.integers(_COMMON, size=shape)], dtype=np.float32)
            draws += whole[:, None] + own[..., :1] * fits[:, None] + own[..., 1:] @ vectors.T
        return Beliefs(whole, spread, draws, mean)

    def _fits(self) -> Array:
        """How well items fit people's states, of mean 0 and sd 1 over items, [people, items]."""
        scores = self._states @ self._full.T
        scores -= scores.mean(1, keepdims=True)
        return np.asarray(scores / np.maximum(scores.std(1, keepdims=True), _LEAST))

    def _own_variance(self, found: Posterior, fits: Array) -> Array:
        """Of x_ui . theta_u, [people, items]."""
        covariance = (np.swapaxes(found.root, -1, -2) @ found.root).astype(np.float32)
        first = covariance[:, :1, 0] * fits**2
        cross = 2 * fits * (covariance[:, 0, 1:] @ self._vectors.T)
        width = self._vectors.shape[1]
        pairs = (self._vectors[:, :, None] * self._vectors[:, None]).reshape(-1, width**2)
        return np.asarray(first + cross + covariance[:, 1:, 1:].reshape(-1, width**2) @ pairs.T)

    def learn(self, slates: NDArray[np.int64], clicks: NDArray[np.bool_], seen: Array) -> Single:
        """Keep what a day's slates gave on the devices; return what goes into the sum.

        Parameters
        ----------
        slates : int64 [people, slate]
        clicks : bool [people, slate]
        seen : float64 [people, slate]
            Chance that each place was looked at; 0 where nobody was there.

        Returns
        -------
        float32 [people, 2, slate]
            Each one's own N and S of today, of the items shown; of all others they are 0.

        Raises
        ------
        EngineError
            Before anything was believed today.
        """
        if self._today is None:
            raise EngineError("a day's beliefs come before what is learned of it")
        found, fits = self._today
        fitting = np.take_along_axis(fits, slates, 1)[..., None]
        x = np.concatenate([fitting, self._vectors[slates]], axis=-1) * seen[..., None]
        expected = (x @ found.mean[..., None])[..., 0]
        mean, _ = self.items()
        gram, moment = self._layer.statistics(x, clicks - seen * mean[slates])
        self._gram = self.prior.memory * self._gram + gram
        self._moment = self.prior.memory * self._moment + moment
        self._move(slates, clicks)
        return np.stack([seen**2, seen * (clicks - expected)], axis=1).astype(np.float32)

    def added(self, slates: NDArray[np.int64], contributed: Single) -> Array:
        """The sum [2 items] over people of what each contributes [people, 2, slate]."""
        items, at = len(self._vectors), slates.ravel()
        parts = [np.bincount(at, contributed[:, row].ravel(), items) for row in range(2)]
        return np.concatenate(parts)

    def hear(self, total: Array, variances: Array) -> None:
        """Take over a day's sums [2, items] and the variances [2] of the noise in them."""
        memory = self.prior.memory
        self._sums = memory * self._sums + total
        self._variances = memory**2 * self._variances + variances

    def _move(self, slates: NDArray[np.int64], clicks: NDArray[np.bool_]) -> None:
        """Let people's states follow what they clicked."""
        keep = self.prior.keep
        for place in range(slates.shape[1]):
            people = np.flatnonzero(clicks[:, place])
            vectors = self._full[slates[people, place]]
            self._states[people] = keep * self._states[people] + (1 - keep) * vectors
