"""Whether an online run is what its ledgers say: every epsilon recomputed, every file as sealed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigError, DataError, LedgerError
from shared.privacy.accounting.accountant import epsilon_rdp
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.seal import Tree, seal_problems, sealed_files, signer
from shared.run_files import LEDGER_NAME
from simulations.exploration.budget import KIND, mechanism_of
from simulations.exploration.outcome import (
    FIGURE,
    FILE,
    TABLE,
    Point,
    ledger_name,
    read_outcome,
    summarised,
    table_of,
)
from simulations.exploration.settings import OnlineConfig, online_config

_TOLERANCE, _SAME_NOISE = 1e-4, 2e-5  # of one accountant, and of calibrations, on two machines


@dataclass(frozen=True)
class Checked:
    """One point.

    Attributes
    ----------
    point : Point
    epsilon, rdp : float or None
        Recomputed from the ledger by PLD and RDP; None where there is none to read.
    problems : tuple of str
    """

    point: Point
    epsilon: float | None
    rdp: float | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What `check_online` found.

    Attributes
    ----------
    rows : tuple of Checked
    problems : tuple of str
        Of the run as a whole.
    key : str or None
        The public key that the seal names.
    """

    rows: tuple[Checked, ...]
    problems: tuple[str, ...]
    key: str | None

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        return not self.problems and not any(row.problems for row in self.rows)


def check_online(folder: Path) -> Report:
    """Recompute what an online run cost, and check all that it hands on.

    Raises
    ------
    DataError
        If `online.json` is missing or no outcome.
    """
    tree, points = read_outcome(folder / FILE)
    problems = seal_problems(folder / FILE, tree, folder)
    try:
        config = online_config(dict(tree["config"]), FILE)
    except (ConfigError, KeyError, TypeError) as error:
        return Report((), (*problems, f"config: {error}"), signer(tree))
    wanted = {(p, e, s) for p in config.policies for e in config.epsilons for s in config.seeds}
    found = [(point.policy, point.budget, point.seed) for point in points]
    if set(found) != wanted or len(found) != len(wanted):
        problems.append(f"{len(found)} points, the settings ask for {len(wanted)}, each once")
    problems += _file_problems(folder, tree, points, config.days)
    strays = {at.name for at in folder.glob("ledger-*.jsonl")} - {ledger_name(*at) for at in found}
    problems += [f"{name}: a ledger that no point claims" for name in sorted(strays)]
    rows = tuple(_checked(folder, config, point) for point in points)
    return Report(rows, tuple(problems), signer(tree))


def _file_problems(folder: Path, tree: Tree, points: Sequence[Point], days: int) -> list[str]:
    """Where the seal leaves out a file, or the table has other figures than the points."""
    names = {TABLE, FIGURE, *(str(point.ledger.get("file")) for point in points)}
    missing = sorted(names - sealed_files(tree).keys())
    found = [f"{name[:60]}: the seal does not vouch for it" for name in missing]
    try:
        same = (folder / TABLE).read_text() == table_of(points)
    except (OSError, ValueError):
        same = False
    if not same or any(len(point.course.regret) != days for point in points):
        found.append(f"{TABLE}: not the points' figures, one for each day")
    return found


def _checked(folder: Path, config: OnlineConfig, point: Point) -> Checked:
    name = str(point.ledger.get("file"))
    if name != ledger_name(point.policy, point.budget, point.seed) or not LEDGER_NAME.fullmatch(
        name
    ):
        return Checked(point, None, None, (f"ledger {name[:60]!r}: not the name of this point's",))
    try:
        ledger = Ledger.open(folder / name)
        spent, promised = ledger.epsilon(), config.guarantee(point.budget)
        history = [(entry.event, 1) for entry in ledger.entries]
        rdp = epsilon_rdp(history, *promised.counted)
        planned = mechanism_of(promised, config.days)
    except (LedgerError, ConfigError, DataError, ArithmeticError, ValueError) as error:
        return Checked(point, None, None, (str(error)[:200],))
    problems = []
    stated = point.ledger.get("entries"), point.ledger.get("head")
    if ledger.position() != stated:
        problems.append("the ledger ends elsewhere than claimed: cut, extended or rewritten")
    digest = config.digest(point.policy, point.budget, point.seed)
    if ledger.header.promise != (promised, digest):
        problems.append("the ledger was opened for another promise, or other settings")
    if point.guarantee != promised.stated():
        problems.append("the promise claimed is not that of the settings")
    noise = planned.noise_multiplier
    if not math.isclose(point.noise_multiplier, noise, rel_tol=_SAME_NOISE):
        problems.append(f"noise {point.noise_multiplier:g} claimed, the settings give {noise:g}")
    days = [(entry.round, entry.release) for entry in ledger.entries]
    if days != [(day, KIND) for day in range(config.days)]:
        problems.append("the ledger's entries are not one sum of feedback for each day")
    event = type(planned.event(1.0))
    for entry in ledger.entries:
        own = getattr(entry.event, "noise_multiplier", 0.0)
        if type(entry.event) is not event or not math.isclose(own, noise, rel_tol=_SAME_NOISE):
            problems.append(f"day {entry.round}: {entry.event} recorded, planned noise {noise:g}")
            break
    if not _close(spent, point.epsilon):
        problems.append(f"epsilon = {point.epsilon:g} claimed, {spent:g} spent by the ledger")
    if spent > point.budget * (1 + _TOLERANCE):
        problems.append(f"{spent:g} spent exceeds the budget of {point.budget:g}")
    if rdp is not None and spent > rdp * (1 + _TOLERANCE) + _TOLERANCE:
        problems.append(f"accountants disagree: PLD {spent:g} exceeds RDP {rdp:g}")
    return Checked(point, spent, rdp, tuple(problems))


def _close(claimed: float, spent: float) -> bool:
    if math.isinf(spent) or math.isinf(claimed):
        return claimed == spent
    return abs(claimed - spent) <= _TOLERANCE * (1 + spent)


__all__ = ["Checked", "Report", "check_online", "summarised"]
