"""The server's optimiser: Flower's own, fed with one already aggregated (and noised) update.

Flower's FedAvgM, FedAdam and FedYogi average replies and then step. Averaging is done before they
see anything (under privacy every client weighs the same and the denominator is the expected
cohort), so each is handed a single reply and does what remains: the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvgM, FedYogi

from shared.config import FederationConfig

Vector = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
SQUARES = ("v",)  # the moments that are second ones
_NAME = "adapter"


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
        self._flower: FedAvgM | FedAdam | FedYogi
        if config.server_optimizer == "fedavgm":
            self._flower = FedAvgM(
                server_learning_rate=config.server_lr, server_momentum=config.beta_1
            )
            self._flower.server_opt = True  # also for rate 1 and momentum 0: one code path
        else:
            kind = FedAdam if config.server_optimizer == "fedadam" else FedYogi
            self._flower = kind(
                eta=config.server_lr, beta_1=config.beta_1, beta_2=config.beta_2, tau=config.tau
            )

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
        self._take(len(adapter), where)
        moved = adapter.copy()
        moved[where] = self._flower_step(round_number, adapter[where], update)
        self._keep(where)
        return moved

    def _flower_step(self, round_number: int, adapter: Vector, update: Vector) -> Vector:
        rate = self._config.server_lr * self._decay(round_number)
        if isinstance(self._flower, FedAvgM):
            self._flower.server_learning_rate = rate
            self._flower.current_arrays = ArrayRecord({_NAME: Array(adapter)})
        else:
            self._flower.eta = rate
            self._flower.current_arrays = {_NAME: adapter}
        moved = ArrayRecord({_NAME: Array(adapter + update)})
        content = RecordDict({"arrays": moved, "metrics": MetricRecord({"num-examples": 1})})
        reply = Message(content, dst_node_id=1, message_type=MessageType.TRAIN)
        arrays, _ = self._flower.aggregate_train(round_number, [reply])
        if arrays is None:
            raise RuntimeError("Flower's optimiser returned no arrays for a valid reply")
        return np.asarray(arrays[_NAME].numpy(), dtype=np.float64)

    def _decay(self, round_number: int) -> float:
        done = (round_number - 1) / self._config.rounds
        if self._config.lr_decay == "linear":
            return 1 - done
        if self._config.lr_decay == "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        return 1.0

    def _take(self, dim: int, where: Places) -> None:
        """Hand Flower the moments of some coordinates; they are zero before the first step."""
        if not self._moments:
            self._moments = {name: np.zeros(dim) for name in self._names}
        some = [self._moments[name][where] for name in self._names]
        if isinstance(self._flower, FedAvgM):
            self._flower.momentum_vector = some
        else:
            self._flower.m_t, self._flower.v_t = ({_NAME: moment} for moment in some)

    def _keep(self, where: Places) -> None:
        """Write what Flower made of them back."""
        if isinstance(self._flower, FedAvgM):
            some = [np.asarray(moment) for moment in self._flower.momentum_vector or []]
        else:
            moments = (self._flower.m_t or {}, self._flower.v_t or {})
            some = [np.asarray(moment[_NAME]) for moment in moments]
        for name, moment in zip(self._names, some, strict=True):
            self._moments[name][where] = moment

    @property
    def _names(self) -> tuple[str, ...]:
        return ("momentum",) if isinstance(self._flower, FedAvgM) else ("m", "v")

    def state(self) -> dict[str, Vector]:
        """Moments [dim] to write into a checkpoint; empty before the first step."""
        return {name: moment.copy() for name, moment in self._moments.items()}

    def restore(self, state: Mapping[str, Vector]) -> None:
        """Continue from `state()` of an earlier process, or from the same in other coordinates."""
        self._moments = {name: np.array(moment) for name, moment in state.items()}
