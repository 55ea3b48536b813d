"""What people have together: asked once, noised once, and read as two tables of the items.

1. basis    public coordinates, from the released histogram and the items' texts
2. ask      each person's contribution in them, of length one
3. release  the sum is in the ledger before there is any noise
4. decode   take out what popularity alone gives, shrink what noise could have made, and factor
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid
from safetensors import SafetensorError
from safetensors.numpy import load_file

from server.checkpoint import ServerState
from server.release.once import released_once
from server.release.releases import Releasing
from server.release.sums import Expected
from server.release.together import item_tables
from shared.errors import ConfigError
from shared.model.adapter import AdapterSchema
from shared.privacy.contribution.moments import Basis, moments_basis, moments_schema
from shared.privacy.contribution.units import moments_limit
from shared.privacy.plan.summed import noise_heard
from shared.request import Request

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

KIND = "moments"  # the ledger's word
TABLES = ("moments_in.weight", "moments_out.weight")
_LOG_TAUS = np.linspace(-12.0, 12.0, 97)


@dataclass(frozen=True)
class Moments:
    """What was released of it.

    Attributes
    ----------
    basis : Basis
    total : float64 [K]
        The noised sum of contributions.
    noise : float
        Its standard deviation, >= 0.
    """

    basis: Basis
    total: Vector
    noise: float

    @classmethod
    def of(cls, state: ServerState, noise: float) -> Moments | None:
        """As a run keeps it; None where nothing was released."""
        return cls(Basis.of(state.basis), state.moments, noise) if len(state.moments) else None

    def write(self, adapter: Vector, schema: AdapterSchema) -> None:
        """Put the tables that follow into an adapter [dim]."""
        for name, table in self.written(schema).items():
            adapter[schema.slice_of(name)] = table

    def written(self, schema: AdapterSchema) -> dict[str, Vector]:
        """The tables that follow, by name, each flat."""
        items, rank = schema.shapes[schema.names.index(TABLES[0])]
        pair = tables(self, items, rank)
        return {name: table.ravel() for name, table in zip(TABLES, pair, strict=True)}


def start_from_moments(
    grid: Grid,
    asking: Request,
    asked: Sequence[int],
    schema: AdapterSchema,
    state: ServerState,
    releases: Releasing,
) -> None:
    """Steps 2 to 4.

    Parameters
    ----------
    grid : Grid
    asking : Request
        Settings, population and policy of the run.
    asked : sequence of int
        Its nodes: a sample of all.
    schema : AdapterSchema
        With the two tables.
    state : ServerState
        With the basis; advanced in place.
    releases : Releasing

    Raises
    ------
    EngineError
        In a simulation, if devices that were asked all failed.
    """
    basis = Basis.of(state.basis)
    request = replace(asking, release=KIND, arrays=basis.arrays())
    expected = Expected(moments_schema(basis.dim), basis.dim, moments_limit(asking.config))
    total = released_once(grid, request, asked, expected, state, releases)
    if total is None:
        return  # the tables stay
    state.moments = total
    noise = noise_heard(asking.config, asking.users, KIND, basis.dim)
    found = Moments.of(state, noise)
    if found and not basis.exact:  # exact ones enter after the rounds, see `server.round.Run.whole`
        found.write(state.adapter, schema)


def public_basis(file: Path, counts: Vector, items: int, noise: float) -> Basis:
    """Step 1.

    Parameters
    ----------
    file : Path
        What is public of the items, as `server.prepare` wrote it.
    counts : float64 [items]
        The released histogram; empty where there is none.
    items : int
    noise : float
        Noise multiplier of the histogram.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    try:
        public: Mapping[str, npt.NDArray[Any]] = load_file(file)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{file}: cannot be read ({reason}); model.moments_rank needs what is public of the "
            "items there, as a simulation writes it: use 0"
        ) from None
    return moments_basis(counts if len(counts) else np.zeros(items), noise, public)


def tables(found: Moments, items: int, rank: int) -> tuple[Matrix, Matrix]:
    """The two tables [items, rank] that a release becomes; zero for items outside the basis."""
    given, taken = np.zeros((items, rank)), np.zeros((items, rank))
    given[found.basis.items], taken[found.basis.items] = decode(found, rank)
    return given, taken


def decode(found: Moments, rank: int) -> tuple[Matrix, Matrix]:
    """Read a release: post-processing, free under privacy.

    With y the sum, p = Q' s^3/4 and l the eigenvalues of the prior:

        r = y - a p p'                      a by least squares: what popularity alone gives
        r_kl <- r_kl tau l_k l_l / (tau l_k l_l + z^2)    tau by maximum likelihood
        R = S^1/4 Q r Q' S^1/4              read as two tables by `server.release.together`

    Where nothing is noised, coordinates are pairs of items themselves, R = y - a s s'.
    In units of a, how much more than by chance two items are met together, the tables weigh the
    same however many people there are and however much noise.

    Parameters
    ----------
    found : Moments
    rank : int
        >= 1.

    Returns
    -------
    float64 [M, rank], twice
        Of the items of the basis; zero where nothing stands out.
    """
    basis, noise = found.basis, found.noise
    scale = basis.scale.astype(np.float64)
    vectors = basis.vectors.astype(np.float64) * scale[:, None] ** 0.25  # S^1/4 Q
    weight, (first, second) = basis.weight.astype(np.float64), basis.entries
    popular = scale if basis.exact else vectors.T @ scale**0.5
    direction = popular[first] * popular[second] * weight
    length = float(direction @ direction)
    chance = float(found.total @ direction) / length if length else 0.0
    if not chance > noise / math.sqrt(length or 1.0):  # not told from none at all
        return (np.zeros((len(scale), rank)),) * 2
    rest = found.total - chance * direction
    if noise:
        prior = basis.leading.astype(np.float64)
        rest = _shrunk(rest, prior[first] * prior[second], noise)
    inner = np.zeros((len(popular), len(popular)))
    inner[first, second] = inner[second, first] = rest / weight
    whole = inner if basis.exact else vectors @ inner @ vectors.T
    return item_tables(whole, scale, chance, rank)


def _shrunk(rest: Vector, prior: Vector, noise: float) -> Vector:
    """Each coordinate by the share of its variance that is no noise."""

    def unlikely(tau: float) -> float:
        variance = tau * prior + noise**2
        return float(np.sum(np.log(variance) + rest**2 / variance))

    tau = min(np.exp(_LOG_TAUS), key=unlikely)
    shrunk: Vector = rest * tau * prior / (tau * prior + noise**2)
    return shrunk
