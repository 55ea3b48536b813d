"""Two replays whose data differ in one way: what must be the same in both."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulations.audit.checks.risk import FILES, REPLAY, finding, not_shown
from simulations.audit.findings import Finding
from simulations.audit.replay.observed import Exchange, Observed

OTHERS, PLACE, PUBLIC = "others unchanged", "place in the log", "public fields"

Row = npt.NDArray[np.float32]

_START = 1e-5  # how far iterates may differ and still be one: sums are added in another order
_ROUNDING = 1e-3  # relative, of a contribution


def others_unchanged(observed: Observed, without: Observed, person: int) -> Finding:
    """Whether taking one person's data away changes nothing of what anyone else sends.

    Parameters
    ----------
    observed, without : Observed
        Of the same seed.
    person : int
        Their key.
    """
    words, compared = _unlike(observed, without, person)
    right = f"Without one person's data all others send the same ({compared:.0f} sums compared)"
    return finding(OTHERS, words, right, {"compared": compared})


def place_in_log(observed: Observed, permuted: Observed) -> Finding:
    """Whether the order in which people stand in the log has no say in anything they send."""
    words, compared = _unlike(observed, permuted, None)
    right = f"In another order of people all send the same ({compared:.0f} sums compared)"
    return finding(PLACE, words, right, {"compared": compared})


def _unlike(one: Observed, two: Observed, person: int | None) -> tuple[str, float]:
    """In what exchanges differ, and how many were compared in all numbers."""
    compared = 0.0
    if len(one.exchanges) != len(two.exchanges):
        return "Other sums are asked for", compared
    for a, b in zip(one.exchanges, two.exchanges, strict=True):
        if {*a.asked} ^ {*b.asked}:
            return f"{a.name}: other people are asked", compared
        if {*a.members} ^ {*b.members}:
            return f"{a.name}: other people answer", compared
        if a.start.shape != b.start.shape or abs(a.start - b.start).max(initial=0.0) > _START:
            continue  # what is released is another, and what follows from it
        rows = _rows(a), _rows(b)
        changed = [key for key in rows[0] if key != person and _differ(rows[0][key], rows[1][key])]
        if changed:
            return f"{a.name}: {len(changed)} others send something else", compared
        compared += 1
    return "", compared


def _rows(exchange: Exchange) -> dict[int, Row]:
    return dict(zip(exchange.members, exchange.contributions, strict=True))


def _differ(one: Row, two: Row) -> bool:
    length = max(float(np.linalg.norm(one)), 1e-9)
    return float(np.linalg.norm(one - two)) > _ROUNDING * length


def public_fields(observed: Observed, without: Observed) -> Finding:
    """Whether files tell the same, noised numbers aside, with and without one person's data."""
    if not observed.public:
        return not_shown(PUBLIC, "There is no file to compare", FILES)
    changed = list(_changed(observed.public, without.public, ""))
    words = f"{changed[0]}: follows one person's data without noise" if changed else ""
    right = "What files tell without noise is the same without one person's data"
    return finding(
        PUBLIC, words, right, {"fields changed": float(len(changed))}, f"{FILES}; {REPLAY}"
    )


def _changed(one: object, two: object, where: str) -> list[str]:
    if isinstance(one, dict) and isinstance(two, dict):
        names = [*one, *(name for name in two if name not in one)]
        return [
            at
            for name in names
            for at in _changed(one.get(name), two.get(name), f"{where}.{name}".strip("."))
        ]
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        pairs = enumerate(zip(one, two, strict=True))
        return [at for n, (a, b) in pairs for at in _changed(a, b, f"{where}[{n}]")]
    return [] if one == two else [where]
