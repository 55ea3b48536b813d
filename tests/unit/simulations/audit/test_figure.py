"""The picture of theory against evidence says what the tables say."""

import numpy as np

from simulations.audit.findings import Finding
from simulations.audit.outcome import Audit, Part
from simulations.audit.report.figure import evidence_figure, evidence_panels


def audit():
    """Two points, each with a bound and an estimate to one who attacks."""
    parts = []
    for epsilon, bound in ((1.0, 0.2), (8.0, 2.5)):
        figures = {"bound": bound, "most provable": 4.0}
        findings = (
            Finding("epsilon, Gaussian", "holds", "white box", "", figures),
            Finding("epsilon, estimated", "not shown", "white box", "", {"estimate": 3.0}),
        )
        parts.append(Part(f"eps-{epsilon:g}", "", {"epsilon": epsilon}, findings))
    return Audit({}, {}, tuple(parts))


def test_marks_stand_where_the_figures_say_and_the_line_is_the_claim():
    ((figure, tips),) = evidence_panels(audit())
    whole = evidence_figure(audit())
    assert [len(of.axes[0].get_lines()) for of in (figure, whole)] == [7, 7]
    lines = figure.axes[0].get_lines()
    claim = next(line for line in lines if len(line.get_xdata()) > 2)
    x, y = (np.asarray(of, dtype=float) for of in (claim.get_xdata(), claim.get_ydata()))
    assert abs(np.interp(np.log(8.0), np.log(x), y) - 8.0) < 0.02
    marks = {(line.get_xdata()[0], line.get_ydata()[0]) for line in lines if line.get_gid()}
    assert marks == {(1.0, 0.2), (1.0, 3.0), (8.0, 2.5), (8.0, 3.0)}
    assert "eps-8, epsilon, Gaussian: 2.50 of 8 claimed, of 4.00 that could have been shown" in (
        tips.values()
    )


def test_without_bounds_there_is_none():
    nothing = Audit({}, {}, (Part("files", ""),))
    assert evidence_panels(nothing) == []
    assert evidence_figure(nothing) is None
