"""The device: owns one user's history and the model, and answers the three things it may be asked.

What leaves is an update or a histogram, clipped and noised as the settings' unit and trust ask, or,
in a simulation, the ranks of held-out items ("evaluator only"). Everything is computed by the same
functions that the cohort engine batches.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from client.batches import local_batches, user_windows
from client.evaluate import Phase, held_out, target_ranks
from client.gradients import PerExample, check_gradients, opacus_gradients
from client.keeper import Keeper
from client.train import local_update
from shared.aggregation import rule_of
from shared.aggregation.travel import narrowed_update, whole
from shared.config import ExperimentConfig
from shared.data.split import training_history
from shared.data.windows import context_window
from shared.errors import Declined
from shared.model.adapter import AdapterSchema, Part, current
from shared.model.arrays import Arrays
from shared.model.recommender import Recommender
from shared.privacy.clipping import L2Clip
from shared.privacy.histogram import HISTOGRAM_CLIP, histogram_schema
from shared.privacy.units import by_example
from shared.update import Update

if TYPE_CHECKING:
    from client.examples import Client, ExampleTraining


def update_clip(config: ExperimentConfig) -> L2Clip | None:
    """The clip of a whole user's update; None where none is promised to a user.

    Also where the rule sums something else than what is uploaded: the server clips that.
    """
    privacy = config.privacy
    bounded = np.isfinite(privacy.epsilon) and privacy.unit != "example" and rule_of(config).linear
    return L2Clip(privacy.clipping_norm) if bounded else None


def user_histogram(history: npt.NDArray[np.int64], items: int) -> npt.NDArray[np.float32]:
    """One user's share of the popularity histogram, float32 [items], of L2 norm 1 (or 0).

    Every training item of the user weighs 1/sqrt(n): under one L2 clip this spends all of the
    sensitivity, however long the history is.
    """
    counts = np.zeros(items, dtype=np.float32)
    mine = training_history(history)
    if len(mine):
        counts[mine] = len(mine) ** -0.5
    clipped: npt.NDArray[np.float32] = HISTOGRAM_CLIP(torch.from_numpy(counts)).numpy()
    return clipped


@lru_cache(maxsize=2)
def _check_opacus(recommender: Recommender) -> None:
    schema = AdapterSchema.of(recommender)
    per_example = opacus_gradients(recommender, schema)
    check_gradients(per_example, recommender, schema, length=6)


def checked_opacus(recommender: Recommender, part: Part) -> PerExample:
    """Opacus's per-example gradients, checked once a model against a plain backward pass."""
    _check_opacus(recommender)
    return opacus_gradients(recommender, part.schema, part.frozen)


