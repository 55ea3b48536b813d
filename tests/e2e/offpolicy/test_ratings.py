"""`starling ratings`: Coat as published, tables of one's own, mistakes in one line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from simulations.causal import open_ratings
from tests.support import ROOT
from tests.support.command import command


@pytest.fixture(scope="module")
def coat():
    for folder in (os.environ.get("STARLING_DATA"), ROOT.parent / "shared" / "data"):
        if folder and (Path(folder) / "coat" / "train.ascii").exists():
            return open_ratings(str(Path(folder) / "coat"))
    pytest.skip("coat is neither in $STARLING_DATA nor in ../shared/data")


def test_coat_is_what_its_publisher_says(coat):
    assert coat.chosen.shape == coat.random.shape == coat.given.shape == (290, 300)
    assert ((coat.chosen > 0).sum(), (coat.random > 0).sum()) == (6960, 4640)
    assert len(coat.people) == 290
    means = [each[each > 0].mean() for each in (coat.chosen, coat.random)]
    assert np.round(means, 2).tolist() == [2.61, 2.23]


def test_corrected_is_better_on_random_ratings_of_coat(coat):
    document = json.loads(command("ratings", "--data", coat.name, "--json").out)
    assert list(document) == ["data", "propensities", "bound", "seeds", "found"]
    assert document["seeds"] == [0]
    found = document["found"]
    for name in ("ips", "doubly_robust"):
        gain, low, high = found[name]["mse_gain"]
        assert 0.05 < low < gain < high
        assert abs(found[name]["ndcg_gain"][0]) < 0.02  # ranking is not what it corrects


def tables(folder, rating=None):
    rng = np.random.default_rng(0)
    for stem, share in (("chosen", 0.5), ("random", 0.3)):
        lines = [
            f"u{user},i{item},{rating or rng.integers(1, 6)}"
            for user in range(20)
            for item in range(30)
            if rng.random() < share
        ]
        (folder / f"{stem}.csv").write_text("\n".join(["user,item,rating", *lines]))
    return folder


def test_tables_of_ones_own(tmp_path):
    done = command("ratings", "--data", tables(tmp_path), "--propensities", "popularity")
    assert done.code == 0, done.err
    for word in ("doubly_robust", "better by (95%)", "NDCG@5", "Random ratings"):
        assert word in done.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--data", "none"), "error: ratings 'none': no such folder"),
        (("--data", "HERE", "--propensities", "other"), "propensities (--propensities) = other: "),
        (("--data", "HERE", "--propensities", "given"), "HERE has none; use another"),
        (("--data", "HERE", "--bound", "0"), "bound (--bound) = 0: expected from 1 up"),
        (("--data", "HERE", "--seeds", "a"), "error: --seeds a: expected numbers"),
    ],
)
def test_mistakes_are_one_line(tmp_path, words, told):
    here = str(tables(tmp_path))
    done = command("ratings", *(here if word == "HERE" else word for word in words))
    assert done.code == 2
    assert told.replace("HERE", here) in done.error


def test_a_rating_out_of_range_is_told_with_its_row(tmp_path):
    done = command("ratings", "--data", tables(tmp_path, rating="0"))
    assert done.code == 2
    assert "row 2: rating = 0: expected a number from 1 up" in done.error


def test_a_second_rating_of_the_same_item_is_told_with_its_row(tmp_path):
    file = tables(tmp_path) / "random.csv"
    first = file.read_text().splitlines()[1]
    file.write_text(f"{file.read_text()}\n{first}\n")
    done = command("ratings", "--data", tmp_path)
    assert done.code == 2
    assert "twice; keep one rating" in done.error


@pytest.mark.parametrize(
    ("name", "value", "shape", "told"),
    [
        ("propensities.ascii", 0.5, (10, 15), "(10, 15) propensities of (20, 15) ratings"),
        ("propensities.ascii", 0, (20, 15), "a propensity outside (0, 1]"),
        ("user_item_features/user_features.ascii", 1, (5, 3), "5 rows, but ratings are of 20"),
    ],
)
def test_files_that_do_not_fit_the_ratings_are_told(tmp_path, name, value, shape, told):
    rng = np.random.default_rng(0)
    (tmp_path / "user_item_features").mkdir()
    for file in ("train.ascii", "test.ascii"):
        np.savetxt(tmp_path / file, rng.integers(0, 6, (20, 15)))
    np.savetxt(tmp_path / name, np.full(shape, float(value)))
    done = command("ratings", "--data", tmp_path)
    assert done.code == 2
    assert told in done.error
