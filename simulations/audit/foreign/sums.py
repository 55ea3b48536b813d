"""A foreign run in the words of the checks: sums, what went into them, and what is claimed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from dp_accounting import (
    DpEvent,
    GaussianDpEvent,
    PoissonSampledDpEvent,
    SampledWithoutReplacementDpEvent,
)

from shared.model.adapter import AdapterSchema
from shared.privacy.guarantee import Guarantee
from simulations.audit.foreign.run import Claim, ForeignRun, Round
from simulations.audit.replay.observed import Events, Exchange, Release, Sums, Vector

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class Stated(Sums):
    """What a folder tells of a run.

    Attributes
    ----------
    claim : Claim
    """

    claim: Claim

    @property
    def promised(self) -> Guarantee:
        """As claimed."""
        return self.claim.guarantee

    @property
    def sampled(self) -> bool:
        """Unless a cohort of fixed size is claimed."""
        return self.claim.sampling.kind != "fixed"

    @property
    def events(self) -> Events:
        """A Gaussian a release, as its noise and the sampling are claimed."""
        sampling, found = self.claim.sampling, []
        for each in self.releases:
            if not (each.deviation > 0 and math.isfinite(each.limit)):
                return []
            event: DpEvent = GaussianDpEvent(each.deviation / each.limit)
            if sampling.kind == "poisson" and sampling.probability < 1:
                event = PoissonSampledDpEvent(sampling.probability, event)
            if sampling.kind == "fixed":
                size = round(self.claim.cohort)
                event = SampledWithoutReplacementDpEvent(self.claim.clients, size, event)
            found.append((event, 1))
        return found

    def expected(self, kind: str) -> float:
        """As claimed, of whatever kind."""
        return self.claim.cohort


def taking_part(run: ForeignRun) -> Stated:
    """Who was in which round, and with what after the clip, released or not."""
    found = []
    for each in run.rounds:
        if each.members is not None:
            exchange = _exchange(run, each, each.clipped)
            found.append(Release(exchange, np.zeros(0), 0.0, run.claim.clipping_norm))
    return _stated(run, found)


def summed(run: ForeignRun) -> Stated:
    """What was released, as sums, beside what went into them.

    Where only updates before the clip are there, they are clipped here, as is claimed. Where
    weights by examples are claimed, parts have them, one on average.
    """
    found = []
    for each in run.rounds:
        if each.released is None:
            continue
        exchange = _exchange(run, each, _weighted(run, each))
        divisor, vector = 1.0, each.released
        if run.released != "sum":
            divisor = run.divisor or len(each.members or ()) or run.claim.cohort
            moved_from = each.start if run.released == "model" else None
            vector = divisor * (vector - (0.0 if moved_from is None else moved_from))
        found.append(
            Release(
                exchange,
                vector,
                run.claim.deviation(divisor),
                run.claim.clipping_norm * heaviest(run, each),
                _rounding(each, divisor),
            )
        )
    return _stated(run, found)


def heaviest(run: ForeignRun, each: Round) -> float:
    """The largest weight of a member over the mean one, as weights are claimed; >= 1.

    Infinite where it is not told.
    """
    if run.claim.weights == "equal":
        return 1.0
    if not each.examples:
        return math.inf
    return max(each.examples) * len(each.examples) / sum(each.examples)


def clipped(sent: Rows, norm: float) -> Rows:
    """Rows scaled down to a norm, where they are longer."""
    lengths = np.linalg.norm(sent.astype(np.float64), axis=1)
    scales = np.minimum(1.0, norm / np.maximum(lengths, norm))
    rows: Rows = (sent * scales[:, None]).astype(np.float32)
    return rows


def _weighted(run: ForeignRun, each: Round) -> Rows | None:
    rows = each.clipped
    if rows is None and each.sent is not None:
        rows = clipped(each.sent, run.claim.clipping_norm)
    if rows is None or run.claim.weights == "equal":
        return rows
    if each.examples is None:
        return None
    weights = np.array(each.examples) * (len(each.examples) / sum(each.examples))
    return (rows * weights[:, None]).astype(np.float32)


def _exchange(run: ForeignRun, each: Round, rows: Rows | None) -> Exchange:
    asked, members = each.asked or (), each.members or ()
    return Exchange(
        kind="update",
        round=each.number,
        asked=tuple(run.clients[name] for name in asked),
        members=tuple(run.clients[name] for name in members),
        contributions=np.zeros((0, 0), dtype=np.float32) if rows is None else rows,
        known=rows is not None,
        start=np.zeros(0, dtype=np.float32),
    )


def _rounding(each: Round, divisor: float) -> float:
    """Of a sum that was added up and kept in so many bits: a handful of its members' roots."""
    if each.released is None:
        return 0.0
    largest = float(abs(each.released).max())
    if each.start is not None:
        largest += float(abs(each.start).max())
    return each.rounding * divisor * (math.sqrt(len(each.members or ())) + 4) * largest


def _stated(run: ForeignRun, found: list[Release]) -> Stated:
    dim = next((len(each.released) for each in run.rounds if each.released is not None), 0)
    tensors = run.tensors or (("update", dim),)
    names, sizes = zip(*tensors, strict=True)
    return Stated(
        users=run.claim.clients,
        schema=AdapterSchema(names, tuple((size,) for size in sizes)),
        canaries=run.canaries,
        histories=_examples(run),
        releases=tuple(found),
        moved=_moved(run),
        told={},
        claim=run.claim,
    )


def _examples(run: ForeignRun) -> Mapping[int, int]:
    """Of every client, when they were first seen; 1 where nothing is told."""
    found = dict.fromkeys(run.clients.values(), 1)
    for each in reversed(run.rounds):
        if each.members is not None and each.examples is not None:
            places = (run.clients[name] for name in each.members)
            found |= dict(zip(places, each.examples, strict=True))
    return found


def _moved(run: ForeignRun) -> Vector:
    first, last = run.rounds[0], run.rounds[-1]
    whole = run.released == "model" and last.number >= run.claim.rounds
    if not whole or first.start is None or last.released is None:
        return np.zeros(0)
    moved: Vector = last.released - first.start
    return moved
