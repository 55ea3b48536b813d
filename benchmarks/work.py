"""One fixed piece of work for all peers: the same model, people, windows and local step.

MovieLens-100K, the first two layers of MiniLM, LoRA of rank 8 on query and value and the item bias
trained, one SGD step over at most 4 windows of 50, cross-entropy over the whole catalogue, cohorts
of 64 drawn once from a seed. Where the log is missing, histories of like lengths stand in.

Units of the work:

    none      the client's update, no clip
    user      the client's update, clipped as a whole
    example   the gradient of every window clipped, then summed (central trust: noise is not here)
    sum       not private, and nobody's own update asked for: the sum of the cohort's alone

Imports neither Flower nor the accountants.
"""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "5")
os.environ.setdefault("STARLING_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # found without being installed

import numpy as np
import torch
from gpu import SHAPES, Shape, drawn, published
from torch import Tensor

from shared.config import DataConfig, EngineConfig, ExperimentConfig, from_dict
from shared.data.catalogue import Catalogue
from shared.data.population import Population, history_of
from shared.data.split import training_history
from shared.data.windows import Windows, windows
from shared.errors import DataError
from shared.model.adapter import AdapterSchema
from shared.model.items import item_vectors
from shared.model.recommender import Recommender, build_recommender
from simulations.engine.placement import keep_freed_memory, place
from simulations.world.world import World

UNITS = ("none", "user", "example", "sum")
RATE = 0.5  # of the local step
# About half of the updates, and of the windows, are longer: both branches of a clip are taken.
CLIP, EXAMPLE_CLIP = 0.13, 0.35
SPREAD = 0.02  # of the adapter's coordinates: no factor is zero, so every tensor has a gradient
COHORT, SEED = 64, 0
BUDGET_MIB = 512  # for a micro-batch on a CPU: what the engine takes unless told otherwise
# Interactions of MovieLens-100K's users: logarithm's mean and deviation, least and most.
_LENGTHS = (4.24, 0.93, 20, 737)


@dataclass(frozen=True)
class Size:
    """What is computed: a backbone's shape, and people of a log or of none."""

    shape: Shape
    cohort: int
    log: str | None = None  # by name; None, or missing here: people of like lengths


_MINILM, _QWEN = SHAPES["full"]
_BERT, _SMALL_QWEN = SHAPES["tiny"]
SIZES = {
    "minilm": Size(Shape("minilm", 2, 943, 4, 50, 1682, _MINILM.model), COHORT, "movielens-100k"),
    "qwen": Size(Shape("qwen2 0.5b", 24, 943, 4, 50, 1682, _QWEN.model), COHORT),
    "tiny": Size(Shape("tiny bert", 2, 40, 3, 8, 60, _BERT.model), 6),
    "tiny-qwen": Size(Shape("tiny qwen2", 2, 40, 3, 8, 60, _SMALL_QWEN.model), 6),
}


class LikeLog:
    """People whose histories are as long as those of MovieLens-100K, over the world's items.

    What follows what has no meaning, which changes no time; drawing a history takes next to none.
    """

    def __init__(self, users: int, items: int) -> None:
        self._world = World(users=users, items=items, seed=SEED)
        weight = 1.0 / (10.0 + np.arange(items))
        self._chance = np.random.default_rng(SEED).permutation(weight / weight.sum())

    def __len__(self) -> int:
        return len(self._world)

    @property
    def name(self) -> str:
        """Says that it is no log."""
        return "random histories as long as MovieLens-100K's"

    @property
    def catalogue(self) -> Catalogue:
        """The world's."""
        return self._world.catalogue

    @property
    def keys(self) -> range:
        """The users' own numbers."""
        return self._world.keys

    def user_of(self, key: int) -> int:
        """The number itself."""
        return self._world.user_of(key)

    def history(self, user: int) -> np.ndarray:
        """Item indices, int64 [n], n from 20 to 737, none twice."""
        mean, deviation, least, most = _LENGTHS
        rng = np.random.default_rng((SEED, user))
        length = int(np.clip(rng.lognormal(mean, deviation), least, most))
        return rng.choice(len(self._chance), length, replace=False, p=self._chance)


class Work:
    """Everything that a peer needs: people, windows, a fresh model, the adapter it starts from.

    Parameters
    ----------
    size : str
        A key of `SIZES`.
    device, dtype : str
        As in EngineConfig.
    """

    def __init__(self, size: str, device: str = "cpu", dtype: str = "float32") -> None:
        keep_freed_memory()  # a setting of the C library that any program can make: all have it
        self.size = SIZES[size]
        self.device = torch.device(device)
        memory = BUDGET_MIB if self.device.type == "cpu" else 0  # on a GPU: what is free
        self.engine = EngineConfig(device=device, dtype=dtype, memory_mib=memory)  # type: ignore[arg-type]  # checked
        self.population = self._population()
        self.source = published(self.size.shape)

    def _population(self) -> Population:
        shape = self.size.shape
        if self.size.log:
            try:
                from simulations.world.sources import open_population  # needs what reads files

                return open_population(DataConfig(spec=self.size.log))
            except (DataError, ModuleNotFoundError):
                pass
        made: Any = LikeLog if shape.length >= 50 else World
        return made(users=shape.users, items=shape.items)

    @property
    def stands_in(self) -> str | None:
        """What stands in for something that is not here, in words."""
        lacking = []
        if self.size.log and self.population.name != self.size.log:
            lacking.append(f"{self.size.log} is not here: {self.population.name}")
        if self.source is None:
            lacking.append("weights are random")
        return "; ".join(lacking) or None

    @cached_property
    def vectors(self) -> np.ndarray:
        """Item vectors, float32 [items, hidden]; from the cache where items have a text."""
        if self.source is not None:
            return item_vectors(self.population.catalogue.texts, self.source)
        rng = np.random.default_rng(SEED)
        shape = (len(self.population.catalogue), self.size.shape.model["hidden_size"])
        table = rng.normal(size=shape).astype(np.float32)
        return table / np.linalg.norm(table, axis=1, keepdims=True)

    def recommender(self) -> Recommender:
        """A fresh model, built from the weights, where it computes."""
        config = self.config("none").model
        if self.source is not None:
            made = build_recommender(self.source, self.vectors, config)
        else:
            made = Recommender(drawn(self.size.shape), self.vectors, config)
        return place(made, self.engine)

    def config(self, unit: str) -> ExperimentConfig:
        """The settings of one unit of the work."""
        shape = self.size.shape
        private = unit in ("user", "example")
        return from_dict(
            {
                "model": {
                    "layers": shape.layers,
                    "max_length": shape.length,
                    "lora_rank": 8,
                    "lora_targets": ["query", "value"],
                    "item_rank": 0,
                    "projection_rank": 0,
                    "item_bias": True,
                    "hidden_scale": 1.0,  # all through the language model
                    "affinity_scale": 0.0,
                },
                "train": {"max_windows": shape.windows, "local_steps": 1, "local_lr": RATE},
                "privacy": {
                    "epsilon": 8.0 if private else math.inf,
                    "unit": "example" if unit == "example" else "user",
                    "clipping_norm": CLIP,
                    "example_clipping_norm": EXAMPLE_CLIP,
                },
            }
        )

    def windows(self, user: int) -> Windows:
        """The training windows of a user, by key, padded to the full length."""
        shape, history = self.size.shape, history_of(self.population, user)
        return windows(training_history(history), shape.length, shape.windows)

    def batch(self, user: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, int64 [windows, length]."""
        cut = self.windows(user)
        return (
            torch.from_numpy(cut.inputs).to(self.device),
            torch.from_numpy(cut.targets).to(self.device),
        )

    def cohort(self, number: int) -> list[int]:
        """The users of a round, by key, the same for every peer."""
        rng = np.random.default_rng((SEED, number))
        count = min(self.size.cohort, len(self.population))
        chosen = rng.choice(len(self.population), count, replace=False).tolist()
        return sorted(self.population.keys[user] for user in chosen)

    def adapter(self, schema: AdapterSchema) -> Tensor:
        """Where everybody starts, float32 [dim] on the CPU."""
        draw = np.random.default_rng(SEED + 1).normal(0, SPREAD, schema.dim)
        return torch.from_numpy(draw.astype(np.float32))

    def counts(self, users: list[int]) -> dict[str, float]:
        """How much work a cohort is: windows, positions with and without a target."""
        cuts = [self.windows(user) for user in users]
        return {
            "users": len(users),
            "windows": sum(len(cut) for cut in cuts),
            "positions": int(sum((cut.targets >= 0).sum() for cut in cuts)),
            "padded_positions": sum(cut.targets.size for cut in cuts),
        }
