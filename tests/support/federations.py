"""A federated point in one call, with what passed through it."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from server.federation import run_federation
from server.prepare import public_factors
from server.release.releases import AlreadyPrivate, Releases
from shared.aggregation import RULES, rule_of
from shared.config import ExperimentConfig, from_dict
from shared.model.adapter import current
from shared.privacy.ledger.ledger import Ledger
from shared.run_files import run_files
from tests.support.tiny import RICH, random_adapter


def point_config(backbone: Path, epsilon: float = 2.0, **sections) -> ExperimentConfig:
    """Settings of a small point; keyword arguments update whole sections.

    Answers are read one by one, also on real nodes, unless another setting is given.
    """
    tree = {
        "data": {"negatives": 20},
        "model": {"backbone": str(backbone), **RICH, "lora_targets": list(RICH["lora_targets"])},
        "train": {"max_windows": 3, "local_lr": 0.5},
        "federation": {"rounds": 3, "cohort": 15.0, "server_lr": 0.05},
        "privacy": {
            "epsilon": epsilon,
            "delta": 1e-3,
            "clipping_norm": 0.5,
            "histogram_share": 0.05,  # the rounds have nearly everything
        },
        "seed": 5,
    }
    for section, settings in sections.items():
        if isinstance(settings, dict):
            tree.setdefault(section, {}).update(settings)
        else:
            tree[section] = settings
    if tree["privacy"].get("trust") != "distributed":
        tree["federation"].setdefault("secure_aggregation", "off")
    whole = tree["privacy"].get("unit", "user") == "user"
    if not (whole and tree["federation"].get("popularity_start", True)):
        tree["model"]["moments_rank"] = 0  # refused there
    return from_dict(tree)


@dataclass
class Run:
    """What a point left."""

    folder: Path
    outcome: dict
    totals: list = field(default_factory=list)  # sums as they arrived, in the order of the releases

    @property
    def files(self):
        return run_files(self.folder, "point")

    @property
    def adapter(self) -> np.ndarray:
        arrays = load_file(self.files.adapter)
        return np.concatenate([arrays[name].ravel() for name in sorted(arrays)])

    @property
    def ledger(self) -> Ledger:
        return Ledger.open(self.files.ledger)


def prepare(folder: Path, engine, scale: float = 0.1, rule=RULES["fedit"]):
    """The files of a point with its initial adapter written; what is fixed is the engine's own."""
    files = run_files(folder, "point")
    for path in (files.initial, files.adapter):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not files.initial.exists():
        schema = engine.schema
        arrays = schema.split(random_adapter(schema, scale=scale).numpy())
        own = schema.split(current(engine.recommender, schema).numpy())
        save_file({**arrays, **{n: own[n] for n in held(rule, schema.names)}}, files.initial)
        save_file(public_factors(engine.recommender), files.public)
    return files


def held(rule, names):
    """What never travels."""
    return (*rule.fixed(names), *rule.personal(names))


def federate(folder: Path, grid, config: ExperimentConfig, monkeypatch, **arguments) -> Run:
    """Run a point to its end and record the sums before they are released."""
    run = Run(folder, {})

    def recording(release):
        def spy(self, kind, total, round_number):
            run.totals.append(total.copy())
            return release(self, kind, total, round_number)

        return spy

    files = prepare(folder, grid.engine, rule=rule_of(config))
    with monkeypatch.context() as patch:
        for kind in (Releases, AlreadyPrivate):
            patch.setattr(kind, "release", recording(kind.release))
        run.outcome = run_federation(grid, config, files, simulated=True, **arguments)
    return run


INFINITE = math.inf
