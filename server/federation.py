"""A whole federated run: initial adapter, popularity start, rounds, final evaluation, outcome."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid
from safetensors.numpy import load_file, save_file

from server.checkpoint import ServerState, load
from server.messages import HISTOGRAM, Replies, point_settings, requests
from server.releases import ADVERSARY, HISTOGRAM_CLIP, Releases
from server.sampling import PoissonSampler
from server.strategy import PrivateFedOpt, RoundEntry
from shared.config import ExperimentConfig
from shared.errors import ConfigError, LedgerError, ProtocolError
from shared.model.adapter import AdapterSchema
from shared.model.arrays import Arrays

Vector = npt.NDArray[np.float64]
BIAS = "item_bias.weight"


@dataclass(frozen=True)
class RunFiles:
    """Where a run keeps what it is given and what it makes.

    Attributes
    ----------
    initial : Path
        The initial adapter (safetensors, named float32 tensors): fixes the schema.
    ledger, checkpoint, adapter, outcome : Path
        Written by the run; `outcome` last.
    """

    initial: Path
    ledger: Path
    checkpoint: Path
    adapter: Path
    outcome: Path


def run_federation(
    grid: Grid,
    config: ExperimentConfig,
    files: RunFiles,
    *,
    simulated: bool,
    on_round: Callable[[RoundEntry], None] = lambda entry: None,
) -> dict[str, Any]:
    """Run all rounds and write the released adapter and the outcome.

    Parameters
    ----------
    grid : Grid
        Flower's, or any engine's.
    config : ExperimentConfig
        The settings of one point.
    files : RunFiles
        A checkpoint found there is continued.
    simulated : bool
        Seeded noise and sampling, and evaluation of held-out items on the clients.
    on_round : callable
        Told of every completed round.

    Returns
    -------
    dict
        What `results.json` holds of a point, as far as the server knows it.

    Raises
    ------
    ConfigError
        If there is no client, or the settings contradict each other.
    """
    nodes = list(grid.get_node_ids())
    if not nodes:
        raise ConfigError("no client is connected: start clients, then the run")
    started = time.monotonic()
    arrays = load_file(files.initial)
    schema = AdapterSchema.of_arrays(arrays)
    sampler = PoissonSampler(
        config.federation.expected_cohort(len(nodes)),
        len(nodes),
        config.seed if simulated else None,
    )
    releases = Releases(config, len(nodes), sampler.probability, files.ledger, simulated)
    state = load(files.checkpoint)
    if state is None:
        state = ServerState(adapter=schema.join(arrays))
        if config.federation.popularity_start:
            _start_from_popularity(grid, nodes, config, schema, state, releases)
    elif not releases.ledger.extends(*state.ledger):
        raise LedgerError(
            f"{files.ledger}: does not continue the ledger of {files.checkpoint}; one of them was "
            "replaced or cut"
        )
    strategy = PrivateFedOpt(config, schema, state, sampler, releases, files.checkpoint, on_round)
    strategy.start(
        grid,
        initial_arrays=strategy.arrays(state.adapter),
        num_rounds=config.federation.rounds - state.round_number,
        timeout=3600,
    )
    adapter = strategy.final_adapter()
    _save_adapter(schema.split(adapter), point_settings(config), files.adapter)
    outcome = _outcome(config, releases, sampler, state, schema)
    if simulated:
        outcome["validation"] = strategy.evaluate(grid, adapter, "validation")
        outcome["metrics"] = strategy.evaluate(grid, adapter, "test")
        outcome["metrics_status"] = "evaluator only, not released"
    outcome["seconds"] = time.monotonic() - started
    _write_json(outcome, files.outcome)
    return outcome


def _start_from_popularity(
    grid: Grid,
    nodes: list[int],
    config: ExperimentConfig,
    schema: AdapterSchema,
    state: ServerState,
    releases: Releases,
) -> None:
    """Set the item bias to the logarithm of a noised popularity histogram.

    b_i = strength log((max(c_i, 0) + kappa) / mean), kappa = 1 + z: counts below the noise look
    alike. Post-processing of one release.
    """
    if BIAS not in schema.names:
        raise ConfigError("federation.popularity_start = true needs model.item_bias = true")
    where = schema.slice_of(BIAS)
    items = where.stop - where.start
    replies = Replies(
        grid.send_and_receive(requests(nodes, HISTOGRAM, point_settings(config), round_number=0)),
        nodes,
    )
    total = np.zeros(items)
    for update in replies.updates(f"histogram:{items}", items, HISTOGRAM_CLIP.norm):
        total += update.vector
    if not replies.answered:
        raise ProtocolError(f"popularity histogram: no client answered: {replies.failures[:1]}")
    counts = np.maximum(releases.histogram(total), 0) + 1 + releases.histogram_noise
    state.adapter[where] = config.federation.popularity_strength * np.log(counts / counts.mean())
    state.ledger = releases.position()
    state.bytes_up += len(replies.answered) * 4 * items


def _outcome(
    config: ExperimentConfig,
    releases: Releases,
    sampler: PoissonSampler,
    state: ServerState,
    schema: AdapterSchema,
) -> dict[str, Any]:
    calibration = releases.calibration
    return {
        "epsilon_target": config.privacy.epsilon,
        "delta": releases.delta,
        "unit": config.privacy.unit,
        "relation": config.privacy.relation,
        "trust": config.privacy.trust,
        "adversary": ADVERSARY,
        "noise_multiplier": calibration.noise_multiplier,
        "histogram_noise_multiplier": calibration.histogram_noise_multiplier,
        "rounds": state.round_number,
        "sampling_probability": releases.sampling_probability,
        "cohort": sampler.expected,
        "clipping_norm": config.privacy.clipping_norm,
        "seed": config.seed,
        "communication_bytes": {"up": state.bytes_up, "down": state.bytes_down},
        "trained_parameters": schema.dim,
        "history": state.history,
    }


def _save_adapter(arrays: Arrays, settings: str, file: Path) -> None:
    """An adapter and, beside it in the same file, the settings that make it usable."""
    part = file.with_suffix(".part")
    save_file(dict(arrays), part, metadata={"settings": settings})
    part.replace(file)


def _write_json(tree: dict[str, Any], file: Path) -> None:
    part = file.with_suffix(".part")
    with part.open("w", encoding="utf-8") as stream:
        json.dump(tree, stream)  # infinity inside: read back by json.loads only
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)
