"""Graphs are as large as their chances ask, by other formulas and by drawing."""

import re
from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy.stats import hypergeom

from shared.errors import IsolatedDevices, TooFewDevices
from shared.secagg import parameters as module
from shared.secagg.parameters import FAILURE, MOST_DEVICES, Parameters, parameters
from shared.secagg.roster import Roster
from tests.support import ROOT
from tests.support.privacy.cohorts import session

HALF = 2.0 ** -(FAILURE + 1)
CASES = [
    (cohort, share, colluding)
    for cohort in (65, 100, 333, 1000, 5000)
    for share in (0.55, 0.7, 0.9)
    for colluding in (0.0, 0.05, 0.1, 0.25)
]


def failures(found, neighbours, threshold, missing):
    """Chances of the four failures, by scipy's tails and unions over devices and pairs."""
    n, c, lost = found.cohort, found.colluders, found.cohort - found.fewest
    pairs = n * n // 2
    tail = hypergeom.sf
    return (
        n * tail(threshold - 1, n - 1, c, neighbours),
        n * tail(neighbours - threshold, n - 1, max(0, lost - 1), neighbours),
        pairs * tail(neighbours - missing - 1, n, c, neighbours),
        pairs * tail(missing, n, lost, neighbours),
    )


@pytest.mark.parametrize(("cohort", "share", "colluding"), CASES)
def test_by_an_independent_formula(cohort, share, colluding):
    found = parameters(cohort, int(share * cohort), colluding)
    assert found.colluders == int(colluding * cohort)
    assert 2 * found.quorum - found.colluders > cohort >= found.fewest >= found.quorum
    if found.complete:
        assert found.threshold == found.quorum > found.colluders
        return
    chosen = (found.neighbours, found.threshold, found.missing)
    assert max(failures(found, *chosen)) <= HALF * (1 + 1e-9)
    # Two neighbours less do not do, whatever threshold and dropouts were chosen for them.
    fewer = found.neighbours - 2
    assert not any(
        max(failures(found, fewer, threshold, missing)) <= HALF
        for threshold in range(2, fewer + 1)
        for missing in [fewer - threshold, fewer - threshold + 1]
    )


