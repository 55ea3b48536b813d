"""Whether a released adapter is what its own releases before the first round give.

What rounds train follows from sums that nobody keeps; what they do not train follows from files
that are handed on, and is computed again.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from server.release.moments import TABLES, Moments, tables
from server.release.popularity import BIAS
from shared.config import ExperimentConfig
from shared.data.attributes import WIDTHS
from shared.errors import ConfigError, ProtocolError
from shared.model.affinities import MOMENTS, TEXT, starting_mix
from shared.privacy.contribution.histogram import popularity_bias
from shared.privacy.contribution.moments import Basis, moments_size, popular_items
from shared.privacy.plan.summed import noise_heard
from shared.run_files import RunFiles

_SAME = 1e-5  # of numbers kept as float32, beside the largest of them
_SAME_ROW = 1e-4  # of rows, where two machines' eigenvectors and float32's rounding add up
_UNREADABLE = (ArithmeticError, KeyError, OSError, SafetensorError, TypeError, ValueError)

_MIX = "mix.weight"
# Drawn from the settings' seed or read off language model and texts: neither is in the folder.
_DRAWN = re.compile(r"(lora_A\b.*|lora_B\b.*\.up|\bitem_up|\bitem_down)\.weight$")
# Of a model whose corrections begin from a LoRA: that is not in the folder either.
_BEGUN = re.compile(r"(lora_A\b.*|lora_B\b.*|\bitem_up|\bitem_down)\.weight$")
_LEAST_CHANCE = 1e-6  # likeness by chance: of vectors of unit length it is at most 1

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
    if config.federation.fixed_rounds:
        return []
    try:
        counts, bias = load_file(files.popularity)["counts"], load_file(files.adapter)[BIAS]
        noise = noise_heard(config, users, "histogram", len(counts))
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
        basis = Basis.of(arrays)
        noise = noise_heard(config, users, "moments", basis.dim)
        popular = noise_heard(config, users, "histogram", len(adapter[TABLES[0]]))
        found = Moments(basis, arrays["total"], noise)
        problems = _basis_problems(found, counts, popular)
        return problems or _table_problems(found, adapter, config.model.moments_rank)
    except (*_UNREADABLE, ConfigError, ProtocolError) as error:
        return [_unreadable(error)]


def unreleased_problems(
    files: RunFiles, config: ExperimentConfig, released: Collection[str]
) -> list[str]:
    """Whether what no release gives is as every run begins: weights of blocks, and zeros.

    Tensors that are drawn are not looked at.

    Parameters
    ----------
    files : RunFiles
        Of the point; the adapter is as it was sealed.
    config : ExperimentConfig
        The point's own settings.
    released : collection of str
        Kinds of release that its settings give.
    """
    try:
        adapter = load_file(files.adapter)
        same = _is_initial(adapter[_MIX], config) if _MIX in adapter else True
    except _UNREADABLE as error:
        return [f"cannot be compared with a start ({str(error)[:100]})"]
    given = {BIAS: "histogram", **dict.fromkeys(TABLES, "moments")}
    untrained = TABLES if config.federation.fixed_rounds else sorted({*adapter} - {_MIX})
    problems = [] if same else [f"{_MIX}: not the weights that every run has"]
    drawn = _DRAWN if config.model.start is None else _BEGUN
    return problems + [
        f"{name[:99]}: not zero, and nothing trained or released it"
        for name in untrained
        if name in adapter and not drawn.search(name) and given.get(name) not in released
        if adapter[name].any()
    ]


def _is_initial(mix: npt.NDArray[Any], config: ExperimentConfig) -> bool:
    """Whether weights of blocks are the initial ones; the text's in a unit of their own."""
    for attributes in ([], list(WIDTHS)):
        blocks = [TEXT, *attributes, *([MOMENTS] if config.model.moments_rank else [])]
        if mix.shape == (len(blocks), 4):
            own = starting_mix(blocks, torch.ones(1, 1), config.model).double().numpy()
            unit = float(mix[0] @ own[0] / (own[0] @ own[0])) if own[0].any() else 1.0
            own[0] *= unit
            possible = 1 - _SAME <= unit <= (1 + _SAME) / _LEAST_CHANCE
            return possible and _alike(mix[:1], own[:1]) and _alike(mix[1:], own[1:])
    return False


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
    vectors, leading = (array.astype(np.float64) for array in (basis.vectors, basis.leading))
    if not np.abs(vectors.T @ vectors - np.eye(len(leading))).max() <= _SAME:
        return ["its directions are not orthonormal"]
    if not (np.isfinite(leading).all() and leading.min() > 0 and (np.diff(leading) <= 0).all()):
        return ["its eigenvalues are not positive numbers, the largest first"]
    if not _are_largest(basis, leading):
        return ["its coordinates are not, in order, the pairs with the largest eigenvalues"]
    return []


def _are_largest(basis: Basis, leading: npt.NDArray[np.float64]) -> bool:
    """Whether each coordinate is there once, in order, and none that is not has a larger product.

    Which of equal ones are kept is a machine's.
    """
    first, second = np.triu_indices(len(leading))
    places = first * len(leading) + second
    own = basis.first.astype(np.int64) * len(leading) + basis.second
    kept = np.isin(places, own)
    if not ((np.diff(own) > 0).all() and kept.sum() == basis.dim):
        return False
    products = leading[first] * leading[second]
    return bool(products[~kept].max(initial=0.0) <= products[kept].min() * (1 + _SAME))


def _table_problems(found: Moments, adapter: Arrays, rank: int) -> list[str]:
    stated, (count, _) = [adapter[name] for name in TABLES], adapter[TABLES[0]].shape
    given = tables(found, count, rank)
    if any(one.shape != other.shape for one, other in zip(stated, given, strict=True)):
        return [f"the adapter's {TABLES[0]}: expected {given[0].shape}"]
    inside = np.isin(np.arange(count), found.basis.items)
    (ours, to), (theirs, other) = ([one[inside] for one in pair] for pair in (stated, given))
    # Signs and rotations are a machine's; what the tables say of two items is not.
    same = _rows_alike(ours, to, theirs, other) and _rows_alike(ours, ours, theirs, theirs)
    if same and not any(table[~inside].any() for table in stated):
        return []
    return [f"the adapter's {TABLES[0]} and {TABLES[1]} do not follow from it"]


def _rows_alike(*tables: npt.NDArray[Any]) -> bool:
    """Whether every row of one product of two tables is that of another, and every column."""
    ours, to, theirs, other = (table.astype(np.float64) for table in tables)
    apart = ours @ to.T - theirs @ other.T
    lengths = np.linalg.norm(theirs, axis=1), np.linalg.norm(other, axis=1)
    most = [
        mine * np.linalg.norm(whole) for mine, whole in zip(lengths, lengths[::-1], strict=True)
    ]
    return all(
        bool((np.linalg.norm(apart, axis=axis) <= _SAME_ROW * allowed).all())
        for axis, allowed in zip((1, 0), most, strict=True)
    )


def _alike(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Whether every number is the same but for rounding."""
    if one.shape != other.shape:
        return False
    apart = np.abs(one.astype(np.float64) - other)
    return bool((apart <= _SAME * np.abs(other).max(initial=0.0)).all())


def _unreadable(error: Exception) -> str:
    return f"cannot be compared with the adapter ({str(error)[:100]})"
