"""What the settings ask of each other: the shape of a model under its rule, and all refusals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from shared.config.sections import ExperimentConfig
from shared.errors import ConfigError

# How a model's factors begin under the rules that choose it.
_FACTORS = {"fedsb": "core", "principal": "principal"}

# Every refusal, as it reads; the first whose conditions all hold is raised.
# {section.name} is printed as `section.name = value`, {=section.name} as the value alone. With
# words it is a condition too: {name: one two} is one of them, {name: not one} is not, {name: given}
# is set (not 0, not empty), {name: > 1} is more than that. [...] is a condition that is not
# printed, [if ...] one of `_MORE`.
#
# Correlated noise covers users who take part rarely enough, summed by a trusted server, and rounds
# that sum the same coordinates: alternating, fedsvd and flexlora train others from round to round,
# or turn them, and one round's noise would no longer cancel another's. What devices keep (fedsa) is
# not summed, and may shape its owner's later contributions, each of which is clipped.
_TABLE = """
{federation.popularity_start: true} needs model.item_bias = true; change one of them
  [model.item_bias: false]
{train.correction: given} needs model.item_bias = true, which says how popular items are; change one
  of them [model.item_bias: false]
{train.correction: given} needs federation.popularity_start = true, which says how popular items
  are; change one of them [federation.popularity_start: false]
{train.weight_bound: given} is of train.correction, which is unset; give both or neither [if nothing
  is weighted]
{model.factors} does not go with {federation.aggregation}; leave model.factors out, the rule sets it
  [if the rule has others]
{federation.aggregation: ffa alternating fedsvd fedsb fedsa flexlora principal} does not go with
  {model.lora_rank: 0}: there are no factors; use --aggregation fedit, or give a rank [if nothing is
  read]
{model.start: given} needs model.start_is_public = true (--start-is-public): what it holds is in
  every adapter, and no budget counts it; state that nothing in it is of this run's people, or leave
  it out [if nobody states it]
{model.start: given} does not go with {model.lora_rank: 0}: no layer is corrected; leave it out
{model.start: given} does not go with {federation.aggregation: fedsb principal}, whose factors are
  the layers' own directions; use fedit, ffa, alternating, fedsvd, fedsa or flexlora
{federation.aggregation: fedsa} does not go with {privacy.unit: not user}: an example trains the
  device's own B without noise, and B shapes what all its other examples send; use --unit user
{federation.aggregation: fedsa} does not go with {engine.address: given}: people's own tensors lie
  in one database file, which machines cannot share; use --workers on one machine
{federation.aggregation: fedsa} does not go with {federation.select: private_metric}: devices keep
  the B of their last round and none that goes with an earlier iterate; use select = last

{federation.aggregation: not flexlora} does not go with {federation.ranks: given}: its factors add
  up for one rank alone; use --aggregation flexlora
{federation.ranks: given}: expected at most {model.lora_rank}, the rank of the global factors [if a
  rank is above it]
{federation.aggregation: flexlora} does not go with {privacy.adaptive_clipping: given}: devices
  report norms of factors, and products are clipped; use 0
{federation.aggregation: flexlora} does not go with {privacy.trust: not central}: what is summed are
  products, which the server forms of factors in the clear; use --trust central
{federation.aggregation: flexlora} does not go with {privacy.unit: not user}: clipped gradients of
  examples bound factors, not the products that are summed; use --unit user

{federation.secure_aggregation: on} does not go with {federation.aggregation: flexlora}: what is
  summed are products, which the server forms of factors in the clear; use auto or off, or a linear
  rule such as fedit
{federation.secure_aggregation: on} does not go with {privacy.unit: not user}: rounding to whole
  numbers moves what one example may change; use auto or off, or --unit user
{federation.secure_aggregation: off} does not go with {privacy.trust: distributed}: the server would
  see every message with a small part of the noise; use on or auto, or --trust central

{privacy.trust: local} does not go with {privacy.unit: user}: devices add noise per example; use
  --unit example
{privacy.trust: local} does not go with {privacy.unit: both}: both means examples on the device and
  users at the server
{privacy.trust: distributed} does not go with {privacy.max_participations: given}: every round
  counts for everyone; leave it out
{privacy.trust: distributed} does not go with {privacy.unit: not user}: shares of noise hide whole
  users' updates; use --unit user
{privacy.unit: not user} does not go with {train.local_batch: given}: batches are Poisson samples;
  use 0
{privacy.unit: not user} does not go with {train.history_dropout: given}: one example less would
  hide other items in all the others; use 0
{privacy.unit: example} under central trust [privacy.trust: central] does not go with
  {train.local_steps: > 1}: a second step would depend on un-noised gradients; use 1, or --trust
  local
{privacy.unit: example} under central trust [privacy.trust: central] does not go with
  {train.weight_decay: given}: only clipped gradients may enter the sum; use 0