@pytest.mark.statistical
def test_chances_are_those_of_draws(monkeypatch):
    """With failures of 1 in 32 allowed instead of 2^-40, draws show no more than that.

    Each count of 1,000 draws exceeds the number that is compared with (its mean by 5 standard
    deviations) with chance below 1e-6.
    """
    monkeypatch.setattr(module, "FAILURE", 5)
    found = module.parameters.__wrapped__(120, 80, 0.15)
    assert not found.complete
    rng, draws, allowed = np.random.default_rng(0), 1000, 2.0**-6
    neighbours, n = found.neighbours, found.cohort
    seen = np.zeros(4)
    for _ in range(draws):
        bad, gone = np.zeros(n, np.int64), np.zeros(n, np.int64)
        bad[rng.permutation(n)[: found.colluders]] = 1
        gone[rng.permutation(n)[: n - found.fewest]] = 1
        colluding = np.roll(windows(bad, neighbours + 1), neighbours // 2) - bad
        lost = np.roll(windows(gone, neighbours + 1), neighbours // 2) - gone
        seen += (
            colluding.max() >= found.threshold,
            (neighbours - lost[gone == 1] < found.threshold).any(),
            most_apart(bad, neighbours // 2) >= neighbours - found.missing,
            most_apart(gone, neighbours // 2) > found.missing,
        )
    most = draws * allowed + 5 * np.sqrt(draws * allowed)
    assert (seen <= most).all(), seen


def windows(marks, width):
    """By place, the marks in the window that begins there."""
    until = np.concatenate([[0], np.cumsum(np.concatenate([marks, marks]))])
    return until[width : width + len(marks)] - until[: len(marks)]


def most_apart(marks, half):
    """Marks in two separate windows, at most."""
    window = windows(marks, half)
    place = np.arange(len(marks))
    apart = (place[:, None] - place) % len(marks)
    return (window[:, None] + window)[(apart >= half) & (apart <= len(marks) - half)].max()


def roster(found):
    return Roster(session(), b"", (None,) * found.cohort, found, tuple(range(found.cohort)))


@pytest.mark.parametrize("missing", [2, 3, 4])
def test_windows_are_counted_as_by_hand(missing):
    """Every set of dropouts in a small ring: refused where two separate windows lost too many."""
    found = Parameters(9, 0, 5, 4, 4, 2, missing)
    ring, rng = roster(found), np.random.default_rng(missing)
    windows = [{(start + step) % 9 for step in range(2)} for start in range(9)]
    for _ in range(300):
        gone = set(np.flatnonzero(rng.random(9) < 0.45).tolist())
        worst = max(
            len(gone & (one | other)) for one, other in combinations(windows, 2) if not one & other
        )
        survivors = np.array([each not in gone for each in range(9)])
        if worst > missing:
            with pytest.raises(IsolatedDevices, match=f"^{worst} devices are gone from 4 places"):
                ring.check_connected(survivors)
        else:
            ring.check_connected(survivors)


def test_what_the_windows_allow_stays_connected():
    """With k - missing - 1 colluders in any two windows, the honest survivors are one component."""
    rng, found = np.random.default_rng(1), Parameters(24, 3, 14, 14, 8, 4, 4)
    ring, checked = roster(found), 0
    for _ in range(3000):
        gone = rng.random(24) < rng.choice([0.2, 0.4, 0.5])
        try:
            ring.check_connected(~gone)
        except IsolatedDevices:
            continue
        bad = np.zeros(24, bool)
        bad[rng.permutation(24)[:3]] = True  # fewer than k - missing anywhere
        assert components(ring, ~gone & ~bad) <= 1
        checked += 1
    assert checked > 300


def components(ring, there):
    left, count = set(np.flatnonzero(there).tolist()), 0
    while left:
        count += 1
        reached = [left.pop()]
        while reached:
            near = set(ring.holders(reached.pop())) & left
            left -= near
            reached += near
    return count


def test_neighbours_are_mutual():
    ring = roster(Parameters(11, 0, 6, 6, 4, 2, 1))
    for one in range(11):
        holders = ring.holders(one)
        assert len(set(holders)) == 5
        assert one in holders
        assert all(one in ring.holders(other) for other in holders)


def test_tails_are_exact():
    for total, marked, drawn, events in ((30, 7, 10, 1), (500, 50, 80, 500), (64, 0, 9, 3)):
        least = module._rare(total, marked, drawn, events)

        def tail(number, total=total, marked=marked, drawn=drawn):
            ways = range(number, min(marked, drawn) + 1)
            return sum(comb(marked, k) * comb(total - marked, drawn - k) for k in ways)

        assert tail(least) * events << (FAILURE + 1) <= comb(total, drawn)
        assert tail(least - 1) * events << (FAILURE + 1) > comb(total, drawn)


@pytest.mark.parametrize(("cohort", "fewest"), [(0, 2), (1, 2), (9, 10), (MOST_DEVICES + 1, 2)])
def test_cohorts_that_are_too_small_or_too_large(cohort, fewest):
    with pytest.raises(TooFewDevices, match=f"^{cohort} devices advertised keys: expected"):
        parameters(cohort, fewest, 0.1)


def test_the_page_shows_what_is_computed():
    page = (ROOT / "docs" / "secure-aggregation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d,]+) \|" + r" ([\d,]+) \|" * 6 + "$", page, flags=re.MULTILINE)
    shown = [tuple(int(cell.replace(",", "")) for cell in row) for row in rows]
    assert [row[0] for row in shown] == [3, 5, 10, 100, 1000, 10000]
    for cohort, *cells in shown:
        found = parameters(cohort, max(2, cohort * 6 // 10), 0.1)
        computed = [found.colluders, found.fewest, found.quorum]
        assert cells == [*computed, found.neighbours, found.threshold, found.missing]
