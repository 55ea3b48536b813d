"""results.json -> figures and one self-contained HTML page.

`curve` draws accuracy against privacy budget and `rounds` noise against signal; `standing` is who
has checked it, `promises` what is promised to whom, `statement` says in plain words what is
protected and what is not; `tables` turns results into rows; `page` puts all of it into one file
that makes no request when opened. An audit's page has `base.html`, `tables.html` and `style.css`,
too.
"""

from simulations.report.curve import draw_curve
from simulations.report.page import write_report
from simulations.report.standing import Standing

__all__ = ["Standing", "draw_curve", "write_report"]
