"""What a device sends where nobody reads anything but a sum: its contribution in the sum's form.

Under distributed trust its noise is in it. A message is of use in a sum only: alone it holds a
small part of the noise that the sum is promised, or none. Real devices give theirs to secure
aggregation; a simulation adds them up itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from shared.config import ExperimentConfig, settings_hash
from shared.privacy.contribution.evaluation import METRICS_SCHEMA
from shared.privacy.contribution.histogram import histogram_schema
from shared.privacy.contribution.moments import moments_schema
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.summed import SummedForm, summed_form
from shared.update import Update

Vector = npt.NDArray[np.floating]


class SummedMessages:
    """The messages of any people under one point's settings, of either trust.

    Parameters
    ----------
    config : ExperimentConfig
    users : int
        Size of the population: public.
    simulated : bool
        Seeded randomness (reproducible, worthless against an attacker) instead of the operating
        system's generator.
    """

    def __init__(self, config: ExperimentConfig, users: int, *, simulated: bool) -> None:
        self._config, self._users = config, users
        self._seed = config.seed if simulated else None
        self._settings = settings_hash(config)
        self._forms = dict[tuple[str, float, int], SummedForm]()

    def update(
        self,
        delta: Vector,
        key: int,
        round_number: int,
        schema: str,
        bit: float = 0.0,
        adapted: float = 0.0,
    ) -> Update:
        """The message of a round.

        Parameters
        ----------
        delta : float32 [dim]
            A person's, clipped.
        key : int
            The person's; see `shared.data.population`.
        round_number : int
        schema : str
            Of the adapter.
        bit, adapted : float
            Under adaptive clipping: the person's bit, and the round's norm.
        """
        form = self.form("update", round_number, adapted)
        return self._message(form, "update", (delta, bit), key, round_number, schema)

    def updates(
        self,
        keys: Sequence[int],
        deltas: tuple[Vector, Sequence[float]],
        round_number: int,
        schema: str,
        adapted: float = 0.0,
    ) -> Iterator[tuple[list[int], Update]]:
        """As `update`, of several people, deltas [people, dim] and bits: each with whose it is."""
        for key, delta, bit in zip(keys, *deltas, strict=True):
            yield [key], self.update(delta, key, round_number, schema, bit, adapted)

    def histogram(self, share: Vector, key: int) -> Update:
        """The message with a person's share of the popularity histogram, float32 [items]."""
        return self._once("histogram", share, key, histogram_schema(len(share)))

    def moments(self, share: Vector, key: int) -> Update:
        """The same with a person's share of which items people have together, float32 [K]."""
        return self._once("moments", share, key, moments_schema(len(share)))

    def metrics(self, share: Vector, key: int, round_number: int) -> Update:
        """The same with what a person contributes to private metrics, float32 [3]."""
        form = self.form("metrics", round_number)
        return self._message(form, "metrics", (share, 0.0), key, round_number, METRICS_SCHEMA)

    def form(self, kind: str, round_number: int, adapted: float = 0.0) -> SummedForm:
        """See `shared.privacy.plan.summed.summed_form`."""
        wanted = kind, adapted, round_number
        if wanted not in self._forms:
            found = summed_form(self._config, self._users, kind, adapted, round_number)
            self._forms = {wanted: found}
        return self._forms[wanted]

    def _once(self, kind: str, share: Vector, key: int, schema: str) -> Update:
        return self._message(self.form(kind, 0), kind, (share, 0.0), key, 0, schema)

    def _message(
        self,
        form: SummedForm,
        kind: str,
        contribution: tuple[Vector, float],
        key: int,
        round_number: int,
        schema: str,
    ) -> Update:
        source = (
            NoiseSource.secure()
            if self._seed is None
            else NoiseSource.seeded(self._seed, self._settings, "share", kind, round_number, key)
        )
        vector, bit = contribution
        return Update(form.encode(vector, source, bit), 1.0, 0.0, schema, form.ring.bits)
