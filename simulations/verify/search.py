"""Whether a private search is what it claims: every run of it, and what all of them cost together.

Each trial's folder is verified as any run's; the total is recomputed from all their ledgers; the
choice must follow from the released figures, and the chosen adapter carry the total.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from shared.errors import ConfigError, DataError, ModelError
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.promise import promise_text, read_metadata
from shared.privacy.ledger.seal import seal_problems, sealed_files, signer
from shared.privacy.ledger.together import Together, spent_together
from simulations.results import Point, Stated
from simulations.searched import (
    CHOSEN,
    RELEASED_METRICS,
    TOTAL,
    Figure,
    Searched,
    best,
    figures_of,
    promise_of_all,
    trial_name,
)
from simulations.verify.run import AGREES, NOT_SHOWN, REFUTED, VerifyReport, verify_run, vouching

_TOLERANCE = 1e-4  # of one accountant on two machines
# What claims and ledgers from anyone may raise.
_MALFORMED = (ConfigError, DataError, ArithmeticError, KeyError, TypeError, ValueError)
_FREE = ("engine", "sweep")  # in which settings of two trials may differ beside what is varied
_FOLLOWS = {"model.factors"}  # from the rule


@dataclass(frozen=True)
class SearchReport:
    """What `check_search` found.

    Attributes
    ----------
    claims : Searched
    runs : mapping of str to VerifyReport
        Of each trial, by its folder.
    problems : tuple of str
        Of the search as a whole.
    total : Together or None
        What all ledgers show; None where one cannot be read.
    signer : str
        Who vouches for it, or that no one does.
    vouched : bool
        Whether the reader may rely on that.
    """

    claims: Searched
    runs: Mapping[str, VerifyReport]
    problems: tuple[str, ...]
    total: Together | None
    signer: str
    vouched: bool

    @property
    def exit_code(self) -> int:
        """3 if anything disagrees; 4 if nothing does and something is not shown; else 0."""
        codes = [run.exit_code for run in self.runs.values()]
        if self.problems or REFUTED in codes:
            return REFUTED
        return NOT_SHOWN if NOT_SHOWN in codes or not self.vouched else AGREES

    @property
    def verdict(self) -> str:
        """In a sentence."""
        return {
            AGREES: "Every run of the search and their total agree.",
            REFUTED: "The search's claims, ledgers and files DISAGREE.",
            NOT_SHOWN: "NOT SHOWN: nothing disagrees as far as it goes; see the lines above.",
        }[self.exit_code]


def check_search(folder: Path, key: str | None = None) -> SearchReport:
    """Verify a private search's folder.

    Parameters
    ----------
    folder : Path
        Holds `total.json`.
    key : str, optional
        The operator's public key that must have sealed it and every run.

    Raises
    ------
    DataError
        If there is no search in it, or of a trial no results.
    """
    claims = Searched.read(folder)
    by = signer(claims.stated)
    who, vouched, foreign = vouching(by, key)
    problems = seal_problems(folder / TOTAL, claims.stated, folder)
    problems += [who] if foreign else []
    problems += _folder_problems(folder, claims)
    trials = [trial_name(number) for number in range(len(claims.trials))]
    runs = {name: verify_run(folder / name, key) for name in trials}
    total = None
    try:
        points = [_point(run) for run in runs.values()]
        ledgers = [_ledger(run) for run in runs.values()]
        total = spent_together(ledgers)
        problems += _total_problems(claims, total, ledgers)
        problems += _choice_problems(claims, points)
        problems += _difference_problems(claims, list(runs.values()))
        problems += _chosen_problems(folder, claims, ledgers, points)
    except _MALFORMED as error:
        problems.append(f"{TOTAL}: cannot be compared with the runs: {str(error)[:200]}")
    return SearchReport(claims, runs, tuple(problems), total, who, vouched)


def _point(run: VerifyReport) -> Point:
    (point,) = run.results.points
    return point


def _ledger(run: VerifyReport) -> Ledger:
    """The one that `verify_run` read."""
    (row,) = run.rows
    if not isinstance(row.record, Ledger):
        raise DataError(f"{row.point}: {row.reason or 'no ledger of the server'}")
    return row.record


def _folder_problems(folder: Path, claims: Searched) -> list[str]:
    """Where what lies in the folder is not what was sealed: a run more would cost more."""
    names = [str(each.get("folder")) for each in claims.trials]
    own = [trial_name(number) for number in range(len(names))]
    found = [] if names == own and names else [f"trials: {names[:3]}: expected {own[:3]} and so on"]
    there = sorted(path.name for path in folder.glob("trial-*") if path.name not in own)
    found += [f"{name}: a run that the search does not count" for name in there]
    sealed = sealed_files(claims.stated)
    wanted = [CHOSEN, *(f"{name}/results.json" for name in own)]
    return found + [
        f"{name}: the seal does not vouch for it" for name in wanted if name not in sealed
    ]


def _total_problems(claims: Searched, total: Together, ledgers: Sequence[Ledger]) -> list[str]:
    budget = claims.guarantee.budget
    given = figures_of(total, budget)
    found = [
        f"guarantee.{name} = {str(claimed)[:40]!r} claimed, the ledgers say {own!r}"
        for name, own in Stated(given).table("guarantee").items()
        if (claimed := claims.table("guarantee").get(name)) != own
    ]
    for name in ("epsilon", "epsilon_rdp", "epsilon_prv"):
        claimed, own = claims.get(name), given[name]
        if not _same(claims.number(name), own) and not (claimed is None and own is None):
            found.append(f"{name} = {str(claimed)[:40]} claimed, all ledgers together give {own}")
    if total.epsilon > budget * (1 + _TOLERANCE):
        found.append(f"{total.epsilon:g} spent by all runs exceeds the budget of {budget:g}")
    heads = [each.get("ledger") for each in claims.trials]
    if heads != [ledger.head for ledger in ledgers] or len(set(heads)) < len(heads):
        found.append("trials: ledger: other heads than the runs' ledgers have, or one twice")
    each = claims.number("each")
    found += [
        f"{trial_name(number)}: budget of {ledger.header.guarantee.budget:g}, the search gave each "
        f"run {each:g}"
        for number, ledger in enumerate(ledgers)
        if ledger.header.guarantee.budget != each
    ]
    return found


def _same(claimed: float, own: object) -> bool:
    return isinstance(own, float) and abs(claimed - own) <= _TOLERANCE * (1 + own)


def _choice_problems(claims: Searched, points: Sequence[Point]) -> list[str]:
    """The figures must be the runs' released ones, and the chosen run the best by them."""
    metric = str(claims.get("metric"))
    if metric not in RELEASED_METRICS:
        return [f"metric = {metric[:40]!r}: expected {' or '.join(RELEASED_METRICS)}"]
    figures = [Figure.of(point, metric) for point in points]
    found = [
        f"{trial_name(number)}: {name} = {trial.get(name)} claimed, its run released {own}"
        for number, (trial, figure) in enumerate(zip(claims.trials, figures, strict=True))
        for name, own in figure.stated().items()
        if trial.get(name) != own
    ]
    if claims.get("chosen") != (own := best(figures)):
        found.append(f"chosen = {claims.get('chosen')} claimed, the released figures give {own}")
    return found


