"""The points of a run as one tidy table: a row for each, the same columns whatever the run.

The table is what `results.csv` and `results.parquet` hold, what `starling simulate --json` prints
beside the results, and what `Run.points` gives. pandas enters where one is asked for.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from shared.files import read_file, write_atomically
from shared.run_files import RunFolder
from simulations.results import Metrics, Point, Results, Stated
from simulations.summary import interval_of

if TYPE_CHECKING:
    from pandas import DataFrame

Kind = Literal["str", "Int64", "float64"]
Row = dict[str, str | int | float | None]

_SAME = 1e-9


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes
    ----------
    name : str
    kind : str
        Of its numbers, as pandas calls it; what a point does not state is missing there.
    unit : str
        Empty for words and plain counts.
    means : str
        In a sentence.
    """

    name: str
    kind: Kind
    unit: str
    means: str


METRICS = ("hr@10", "ndcg@10", "mrr", "full_hr@10", "full_ndcg@10", "full_mrr")
_PARTS = (  # of each metric
    ("", "its mean over people, on test items; evaluator only"),
    ("_se", "standard error of that mean over people"),
    ("_low", "lower end of its 95% interval over people"),
    ("_high", "upper end of its 95% interval over people"),
)
COLUMNS = (
    Column("point", "str", "", "name of the point's files"),
    Column("epsilon_target", "float64", "nats", "the budget asked for; inf: no privacy"),
    Column("seed", "Int64", "", "of everything random in the point"),
    Column("epsilon", "float64", "nats", "what was spent, by PLD from the ledger; this one counts"),
    Column("epsilon_rdp", "float64", "nats", "the same by RDP, a looser bound"),
    Column("epsilon_prv", "float64", "nats", "the same by Opacus's PRV, an independent program"),
    Column("delta", "float64", "probability", "of the guarantee"),
    Column("unit", "str", "", "what is hidden: user or example"),
    Column("relation", "str", "", "which data sets are neighbours"),
    Column("trust", "str", "", "who adds noise: central, distributed or local"),
    Column("group_size", "Int64", "units", "how many the budget covers together"),
    Column("example_epsilon", "float64", "nats", "of one example, where both units are promised"),
    Column("example_delta", "float64", "probability", "of that second promise"),
    Column("noise", "str", "", "where the noise came from"),
    Column("noise_multiplier", "float64", "clipping norms", "standard deviation of a sum's noise"),
    Column("clipping_norm", "float64", "L2 norm", "that a unit's update is cut down to"),
    Column("sampling_probability", "float64", "probability", "that a unit is in a round"),
    Column("rounds", "Int64", "rounds", "of federated training"),
    Column("cohort", "float64", "people", "expected in a round"),
    Column("trained_parameters", "Int64", "numbers", "that a device trains"),
    Column("bytes_up", "float64", "bytes", "from all devices in all rounds, expected"),
    Column("bytes_down", "float64", "bytes", "to all devices in all rounds, expected"),
    Column("seconds", "float64", "seconds", "that the point took; evaluator only"),
    Column("users", "Int64", "people", "that the metrics are over"),
    *(
        Column(name + part, "float64", "0 to 1", f"{name}: {means}" if not part else means)
        for name in METRICS
        for part, means in _PARTS
    ),
    Column("adversary", "str", "", "against whom the budget holds"),
    Column("adapter", "str", "", "the released file, in the run's folder"),
)

_MEASURED = ("users", *(name + part for name in METRICS for part, _ in _PARTS))


def rows(results: Results) -> list[Row]:
    """A row for each point, in the order of `results.json`; what it does not state is None."""
    return [row(results, point) for point in results.points]