{privacy.max_participations: given} does not go with {privacy.mechanism: gaussian} under
  {privacy.unit: not both}, {privacy.trust: not local}: nothing enforces it; leave it out, or use
  --mechanism dp_ftrl or --unit both
{privacy.min_separation}, {privacy.bands}: nothing enforces them under {privacy.mechanism:
  gaussian}; use --mechanism dp_ftrl, or leave them out [if rounds are kept apart]
{federation.rounds: 0} needs federation.popularity_start = true: without either nothing would be
  released; change one of them [federation.popularity_start: false]
{federation.rounds: 0} does not go with {privacy.mechanism: dp_ftrl}, which is noise of rounds; use
  --mechanism gaussian, or give --rounds
{federation.rounds: 0} does not go with {privacy.adaptive_clipping: given}: no update is clipped;
  use 0, or give --rounds

{privacy.mechanism: dp_ftrl} does not go with {privacy.unit: not user}: it is accounted for unit
  user only; use that, or --mechanism gaussian
{privacy.mechanism: dp_ftrl} does not go with {privacy.trust: not central}: it is accounted for
  trust central only; use that, or --mechanism gaussian
{privacy.mechanism: dp_ftrl} does not go with {privacy.adaptive_clipping: given}: noise cancels
  between rounds of one clipping norm; use 0, or --mechanism gaussian
{privacy.mechanism: dp_ftrl} does not go with {federation.aggregation: alternating fedsvd flexlora}:
  its coordinates change from round to round, and correlated noise would not cancel; use fedit, ffa,
  fedsb, fedsa or principal, or --mechanism gaussian
[privacy.mechanism: dp_ftrl] {privacy.bands} does not go with {privacy.min_separation}: noise may
  reach back no further than a user's last participation; use at most that, or 0 [if it reaches
  back]
[privacy.mechanism: dp_ftrl] {federation.cohort} does not go with {privacy.min_separation}: each
  round may ask at most every {=privacy.min_separation}. user; use a share of at most
  1/{=privacy.min_separation}, or a smaller separation [if more are asked]

{engine.workers: > 1} does not go with {engine.engine: sequential}, which is one process; use
  --engine cohort
{engine.address: given} does not go with {engine.engine: not cohort}; use --engine cohort
{engine.address: given}: expected auto, or host:port of the cluster's head, such as 10.0.0.1:6379
  [if it is no address]

{privacy.adaptive_clipping: given} does not go with {privacy.unit: not user}: one bit and one metric
  are a person's, not an example's; use --unit user, or 0
{privacy.adaptive_clipping: given} does not go with {privacy.trust: not central}: the server adds
  this noise; use --trust central, or 0
{privacy.metrics_share: given} does not go with {privacy.unit: not user}: one bit and one metric are
  a person's, not an example's; use --unit user, or 0
{privacy.metrics_share: given} does not go with {privacy.trust: not central}: the server adds this
  noise; use --trust central, or 0
{privacy.metrics_share}, {privacy.histogram_share} and {privacy.moments_share} leave nothing for
  the rounds; together they must be below 1 [if they take all] [federation.rounds: given]
{privacy.metrics_share}, {privacy.histogram_share} and {privacy.moments_share} take the whole budget
  or more; together they must be below 1 [if they take all] [federation.rounds: 0]
{privacy.metrics_share}: expected 0, or from 0.001 to below 1 [if metrics have next to nothing]
{privacy.histogram_share}: expected 0, or from 0.001 to below 1 [if the histogram has next to
  nothing]
{privacy.moments_share}: expected 0, or from 0.001 to below 1 [if moments have next to nothing]
{privacy.histogram_share: 0} leaves {federation.rounds: 0} without anything to release; leave it out
{privacy.moments_share: given} needs model.moments_rank >= 1: with {model.moments_rank: 0} nothing
  is asked of it; change one of them
{model.moments_rank: given} needs federation.popularity_start = true: which items are asked about
  follows from the histogram; change one of them [federation.popularity_start: false]
{model.moments_rank: given} does not go with {privacy.unit: not user}: what people have together is
  bounded for a whole person; use --unit user, or 0
{federation.metrics_every: given} needs privacy.metrics_share > 0, the budget of the metrics; give
  both or neither [privacy.metrics_share: 0]
{federation.select: private_metric} needs federation.metrics_every >= 1: without metrics on the way
  there is nothing to select from [federation.metrics_every: 0]

