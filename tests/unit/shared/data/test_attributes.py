"""Factors of the items' attributes: their inner products are the kernels that the module states."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.data.attributes import (
    EXTRA,
    WIDTHS,
    _leading,
    attribute_factors,
    categories_of,
    years_of,
)

BLOCKS = dict(zip(WIDTHS, ((0, 32), (32, 40), (40, 104)), strict=True))
NAMES = ("Drama", "Comedy", "Film noir", "Children's", "War", "Sci-Fi")
YEARS = (1931, 1990, 1994, 1995, 2003, 2010)  # fewer than a factor has columns: nothing is cut


@st.composite
def catalogues(draw):
    """Texts of which every category is had by 5 or by none."""
    some = st.lists(st.sampled_from(NAMES), max_size=4)
    items = draw(st.lists(st.tuples(st.none() | st.sampled_from(YEARS), some), max_size=12)) * 5
    return [
        f"Item {n} of 3000"
        + (f" ({year})" if year else "")
        + (". " + ", ".join(own) if own else "")
        for n, (year, own) in enumerate(items)
    ]


def kernels(texts):
    """As the module's docstring has them, pair by pair."""
    own = [{w.strip().lower() for w in t.partition(". ")[2].split(",")} - {""} for t in texts]
    year = [int((re.findall(r"\((\d{4})\)", t) or [0])[-1]) for t in texts]
    found = np.zeros((3, len(texts), len(texts)))
    for i, (a, y) in enumerate(zip(own, year, strict=True)):
        for j, (b, z) in enumerate(zip(own, year, strict=True)):
            alike = len(a & b) / (len(a) * len(b)) ** 0.5 if a and b else 0.0
            near = np.exp(-abs(y - z) / 5) if y and z else 0.0
            found[:, i, j] = alike, near, alike * near
    return dict(zip(WIDTHS, found, strict=True))


def products(texts):
    table = attribute_factors(texts).astype(np.float64)
    return {name: table[:, a:b] @ table[:, a:b].T for name, (a, b) in BLOCKS.items()}


@settings(max_examples=40, deadline=None)
@given(catalogues())
def test_inner_products_are_the_kernels_where_nothing_is_cut(texts):
    found, expected = products(texts), kernels(texts)
    assert attribute_factors(texts).shape == (len(texts), EXTRA)
    for name in WIDTHS:
        np.testing.assert_allclose(found[name], expected[name], atol=5e-6, err_msg=name)


@settings(max_examples=20, deadline=None)
@given(catalogues(), st.randoms(use_true_random=False))
def test_the_order_of_items_changes_no_inner_product(texts, random):
    order = list(range(len(texts)))
    random.shuffle(order)
    before, after = products(texts), products([texts[place] for place in order])
    for name in WIDTHS:
        np.testing.assert_allclose(after[name], before[name][np.ix_(order, order)], atol=1e-5)


def many(items, categories, years, seed=0):
    rng = np.random.default_rng(seed)
    return [
        f"Item {n} ({rng.integers(*years)}). "
        + ", ".join(f"c{c}" for c in rng.choice(categories, 3, replace=False))
        for n in range(items)
    ]


def test_what_is_cut_is_the_best_of_its_rank():
    texts = many(400, 50, (1950, 2010))
    found, expected = products(texts), kernels(texts)
    for name in ("categories", "years"):
        values = np.linalg.eigvalsh(expected[name])
        least = np.sqrt((values[: -WIDTHS[name]] ** 2).sum())
        assert np.linalg.norm(found[name] - expected[name]) < least * 1.01, name
    name = "categories x years"  # of factors that were cut to 64 and 16 columns before
    values = np.linalg.eigvalsh(expected[name])
    least = np.sqrt((values[: -WIDTHS[name]] ** 2).sum())
    assert np.linalg.norm(found[name] - expected[name]) < least * 1.1


def test_rounding_does_not_choose_among_equal_directions():
    """All 40 eigenvalues are the same, and rounding differs between machines."""
    noise = np.random.default_rng(0).normal(0, 1e-13, (40, 40))
    columns = _leading(np.eye(40) + noise + noise.T, 32)
    np.testing.assert_allclose(columns @ columns.T, np.diag([1.0] * 32 + [0.0] * 8), atol=1e-4)


ODD = {
    "no items": [],
    "one item": ["Alien (1979). Horror"],
    "no categories": ["Alien (1979)", "Solaris (1972)"],
    "no years": ["Item. Drama"] * 6,
    "neither": ["Alien", ""],
}


@pytest.mark.parametrize("texts", ODD.values(), ids=list(ODD))
def test_zero_where_there_is_none(texts):
    table = attribute_factors(texts)
    assert table.shape == (len(texts), EXTRA)
    found = {name: bool(table[:, a:b].any()) for name, (a, b) in BLOCKS.items()}
    assert found == {
        "categories": "Item. Drama" in texts,
        "years": "Alien (1979)" in " ".join(texts),
        "categories x years": False,
    }


def test_years_and_categories_are_read_as_stated():
    texts = ["2001: A Space Odyssey (1968)", "1899 to 2100", "Room 19991", "In 1950, 2007."]
    assert years_of(texts).tolist() == [1968, 0, 0, 2007]
    assert categories_of(["A, b. Sci-Fi,drama . x"] * 5 + ["B. Other, DRAMA"] * 4).names == (
        "drama",
        "sci-fi",
        "x",
    )


def test_of_many_categories_the_most_frequent_count():
    texts = [f"T. c{c}" for c in range(510) for _ in range(6 if c >= 10 else 5)]
    names = categories_of(texts).names
    assert len(names) == 500
    assert not set(names) & {f"c{c}" for c in range(10)}


def test_a_large_catalogue_makes_no_table_of_items_by_categories_by_years():
    """It would take 6 GB."""
    assert np.isfinite(attribute_factors(many(8_000, 600, (1920, 2000)))).all()
