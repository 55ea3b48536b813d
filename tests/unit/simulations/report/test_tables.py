"""Rows and bounds behind the page."""

import math

from tests.support.reports import tables


def test_numbers_are_short_and_infinity_is_a_sign():
    shown = [tables.number(v) for v in (1682, 7.984, "inf", 1e-5, None, math.nan, "zero_out")]
    assert shown == ["1,682", "7.984", "∞", "1e-05", tables.MISSING, tables.MISSING, "zero_out"]


def test_sizes_are_in_decimal_units():
    assert [tables.size(v) for v in (12, 1_234, 5e6, 3e12, None)] == [
        "12 B",
        "1.23 kB",
        "5 MB",
        "3 TB",
        tables.MISSING,
    ]


def test_rows_come_by_epsilon_then_seed_whatever_the_order_of_points(results):
    results["points"].reverse()
    rows = tables.privacy_rows(results)
    assert [(row["target"], row["seed"]) for row in rows][:4] == [
        ("1", "0"),
        ("1", "1"),
        ("1", "2"),
        ("2", "0"),
    ]
    assert rows[-1]["target"] == "∞"
    assert rows[-1]["pld"] == "∞"
    assert (rows[-1]["delta"], rows[-1]["unit"]) == (tables.MISSING, tables.MISSING)


def test_noise_beside_signal_is_the_ratio_of_medians(results):
    row = tables.noise_rows(results)[0]
    # signal: 10, 5, 3.33, 2.5, 2, 1.67; noise: 136 in every round
    assert (row["signal"], row["noise"]) == ("2.92", "136")
    assert row["ratio"] == "46.6"
