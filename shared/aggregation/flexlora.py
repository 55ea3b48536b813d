"""FlexLoRA: clients of several ranks; the server sums products and decomposes the sum.

    client i    A_i, B_i from the first r_i rows of A and columns of B
    server      W = B A + mean over i of clip(B_i A_i - B_(r_i) A_(r_i))      dense, [out, in]
                W + noise ~ U S V'        B <- U_r S_r,  A <- V_r'

Products of any ranks add up, so before the decomposition the mean is exact; what the decomposition
drops is the tail of singular values. It is computed from what was released: free under differential
privacy. Ordered by singular value, the leading parts are the best that clients of lower rank can be
given.

The paper averages B_i A_i itself, so that what a client of low rank was not given counts as zero;
over rounds all but the lowest rank fades (Wu et al. 2026). Here a client changes what it was given:
the same where ranks are equal, and nobody's clip is spent on what they never saw.

Clipped is what is summed, the dense change of all layers and all else jointly, by the server: a
bound on factors would not bound their product. For that the server sees every client's factors, so
it composes neither with secure aggregation nor with noise on devices. The noise, too, is dense: it
has out x in coordinates a layer where the factors have r (in + out).

Stacking (Wang et al. 2024), B = [B_1 .. B_K] and A = [A_1; ..; A_K], is another way to write the
same sum of products.

References
----------
Bai, Chen, Qian, Yao, Li 2024, Federated Fine-tuning of Large Language Models under Heterogeneous
Tasks and Client Resources (FlexLoRA). https://arxiv.org/abs/2402.11505
Wang et al. 2024, FLoRA: Federated Fine-Tuning Large Language Models with Heterogeneous Low-Rank
Adaptations. https://arxiv.org/abs/2409.05976
Wu et al. 2026, Preventing Rank Collapse in Federated Low-Rank Adaptation with Client Heterogeneity.
https://arxiv.org/abs/2602.13486
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.aggregation.ranks import product_name, products
from shared.aggregation.rule import AggregationRule, Vector
from shared.aggregation.selective import pairs
from shared.config import ExperimentConfig
from shared.model.adapter import AdapterSchema

Matrix = npt.NDArray[np.float64]
_NOTHING = 1e-6  # of the largest singular value: what float32 adds to a product is far below


class FlexLoRA(AggregationRule):
    """Sums, noise and the server's steps are in the coordinates of products.

    Parameters
    ----------
    ranks : tuple of int
        Those that clients take, each by its own number: see `server.exchange`.
    """

    name = "flexlora"
    linear = False

    def __init__(self, ranks: tuple[int, ...] = ()) -> None:
        self.ranks = ranks

    def of(self, config: ExperimentConfig) -> AggregationRule:
        """With the ranks of the settings; by default all clients have the model's."""
        return FlexLoRA(config.federation.ranks or (config.model.lora_rank,))

    def space(self, schema: AdapterSchema) -> AdapterSchema:
        """Every pair is its product."""
        return products(schema)

    def enter(self, schema: AdapterSchema, adapter: Vector) -> Vector:
        """Multiply."""
        cut = {name: adapter[schema.slice_of(name)] for name in schema.names}
        shapes = dict(zip(schema.names, schema.shapes, strict=True))
        for down, up in pairs(schema.names):
            b, a = (cut.pop(name).reshape(shapes[name]) for name in (up, down))
            cut[product_name(down)] = (b @ a).ravel()
        return np.concatenate([cut[name] for name in products(schema).names])

    def leave(self, schema: AdapterSchema, vector: Vector, before: Vector) -> Vector:
        """Decompose, keeping as many singular values as the factors hold."""
        space = products(schema)
        adapter = before.copy()
        shapes = dict(zip(schema.names, schema.shapes, strict=True))
        for name in set(schema.names) & set(space.names):
            adapter[schema.slice_of(name)] = vector[space.slice_of(name)]
        for down, up in pairs(schema.names):
            a, b = schema.slice_of(down), schema.slice_of(up)
            product = vector[space.slice_of(product_name(down))]
            new_up, new_down = decomposed(
                product.reshape(shapes[up][0], shapes[down][1]), before[a].reshape(shapes[down])
            )
            adapter[a], adapter[b] = new_down.ravel(), new_up.ravel()
        return adapter


def decomposed(product: Matrix, before: Matrix) -> tuple[Matrix, Matrix]:
    """The best pair of a rank for a product.

    Parameters
    ----------
    product : float64 [out, in]
    before : float64 [r, in]
        The A so far: where the product has less than r directions its own fill the rest, so that
        there is something to learn along.

    Returns
    -------
    up : float64 [out, r]
        U S, largest singular value first.
    down : float64 [r, in]
        Orthonormal rows, zero beyond `in`. Of the two signs the one whose largest entry is
        positive, so that every machine takes the same.
    """
    rank = len(before)
    u, s, vt = np.linalg.svd(product, full_matrices=False)
    kept = min(rank, int((s > _NOTHING * s[0]).sum()))
    rows = vt[:kept]
    rows = np.concatenate([rows, _others(rows, before)])[:rank]
    down, up = np.zeros_like(before), np.zeros((len(product), rank))
    signs = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(1)])
    down[: len(rows)] = rows * signs[:, None]
    up[:, :kept] = u[:, :kept] * s[:kept] * signs[:kept]
    return up, down


def _others(rows: Matrix, before: Matrix) -> Matrix:
    """Orthonormal directions of `before` that are none of the orthonormal `rows`."""
    rest = before - before @ rows.T @ rows
    _, s, vt = np.linalg.svd(rest, full_matrices=False)
    scale = max(float(np.linalg.norm(before)), np.finfo(np.float64).tiny)
    return vt[s > _NOTHING * scale]
