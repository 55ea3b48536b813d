"""The figures: where things stand, what they are called, and what is left out."""

import math

import matplotlib.image
import numpy as np
import pytest

from simulations.report.curve import positions
from simulations.report.figures import spread
from tests.support.reports import curve_figure, draw_curve, noise_figure, panel_figure


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [
        text.get_text() for text in figure.texts
    ]


def markers(axes):
    """(x, y) of the large marks: one per epsilon."""
    large = [at for at in axes.lines if at.get_markersize() == 8 and at.get_marker() in "os"]
    assert {line.get_marker() for line in large if line.get_markerfacecolor() == "white"} <= {"s"}
    return [line.get_xydata()[0].tolist() for line in large]


def test_the_png_is_drawn_and_not_blank(results, tmp_path):
    draw_curve(results, tmp_path / "curve.png")
    image = matplotlib.image.imread(tmp_path / "curve.png")
    assert image.shape[1] == 1650
    assert np.ptp(image[..., :3]) > 0.9


def test_marks_stand_at_the_mean_of_each_epsilon_with_infinity_last(results):
    figure, tips = curve_figure(results)
    assert len(figure.axes) == 4
    marks = markers(figure.axes[0])
    assert [x for x, _ in marks[:4]] == pytest.approx([math.log10(e) for e in (1, 2, 4, 8)])
    assert marks[4][0] > marks[3][0]
    assert [y for _, y in marks] == pytest.approx([0.40, 0.44, 0.48, 0.52, 0.71])
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert labels == ["1", "2", "4", "8", "∞"]
    assert len(tips) == 4 * 5


def test_the_caption_names_unit_neighbours_delta_trust_and_the_bars(results):
    caption = " ".join(words(curve_figure(results)[0])[-1].split())
    for part in (
        "privacy unit: user",
        "neighbours: zero_out",
        "δ = 0.0001",
        "trust model: central",
        "Bars: 95% interval of the mean over users and seeds.",
        "Small dots: each seed.",
        "Vertical axes begin at 0 and end above the highest mark, not at 1.",
        "∞ has no place on the axis",
        "not for release",
    ):
        assert part in caption
    assert "INCOMPLETE" not in caption
    caption = words(curve_figure(results | {"complete": False})[0])[-1]
    assert "INCOMPLETE RUN" in caption


def test_no_line_leads_to_infinity_and_what_is_another_model_is_said(compared):
    figure, _ = curve_figure(compared)
    for axes in figure.axes:
        assert axes.get_ylim()[0] == 0
        (path,) = [line for line in axes.lines if len(line.get_xdata()) == 4]
        assert max(path.get_xdata()) == pytest.approx(math.log10(8))
    caption = " ".join(words(figure)[-1].split())
    assert "are not the noised points' model: and other settings" not in caption
    assert "The points without noise (inf) are not the noised points' model" in caption
    assert "The reference same model has the noised points' settings without noise" in caption
    first = [text.get_text() for text in figure.axes[0].texts]
    assert "same model 0.508" in first


def test_a_caption_of_any_length_stands_below_the_axes(compared):
    compared["data"]["name"] = "a log of a long name " * 20
    figure, _ = curve_figure(compared)
    figure.draw_without_rendering()
    labels = [axes.xaxis.label.get_window_extent() for axes in figure.axes[-2:]]
    assert figure.texts[-1].get_window_extent().ymin >= 0
    assert figure.texts[-1].get_window_extent().ymax <= min(label.ymin for label in labels)


def test_every_measured_reference_is_a_labelled_line_in_its_panel(results):
    first, _, full, full_ndcg = curve_figure(results)[0].axes
    names = [text.get_text() for text in first.texts if text.get_text() != "not private"]
    assert names == ["zero-shot 0.210", "local only 0.240", "popularity 0.419", "centralized 0.768"]
    assert "popularity 0.050" in [text.get_text() for text in full.texts]
    assert [t.get_text() for t in full_ndcg.texts] == ["not private", "centralized 0.102"]


def test_without_full_ranking_there_is_one_row_and_one_point_is_enough(results, tmp_path):
    point = results["points"][-1]
    point["metrics"] = {"hr@10": 0.7, "ndcg@10": 0.42}
    alone = {"points": [point]}
    figure, _ = curve_figure(alone)
    assert len(figure.axes) == 2
    assert markers(figure.axes[0]) == [[0.0, 0.7]]
    draw_curve(alone, tmp_path / "one.png")
    draw_curve({"points": []}, tmp_path / "none.png")
    assert (tmp_path / "none.png").stat().st_size > 1000


def test_a_name_with_dollar_signs_is_not_read_as_a_formula(results, tmp_path):
    results["data"]["name"] = r"$\frac{$ & <b>"
    draw_curve(results, tmp_path / "curve.png")
    assert any(r"$\frac{$ & <b>" in text for text in words(curve_figure(results)[0]))


def test_infinity_stands_apart_even_alone():
    assert positions([math.inf]) == {math.inf: 0.0}
    place = positions([0.5, math.inf])
    assert place[math.inf] - place[0.5] >= 0.3


def test_labels_are_moved_apart_and_stay_in_order_around_where_they_were():
    moved = spread([0.10, 0.11, 0.50], least=0.05)
    assert moved == pytest.approx([0.08, 0.13, 0.50])
    crowd = spread([0.1, 0.1, 0.1, 0.2, 0.9], least=0.1)
    assert np.diff(crowd).min() >= 0.1 - 1e-12
    assert spread([], least=0.1) == []


def test_noise_beside_signal_is_one_line_per_private_epsilon(results):
    figure, tips = noise_figure(results)
    (axes,) = figure.axes
    assert tips["tip-0"] == "ε 1: 13.6 in round 1, 81.6 in round 6; 13.6 to 81.6 over all"
    curves = [line for line in axes.lines if len(line.get_xdata()) == 6]
    assert len(curves) == 4
    # at epsilon 1 the noise is 40 x 3.4 and the signal of round 3 is 10 / 3
    assert curves[0].get_ydata()[2] == pytest.approx(40 * 3.4 / (10 / 3))
    for point in results["points"]:
        point["history"] = [{"round": 1, "noise_norm": 1.0}]
    assert noise_figure(results) is None


def test_a_panel_of_a_page_is_as_wide_as_a_phone_and_its_words_stay_in_it(compared):
    for metric, title in (("hr@10", "HR@10, among 99 sampled negatives"), ("full_hr@10", "all")):
        figure, tips = panel_figure(compared, metric, title)
        assert figure.get_figwidth() == 4.0
        assert len(tips) == 5
        assert tips["tip-3"].startswith(f"ε 8 (spent 7.984): {metric} 0.")
        assert tips["tip-4"].startswith(f"not private: {metric} 0.")
        figure.draw_without_rendering()
        (axes,) = figure.axes
        words = [*axes.texts, axes.xaxis.label, axes.yaxis.label, *axes.get_yticklabels()]
        for text in [*words, axes.title, axes._left_title]:
            if text.get_text():
                box = text.get_window_extent()
                assert box.xmin >= 0, text
                assert box.xmax <= figure.bbox.xmax, text
                assert box.ymin >= 0, text
        assert axes.get_xlabel().startswith("ε, user-level")
