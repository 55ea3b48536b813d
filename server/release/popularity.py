"""The start from popularity: a histogram over people, noised once, becomes the item bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from server.checkpoint import ServerState
from server.release.moments import Moments
from server.release.once import released_once
from server.release.releases import Releasing
from server.release.sums import Expected
from shared.aggregation import Carried, rule_of
from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.model.adapter import AdapterSchema
from shared.privacy.contribution.histogram import histogram_schema, popularity_bias
from shared.privacy.contribution.units import histogram_limit
from shared.privacy.plan.summed import noise_heard
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
    """Set the item bias to what a noised popularity histogram gives.

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
    limit = histogram_limit(asking.config)
    expected = Expected(histogram_schema(items), items, limit)
    request = replace(asking, release="histogram")
    total = released_once(grid, request, asked, expected, state, releases)
    if total is None:
        return  # the bias stays flat
    state.popularity = total
    noise = noise_heard(asking.config, asking.users, "histogram", items)
    state.adapter[where] = popularity_bias(total, noise, federation.popularity_strength)


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
        noise = noise_heard(config, users, "histogram", len(counts))
        adapter[schema.slice_of(BIAS)] = popularity_bias(counts, noise, strength)
    if moments is not None:
        moments.write(adapter, schema)
    return adapter
