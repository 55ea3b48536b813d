"""What a person sees at the end: whole figures at any width, and what a point is not above."""

import io
from pathlib import Path

import pytest

from simulations.console import Console
from tests.support.reports import print_outcome
from tests.unit.simulations.report.conftest import restated


def printed(results, width=200, terminal=False, folder="run") -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, color_system=None)
    print_outcome(results, Path(folder), console)
    return stream.getvalue()


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_no_figure_is_cut_or_broken_at_any_width(compared, width, terminal):
    text = printed(compared, width, terminal)
    assert "…" not in text
    for figure in ("0.520 ±0.041", "0.419", "+0.101 ±", "(113%)"):
        assert figure in text, figure
    assert ("\u2500" in text) == (terminal and width >= 80)


def test_names_are_no_markup(compared):
    compared["data"]["name"] = "[red]a[/red] [/b] :smile:"
    text = printed(compared, folder="runs/[bold]x[/]")
    assert "[red]a[/red] [/b] :smile:: 943 users" in text
    assert "starling verify 'runs/[bold]x[/]'" in text


def test_what_a_point_is_not_above_is_said(compared):
    text = printed(compared)
    assert "epsilon 8: above popularity, zero-shot, local only, in all metrics" in text
    assert "same model without noise: above popularity, zero-shot, local only, in all" in text
    for point in compared["points"]:
        shift = {1.0: -0.3, 8.0: -0.1}.get(point["epsilon_target"], 0.0)
        point["metrics"]["hr@10"] += shift
    text = printed(restated(compared))
    assert "epsilon 1: below popularity, zero-shot, local only (HR@10)" in text
    assert "epsilon 2: not shown above popularity (HR@10)\n" in text
    assert "epsilon 8: not shown above popularity (HR@10)\n" in text
    assert "epsilon inf: above popularity" in text
    assert "Comparisons are not corrected for their number." in text


def test_what_else_differs_is_said_only_if_it_does(compared):
    text = printed(compared)
    assert "model.rank 4 instead of 1, federation.cohort 235.75 instead of 0.5" in text or (
        "federation.cohort 235.75 instead of 0.5, model.rank 4 instead of 1" in text
    )
    assert "federation.rounds" not in text  # the same
    assert "seed 0 alone, updates clipped at 0.5 as there, exact histogram" in text
    compared["config"]["private"] = {}
    assert "not the noised points' model" not in printed(compared)


def test_one_seed_says_that_another_may_differ(compared):
    assert "over people and seeds together" in printed(compared)
    compared["points"] = [point for point in compared["points"] if point["seed"] == 0]
    assert "over people alone: another seed may differ" in printed(compared)


def test_nothing_compared_is_no_success(results):
    for reference in results["references"].values():
        reference["metrics"].setdefault("full_hr@10", 0.1)
        reference["metrics"].setdefault("full_ndcg@10", 0.1)
    assert "epsilon 8: compared with nothing, so nothing shows that training" in printed(results)


def test_of_one_reference_alone_it_is_said_which(compared):
    for point in compared["points"]:
        point["compared"] = {"popularity": point["compared"]["popularity"]}
    assert "epsilon 8; popularity +0.101 ±" in printed(compared)
