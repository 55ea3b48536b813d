"""The start from popularity: a histogram over people, noised once, becomes the item bias."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from server.checkpoint import ServerState
from server.messages import ask
from server.release.moments import Moments
from server.release.releases import Releasing
from server.secagg.opening import opened
from shared.aggregation import Carried, rule_of
from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.model.adapter import AdapterSchema
from shared.privacy.contribution.histogram import histogram_schema, popularity_bias
from shared.privacy.contribution.units import histogram_limit
from shared.privacy.plan.plan import device_plan, server_plan
from shared.request import Request
from shared.update import Arrays

Vector = npt.NDArray[np.float64]

BIAS = "item_bias.weight"


def start_from_popularity(
    grid: Grid,
    asking: Request,
    asked: Sequence[int],
    schema: AdapterSchema,
    state: ServerState,
    releases: Releasing,
) -> None:
    """Set the item bias to the logarithm of a noised popularity histogram.

    Parameters
    ----------
    grid : Grid
    asking : Request
        Settings, population and policy of the run.
    asked : sequence of int
        Its nodes: a sample of all.
    schema : AdapterSchema
    state : ServerState
        Fresh; advanced in place.
    releases : Releasing

    Raises
    ------
    ConfigError
        If the adapter has no item bias.
    EngineError
        In a simulation, if devices that were asked all failed.
    """
    if BIAS not in schema.names:
        raise ConfigError(f"the initial adapter has no {BIAS}; make it with model.item_bias = true")
    where, federation = schema.slice_of(BIAS), asking.config.federation
    items = where.stop - where.start
    shares = releases.shares("histogram")
    releases.announce("histogram", 0)
    replies = ask(grid, replace(asking, release="histogram"), asked)
    ring = shares.ring if shares else None
    total = np.zeros(items)
    limit = histogram_limit(asking.config)
    updates = replies.updates(histogram_schema(items), items, limit, ring)
    for update in opened(updates, shares) if shares else updates:
        total += update.vector
    if asking.merge:
        replies.check_some_counted("popularity histogram")
    state.ledger = releases.position()
    if shares and len(replies.answered) < shares.survivors:
        return  # too few noised the sum, and it was not opened: spent, and the bias stays flat
    state.popularity = releases.release("histogram", total, 0)
    noise = releases.noise_multiplier("histogram")
    state.adapter[where] = popularity_bias(state.popularity, noise, federation.popularity_strength)
    state.ledger = releases.position()


def histogram_noise(config: ExperimentConfig, users: int) -> float:
    """Noise multiplier of the sum of histograms, by whoever adds it; 0 without any."""
    plan = server_plan(config, users)
    if plan is not None:
        return plan.histogram_noise_multiplier or 0.0
    device = device_plan(config, users)
    per_device = (device.histogram_noise_multiplier if device else None) or 0.0
    asked = config.federation.expected_popularity_cohort(users)
    return per_device * math.sqrt(asked)  # independent noise of so many devices


def first_iterate(
    config: ExperimentConfig,
    users: int,
    initial: Arrays,
    counts: Vector,
    moments: Moments | None = None,
) -> Vector:
    """The adapter [dim] that the first round of a run begins from.

    Parameters
    ----------
    config : ExperimentConfig
        Of the point.
    users : int
        Size of the population.
    initial : dict of str to float32 array
        The initial adapter.
    counts : float64 [items]
        The histogram as it was released; empty where the run starts without one.
    moments : Moments, optional
        What people have together, if that was released.
    """
    schema = AdapterSchema.of_arrays(initial)
    adapter = rule_of(config).refactor(schema, Carried(schema.join(initial), {}, {})).adapter
    if len(counts):
        strength = config.federation.popularity_strength
        noise = histogram_noise(config, users)
        adapter[schema.slice_of(BIAS)] = popularity_bias(counts, noise, strength)
    if moments is not None:
        moments.write(adapter, schema)
    return adapter