def _difference_problems(claims: Searched, runs: Sequence[VerifyReport]) -> list[str]:
    """All runs are on the same people, each with a seed and what was varied of its own alone."""
    found, vary = [], claims.get("vary")
    seeds = [_point(run).get("seed") for run in runs]
    found += [
        f"{trial_name(number)}: seed {seed} is another trial's too, so both asked the same people: "
        "what they cost together is more than the sum"
        for number, seed in enumerate(seeds)
        if seed in seeds[:number]
    ]
    first, base = runs[0].results, _flat(runs[0].results.config)
    for number, (trial, run) in enumerate(zip(claims.trials, runs, strict=True)):
        name = trial_name(number)
        if run.results.data != first.data:
            found.append(f"{name}: of other data than {trial_name(0)}")
        own, values = _flat(run.results.config), trial.table("values")
        apart = {at for at in {*own, *base} if own.get(at) != base.get(at)}
        varied = {*values, *_FOLLOWS} if isinstance(vary, list) and {*values} <= {*vary} else set()
        odd = sorted({at.removeprefix("private.") for at in apart} - varied)
        found += [f"{name}: {at} differs from {trial_name(0)}'s, and was not varied" for at in odd]
        found += [
            f"{name}: {at} = {value} claimed, its run has {own.get(at)}"
            for at, value in values.items()
            if own.get(at) != value
        ]
    return found


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if prefix or name not in _FREE:
            inner = isinstance(value, Mapping)
            flat |= _flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return flat


def _chosen_problems(
    folder: Path,
    claims: Searched,
    ledgers: Sequence[Ledger],
    points: Sequence[Point],
) -> list[str]:
    """The chosen adapter is its run's, and carries what all runs cost."""
    number = claims.get("chosen")
    if type(number) is not int or not 0 <= number < len(points):
        return []  # said where the choice is compared
    own = folder / trial_name(number) / points[number].adapter
    try:
        chosen, carried = load_file(folder / CHOSEN), read_metadata(folder / CHOSEN)
        given, metadata = load_file(own), read_metadata(own)
    except (ModelError, OSError, SafetensorError, ValueError) as error:
        return [f"{CHOSEN}: {str(error)[:200]}"]
    found = []
    if chosen.keys() != given.keys() or any(
        not np.array_equal(chosen[name], given[name]) for name in given
    ):
        found.append(f"{CHOSEN}: other tensors than the chosen run's adapter")
    promise = promise_of_all(claims.stated, ledgers, ledgers[number].header.settings)
    if carried != {**metadata, "promise": promise_text(promise)}:
        found.append(f"{CHOSEN}: carries other settings, or another promise than the search's")
    return found
