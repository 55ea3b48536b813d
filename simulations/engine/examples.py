"""Example-level training of a cohort: the device's own, stacked, each with its own ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from client.training.examples import Client, ExampleTraining
from client.training.gradients import PerExample
from shared.data.population import Population, history_of
from shared.errors import Declined
from shared.request import Request
from simulations.engine.batching import Person


def device_ledger(state: Path | None, key: int) -> Path | None:
    """Where the virtual device of the person with a key keeps its ledger in a run's folder."""
    return None if state is None else state / f"{key}.jsonl"


class ExampleCohort:
    """What the cohort engine does where clients clip per example.

    Parameters
    ----------
    population : Population
    """

    def __init__(self, population: Population) -> None:
        self._population = population

    def deltas(
        self,
        per_example: PerExample,
        people: Iterator[list[Person]],
        adapter: Tensor,
        request: Request,
        state: Path | None,
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Deltas [members, dim] of those whose own budgets cover the round, as they come.

        Parameters
        ----------
        per_example : callable
            See `client.training.gradients.PerExample`; for any number of clients at once.
        people : iterator of list of Person
            Those that are trained at once.
        adapter : Tensor float32 [dim]
            What is trained of the global adapter.
        request : Request
        state : Path or None
            Folder of the devices' ledgers.
        """
        training = ExampleTraining(request.config, request.users, simulated=True)
        for group in people:
            clients = [Client(*person, device_ledger(state, person.key)) for person in group]
            number = request.round_number
            members, deltas = training.deltas(per_example, adapter, clients, number)
            if members:
                yield members, deltas

    def histograms(
        self, keys: Sequence[int], request: Request, state: Path | None
    ) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Popularity histograms [items] of those whose own budgets cover them."""
        items = len(self._population.catalogue)
        training = ExampleTraining(request.config, request.users, simulated=True)
        for key in keys:
            try:
                history = history_of(self._population, key)
                client = Client(key, history, device_ledger(state, key))
                yield key, training.histogram(client, items)
            except Declined:
                continue
