"""A run's adapter for other libraries, with what the run's results say of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from client.serving.peft import Figure, Measured, write_peft
from shared.errors import DataError
from shared.privacy.ledger.seal import file_problem, sealed_files, signature_problem
from shared.run_files import RunFolder
from simulations.results import Point, Results, Stated
from simulations.summary import interval_of


def export_peft(adapter: Path, directory: Path, base: str = "") -> Path:
    """Write an adapter as a folder that plain `transformers` and `peft` load, with a model card.

    Parameters, result and errors as of `client.serving.peft.write_peft`; of a run, or of a server's
    `run` folder, the card also says what the results beside the adapter do.

    Raises
    ------
    DataError
        If these results, or the adapter, are not as they were sealed.
    """
    return write_peft(adapter, directory, base, measured_of(adapter))


def measured_of(adapter: Path) -> Measured | None:
    """What the results beside an adapter say of it; None where there are none of its."""
    run = RunFolder(adapter.absolute().parent.parent)
    if run.adapters / adapter.name != adapter.absolute() or not run.results.is_file():
        return None
    results = Results.read(run.results)
    named = f"{run.adapters.name}/{adapter.name}"
    point = next((each for each in results.points if each.adapter == named), None)
    if point is None:
        return None
    was = sealed_files(results.stated).get(named)
    for problem in (
        signature_problem(run.results, results.stated),
        file_problem(run.path, named, was),
    ):
        if problem:
            raise DataError(f"{run.path}: {problem}; starling verify says more")
    try:
        return _measured(results, point)
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{run.results}: its metrics are none ({str(error)[:100]})") from None


def _measured(results: Results, point: Point) -> Measured:
    data = Stated(results.data)
    items = data.number("items")
    shown = tuple(_exact(point) if results.simulated else _released(point))
    counted = 0 if math.isnan(items) else int(items)
    return Measured(
        str(data.get("name") or ""), results.users or 0, counted, shown, not results.simulated
    )


def _exact(point: Point) -> Iterator[Figure]:
    """The evaluator's, on test items."""
    metrics = point.metrics
    for name in metrics:
        if name != "users" and not name.endswith("_se"):
            low, high = interval_of(metrics, name) or (math.nan, math.nan)
            yield Figure(name, float(metrics[name]), low, high)


def _released(point: Point) -> Iterator[Figure]:
    """Private metrics of the last release."""
    last: Mapping[str, Any] = point.released[-1] if point.released else {}
    for name, told in last.items():
        if isinstance(told, Mapping) and {"value", "low", "high"} <= told.keys():
            yield Figure(name, *(float(told[each]) for each in ("value", "low", "high")))
