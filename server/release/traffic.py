"""How many bytes a run is expected to move: a formula of what is public.

What was moved in fact would tell the size of every cohort, which amplification needs secret.
"""

from __future__ import annotations

from dataclasses import replace

from server.exchange import Exchange
from server.release.sums import form_of
from shared.aggregation import rule_of
from shared.aggregation.travel import sent
from shared.model.adapter import AdapterSchema
from shared.privacy.contribution.evaluation import DIM
from shared.privacy.contribution.units import moments_dim
from shared.privacy.plan.plan import server_plan
from shared.request import Request
from shared.update import Arrays

_WORD = 4  # bytes of a float32


def expected_bytes(asking: Request, schema: AdapterSchema, initial: Arrays) -> dict[str, int]:
    """Bytes of adapters and updates: releases times expected cohort times what one client moves.

    Without what else a message holds: settings, policy, and the keys of a secure sum.

    Parameters
    ----------
    asking : Request
        Settings of one point, and the users that the expected cohorts rest on.
    schema : AdapterSchema
        Of the whole adapter.
    initial : mapping of str to float32 array
        An adapter: sizes alone are read.

    Returns
    -------
    dict of str to int
        `up`, from devices to the server, and `down`.
    """
    config, users = asking.config, asking.users
    federation, rule = config.federation, rule_of(config)
    cohort = federation.expected_cohort(users)
    ranks = rule.ranks or (None,)
    up = down = 0.0
    for turn in (1, 2):  # rules take turns of two
        share = cohort * ((federation.fixed_rounds + 2 - turn) // 2) / len(ranks)
        exchange = Exchange(rule, schema, turn, ())
        for rank in ranks:
            up += share * _bytes(asking, "update", exchange.up(rank).dim) if share else 0.0
            down += share * _size(exchange.down(initial, rank))
    if federation.popularity_start:
        items = initial["item_bias.weight"].size
        asked = federation.expected_popularity_cohort(users)
        up += asked * _bytes(asking, "histogram", items)
    plan = server_plan(config, users)
    if plan and plan.of("moments"):
        asked = federation.expected_popularity_cohort(users)
        count, leading, dim = moments_dim(config, initial["item_bias.weight"].size)
        up += asked * _bytes(asking, "moments", dim)
        down += asked * _WORD * (2 * count + leading + count * leading + 2 * dim * (leading > 0))
    if metrics := plan.of("metrics") if plan else None:
        asked = metrics.times * federation.expected_metrics_cohort(users)
        up += asked * _bytes(asking, "metrics", DIM)
        down += asked * _size(sent(rule, initial))
    return {"up": round(up), "down": round(down)}


def _bytes(asking: Request, kind: str, dim: int) -> int:
    """What one device sends of a kind: float32, or as many bits a number as the ring has."""
    form = form_of(replace(asking, release=kind), simulated=asking.merge)
    return _WORD * dim if form is None else form.ring.packed(form.size(dim))


def _size(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())
