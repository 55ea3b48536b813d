"""What every aggregation rule answers: what a round trains, what travels, how updates combine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.config import ExperimentConfig
from shared.model.adapter import RELEASED, AdapterSchema
from shared.update import Update

Names = tuple[str, ...]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Carried:
    """What the server keeps from round to round, in the coordinates of the global adapter.

    Attributes
    ----------
    adapter : float64 [dim]
    sums : mapping of str to float64 [dim]
        What is linear in updates or adapters: momentum, first moments, the sum of iterates.
    squares : mapping of str to float64 [dim]
        Second moments, one number >= 0 per coordinate.
    averaged : int
        How many iterates `sums["average"]` adds up.
    """

    adapter: Vector
    sums: Mapping[str, Vector]
    squares: Mapping[str, Vector]
    averaged: int = 0


class AggregationRule:
    """One way of sharing an adapter; as it stands, all that rounds may train is sent and summed.

    Names are those of the adapter's tensors, in the order of its flat vector. Both sides ask the
    same rule: a device what to train, the server what to expect.

    Attributes
    ----------
    name : str
        As `federation.aggregation` gives it.
    linear : bool
        Whether what is uploaded is what is summed, so that it composes with secure aggregation.
    ranks : tuple of int
        Ranks that clients take in turn; empty where all train the model's own.
    """

    name: str
    linear: bool = True
    ranks: tuple[int, ...] = ()

    def of(self, config: ExperimentConfig) -> AggregationRule:
        """The rule under some settings."""
        return self

    def trained(self, names: Sequence[str], round_number: int) -> Names:
        """The tensors that are trained, clipped, noised and uploaded in a round, >= 1."""
        kept = set(self.personal(names))
        return tuple(name for name in self.moving(names) if name not in kept)

    def released(self, names: Sequence[str]) -> Names:
        """The tensors that are released once and travel; no round trains them."""
        return tuple(name for name in names if name in RELEASED)

    def fixed(self, names: Sequence[str]) -> Names:
        """The tensors that no round changes: every device makes them itself, they never travel."""
        return ()

    def personal(self, names: Sequence[str]) -> Names:
        """The tensors that each device trains for itself and keeps."""
        return ()

    def local(self, names: Sequence[str], round_number: int) -> Names:
        """The tensors that a device trains in a round: those that leave it and those it keeps."""
        return (*self.trained(names, round_number), *self.personal(names))

    def moving(self, names: Sequence[str]) -> Names:
        """The tensors that training changes anywhere."""
        still = {*self.fixed(names), *self.released(names)}
        return tuple(name for name in names if name not in still)

    def combine(self, updates: Iterable[Update], dim: int) -> Vector:
        """The cohort's combined update [dim], zero for an empty cohort.

        Summed in float64: one user moves it by no more than its clip.
        """
        total = np.zeros(dim, dtype=np.float64)
        for update in updates:
            total += update.vector
        return total

    def space(self, schema: AdapterSchema) -> AdapterSchema:
        """The coordinates in which updates are summed and noised and the server steps.

        Parameters
        ----------
        schema : AdapterSchema
            Of the adapter, or of what a round trains of it.
        """
        return schema

    def enter(self, schema: AdapterSchema, adapter: Vector) -> Vector:
        """An adapter [dim] in those coordinates."""
        return adapter

    def leave(self, schema: AdapterSchema, vector: Vector, before: Vector) -> Vector:
        """The adapter [dim] for a vector in those coordinates: post-processing.

        Parameters
        ----------
        before : float64 [dim]
            The adapter so far.
        """
        return vector

    def refactor(self, schema: AdapterSchema, carried: Carried) -> Carried:
        """The same model in other coordinates, after a step and once before the first.

        What goes in was released, so this is post-processing: free under differential privacy.
        """
        return carried
