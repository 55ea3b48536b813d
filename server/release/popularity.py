"""The start from popularity: a histogram over people, noised once, becomes the item bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from flwr.serverapp import Grid

from server.checkpoint import ServerState
from server.messages import ask
from server.release.releases import Releasing
from server.secagg.opening import opened
from shared.errors import ConfigError
from shared.model.adapter import AdapterSchema
from shared.privacy.contribution.histogram import histogram_schema, popularity_bias
from shared.privacy.contribution.units import histogram_limit
from shared.request import Request

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
