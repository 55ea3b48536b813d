"""Whether a released adapter is what its own releases before the first round give.

What rounds train follows from sums that nobody keeps; what they do not train follows from files
that are handed on, and is computed again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from server.release.moments import TABLES, Moments, tables
from server.release.popularity import BIAS, histogram_noise
from shared.config import ExperimentConfig
from shared.errors import ConfigError, ProtocolError
from shared.privacy.contribution.histogram import popularity_bias
from shared.privacy.contribution.moments import Basis, moments_size, popular_items
from shared.privacy.plan.plan import server_plan
from shared.run_files import RunFiles

# Of eigenvectors and sums on two machines, kept as float32: relative to what is compared.
_SAME = 1e-3
_UNREADABLE = (ArithmeticError, KeyError, OSError, SafetensorError, TypeError, ValueError)

Arrays = dict[str, npt.NDArray[Any]]


def histogram_problems(files: RunFiles, config: ExperimentConfig, users: int) -> list[str]:
    """Where nothing was trained: whether the adapter's item bias follows from the histogram.

    Parameters
    ----------
    files : RunFiles
        Of the point; histogram and adapter are as they were sealed, or not looked at.
    config : ExperimentConfig
        The point's own settings.
    users : int
        Size of the population.
    """
    if config.federation.rounds:
        return []
    try:
        counts, bias = load_file(files.popularity)["counts"], load_file(files.adapter)[BIAS]
        noise = histogram_noise(config, users)
        given = popularity_bias(counts, noise, config.federation.popularity_strength)
        same = _alike(bias.ravel(), given)
    except (*_UNREADABLE, ConfigError) as error:
        return [_unreadable(error)]
    return [] if same else [f"the adapter's {BIAS} does not follow from it, and nothing trained it"]


def moments_problems(files: RunFiles, config: ExperimentConfig, users: int) -> list[str]:
    """Whether its coordinates follow from the histogram, and the adapter's tables from it.

    Parameters as of `histogram_problems`. That the coordinates are those of the items' texts is
    not looked up: texts are not in a run's folder.
    """
    try:
        arrays, adapter = load_file(files.moments), load_file(files.adapter)
        counts = _counts(files, len(adapter[TABLES[0]]))
        plan = server_plan(config, users)
        noise = plan.moments_noise_multiplier if plan else None
        popular = (plan.histogram_noise_multiplier if plan else None) or 0.0
        found = Moments(Basis.of(arrays), arrays["total"], noise or 0.0)
        problems = _basis_problems(found, counts, popular)
        return problems or _table_problems(found, adapter, config.model.moments_rank)
    except (*_UNREADABLE, ConfigError, ProtocolError) as error:
        return [_unreadable(error)]


def _counts(files: RunFiles, items: int) -> npt.NDArray[np.float64]:
    """The released histogram; zero where its sum was never opened."""
    return load_file(files.popularity)["counts"] if files.popularity.exists() else np.zeros(items)


def _basis_problems(found: Moments, counts: npt.NDArray[np.float64], noise: float) -> list[str]:
    basis = found.basis
    sizes = len(basis.items), len(basis.leading), basis.dim
    if sizes != moments_size(len(counts)) or found.total.shape != (basis.dim,):
        return [f"coordinates of sizes {sizes}: expected {moments_size(len(counts))}"]
    items, scale = popular_items(counts, noise)
    if not (np.array_equal(basis.items, items) and _alike(basis.scale, scale)):
        return ["its items and their scale do not follow from the released histogram"]
    return []


def _table_problems(found: Moments, adapter: Arrays, rank: int) -> list[str]:
    stated, (count, _) = [adapter[name] for name in TABLES], adapter[TABLES[0]].shape
    given = tables(found, count, rank)
    if any(one.shape != other.shape for one, other in zip(stated, given, strict=True)):
        return [f"the adapter's {TABLES[0]}: expected {given[0].shape}"]
    inside = np.isin(np.arange(count), found.basis.items)
    # Signs and rotations are a machine's; what the tables say of two items is not.
    (ours, theirs) = (one[inside] @ other[inside].T for one, other in (stated, given))
    if _alike(ours, theirs) and not any(table[~inside].any() for table in stated):
        return []
    return [f"the adapter's {TABLES[0]} and {TABLES[1]} do not follow from it"]


def _alike(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    if one.shape != other.shape:
        return False
    apart = float(np.linalg.norm(one.astype(np.float64) - other))
    return apart <= _SAME * float(np.linalg.norm(other))


def _unreadable(error: Exception) -> str:
    return f"cannot be compared with the adapter ({str(error)[:100]})"
