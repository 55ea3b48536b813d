"""FedSVD: B is trained; after every round the server refactors the product.

    B A = U S V'        A <- V' (orthonormal rows)        B <- U S

The product, and so the model, stays. What changes is what the next round's clip and noise mean:
with orthonormal rows ||N A|| = ||N||, so noise on B is noise of the same size on the product, and
its directions are ordered by what has been learned. The server computes it from what was released:
post-processing, free under differential privacy.

The row space of B A is that of A, so the new coordinates of B are the old ones times Q = A A_new'.
What the server keeps of past steps turns with them,

    m <- m Q            momentum, first moments, sums of iterates: linear, exact
    v <- v (Q * Q)      second moments: exact if coordinates are uncorrelated, never negative

References
----------
Lee et al. 2025, FedSVD: Adaptive Orthogonalization for Private Federated Learning with LoRA.
https://arxiv.org/abs/2505.12805
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shared.aggregation.rule import AggregationRule, Carried, Names
from shared.aggregation.selective import downs, pairs
from shared.model.adapter import AdapterSchema

Matrix = npt.NDArray[np.float64]


class FedSVD(AggregationRule):
    """A is the server's alone; it travels down, because it changes."""

    name = "fedsvd"

    def trained(self, names: Sequence[str], round_number: int) -> Names:
        """Everything but A."""
        return tuple(name for name in self.moving(names) if name not in downs(names))

    def refactor(self, schema: AdapterSchema, carried: Carried) -> Carried:
        """Orthonormal A, ordered by what the product does; the same product."""
        adapter = carried.adapter.copy()
        sums = {name: vector.copy() for name, vector in carried.sums.items()}
        squares = {name: vector.copy() for name, vector in carried.squares.items()}
        shapes = dict(zip(schema.names, schema.shapes, strict=True))
        for down, up in pairs(schema.names):
            a, b = schema.slice_of(down), schema.slice_of(up)
            new_up, new_down, turn = refactored(
                adapter[b].reshape(shapes[up]), adapter[a].reshape(shapes[down])
            )
            adapter[b], adapter[a] = new_up.ravel(), new_down.ravel()
            for vector in sums.values():
                vector[b] = (vector[b].reshape(shapes[up]) @ turn).ravel()
            for vector in squares.values():
                vector[b] = (vector[b].reshape(shapes[up]) @ turn**2).ravel()
            if "average" in sums:  # every iterate with the A that all now share
                sums["average"][a] = carried.averaged * adapter[a]
        return Carried(adapter, sums, squares, carried.averaged)


def refactored(up: Matrix, down: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Another pair of the same product, and how coordinates of B turn.

    Parameters
    ----------
    up : float64 [out, r]
        B, of any rank: zero, say.
    down : float64 [r, in]
        A.

    Returns
    -------
    up : float64 [out, r]
    down : float64 [r, in]
        Orthonormal rows that span those of A (zero rows where r > in).
    turn : float64 [r, r]
        Q = A A_new'.
    """
    q_up, r_up = np.linalg.qr(up)  # the product is q_up (r_up r_down') q_down'
    q_down, r_down = np.linalg.qr(down.T)
    u, s, vt = np.linalg.svd(r_up @ r_down.T)
    kept = len(s)
    new_up, new_down = np.zeros_like(up), np.zeros_like(down)
    new_down[: len(vt)] = vt @ q_down.T
    new_up[:, :kept] = q_up @ (u[:, :kept] * s)
    # Of two signs that fit always the same, or rounding on some machine would choose.
    largest = np.take_along_axis(new_down, np.abs(new_down).argmax(1)[:, None], axis=1)
    sign = np.where(largest < 0, -1.0, 1.0)  # [r, 1]
    return new_up * sign.T, new_down * sign, down @ (new_down * sign).T
