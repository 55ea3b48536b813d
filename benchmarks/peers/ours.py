"""The cohort engine, through its public interface."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor
from work import Work

from peers import Cohorts, Done
from shared.config import EngineConfig
from shared.model.adapter import current
from shared.request import Request
from simulations.engine.cohort import CohortEngine


def run(work: Work, unit: str, cohorts: Cohorts, done: Done) -> None:
    """Train every cohort with the engine as it comes."""
    _train(work, unit, cohorts, done, work.engine)


def reference(work: Work, unit: str, cohorts: Cohorts, done: Done) -> None:
    """Train every cohort with the slow oracle."""
    _train(work, unit, cohorts, done, dataclasses.replace(work.engine, batching="padded"))


def _train(work: Work, unit: str, cohorts: Cohorts, done: Done, chosen: EngineConfig) -> None:
    config = work.config(unit)
    engine = CohortEngine(work.population, work.recommender(), chosen)
    start = current(engine.recommender, engine.schema)
    trained = engine.schema.trainable
    start[engine.schema.places(trained)] = work.adapter(trained).to(start.device)
    arrays = engine.schema.split(start.cpu().numpy())
    asking = Request("update", config, len(work.population), "", merge=unit == "sum", arrays=arrays)
    for number, cohort in enumerate(cohorts, start=1):
        found = list(engine.answer(dataclasses.replace(asking, round_number=number), cohort))
        if unit == "sum":
            done(torch.from_numpy(sum(update.vector for _, update in found))[None])
        else:
            done(_rows({members[0]: update.vector for members, update in found}))


def _rows(vectors: dict[int, np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack([vectors[user] for user in sorted(vectors)]))
