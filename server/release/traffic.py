"""How many bytes a run is expected to move: a formula of what is public.

What was moved in fact would tell the size of every cohort, which amplification needs secret.
"""

from __future__ import annotations

from server.exchange import Exchange
from server.release.releases import Releasing
from shared.aggregation import rule_of
from shared.aggregation.travel import sent
from shared.config import ExperimentConfig
from shared.model.adapter import AdapterSchema
from shared.privacy.contribution.evaluation import DIM
from shared.privacy.contribution.moments import moments_size
from shared.privacy.plan.plan import server_plan
from shared.update import Arrays

_WORD = 4  # bytes of a float32


def expected_bytes(
    config: ExperimentConfig, schema: AdapterSchema, initial: Arrays, users: int, kinds: Releasing
) -> dict[str, int]:
    """Bytes of adapters and updates: releases times expected cohort times what one client moves.

    Parameters
    ----------
    config : ExperimentConfig
        The settings of one point.
    schema : AdapterSchema
        Of the whole adapter.
    initial : mapping of str to float32 array
        An adapter: sizes alone are read.
    users : int
        That the expected cohorts rest on.
    kinds : Releasing
        Knows in how many bytes a number of a release travels.

    Returns
    -------
    dict of str to int
        `up`, from devices to the server, and `down`.
    """
    federation, rule = config.federation, rule_of(config)
    cohort = federation.expected_cohort(users)
    ranks = rule.ranks or (None,)
    up = down = 0.0
    for turn in (1, 2):  # rules take turns of two
        share = cohort * ((federation.rounds + 2 - turn) // 2) / len(ranks)
        exchange = Exchange(rule, schema, turn, ())
        for rank in ranks:
            up += share * _word(kinds, "update") * exchange.up(rank).dim
            down += share * _size(exchange.down(initial, rank))
    if federation.popularity_start:
        items = initial["item_bias.weight"].size
        up += federation.expected_popularity_cohort(users) * _word(kinds, "histogram") * items
    plan = server_plan(config, users)
    if plan and plan.of("moments"):
        asked = federation.expected_popularity_cohort(users)
        count, leading, dim = moments_size(initial["item_bias.weight"].size)
        up += asked * _word(kinds, "moments") * dim
        down += asked * _WORD * (2 * count + leading + count * leading + 2 * dim)
    if metrics := plan.of("metrics") if plan else None:
        asked = metrics.times * federation.expected_metrics_cohort(users)
        up += asked * _WORD * DIM
        down += asked * _size(sent(rule, initial))
    return {"up": round(up), "down": round(down)}


def _word(kinds: Releasing, kind: str) -> int:
    shares = kinds.shares(kind)
    return shares.ring.words.itemsize if shares else _WORD


def _size(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())
