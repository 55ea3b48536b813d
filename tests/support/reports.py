"""What `simulations.report` makes of results that a test holds as JSON, free to alter."""

from types import SimpleNamespace

from simulations import compare, unlike
from simulations.report import curve, gains, outcome, page, rounds
from simulations.report import promises as page_promises
from simulations.report import tables as rows
from simulations.results import Results


def _of_json(make):
    return lambda tree, *more: make(Results.of({"schema": 1} | tree), *more)


write_report, render = _of_json(page.write_report), _of_json(page.render)
draw_curve, curve_figure = _of_json(curve.draw_curve), _of_json(curve.curve_figure)
gain_rows, gain_lines = _of_json(gains.gain_rows), _of_json(gains.gain_lines)
remarks, what_differs = _of_json(compare.remarks), _of_json(unlike.what_differs)
noise_figure, panel_figure = _of_json(rounds.noise_figure), _of_json(curve.panel_figure)
promise_rows, budget_rows = (
    _of_json(page_promises.promise_rows),
    _of_json(page_promises.budget_rows),
)
print_outcome, promises = _of_json(outcome.print_outcome), _of_json(outcome.promises)
_ROWS = ("accuracy_rows", "ledger_rows", "noise_rows", "privacy_rows")
tables = SimpleNamespace(**vars(rows) | {name: _of_json(getattr(rows, name)) for name in _ROWS})
