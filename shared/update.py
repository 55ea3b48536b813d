"""Update: what one client or one cohort sends, an addable vector that knows its bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ProtocolError
from shared.secagg.ring import Ring

# An adapter as it travels: named tensors, without torch.
Arrays = Mapping[str, NDArray[np.float32]]

# A clipped contribution is within its clip in float64; summing n of them in float32 may add up to
# n rounding errors, far below this.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Update:
    """A sum of users' contributions to the adapter.

    Parameters
    ----------
    vector : numpy.ndarray
        float32, [dim]; or uint32 or uint64, the elements of a ring.
    weight : float
        Number of users summed in it; every user weighs 1.
    norm : float
        Largest L2 norm of one user's contribution, after clipping. Where users were summed before
        any clip, which no private run does, that of their sum. In a ring 0: it is not told.
    schema : str
        Hash of the adapter's tensor names and shapes.
    ring : int
        Bits of the ring in which the contributions were added; 0: they are real numbers.
    bits : float
        Sum of the users' bits of 1/2 or -1/2, under adaptive clipping; else 0.
    """

    vector: NDArray[Any]
    weight: float
    norm: float
    schema: str
    ring: int = 0
    bits: float = 0.0

    @classmethod
    def zero(cls, dim: int, schema: str) -> Update:
        """The sum of no one's contributions: float32 zeros [dim]."""
        return cls(np.zeros(dim, dtype=np.float32), weight=0.0, norm=0.0, schema=schema)

    def __add__(self, other: Update) -> Update:
        """The sum over both groups of users, which must be disjoint.

        Raises
        ------
        ProtocolError
            If schema, shape or ring differ.
        """
        one, two = ((u.schema, u.vector.shape, u.ring) for u in (self, other))
        if one != two:
            raise ProtocolError(
                "cannot add an update of schema {} {} in a ring of {} bits ".format(*two)
                + "to one of schema {} {} in {} bits".format(*one)
            )
        return Update(
            vector=(
                Ring(self.ring).add(self.vector, other.vector)
                if self.ring
                else self.vector + other.vector
            ),
            weight=self.weight + other.weight,
            norm=max(self.norm, other.norm),
            schema=self.schema,
            ring=self.ring,
            bits=self.bits + other.bits,
        )

    def check(
        self, schema: str, dim: int, clip_norm: float | None = None, ring: Ring | None = None
    ) -> None:
        """Refuse an update that cannot be added to this round's sum.

        Parameters
        ----------
        schema : str
            Of the adapter that was sent out.
        dim : int
            Its number of trained parameters.
        clip_norm : float, optional
            The clipping norm C. The vector's L2 norm may be at most weight x C (1 + 1e-4).
        ring : Ring, optional
            That its numbers must be elements of; then they say nothing of a norm.

        Raises
        ------
        ProtocolError
            If it is of another schema, shape, type or ring, is not finite, has a weight or norm out
            of range, or is longer than its weight allows. What was found is not told: it is a
            person's, and the text goes into a server's log.
        """
        if self.schema != schema:
            raise ProtocolError(f"update of another schema: expected {schema}")
        if self.ring != (ring.bits if ring else 0):
            raise ProtocolError(
                f"update in another ring: expected {f'{ring.bits} bits' if ring else 'none'}"
            )
        wanted = ring.words if ring else np.dtype(np.float32)
        if self.vector.shape != (dim,) or self.vector.dtype != wanted:
            raise ProtocolError(f"update of another type or shape: expected {wanted} ({dim},)")
        if ring and not ring.holds(self.vector):
            raise ProtocolError(f"update holds numbers of more than {ring.bits} bits")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ProtocolError("update weight: expected a finite number > 0")
        if not np.isfinite(self.vector).all():
            raise ProtocolError("update holds numbers that are not finite")
        if not (math.isfinite(self.norm) and self.norm >= 0):
            raise ProtocolError("update norm: expected a finite number >= 0")
        if not abs(self.bits) <= self.weight / 2:  # also refuses NaN
            raise ProtocolError("update bits: expected at most 1/2 for each of its users")
        if clip_norm is not None:
            self._check_length(clip_norm)

    def _check_length(self, clip_norm: float) -> None:
        length = float(np.linalg.norm(self.vector.astype(np.float64)))
        if self.norm > clip_norm * (1 + _TOLERANCE):
            raise ProtocolError(f"update norm: expected at most {clip_norm:g}, the clipping norm")
        if length > self.weight * clip_norm * (1 + _TOLERANCE):
            raise ProtocolError(
                f"update of another L2 norm: expected at most weight x clipping norm {clip_norm:g}"
            )


def summed(updates: Iterable[tuple[list[int], Update]]) -> tuple[list[int], Update]:
    """The users of several updates, at least one, and the sum of these."""
    members, parts = zip(*updates, strict=True)
    return [user for each in members for user in each], reduce(Update.__add__, parts)
