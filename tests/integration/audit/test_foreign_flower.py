"""Flower's own run with central noise, recorded and audited, as docs/audit-foreign.md shows it."""

import re
from importlib import import_module

import pytest

from simulations.audit.checks import noise, people, record
from simulations.audit.static import cause
from tests.support import ROOT

PAGE = (ROOT / "docs" / "audit-foreign.md").read_text(encoding="utf-8")
FLAGGED = {
    "as documented, with Flower's accountant": None,
    "clients weigh as many examples as they have": people.WEIGHTS,
    "the same, and claimed": record.EPSILON,
    "a fifth of the clients answer too late": noise.SCALE,
    "planted: half the noise": noise.SCALE,
    "planted: no clip": people.CLIP,
    "planted: NumPy seeded every round": noise.FRESH,
}
AT_ONCE = [name for name in FLAGGED if name.startswith(("as ", "planted: half", "planted: no"))]


@pytest.fixture
def flower(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module("foreign_flower")


def rows(head):
    """Cells of the page's table under a head, line by line."""
    table = PAGE.split(head)[1].split("\n\n")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in re.split(r" \| ?", line.strip("| "))] for line in lines]


@pytest.mark.parametrize("name", AT_ONCE)
def test_the_audit_is_that_of_the_page(flower, tmp_path, name):
    found = flower.of(flower.SETUPS[name], tmp_path)
    assert cause(found) == FLAGGED[name]
    if FLAGGED[name] is None:
        told = [(name, verdict) for name, verdict, *_ in rows("| finding | verdict |")]
        assert told == [(each.name, each.verdict) for each in found]


@pytest.mark.slow
@pytest.mark.parametrize("name", FLAGGED)
def test_each_run_is_flagged_in_nine_of_ten_seeds(flower, tmp_path, name):
    causes = [cause(flower.of(flower.SETUPS[name], tmp_path, seed)) for seed in range(1, 11)]
    assert causes.count(FLAGGED[name]) >= 9, causes


def test_the_page_tells_of_every_run(flower):
    told = dict(rows("| run |"))
    assert [*told] == [*flower.SETUPS] == [*FLAGGED]
    for name, flagged in FLAGGED.items():
        assert told[name].startswith(f"`{flagged}`" if flagged else "-")


def test_a_client_that_changes_nothing_ends_the_round(flower):
    """As the page says: Flower divides by the length of every update."""
    import numpy as np
    from flwr.supercore.differential_privacy import compute_clip_model_update

    with pytest.raises(ZeroDivisionError):
        compute_clip_model_update([np.ones(3)], [np.ones(3)], 1.0)
