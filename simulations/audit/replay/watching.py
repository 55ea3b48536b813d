"""A grid that keeps what it is asked and what it answers: the cohort grid's, one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from flwr.app import Message

from client.messages import parse, reply
from shared.privacy.contribution.units import sums_in_ring
from shared.request import SUMMED, Request
from shared.update import Update
from simulations.audit.canaries import AuditedEngine
from simulations.audit.replay.observed import Exchange
from simulations.flower.grid import CohortGrid, key_of, node_of


class WatchedGrid(CohortGrid):
    """Every answer apart, whatever the server allows; what passes is kept.

    Parameters
    ----------
    engine : AuditedEngine
    state : Path
        As for `CohortGrid`.
    lost : float
        Share of those asked for a sum who never answer, the last by key.
    before : callable
        Told of every question before it is answered.
    """

    def __init__(
        self,
        engine: AuditedEngine,
        state: Path,
        lost: float = 0.0,
        before: Callable[[Request], None] = lambda request: None,
    ) -> None:
        super().__init__(engine, state)
        self.exchanges = list[Exchange]()
        self._audited, self._lost, self._before = engine, lost, before

    def _answer(self, messages: list[Message]) -> Iterator[Message]:
        request = parse(messages[0]) if messages else None
        if request is None or request.stage or request.release not in SUMMED:
            yield from super()._answer(messages)
            return
        self._before(request)
        yield from self._one_by_one(request, messages)

    def _one_by_one(self, request: Request, messages: list[Message]) -> Iterator[Message]:
        asked = {key_of(message.metadata.dst_node_id): message for message in messages}
        there = sorted(asked)[: len(asked) - math.floor(self._lost * len(asked))]
        members, rows = list[int](), list[npt.NDArray[np.float32]]()
        answers = list(self.engine.answer(replace(request, merge=False), there, self.state))
        ring = sums_in_ring(request.config, simulated=True)
        directions = self._audited.directions(request)
        for each, answer in answers:
            if not isinstance(answer, Update):
                continue
            members += each
            rows.append(
                self._audited.meant(request, each[0], directions)
                if ring
                else np.array(answer.vector)
            )
        start = [np.ravel(request.arrays[name]) for name in sorted(request.arrays)]
        self.exchanges.append(
            Exchange(
                request.release,
                request.round_number,
                tuple(asked),
                tuple(members),
                np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32),
                not ring or self._known(request, members),
                np.concatenate(start).astype(np.float32) if start else np.zeros(0, np.float32),
                directions,
            )
        )
        for each, answer in answers:
            yield reply(asked[each[0]], answer, [node_of(key) for key in each])

    def _known(self, request: Request, members: list[int]) -> bool:
        """Whether what messages in a ring are made of is known: of updates, of canaries alone."""
        canaries = self._audited.canaries
        everyone = set(members) <= {*canaries.keys, *canaries.spread}
        return everyone if request.release == "update" else request.release != "metrics"
