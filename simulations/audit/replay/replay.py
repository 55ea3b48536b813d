"""The settings of a point run again through unmodified server and device code, and watched."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

from server.app import app as server_app
from server.app import listener
from server.checkpoint import ServerState, load
from server.prepare import prepare
from shared.aggregation import rule_of
from shared.config import ExperimentConfig, FederationConfig
from shared.data.population import Population, history_of
from shared.errors import ConfigError
from shared.model.adapter import AdapterSchema
from shared.privacy.contribution.evaluation import METRICS_CLIP
from shared.privacy.contribution.units import examples_per_user
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.mechanisms.correlated import CorrelatedMechanism
from shared.privacy.mechanisms.gaussian import UpdateWithBits
from shared.privacy.plan.plan import Plan, device_plan, server_plan
from shared.request import Request
from shared.run_files import RunFiles, run_files
from shared.update import Arrays
from simulations.audit.canaries import AuditedEngine, Canaries
from simulations.audit.canaries.drawn import by_window
from simulations.audit.canaries.likelihood import log_likelihoods
from simulations.audit.replay.observed import TRAINING, Exchange, Observed, Release, Vector
from simulations.audit.replay.undone import undone
from simulations.audit.replay.watching import WatchedGrid
from simulations.engine.simulation import Simulation
from simulations.flower.grid import run_app

_MOMENT = ("m", "momentum")  # what an optimiser keeps of means: others, and fedavgm
# Of an outcome: what an evaluator alone is told, and what says how long it took.
_EVALUATOR = ("validation", "metrics", "ranks", "history", "seconds", "metrics_status")
# What noise is in, or names a file by its own hash.
_NOISED = ("released_metrics", "clipping_norms", "clipping_bits", "opened")
_OWN = (
    "identity",
    "created",
    "head",
    "ledger_head",
    "hash",
    "signature",
    "valid_from",
    "valid_until",
)


class Replay:
    """Runs a point again, in a folder that is gone afterwards.

    Parameters
    ----------
    config : ExperimentConfig
        Of one point: `at_epsilon(experiment, epsilon, seed)`.
    simulation : Simulation, optional
        Opened for settings with the same data and backbone.

    Raises
    ------
    ConfigError
        Where what the server sums is not what it steps by, so that nobody could tell from outside
        what it released.
    """

    def __init__(self, config: ExperimentConfig, simulation: Simulation | None = None) -> None:
        self._simulation = simulation or Simulation(config)
        self.config = config
        if config.federation.aggregation not in ("fedit", "ffa"):
            raise ConfigError(
                f"federation.aggregation = {config.federation.aggregation}: what is released is "
                "read off what the server steps by, and that is the sum of a round under fedit and "
                "ffa only; other rules are not replayed"
            )

    @property
    def population(self) -> Population:
        """The run's people."""
        return self._simulation.population

    @property
    def schema(self) -> AdapterSchema:
        """Of what rounds sum."""
        whole = self._simulation.engine(self.config.model).schema
        return whole.subset(rule_of(self.config).trained(whole.names, 1))

    def canaries(self, most: int, natural: bool = False) -> Canaries:
        """Up to `most` people, or windows where examples are promised, drawn by the point's seed.

        Parameters
        ----------
        most : int
        natural : bool
            Whether they train on odd sequences of items, instead of sending the worst there is.
        """
        return Canaries.drawn(self.population, self.config, self.schema.dim, most, natural)

    def run(
        self,
        canaries: Canaries | None = None,
        population: Population | None = None,
        lost: float = 0.0,
    ) -> Observed:
        """Once.

        Parameters
        ----------
        canaries : Canaries, optional
        population : Population, optional
            Others than the run's people, with their catalogue.
        lost : float
            Share of devices that never answer, in [0, 1).
        """
        people = population or self.population
        base = self._simulation.engine(self.config.model)
        engine = AuditedEngine(people, base.recommender, self.config.engine)
        engine.hold(canaries or Canaries.none(), self.config)
        with tempfile.TemporaryDirectory() as folder:
            settings = prepare(base.recommender, self.config, Path(folder))
            files = run_files(Path(folder), str(settings["name"]))
            states = dict[int, ServerState]()

            def keep(request: Request | None = None) -> None:
                if (state := load(files.checkpoint)) is not None:
                    states[state.round_number] = state

            grid = WatchedGrid(engine, files.devices, lost, keep)
            with _quietly():
                run_app(server_app, grid, settings)
            keep()
            return self._observed(engine, grid.exchanges, states, files)

    def held_out(self, canaries: Canaries, lost: float = 0.0) -> Observed:
        """Once, in which none of the canaries is in: their coins, tossed before, decide nothing."""
        none = np.zeros_like(canaries.included)
        observed = self.run(replace(canaries, included=none), lost=lost)
        return replace(observed, canaries=canaries)

    def _observed(
        self,
        engine: AuditedEngine,
        exchanges: list[Exchange],
        states: dict[int, ServerState],
        files: RunFiles,
    ) -> Observed:
        people, config = engine.population, self.config
        plan, outcome = server_plan(config, len(people)), json.loads(files.outcome.read_text())
        where = rule_of(config).space(engine.schema).places(self.schema)
        found = list[Release]()
        for each in exchanges:
            vector = _released(each, states, outcome, config.federation)
            if vector is None:
                continue
            if each.kind == "update":
                vector = vector[where] * config.federation.expected_cohort(len(people))
            found.append(_release(each, vector, plan, states, config))
        every = plan.of(TRAINING) if plan else None
        if every is not None and isinstance(every.mechanism, CorrelatedMechanism):
            found += undone(found, every.mechanism, engine.canaries)
        adapter, initial = load_file(files.adapter), load_file(files.initial)
        before = states[0].adapter if 0 in states else engine.schema.join(initial)
        histories = {key: len(history_of(people, key)) for key in people.keys}
        told = _told(files, outcome)
        return Observed(
            config=config,
            users=len(people),
            plan=plan,
            device=device_plan(config, len(people)),
            schema=self.schema,
            canaries=engine.canaries if engine.canaries.keys else None,
            histories=histories,
            exchanges=tuple(exchanges),
            releases=tuple(found),
            ledger=Ledger.open(files.ledger) if files.ledger.exists() else None,
            public=_without(told, (*_NOISED, *_OWN)),
            told=told,
            moved=(engine.schema.join(adapter).astype(np.float64) - before)[where],
            liked=_liked(engine, config, initial, adapter),
        )


