"""A public random rotation: no coordinate of what is rotated is large, whatever it was."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


class Rotation:
    """Random signs and Walsh-Hadamard transforms, orthonormal, without padding.

        y = x,   y[:2^p] = H D1 y[:2^p],   y[-2^p:] = H D2 y[-2^p:]

    2^p is the largest power of two that is at most dim; where that is dim, the first transform is
    all. H has entries +-2^(-p/2), D1 and D2 are diagonal with random signs. Both sides know them.

    Parameters
    ----------
    dim : int
        >= 1.
    *context : str or int
        What is rotated: another context has other signs. They must not be chosen by anyone who
        knows them and what is rotated; see `largest`.

    References
    ----------
    Ailon, Chazelle. The Fast Johnson-Lindenstrauss Transform. SIAM Journal on Computing 39, 2009.
    Kairouz, Liu, Steinke. The Distributed Discrete Gaussian Mechanism for Federated Learning with
    Secure Aggregation. ICML 2021. https://arxiv.org/abs/2102.06387
    """

    def __init__(self, dim: int, *context: str | int) -> None:
        self.dim = dim
        self.size = transform_size(dim)
        named = json.dumps(["starling rotation", dim, *context], separators=(",", ":")).encode()
        drawn = np.frombuffer(hashlib.shake_256(named).digest(-(-self.size // 4)), dtype=np.uint8)
        bits = np.unpackbits(drawn)[: 2 * self.size].reshape(2, self.size)
        self._signs = 1.0 - 2.0 * bits  # float64 [2, size]

    def forward(self, vector: Vector) -> Vector:
        """Rotated, float64 [dim]."""
        turned = vector.astype(np.float64)
        turned[: self.size] = hadamard(turned[: self.size] * self._signs[0])
        if self.size < self.dim:
            turned[-self.size :] = hadamard(turned[-self.size :] * self._signs[1])
        return turned

    def inverse(self, turned: Vector) -> Vector:
        """Back, float64 [dim]: `inverse(forward(x))` is x but for rounding."""
        vector = turned.astype(np.float64)
        if self.size < self.dim:
            vector[-self.size :] = hadamard(vector[-self.size :]) * self._signs[1]
        vector[: self.size] = hadamard(vector[: self.size]) * self._signs[0]
        return vector


def transform_size(dim: int) -> int:
    """2^p, the largest power of two that is at most dim: at least half of it.

    A coordinate of a rotated vector x is sum_j +-x_j / 2^(p/2) over 2^p numbers of norm at most
    ||x||, with independent signs (for the second transform given the first). By Hoeffding

        P(|y_i| >= t ||x|| / 2^(p/2)) <= 2 exp(-t^2 / 2)

    over the signs, for every x that does not depend on them.
    """
    return 1 << (dim.bit_length() - 1)


def hadamard(vector: Vector) -> Vector:
    """The orthonormal Walsh-Hadamard transform, its own inverse; float64 [2^p].

    Sums and differences in one order: the same on every machine.
    """
    size, half = len(vector), 1
    now = vector
    while half < size:
        pairs = now.reshape(-1, 2, half)
        then = np.empty_like(pairs)
        np.add(pairs[:, 0], pairs[:, 1], out=then[:, 0])
        np.subtract(pairs[:, 0], pairs[:, 1], out=then[:, 1])
        now, half = then.reshape(-1), 2 * half
    scaled: Vector = now * size**-0.5
    return scaled