def row(results: Results, point: Point) -> Row:
    """Of one point of a run."""
    example, traffic = Stated(point.table("example")), Stated(point.table("communication_bytes"))
    found: Row = {
        "point": results.point_files(point.number("epsilon_target"), point.get("seed")),
        "example_epsilon": _figure(example, "epsilon"),
        "example_delta": _figure(example, "delta"),
        "bytes_up": _figure(traffic, "up"),
        "bytes_down": _figure(traffic, "down"),
        **_measured(Stated(point.table("metrics"))),
    }
    return {at.name: found[at.name] if at.name in found else _stated(point, at) for at in COLUMNS}


def frame(results: Results) -> DataFrame:
    """The same as a pandas DataFrame; `attrs["units"]` holds each column's unit."""
    from pandas import DataFrame

    names = [column.name for column in COLUMNS]
    found = DataFrame(rows(results), columns=names)
    found = found.astype({column.name: column.kind for column in COLUMNS})
    found.attrs["units"] = {column.name: column.unit for column in COLUMNS if column.unit}
    return found


def reference_frame(results: Results) -> DataFrame:
    """A row for each reference point: `reference`, `users`, and metrics as the points have them."""
    from pandas import DataFrame

    found = [
        {"reference": name, **_measured(Stated(reference.metrics))}
        for name, reference in results.references.items()
    ]
    kinds = {column.name: column.kind for column in COLUMNS if column.name in _MEASURED}
    return DataFrame(found, columns=["reference", *kinds]).astype({"reference": "str", **kinds})


def round_frame(results: Results) -> DataFrame:
    """A row for each round of each point, as far as the evaluator saw it; exact."""
    from pandas import DataFrame

    told = (("point", "str"), ("epsilon_target", "float64"), ("seed", "Int64"), ("round", "Int64"))
    found = [
        {name: at[name] for name, _ in told[:3]} | dict(entry)
        for at, point in zip(rows(results), results.points, strict=True)
        for entry in point.history
    ]
    names = dict.fromkeys([*dict(told), *(name for each in found for name in each)])
    return DataFrame(found, columns=list(names)).astype(dict(told))


def write_tables(results: Results, run: RunFolder) -> None:
    """Write `results.csv` and `results.parquet`."""
    found = frame(results)
    write_atomically(run.csv, _csv(found))
    write_atomically(run.parquet, found.to_parquet(index=False))


def table_problem(results: Results, run: RunFolder, name: str) -> str:
    """Why a table of a run's folder does not say what its results do; empty if it does.

    Up to rounding, relative to each number: the ends of intervals are another machine's.
    """
    from pandas import read_csv, read_parquet
    from pandas.testing import assert_frame_equal

    kinds = {column.name: column.kind for column in COLUMNS}
    try:
        content = io.BytesIO(read_file(run.path / name))
        is_csv = name == run.csv.name
        found = read_csv(content, dtype=kinds) if is_csv else read_parquet(content)
        assert_frame_equal(found, frame(results), check_exact=False, rtol=_SAME, atol=0.0)
    except Exception:  # whatever readers of a file from anyone raise
        return f"{name}: says other than results.json"
    return ""


def _csv(found: DataFrame) -> str:
    return found.to_csv(index=False, lineterminator="\n")


def _measured(metrics: Stated) -> Row:
    found: Row = {"users": _whole(metrics, "users")}
    plain = cast("Metrics", {k: v for k, v in metrics.stated.items() if type(v) in (int, float)})
    for name in METRICS:
        low, high = interval_of(plain, name) or (None, None)
        found |= {name: _figure(metrics, name), f"{name}_se": _figure(metrics, f"{name}_se")}
        found |= {f"{name}_low": low, f"{name}_high": high}
    return found


def _stated(point: Stated, column: Column) -> str | int | float | None:
    if column.kind == "str":
        value = point.get(column.name)
        return value if isinstance(value, str) else None
    whole = column.kind == "Int64"
    return _whole(point, column.name) if whole else _figure(point, column.name)


def _figure(at: Stated, name: str) -> float | None:
    value = at.number(name)
    return None if math.isnan(value) else value


def _whole(at: Stated, name: str) -> int | None:
    value = at.number(name)
    return int(value) if value.is_integer() else None
