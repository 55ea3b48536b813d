"""What everyone sends in the first round of a point, and who sees what of it."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.config import ExperimentConfig
from shared.model.adapter import current
from shared.privacy.contribution.histogram import user_histogram
from shared.privacy.plan.plan import server_plan
from simulations.audit.attacks import reconstruction
from simulations.audit.attacks.reconstruction import Reader
from simulations.audit.attacks.updates import updates_of
from simulations.audit.attacks.views import View, alone, in_shares, noised, promised_inside
from simulations.engine.cohort import CohortEngine
from simulations.engine.simulation import Simulation

Rows = npt.NDArray[np.floating]

_IN_SHARES = 50.0  # expected devices of a sum whose noise comes in shares


@dataclass(frozen=True)
class Seen:
    """Contributions of one kind, the views of them, and how they are read.

    Attributes
    ----------
    sent : float [people, dim]
    views : sequence of View
    readers : mapping of str to Reader
    """

    sent: Rows
    views: Sequence[View]
    readers: Mapping[str, Reader]


class Scene:
    """What everyone sends in the first round of a point.

    Parameters
    ----------
    simulation : Simulation
    point : ExperimentConfig
        Of the point; see `halves.audited`.
    """

    def __init__(self, simulation: Simulation, point: ExperimentConfig) -> None:
        self.point = point
        self.engine: CohortEngine = simulation.engine(point.model)
        self.keys, self.items = list(simulation.users), len(simulation.population.catalogue)
        recommender = self.engine.recommender
        self.adapter = current(recommender, self.engine.schema).double().numpy()
        self.sent = updates_of(self.engine, point, self.keys, self.adapter)
        self.mine = reconstruction.trained_items(self.engine, point)
        self.readers = reconstruction.readers(self.engine, point)

    def of_the_server(self) -> list[Seen]:
        """What a server sees that adds up nothing: each update and histogram as it is sent."""
        sums = [(f"a sum of {n}", n) for n in (10, 100) if n < len(self.keys)]
        named = [("one update", 1), *sums, ("a sum of all", len(self.keys))]
        updates = [View(name, people, alone) for name, people in named]
        counts = [View("one histogram", 1, alone)]
        return [Seen(self.sent, updates, self.readers), self._counted(counts)]

    def of_releases(self) -> list[Seen]:
        """What is seen of a point's own releases; nothing where none has noise of the server's."""
        plan, people = server_plan(self.point, len(self.keys)), len(self.keys)
        if plan is None or not self.private or plan.guarantee.trust != "central":
            return []
        promised, found = promised_inside(self.point, people), []
        kinds = {each.kind for each in plan.releases}
        if "update" in kinds:
            opened = noised(self.point, people, "update")
            views = [View("a noised sum of all", people, opened, promised)]
            views.append(View("one update, with a sum's noise", 1, opened, promised))
            found.append(Seen(self.sent, views, self.readers))
        if "histogram" in kinds:
            opened = noised(self.point, people, "histogram")
            found.append(
                self._counted([View("a noised histogram of all", people, opened, promised)])
            )
        return found

    def of_other_trusts(self) -> list[Seen]:
        """The same updates, where noise comes in shares, and where each device adds its own."""
        federation = dataclasses.replace(self.point.federation, cohort=_IN_SHARES)
        shared = self._changed(trust="distributed")
        shared = dataclasses.replace(shared, federation=federation)
        opened = in_shares(shared, len(self.keys), "update")
        inside = promised_inside(shared, len(self.keys))
        view = View(f"a sum of {_IN_SHARES:.0f}, noise in shares", int(_IN_SHARES), opened, inside)
        local = self._changed(trust="local", unit="example")
        with tempfile.TemporaryDirectory() as folder:
            own = updates_of(self.engine, local, self.keys, self.adapter, state=Path(folder))
        message = View("one message, noised by window", 1, alone)
        return [Seen(self.sent, [view], self.readers), Seen(own, [message], self.readers)]

    @property
    def private(self) -> bool:
        """Whether the point has a budget."""
        return math.isfinite(self.point.privacy.epsilon)

    def _counted(self, views: Sequence[View]) -> Seen:
        shares = np.stack([self._histogram(key) for key in self.keys])
        return Seen(shares, views, {"histogram": reconstruction.by_histogram})

    def _changed(self, **privacy: Any) -> ExperimentConfig:
        changed = dataclasses.replace(self.point.privacy, **privacy)
        return dataclasses.replace(self.point, privacy=changed)

    def _histogram(self, key: int) -> npt.NDArray[np.float32]:
        population = self.engine.population
        return user_histogram(population.history(population.user_of(key)), self.items)
