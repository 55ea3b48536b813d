"""Example-level local training: DP-SGD over a client's windows.

    g_e   = grad loss(theta; window e)                     one gradient per example
    u_e   = clip(-(lr / B) g_e, lr C / B)                  B = q W, the expected batch at the bound
    theta = theta + sum over e in S of u_e + z (lr C / B) N(0, I)

S is a Poisson sample: every window of the client independently with probability q. Under central
trust there is one such step and the server adds the noise to the sum over clients.

Clients are stacked in the first dimension: a device is a stack of one, the cohort engine stacks
many. Engines differ in how they compute g_e alone; clip, noise and record are these.

References
----------
Abadi et al. 2016, Deep Learning with Differential Privacy.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.training.batches import local_batches, user_windows
from client.training.gradients import PerExample
from shared.config import ExperimentConfig, settings_hash
from shared.data.windows import PAD, START, Windows
from shared.errors import ConfigError, Declined
from shared.privacy.contribution.histogram import bounded_histogram, example_histogram
from shared.privacy.contribution.units import example_clip, expected_batch
from shared.privacy.ledger.budget import DeviceBudget
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.plan import Plan, device_plan

Indices = npt.NDArray[np.int64]

_EXAMPLES = 0x6578616D  # a stream of randomness of its own


class Client(NamedTuple):
    """One client as example-level training needs it.

    Attributes
    ----------
    key : int
        The person's; see `shared.data.population`.
    history : int64 [n]
        The user's items, oldest first.
    ledger : Path or None
        Where the device records what it spends; None where it adds no noise.
    """

    key: int
    history: Indices
    ledger: Path | None


class ExampleTraining:
    """Example-level training under one point's settings.

    Parameters
    ----------
    config : ExperimentConfig
    users : int
        Size of the population: public.
    simulated : bool
        Seeded samples and noise (reproducible, worthless against an attacker) instead of the
        operating system's generator.
    """

    def __init__(self, config: ExperimentConfig, users: int, *, simulated: bool) -> None:
        self._config = config
        self._plan = device_plan(config, users)
        self._settings = settings_hash(config)
        self._clip = example_clip(config)
        self._simulated = simulated

    def deltas(
        self, per_example: PerExample, adapter: Tensor, clients: Sequence[Client], round_number: int
    ) -> tuple[list[int], Tensor]:
        """One round of local training of some clients.

        Parameters
        ----------
        per_example : callable
        adapter : Tensor float32 [dim]
            The global adapter.
        clients : sequence of Client
        round_number : int

        Returns
        -------
        members : list of int
            The keys of those that took part: those whose own budget covers it.
        deltas : Tensor float32 [members, dim]
        """
        willing, sources = self._willing(clients, round_number)
        if not willing:
            return [], adapter.new_zeros((0, len(adapter)))
        cuts = [user_windows(client.history, self._config) for client in willing]
        batches = [
            self._batch(cut, client.key, round_number)
            for cut, client in zip(cuts, willing, strict=True)
        ]
        inputs, targets, taken = _stacked(batches, adapter.device)
        targets = targets.masked_fill(~taken[..., None], PAD)  # no work for what does not count
        # [clients, steps, windows, length] twice, and [clients, steps, windows]
        theta = adapter.expand(len(willing), -1)
        rate, decay = self._config.train.local_lr, self._config.train.weight_decay
        for step in range(inputs.shape[1]):
            gradients = per_example(theta, inputs[:, step], targets[:, step])
            pieces = self._clip(gradients * (-rate / expected_batch(self._config)))
            pieces = torch.where(taken[:, step, :, None], pieces, torch.zeros_like(pieces))
            if self._plan is None:
                # Central trust, one step: the clipped sum itself. Through theta and back it would
                # be rounded to theta's size, beyond the sensitivity that the noise is for.
                return [client.key for client in willing], pieces.sum(1)
            noised = _noised(self._plan, pieces.sum(1), sources)
            theta = theta + noised - rate * decay * theta
        return [client.key for client in willing], theta - adapter

    def histogram(self, client: Client, items: int) -> npt.NDArray[np.float32]:
        """One client's share of the popularity histogram, float32 [items].

        Under both units the share that leaves is bounded like any user's, after the device's own
        noise.

        Raises
        ------
        Declined
            If the client's own budget does not cover it.
        """
        total = example_histogram(user_windows(client.history, self._config), items)
        if self._plan is None:
            return total
        source = self._budget(self._plan, client).spend_histogram()
        noised = self._plan.planned("histogram").mechanism.release(total, source).astype(np.float32)
        return bounded_histogram(noised) if self._config.privacy.unit == "both" else noised

    def _willing(
        self, clients: Sequence[Client], round_number: int
    ) -> tuple[list[Client], list[NoiseSource]]:
        """Who takes part, each with its noise: recorded before anything is computed."""
        if self._plan is None:
            return list(clients), []
        willing, sources = [], []
        for client in clients:
            try:
                sources.append(self._budget(self._plan, client).spend_update(round_number))
            except Declined:
                continue
            willing.append(client)
        return willing, sources

    def _budget(self, plan: Plan, client: Client) -> DeviceBudget:
        if client.ledger is None:
            raise ConfigError(
                "a device that adds noise keeps its ledger in a folder of its own; it has none here"
            )
        context = (self._config.seed, client.key) if self._simulated else None
        return DeviceBudget(client.ledger, plan, self._settings, context)

    def _batch(
        self, cut: Windows, key: int, round_number: int
    ) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
        inputs, targets = local_batches(cut, self._config, round_number, key)
        entropy = self._config.seed if self._simulated else secrets.randbits(128)
        rng = np.random.default_rng((_EXAMPLES, entropy, round_number, key))
        taken = rng.random(inputs.shape[:2]) < self._config.privacy.example_sampling
        return inputs, targets, taken


def _noised(plan: Plan, totals: Tensor, sources: Sequence[NoiseSource]) -> Tensor:
    """Sums [clients, dim] of clipped contributions, each with its own noise."""
    sums, mechanism = totals.cpu().numpy(), plan.planned("update").mechanism
    noised = [mechanism.release(total, source) for total, source in zip(sums, sources, strict=True)]
    return torch.from_numpy(np.stack(noised)).to(totals.device, totals.dtype)


def _stacked(
    batches: Sequence[tuple[Indices, Indices, npt.NDArray[np.bool_]]], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Pad every client to the most windows; what was added is never taken."""
    widest = max(taken.shape[1] for _, _, taken in batches)

    def stack(part: int, fill: int | bool) -> Tensor:
        padded = []
        for batch in batches:
            array = batch[part]
            missing = [(0, 0), (0, widest - array.shape[1]), (0, 0)][: array.ndim]
            padded.append(np.pad(array, missing, constant_values=fill))
        return torch.from_numpy(np.stack(padded)).to(device)

    return stack(0, START), stack(1, PAD), stack(2, False)
