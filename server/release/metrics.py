"""Private metrics from devices: asked of a sample, summed, recorded, noised, and only then read.

1. sample   every user independently with probability q, anew
2. ask      each ranks its own held-out validation item under the iterate
3. sum      contributions of bounded norm, see `shared.privacy.contribution.evaluation`
4. release  the event is in the ledger before there is any noise
5. read     rates with an interval: of the noised sums alone
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from server.checkpoint import ServerState
from server.cohort.sampling import PoissonSampler
from server.release.once import released_once
from server.release.releases import Releasing
from server.release.sums import Expected, connected
from shared.privacy.contribution.evaluation import (
    ABOUT,
    DIM,
    METRICS_CLIP,
    METRICS_SCHEMA,
    estimate_metrics,
    selected_round,
    selection_score,
)
from shared.privacy.contribution.units import releases_metrics
from shared.request import Request
from shared.update import Arrays

Vector = npt.NDArray[np.float64]
KIND = "metrics"  # the ledger's word
_EXPECTED = Expected(METRICS_SCHEMA, DIM, METRICS_CLIP.norm)
_NOTHING_SAID = -1.0  # see `selection_score`
_STREAM = 0x6D657472  # of the samples: they must not be those of the rounds


class PrivateMetrics:
    """Which metrics are due, how they are asked for, and what was released of them.

    Parameters
    ----------
    asking : Request
        Settings, population and policy of the run; see `shared.request`.
    state : ServerState
        Keeps what was released over restarts; advanced in place.
    releases : Releasing
    seed : int or None
        Of a simulation's samples.
    """

    def __init__(
        self, asking: Request, state: ServerState, releases: Releasing, seed: int | None
    ) -> None:
        config = asking.config
        self._asking = replace(asking, release=KIND)
        self._wanted = releases_metrics(config)
        self._federation = config.federation
        self._state = state
        self._releases = releases
        expected = config.federation.expected_metrics_cohort(asking.users)
        self._sampler = PoissonSampler(expected, asking.users, seed, _STREAM)

    @property
    def selects(self) -> bool:
        """Whether the iterate with the best released metric is what is released."""
        return self._wanted and self._federation.select == "private_metric"

    def due(self, round_number: int) -> bool:
        """Whether the iterate of this round is measured; the last one is, after all rounds."""
        every = self._federation.metrics_every
        return self._wanted and every > 0 and self._before_last(round_number, every)

    def _before_last(self, round_number: int, every: int) -> bool:
        return round_number < self._federation.fixed_rounds and round_number % every == 0

    @property
    def due_at_the_end(self) -> bool:
        """Whether the final adapter is to be measured: not again after it was.

        On real devices one whose record is there and whose value was lost in a crash is lost: with
        fresh noise a repetition would be a second release.
        """
        last = self._federation.fixed_rounds
        known = any(found["round"] == last for found in self._state.metrics)
        return self._wanted and not known and not self._releases.is_spent(KIND, last)

    def measure(self, grid: Grid, adapter: Arrays, schema: str, number: int) -> float:
        """Steps 1 to 5 for an adapter; what selection goes by: -1 where the release says nothing.

        Parameters
        ----------
        grid : Grid
        adapter : mapping of str to float32 array
            As it travels.
        schema : str
            Digest of the whole adapter's.
        number : int
            The round that made it.
        """
        asked = self._sampler.draw(
            number, connected(grid, self._asking, KIND, self._sampler.probability)
        )
        request = replace(self._asking, round_number=number, arrays=adapter, schema=schema)
        sums = released_once(grid, request, asked, _EXPECTED, self._state, self._releases)
        if sums is None:
            return _NOTHING_SAID
        noise = self._releases.noise_multiplier(KIND)
        found = estimate_metrics(sums, noise, self._sampler.probability).plain()
        self._state.metrics.append({"round": number, "sums": sums.tolist()} | found)
        return selection_score(found)

    def released(self) -> dict[str, Any] | None:
        """What was released, for the outcome; None where no metrics are."""
        if not self._wanted:
            return None
        told = {**ABOUT, "releases": self._state.metrics}
        if self.selects and self._state.metrics:
            # Of the largest of several noised figures: it is too high more often than too low.
            told["selected_round"] = selected_round(self._state.metrics)
        return told
