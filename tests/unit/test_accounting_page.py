"""docs/accounting.md: the accountants agree in every row, and the rows are what they say today."""

import importlib.util
import json
import sys

import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def accounting():
    """benchmarks/accounting.py, by its path: Opacus installs a package of that name."""
    spec = importlib.util.spec_from_file_location("of_page", ROOT / "benchmarks" / "accounting.py")
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.fixture(scope="module")
def found(accounting):
    return json.loads(accounting.RESULTS.read_text(encoding="utf-8"))


def close(one, two):
    return one == pytest.approx(two, rel=1e-4, abs=1e-4)


def test_the_page_is_what_the_results_say(accounting, found):
    assert accounting.page_of(found) == accounting.PAGE.read_text(encoding="utf-8")


def test_the_accountants_agree_in_every_row(accounting, found):
    assert len(found["grid"]) == len({tuple(row.values())[:4] for row in found["grid"]}) == 50
    assert all(map(accounting.agrees, found["grid"]))
    for row in found["replaced"]:
        assert -1e-6 <= row["pld"] - row["exact"] <= accounting.pld_error(row["exact"])
    for row in found["skellam"]:
        assert row["exact"] <= row["rdp"] <= 1.25 * row["exact"]


def test_a_wrong_figure_would_be_told(accounting, found):
    row = found["grid"][3]
    both = ("pld", "prv_at_most")  # the second follows from the first
    faults = (both, 1.2), (both, 0.9), (("prv",), 0.98), (("prv",), 1.1), (("rdp",), 0.8)
    for names, factor in faults:
        wrong = {name: row[name] * factor for name in names}
        assert not accounting.agrees(row | wrong), wrong
    assert not accounting.agrees(row | {"prv": None})


def recomputed(accounting, found, picked):
    for index in picked:
        row, at = found["grid"][index], accounting.GRID[index]
        fresh = accounting.of_grid(*at)
        assert accounting.agrees(fresh)
        assert fresh.keys() == row.keys()
        assert all(close(fresh[name], row[name]) for name in row)
    for name, plans, of in (
        ("replaced", accounting.REPLACED, accounting.of_replaced),
        ("skellam", accounting.SKELLAM, accounting.of_skellam),
    ):
        for row, at in zip(found[name], plans, strict=True):
            fresh = of(*at)
            assert all(close(fresh[key], row[key]) for key in row if key != "moved_by")


def test_some_rows_are_found_again(accounting, found):
    recomputed(accounting, found, (0, 3, 26))


@pytest.mark.slow
def test_all_rows_are_found_again(accounting, found):
    recomputed(accounting, found, range(len(accounting.GRID)))
