"""results.json -> figures and one self-contained HTML page.

`curve` draws accuracy against privacy budget and `rounds` noise against signal; `statement` says in
plain words what is protected and what is not; `tables` turns results into rows; `page` puts all of
it into one file that makes no request when opened.
"""

from simulations.report.curve import draw_curve
from simulations.report.page import write_report

__all__ = ["draw_curve", "write_report"]
