"""The server's optimiser: one step from one already aggregated (and noised) update.

With the update Delta_t, the learning rate eta_t, and moments that are zero at the start:

    fedavgm   m_t = beta_1 m_{t-1} - Delta_t                     x += -eta_t m_t
    fedadam   m_t = beta_1 m_{t-1} + (1 - beta_1) Delta_t
              v_t = beta_2 v_{t-1} + (1 - beta_2) Delta_t^2
              x += eta_t sqrt(1 - beta_2^(t+1)) / (1 - beta_1^(t+1)) m_t / (sqrt(v_t) + tau)
    fedyogi   m_t as fedadam
              v_t = v_{t-1} - (1 - beta_2) Delta_t^2 sign(v_{t-1} - Delta_t^2)
              x += eta_t m_t / (sqrt(v_t) + tau)

These are Flower's FedAvgM, FedAdam and FedYogi to the digit, its correction of Adam's rate by t + 1
included. Flower's own average replies first; under privacy every client weighs the same and the
denominator is the expected cohort, so that is done before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from shared.config import FederationConfig

Vector = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
SQUARES = ("v",)  # the moments that are second ones


class ServerOptimizer:
    """One optimiser over a flat adapter vector.

    Parameters
    ----------
    config : FederationConfig
        `server_optimizer`, `server_lr`, `lr_decay`, `beta_1`, `beta_2`, `tau`, `rounds`.

    References
    ----------
    Reddi et al. 2021, Adaptive Federated Optimization; Hsu et al. 2019 (FedAvgM).
    """

    def __init__(self, config: FederationConfig) -> None:
        self._config = config
        self._moments: dict[str, Vector] = {}

    def step(
        self, round_number: int, adapter: Vector, update: Vector, where: Places | None = None
    ) -> Vector:
        """The next adapter, float64 [dim].

        A coordinate that the update is not about stays, and so do its moments.

        Parameters
        ----------
        round_number : int
            >= 1; sets the decayed learning rate and Adam's bias correction.
        adapter : float64 [dim]
        update : float64 [dim], or [len(where)]
            Mean update: the noised sum over the expected cohort.
        where : int64 [n], optional
            The coordinates that it is about; by default all, in order.
        """
        where = np.arange(len(adapter)) if where is None else where
        if not self._moments:
            names = ("momentum",) if self._config.server_optimizer == "fedavgm" else ("m", "v")
            self._moments = {name: np.zeros(len(adapter)) for name in names}
        some = {name: moment[where] for name, moment in self._moments.items()}
        # What an averaged model would say of the update: Flower's digits, and those of past runs.
        delta = (adapter[where] + update) - adapter[where]
        moved = adapter.copy()
        moved[where] += self._change(round_number, delta, some)
        for name, moment in some.items():
            self._moments[name][where] = moment
        return moved

    def _change(self, round_number: int, delta: Vector, moments: dict[str, Vector]) -> Vector:
        """How far some coordinates go; their moments are replaced by the next ones."""
        beta_1, beta_2, tau = self._config.beta_1, self._config.beta_2, self._config.tau
        rate = self._config.server_lr * self._decay(round_number)
        if self._config.server_optimizer == "fedavgm":
            moments["momentum"] = beta_1 * moments["momentum"] - delta
            return -rate * moments["momentum"]
        moments["m"] = beta_1 * moments["m"] + (1 - beta_1) * delta
        v, square = moments["v"], delta**2
        if self._config.server_optimizer == "fedadam":
            moments["v"] = beta_2 * v + (1 - beta_2) * square
            power = round_number + 1.0
            rate = rate * np.sqrt(1 - np.power(beta_2, power)) / (1 - np.power(beta_1, power))
        else:
            moments["v"] = v - (1 - beta_2) * square * np.sign(v - square)
        return rate * moments["m"] / (np.sqrt(moments["v"]) + tau)

    def _decay(self, round_number: int) -> float:
        done = (round_number - 1) / self._config.fixed_rounds
        if self._config.lr_decay == "linear":
            return 1 - done
        if self._config.lr_decay == "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        return 1.0

    def state(self) -> dict[str, Vector]:
        """Moments [dim] to write into a checkpoint; empty before the first step."""
        return {name: moment.copy() for name, moment in self._moments.items()}

    def restore(self, state: Mapping[str, Vector]) -> None:
        """Continue from `state()` of an earlier process, or from the same in other coordinates."""
        self._moments = {name: np.array(moment) for name, moment in state.items()}