{engine.checkpointing: true} does not go with {privacy.unit: not user} on {engine.engine: not
  cohort}: its per-example gradients come from hooks, which see no recomputed layer; use --engine
  cohort
"""

REFUSALS = tuple(" ".join(row.split()) for row in re.split(r"\n+(?! )", _TABLE.strip()))

_LEAST_SHARE = 1e-3  # of a budget: with less a release is noise, beyond what accountants resolve

_MORE: dict[str, Callable[[ExperimentConfig], bool]] = {
    "the rule has others": lambda c: c.model.factors != factors_of(c.federation.aggregation),
    "nobody states it": lambda c: c.model.start_is_public is not True,
    "nothing is weighted": lambda c: c.train.correction is None,
    "nothing is read": lambda c: c.federation.aggregation != "principal" or not c.model.item_rank,
    "a rank is above it": lambda c: max(c.federation.ranks, default=0) > c.model.lora_rank,
    "rounds are kept apart": lambda c: c.privacy.min_separation > 1 or c.privacy.bands > 0,
    "it reaches back": lambda c: c.privacy.bands > c.privacy.min_separation,
    "more are asked": lambda c: (
        math.isfinite(c.privacy.epsilon)
        and c.federation.cohort <= 1
        and c.federation.cohort * c.privacy.min_separation > 1 + 1e-9
    ),
    "it is no address": lambda c: not re.fullmatch(r"auto|[^/\s]+:\d{1,5}", c.engine.address),
    "metrics have next to nothing": lambda c: 0 < c.privacy.metrics_share < _LEAST_SHARE,
    "the histogram has next to nothing": lambda c: (
        0 < (c.privacy.histogram_share or 0) < _LEAST_SHARE
    ),
    "moments have next to nothing": lambda c: 0 < (c.privacy.moments_share or 0) < _LEAST_SHARE,
    "they take all": lambda c: (
        sum(
            share or 0.0
            for share in (
                c.privacy.metrics_share,
                c.privacy.histogram_share,
                c.privacy.moments_share,
            )
        )
        >= 1
    ),
}


def check_together(config: ExperimentConfig, source: str) -> None:
    """Refuse settings that contradict each other.

    Raises
    ------
    ConfigError
        Naming `source`, both settings and what to do: the first of `REFUSALS` that applies.
    """
    for words in REFUSALS:
        conditions = re.findall(r"[{[]([\w.]+): (.*?)[}\]]", words)
        holds = [_holds(_value(config, name), asked) for name, asked in conditions]
        holds += [_MORE[name](config) for name in re.findall(r"\[if (.*?)\]", words)]
        if all(holds):
            told = re.sub(r" ?\[.*?\]", "", words).strip()
            told = re.sub(r"{(=?)([\w.]+).*?}", partial(_named, config), told)
            raise ConfigError(f"{source}: {told}")


def _named(config: ExperimentConfig, found: re.Match[str]) -> str:
    value = _word(_value(config, found[2]))
    return value if found[1] else f"{found[2]} = {value}"


def _holds(value: Any, asked: str) -> bool:
    if asked == "given":
        return bool(value)
    if asked.startswith("> "):
        return bool(value > float(asked[2:]))
    words = asked.split()
    return (_word(value) in words) != (words[0] == "not")


def _value(config: ExperimentConfig, name: str) -> Any:
    section, _, setting = name.partition(".")
    return getattr(getattr(config, section), setting)


def _word(value: Any) -> str:
    """A setting's value in a message."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "unset" if value is None else str(list(value) if isinstance(value, tuple) else value)


def sums_uploads(config: ExperimentConfig) -> bool:
    """Whether what clients upload is summed as it is; else the server clips what it makes of it."""
    return config.federation.aggregation != "flexlora"


def factors_of(rule: str) -> str:
    """`model.factors` under an aggregation rule."""
    return _FACTORS.get(rule, "drawn")


def shape_model(tree: dict[str, Any]) -> dict[str, Any]:
    """Nested settings in which the model has the shape that the rule trains, unless it says so."""
    model, federation = tree.get("model", {}), tree.get("federation", {})
    if not isinstance(model, dict) or not isinstance(federation, dict):
        return tree  # refused elsewhere, with its name
    factors = factors_of(str(federation.get("aggregation")))
    return {**tree, "model": {"factors": factors, **model}}
