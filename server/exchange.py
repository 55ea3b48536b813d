"""One round's exchange with its cohort: what goes down to whom, and what comes up.

Where clients have several ranks, each is sent the leading part of the factors, and what comes back
is opened here: made the change of products that is summed, and clipped as that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from shared.aggregation import AggregationRule
from shared.aggregation.ranks import narrow, narrowed, product_change
from shared.aggregation.travel import sent
from shared.model.adapter import AdapterSchema
from shared.privacy.contribution.clipping import L2Clip
from shared.request import Request
from shared.update import Arrays, Update

Open = Callable[[Update, list[int]], Update]


class Exchange:
    """A round as both sides see it.

    Parameters
    ----------
    rule : AggregationRule
    schema : AdapterSchema
        Of the whole adapter.
    round_number : int
        >= 1.
    cohort : sequence of int
        The nodes that are asked. A client's rank goes by its node's own number, since who else is
        there must change nobody's rank: one person more or less would move every product.

    Attributes
    ----------
    part : AdapterSchema
        Of what is trained.
    summed : AdapterSchema
        Of what is summed and noised.
    """

    def __init__(
        self,
        rule: AggregationRule,
        schema: AdapterSchema,
        round_number: int,
        cohort: Sequence[int],
    ) -> None:
        self.part = schema.subset(rule.trained(schema.names, round_number))
        self.summed = rule.space(self.part)
        self._rule = rule
        self._cohort = cohort
        turns = rule.ranks
        self._ranks = {node: turns[node % len(turns)] for node in cohort} if turns else {}

    def groups(self) -> list[tuple[Sequence[int], int | None]]:
        """The cohort by rank; None: the whole adapter."""
        if not self._ranks:
            return [(self._cohort, None)]
        return [
            ([node for node in self._cohort if self._ranks[node] == rank], rank)
            for rank in sorted(set(self._ranks.values()))
        ]

    def addressed(self, request: Request, arrays: Arrays) -> list[tuple[Request, Sequence[int]]]:
        """The round's request as every rank is sent it, and to whom.

        Parameters
        ----------
        request : Request
            Without adapter and schema.
        arrays : mapping of str to float32 array
            The global adapter of this round.
        """
        return [
            (replace(request, arrays=self.down(arrays, rank), schema=self.up(rank).digest), members)
            for members, rank in self.groups()
        ]

    def down(self, arrays: Arrays, rank: int | None) -> Arrays:
        """What goes to a client."""
        travelling = sent(self._rule, arrays)
        return travelling if rank is None else narrow(travelling, rank)

    def up(self, rank: int | None) -> AdapterSchema:
        """What a client's update is about."""
        return self.part if rank is None else narrowed(self.part, rank)

    def opener(self, arrays: Arrays, limit: float | None) -> Open | None:
        """What makes an update of one client the vector that is summed; None: it is that already.

        Parameters
        ----------
        arrays : mapping of str to float32 array
            The global adapter of this round.
        limit : float or None
            The clipping norm of one user's vector; None clips nothing.
        """
        if not self._ranks:
            return None
        clip = None if limit is None else L2Clip(limit)

        def opened(update: Update, members: list[int]) -> Update:
            rank = self._ranks[members[0]]
            expected = self.up(rank)
            update.check(expected.digest, expected.dim)
            change = product_change(self.part, arrays, rank, torch.tensor(update.vector))
            vector = (clip(change) if clip else change).numpy()
            norm = float(np.linalg.norm(vector.astype(np.float64)))
            return Update(vector, update.weight, norm, self.summed.digest)

        return opened