class Device:
    """One user's device.

    Parameters
    ----------
    history : int64 [n]
        The user's items, oldest first.
    user : int
        Index of the user: seeds what is random on a simulated device.
    recommender : Recommender
        Its own adapter is not used: every request brings the global one.
    ledger : Path, optional
        Where the device records what it spends; needed where it adds noise.
    personal : Path, optional
        Where the device keeps what is its own; needed under a rule that keeps tensors on devices.
    simulated : bool
        Whether noise is seeded; see `client.examples.ExampleTraining`.
    """

    def __init__(
        self,
        history: npt.NDArray[np.int64],
        user: int,
        recommender: Recommender,
        ledger: Path | None = None,
        *,
        personal: Path | None = None,
        simulated: bool = False,
    ) -> None:
        self.history = history
        self.user = user
        self.recommender = recommender
        self.schema = AdapterSchema.of(recommender)
        self._ledger = ledger
        self._personal = personal
        self._simulated = simulated

    def train(
        self, arrays: Arrays, round_number: int, users: int, config: ExperimentConfig
    ) -> Update:
        """One round of local training: the delta of the adapter, clipped and noised as agreed.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            The global adapter, as far as it travels.
        round_number : int
        users : int
            Size of the population: public.
        config : ExperimentConfig

        Raises
        ------
        Declined
            If the device's own budget does not cover the round.
        """
        self._keep_agreement(config)
        names = rule_of(config).local(self.schema.names, round_number)
        part = self.schema.part(self._adapter(arrays, config), names)
        if by_example(config):
            delta = self._example_delta(part, round_number, users, config)
        else:
            delta = self._user_delta(part, round_number, config)
        clip = update_clip(config)
        delta = clip(delta) if clip else delta
        vector = delta.cpu().numpy()
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        trained = self.schema.subset(rule_of(config).trained(self.schema.names, round_number))
        update = Update(vector, 1.0, norm, trained.digest)
        return narrowed_update(rule_of(config), trained, arrays, update)

    def _user_delta(self, part: Part, round_number: int, config: ExperimentConfig) -> torch.Tensor:
        inputs, targets = local_batches(
            user_windows(self.history, config), config, round_number, self.user
        )
        keeper = Keeper.of(config, self.schema, round_number, self._personal)
        start = keeper.starts(part.start, [self.user])[0] if keeper else part.start
        delta, _ = local_update(
            self.recommender,
            part.schema,
            start,
            torch.from_numpy(inputs).to(start.device),
            torch.from_numpy(targets).to(start.device),
            keeper.rates(start) if keeper else config.train.local_lr,
            config.train.weight_decay,
            part.frozen,
        )
        return keeper.keep([self.user], start[None], delta[None])[0] if keeper else delta

    def _example_delta(
        self, part: Part, round_number: int, users: int, config: ExperimentConfig
    ) -> torch.Tensor:
        training = self._example_training(users, config)
        members, deltas = training.deltas(
            checked_opacus(self.recommender, part), part.start, [self._client()], round_number
        )
        if not members:
            raise Declined(f"declined round {round_number}: the device's own budget is spent")
        return deltas[0]

    def _keep_agreement(self, config: ExperimentConfig) -> None:
        """A device that once agreed to noise its messages answers under no other settings.

        Raises
        ------
        Declined
            If its ledger was opened under other settings than these.
        """
        if self._simulated or self._ledger is None or not self._ledger.exists():
            return
        from shared.privacy.ledger import Ledger
        from shared.privacy.policy import policy_hash

        if Ledger.recover(self._ledger).header.policy != policy_hash(config):
            raise Declined("declined: this device's ledger belongs to other settings")

    def _example_training(self, users: int, config: ExperimentConfig) -> ExampleTraining:
        from client.examples import ExampleTraining  # plans and accountants enter here

        return ExampleTraining(config, users, simulated=self._simulated)

    def _client(self) -> Client:
        from client.examples import Client

        return Client(self.user, self.history, self._ledger)

    @torch.no_grad()
    def evaluate(
        self, arrays: Arrays, phase: Phase, config: ExperimentConfig, round_number: int = 0
    ) -> tuple[int, int] | None:
        """Sampled and full rank of the held-out item; None for a user too short to be evaluated.

        With the device's own tensors as that round left them, where the rule has such.
        """
        case = held_out(self.history, phase)
        if case is None:
            return None
        adapter = self._adapter(arrays, config)
        if keeper := Keeper.of(config, self.schema, round_number, self._personal):
            adapter = keeper.adapters(adapter, [self.user])[0]
        scores = self.scores(adapter, case.context, config.model.max_length)
        return target_ranks(scores, self.history, case, config.data.negatives, self.user)

    @torch.no_grad()
    def scores(
        self, adapter: torch.Tensor, context: npt.NDArray[np.int64], max_length: int
    ) -> npt.NDArray[np.float32]:
        """Scores [items] of the next item after a context."""
        window = torch.from_numpy(context_window(context, max_length))[None].to(adapter.device)
        tensors = self.schema.unflatten(adapter)
        result = torch.func.functional_call(self.recommender, tensors, (window,))
        array: npt.NDArray[np.float32] = result[0, -1].float().cpu().numpy()
        return array

    def histogram(self, users: int, config: ExperimentConfig) -> Update:
        """The user's share of the popularity histogram, clipped and noised as agreed."""
        self._keep_agreement(config)
        items = len(self.recommender.items)
        if by_example(config):
            vector = self._example_training(users, config).histogram(self._client(), items)
        else:
            vector = user_histogram(self.history, items)
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        return Update(vector, 1.0, norm, histogram_schema(items))

    def _adapter(self, arrays: Arrays, config: ExperimentConfig) -> torch.Tensor:
        own = current(self.recommender, self.schema)
        adapter = whole(rule_of(config), self.schema, arrays, own)
        return adapter.to(self.recommender.items.device)
