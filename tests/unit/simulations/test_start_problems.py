"""What a run starts from follows from its releases, number by number, or is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from server.release.moments import TABLES, Moments, tables
from server.release.popularity import BIAS
from shared.config import from_dict
from shared.model.affinities import MOMENTS, TEXT, initial_mix
from shared.privacy.contribution.histogram import popularity_bias
from shared.privacy.contribution.moments import Basis, moments_basis
from shared.run_files import run_files
from simulations.verify.start import histogram_problems, moments_problems, unreleased_problems

ITEMS, RANK, USERS = 240, 3, 500  # more pairs of directions than coordinates
CONFIG = from_dict(
    {
        "model": {"moments_rank": RANK},
        "federation": {"rounds": 0, "cohort": 1.0},
        "privacy": {"epsilon": math.inf},
    },
    "test",
)


KINDS = {"histogram", "moments"}


def table(found):
    return {
        name: one.astype(np.float32)
        for name, one in zip(TABLES, tables(found, ITEMS, RANK), strict=True)
    }


@pytest.fixture(scope="module")
def honest():
    rng = np.random.default_rng(0)
    counts = rng.gamma(0.5, 5.0, ITEMS)
    text = rng.standard_normal((ITEMS, 6))
    basis = moments_basis(counts, 0.0, {"text": text / np.linalg.norm(text, axis=1)[:, None]})
    popular = basis.vectors.T @ basis.scale**0.75
    total = 50.0 * popular[basis.first] * popular[basis.second] + rng.standard_normal(basis.dim)
    moments = {**basis.arrays(), "total": total.astype(np.float64)}
    bias = popularity_bias(counts, 0.0, CONFIG.federation.popularity_strength)
    adapter = {
        **table(Moments(basis, total, 0.0)),
        BIAS: bias[:, None].astype(np.float32),
        "mix.weight": initial_mix([TEXT, MOMENTS], torch.eye(9)[:4]).numpy(),
        "core.weight": np.zeros((4, 4), np.float32),
        "item_out.weight": np.zeros((ITEMS, 2), np.float32),
        "x.lora_A.default.weight": rng.standard_normal((2, 8)).astype(np.float32),
        "x.lora_B.default.weight": np.zeros((8, 2), np.float32),
    }
    return counts, moments, adapter


@pytest.fixture
def write(honest, tmp_path):
    """A point's files with some arrays changed: of what is sent, and of the adapter."""
    counts, moments, adapter = honest

    def written(of_moments=(), of_adapter=()):
        files = run_files(tmp_path, "point")
        for file in (files.moments, files.adapter):
            file.parent.mkdir(exist_ok=True)
        sent, told = {**moments}, {**adapter}
        for name, change in of_moments:
            sent[name] = change(sent[name].copy())
        if of_moments:  # the operator's tables follow from what it says was sent
            told |= table(Moments(Basis.of(sent), sent["total"], 0.0))
        for name, change in of_adapter:
            told[name] = change(told[name].copy())
        save_file({"counts": counts}, files.popularity)
        save_file(sent, files.moments)
        save_file(told, files.adapter)
        return files

    return written


def put(*at, value):
    def change(array):
        array[at] = value
        return array

    return change


def zero(array):
    return array * 0


def swapped(array):
    array[[0, 1]] = array[[1, 0]]
    return array


BASES = {
    "directions of something else": ([("vectors", lambda v: (v > 0) * np.float32(1))], "orthon"),
    "one direction a little off": ([("vectors", put(5, 7, value=0.01))], "orthonormal"),
    "a negative eigenvalue": ([("leading", put(-1, value=-1.0))], "eigenvalues"),
    "no number": ([("leading", put(0, value=math.inf))], "eigenvalues"),
    "eigenvalues in another order": ([("leading", swapped)], "eigenvalues"),
    "one coordinate, again and again": ([("first", zero), ("second", zero)], "coordinates"),
    "a coordinate below the diagonal": (
        [("first", put(1, value=1)), ("second", put(1, value=0))],
        "coordinates",
    ),
    "a smaller coordinate": (
        [("first", put(-1, value=ITEMS - 1)), ("second", put(-1, value=ITEMS - 1))],
        "coordinates",
    ),
}


