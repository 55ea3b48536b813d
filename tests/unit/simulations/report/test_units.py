"""Whose epsilon a figure is: an example-level one is never shown as a person's."""

import io
from pathlib import Path

import pytest

from simulations.console import Console
from tests.support.reports import curve_figure, print_outcome, promises, render, tables
from tests.unit.simulations.report.test_page import check


def printed(results) -> str:
    stream = io.StringIO()
    print_outcome(results, Path("run"), Console(file=stream, width=200))
    return stream.getvalue()


def figure_words(results) -> tuple[str, str]:
    """Label of the axis and caption."""
    figure, _ = curve_figure(results)
    label = figure.axes[-1].get_xlabel()
    return label, " ".join(figure.texts[-1].get_text().split())


@pytest.fixture(autouse=True)
def whole_metrics(results):
    for reference in results["references"].values():
        reference["metrics"].setdefault("full_hr@10", 0.1)
        reference["metrics"].setdefault("full_ndcg@10", 0.1)


def test_a_user_level_run(results):
    against = results["points"][0]["adversary"]
    (promise,) = promises(results)
    assert promise == (
        f"User-level epsilon (zero_out, delta 0.0001, central trust), against {against}."
    )
    assert "example" not in printed(results)
    assert "ε, user-level, central trust" in figure_words(results)[0]
    text = check(render(results))
    assert "Warning. Every ε on this page is example-level" not in text
    where = text.index("Two data sets are neighbours"), text.index("Not protected")
    assert "window" not in text[slice(*where)]


def test_an_example_level_run_says_so_wherever_it_shows_an_epsilon(by_example):
    (promise,) = promises(by_example)
    assert promise.startswith("Example-level (one window, not a person) epsilon (zero_out")
    output = printed(by_example)
    assert "epsilon, example" in output
    assert "User-level" not in output
    label, caption = figure_words(by_example)
    assert "ε, example-level (one window, not a person), local trust" in label
    assert "privacy unit: example" in caption
    text = check(render(by_example))
    for sentence in (
        "Warning. Every ε on this page is example-level",
        "Example-level: the unit is one training window",
        "A person's windows, at most 5, are a group: all of them together have ε = 24.8 at the "
        "same δ, where one has 7.99",
        "The person is in both",
        "the device that spent the most, not a sum",
    ):
        assert sentence in text, sentence
    assert "everything that one user ever contributed" not in text
    assert (
        "must be trusted with every one" not in text
    )  # of the point without noise: it promises nothing
    assert {row["unit"] for row in tables.privacy_rows(by_example)} == {"example", tables.MISSING}


def test_two_guarantees_are_two_rows_and_two_promises(both):
    assert [line.split()[0] for line in promises(both)] == ["User-level", "Example-level"]
    assert "epsilon, user 8; epsilon, example 2.75; HR@10 0.520" in printed(both)
    label, caption = figure_words(both)
    assert "user-level, central trust" in label
    assert "example" not in label  # the axis is the points' own budget
    assert "and beside it privacy unit: example" in caption
    assert "At user-level ε 8, example-level ε is 2.75." in caption
    rows = tables.privacy_rows(both)
    assert [(row["unit"], row["pld"], row["delta"]) for row in rows[:2]] == [
        ("user", "0.998", "0.0001"),
        ("example", "2.75", "2e-05"),
    ]
    assert [row["file"] for row in tables.ledger_rows(both)][:2] == [
        "ledger-eps1.0-seed0.jsonl",
        "devices/eps-1",
    ]
    text = check(render(both))
    for sentence in (
        "carries two budgets, one for each unit below",
        "User-level: anyone who sees every released model",
        "Example-level (one window, not a person): the server",
        "all of them together have ε = 24.8 at the same δ, where one has 2.75",
        "must be trusted with every one",
        "At ε = 7.99 and δ = 0.0001",
        "At ε = 2.75 and δ = 2e-05",
    ):
        assert sentence in text, sentence


def test_an_inner_budget_that_is_exceeded_is_called_out(both):
    both["points"][0]["example"]["epsilon"] = 3.5
    text = check(render(both))
    assert "The point at ε 3, seed 0, per example, spent 3.5: more than its target." in text


@pytest.mark.parametrize("unit", ["window", "<b>"])
def test_an_unknown_unit_is_named_as_it_stands(results, unit):
    for point in results["points"]:
        point["unit"] = unit
    assert promises(results)[0].startswith(f"Unit {unit} epsilon")
    assert "which this page does not explain" in check(render(results))
