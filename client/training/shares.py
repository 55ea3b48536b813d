"""What a device sends where the noise comes in shares: its contribution on a grid, and its noise.

A message is of use in a sum only: alone it holds a small part of the noise that the sum is
promised. Real devices give theirs to secure aggregation; a simulation adds them up itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from shared.config import ExperimentConfig, settings_hash
from shared.errors import ConfigError
from shared.privacy.contribution.histogram import histogram_schema
from shared.privacy.contribution.moments import moments_schema
from shared.privacy.mechanisms.distributed import SkellamMechanism
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.plan import server_plan
from shared.update import Update

Vector = npt.NDArray[np.floating]


class NoisedShares:
    """The messages of any people under one point's settings.

    Parameters
    ----------
    config : ExperimentConfig
    users : int
        Size of the population: public.
    simulated : bool
        Seeded noise (reproducible, worthless against an attacker) instead of noise from the
        operating system's generator.
    """

    def __init__(self, config: ExperimentConfig, users: int, *, simulated: bool) -> None:
        self._seed = config.seed if simulated else None
        self._settings = settings_hash(config)
        self._plan = server_plan(config, users)

    def update(self, delta: Vector, key: int, round_number: int, schema: str) -> Update:
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
        """
        return self._message("update", delta, key, round_number, schema)

    def updates(
        self, keys: Sequence[int], deltas: Vector, round_number: int, schema: str
    ) -> Iterator[tuple[list[int], Update]]:
        """As `update`, of several people, deltas [people, dim]: each with whose it is."""
        for key, delta in zip(keys, deltas, strict=True):
            yield [key], self.update(delta, key, round_number, schema)

    def histogram(self, share: Vector, key: int) -> Update:
        """The message with a person's share of the popularity histogram, float32 [items]."""
        return self._message("histogram", share, key, 0, histogram_schema(len(share)))

    def moments(self, share: Vector, key: int) -> Update:
        """The same with a person's share of which items people have together, float32 [K]."""
        return self._message("moments", share, key, 0, moments_schema(len(share)))

    def _message(
        self, kind: str, contribution: Vector, key: int, round_number: int, schema: str
    ) -> Update:
        mechanism = self._plan.planned(kind).mechanism if self._plan else None
        if not isinstance(mechanism, SkellamMechanism):
            raise ConfigError(f"release {kind!r}: not one whose noise comes in shares")
        source = (
            NoiseSource.secure()
            if self._seed is None
            else NoiseSource.seeded(self._seed, self._settings, "share", kind, round_number, key)
        )
        elements = mechanism.message(contribution, source)
        return Update(elements, 1.0, 0.0, schema, mechanism.ring.bits)