def test_what_follows_is_none(write):
    files = write()
    assert moments_problems(files, CONFIG, USERS) == []
    assert histogram_problems(files, CONFIG, USERS) == []
    assert unreleased_problems(files, CONFIG, KINDS) == []


@pytest.mark.parametrize(("changes", "why"), BASES.values(), ids=list(BASES))
def test_coordinates_are_those_that_directions_give(changes, why, write):
    (found,) = moments_problems(write(of_moments=changes), CONFIG, USERS)
    assert why in found


def test_equal_products_may_be_kept_in_any_choice(write):
    files = write(of_moments=[("leading", lambda leading: leading * 0 + 1)])
    assert moments_problems(files, CONFIG, USERS) == []


def test_one_items_number_is_found_among_many(write):
    bias = write(of_adapter=[(BIAS, put(7, 0, value=load_bias(write)[7] * 1.01 + 1e-3))])
    (found,) = histogram_problems(bias, CONFIG, USERS)
    assert BIAS in found


def load_bias(write):
    return load_file(write().adapter)[BIAS].ravel()


@pytest.mark.parametrize("name", TABLES)
def test_one_items_row_is_found_among_many(name, write):
    own = load_file(write().adapter)[name]
    least = np.abs(own).sum(1).argmin()
    files = write(of_adapter=[(name, put(least, value=own[least] * 1.003))])
    (found,) = moments_problems(files, CONFIG, USERS)
    assert name in found


def test_tables_of_another_size_with_the_same_product_are_found(write):
    files = write(of_adapter=[(TABLES[0], lambda one: one * 4), (TABLES[1], lambda one: one / 4)])
    assert moments_problems(files, CONFIG, USERS)


UNRELEASED = {
    "weights of another sign": ("mix.weight", lambda mix: -mix),
    "another weight of moments": ("mix.weight", put(1, 2, value=0.2)),
    "another weight of texts": ("mix.weight", put(0, 2, value=0.2)),
    "no number among them": ("mix.weight", put(1, 2, value=math.nan)),
    "texts as no unit makes them": ("mix.weight", put(0, value=0.0)),
    "a core": ("core.weight", put(1, 1, value=1e-9)),
    "a correction": ("item_out.weight", put(1, 1, value=1e-9)),
    "a language model's": ("x.lora_B.default.weight", put(1, 1, value=math.nan)),
}


@pytest.mark.parametrize("change", UNRELEASED.values(), ids=list(UNRELEASED))
def test_what_no_release_gives_is_as_every_run_begins(change, write):
    (found,) = unreleased_problems(write(of_adapter=[change]), CONFIG, KINDS)
    assert found.startswith(change[0])


@pytest.mark.parametrize(("kind", "names"), [("histogram", (BIAS,)), ("moments", TABLES)])
def test_what_is_not_released_is_zero(kind, names, write):
    found = unreleased_problems(write(), CONFIG, KINDS - {kind})
    assert [problem.split(":")[0] for problem in found] == list(names)


def test_rounds_train_all_but_what_is_released(write):
    rounds = replace(CONFIG, federation=replace(CONFIG.federation, rounds=2))
    trained = [("core.weight", put(1, 1, value=1.0)), ("mix.weight", lambda mix: mix * 2)]
    (found,) = unreleased_problems(write(of_adapter=trained), rounds, KINDS)
    assert found.startswith("mix.weight")


def test_the_weight_of_moments_is_as_the_settings_scale_it(write):
    config = replace(CONFIG, model=replace(CONFIG.model, moments_scale=3.0))
    scaled = ("mix.weight", lambda mix: mix * np.array([[1], [3]], mix.dtype))
    assert unreleased_problems(write(), config, KINDS)
    assert not unreleased_problems(write(of_adapter=[scaled]), config, KINDS)
    assert unreleased_problems(write(of_adapter=[scaled]), CONFIG, KINDS)