def _liked(
    engine: AuditedEngine, config: ExperimentConfig, initial: Arrays, adapter: Arrays
) -> Vector | None:
    canaries = engine.canaries
    if not canaries.keys or not (canaries.natural or by_window(config)):
        return None
    cut = canaries.cut(config)
    liked = [log_likelihoods(engine, arrays, cut) for arrays in (adapter, initial)]
    difference: Vector = liked[0] - liked[1]
    return difference


def _released(
    exchange: Exchange,
    states: dict[int, ServerState],
    outcome: dict[str, Any],
    settings: FederationConfig,
) -> Vector | None:
    """What came of an exchange; None where nothing did. Of updates their mean, in all places."""
    last = states[max(states)]
    if exchange.kind == "update":
        before, after = states.get(exchange.round - 1), states.get(exchange.round)
        moment = _MOMENT[settings.server_optimizer == "fedavgm"]
        if before is None or after is None or moment not in after.optimizer:
            return None  # too few answered
        return mean_update(before, after, settings)
    if exchange.kind == "metrics":
        releases = outcome.get("released_metrics", {}).get("releases", [])
        sums = [each["sums"] for each in releases if each["round"] == exchange.round]
        return np.array(sums[0], dtype=np.float64) if sums else None
    kept = last.popularity if exchange.kind == "histogram" else last.moments
    return kept if len(kept) else None


def mean_update(before: ServerState, after: ServerState, settings: FederationConfig) -> Vector:
    """The mean update [dim] that a server's optimiser stepped by, from its moments.

    Parameters
    ----------
    before, after : ServerState
        Of two rounds in turn.
    settings : FederationConfig
    """
    name = _MOMENT[settings.server_optimizer == "fedavgm"]
    new, beta = after.optimizer[name], settings.beta_1
    old = before.optimizer.get(name, np.zeros_like(new))
    if name == "momentum":
        return beta * old - new
    mean: Vector = (new - beta * old) / (1 - beta)
    return mean


def _release(
    exchange: Exchange,
    vector: Vector,
    plan: Plan | None,
    states: dict[int, ServerState],
    config: ExperimentConfig,
) -> Release:
    planned = plan.of(exchange.kind) if plan else None
    if planned is None:
        return Release(exchange, vector, 0.0, math.inf)
    mechanism = planned.mechanism
    noise, clip = mechanism.noise_multiplier, mechanism.clip.norm
    if isinstance(mechanism, UpdateWithBits):
        noise, clip = mechanism.update.noise_multiplier, config.privacy.clipping_norm
        if len(clips := states[max(states)].clips) >= exchange.round:
            clip = clips[exchange.round - 1]
    if exchange.kind == "metrics":
        clip = METRICS_CLIP.norm
    if plan is not None and plan.correlation is not None and exchange.kind == "update":
        noise = 0.0  # correlated over rounds: what one round's alone is, nothing claims
    units = examples_per_user(config) if by_window(config) else 1
    return Release(exchange, vector, noise * clip, units * clip)


def _told(files: RunFiles, outcome: dict[str, Any]) -> dict[str, Any]:
    """What files say that are handed on, and the outcome that results are made of."""
    told: dict[str, Any] = {
        "settings": files.settings.read_text(),
        "policy": json.loads(files.policy.read_text()),
        "outcome": {name: of for name, of in outcome.items() if name not in _EVALUATOR},
    }
    with safe_open(files.adapter, framework="np") as stream:
        told["adapter"] = {
            name: json.loads(text) if text[:1] in "{[" else text
            for name, text in (stream.metadata() or {}).items()
        }
    for path in (files.popularity, files.moments):
        if path.exists():
            with safe_open(path, framework="np") as stream:
                told[path.name] = {"metadata": stream.metadata(), "tensors": sorted(stream.keys())}
    if files.ledger.exists():
        told["ledger"] = [json.loads(line) for line in files.ledger.read_text().splitlines()]
    return told


def _without(tree: Any, names: tuple[str, ...]) -> Any:
    """A tree without what bears one of these names."""
    if isinstance(tree, dict):
        return {name: _without(of, names) for name, of in tree.items() if name not in names}
    return [_without(of, names) for of in tree] if isinstance(tree, list) else tree


@contextmanager
def _quietly() -> Iterator[None]:
    token = listener.set(lambda entry: None)
    try:
        yield
    finally:
        listener.reset(token)
