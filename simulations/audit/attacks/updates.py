"""What people send in a round, one by one: as a server without secure aggregation sees it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.aggregation import rule_of
from shared.aggregation.travel import sent
from shared.config import ExperimentConfig, settings_hash
from shared.request import Request
from shared.update import Update
from simulations.engine.cohort import CohortEngine

Vector = npt.NDArray[np.float64]
Updates = npt.NDArray[np.float32]


def updates_of(
    engine: CohortEngine,
    config: ExperimentConfig,
    keys: Sequence[int],
    adapter: Vector,
    names: Sequence[str] = (),
    state: Path | None = None,
) -> Updates:
    """Everyone's own update, bounded as the settings say, float32 [people, dim].

    Parameters
    ----------
    engine : CohortEngine
    config : ExperimentConfig
        Of the point, of a trust in which updates are numbers: not `distributed`.
    keys : sequence of int
        Whose, in this order.
    adapter : float64 [schema.dim]
        That they are sent, whole.
    names : sequence of str
        Of the tensors that are wanted; by default all that the first round trains.
    state : Path, optional
        Folder of the devices' ledgers, where they add noise.
    """
    rule = rule_of(config)
    trained = engine.schema.subset(rule.trained(engine.schema.names, 1))
    arrays = sent(rule, engine.schema.split(adapter))
    people = len(engine.population)
    request = Request(
        "update", config, people, settings_hash(config), round_number=1, arrays=arrays
    )
    places = {key: row for row, key in enumerate(keys)}
    found = np.zeros((len(keys), trained.dim), dtype=np.float32)
    for members, update in engine.answer(request, list(keys), state):
        if isinstance(update, Update):
            found[places[members[0]]] = update.vector
    if not names:
        return found
    wanted = engine.schema.subset(tuple(names))
    whole = np.zeros((len(keys), engine.schema.dim), dtype=np.float32)
    whole[:, engine.schema.places(trained)] = found
    return whole[:, engine.schema.places(wanted)]
