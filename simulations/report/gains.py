"""What training brought: differences from references, and shares of those without noise."""

from __future__ import annotations

from simulations.compare import (
    BASELINES,
    BELOW,
    SAME_MODEL,
    Compared,
    Difference,
    seed_means,
    share,
    without_noise,
)
from simulations.report.tables import Row, number
from simulations.results import Results

_SHORT = {"popularity": "popularity", "zero_shot": "zero-shot", "start": "its own start"}
_WORDS = {**BASELINES, SAME_MODEL: "no noise, same model"}


def gain_rows(results: Results) -> list[Row]:
    """One row per reference and target epsilon; of each metric difference, verdict and share."""
    whole, entries = without_noise(results), seed_means(results.points)
    return [
        {
            "reference": _WORDS[name],
            "epsilon": number(entry.epsilon),
            "seeds": len(entry.seeds),
            "below": name != SAME_MODEL and any(told.verdict == BELOW for told in found.values()),
            "cells": {
                metric: {
                    "mean": f"{told.mean:+.3f}",
                    "interval": f"{told.low:+.3f} to {told.high:+.3f}",
                    "verdict": told.verdict,
                    "share": _share(entry, told, whole.get(name, {}).get(metric)),
                }
                for metric, told in found.items()
            },
        }
        for name in _WORDS
        for entry in entries
        if (found := entry.with_.get(name))
    ]


def gain_lines(results: Results) -> tuple[list[str], list[list[str]]]:
    """Of HR@10 alone: which references, and a row per target epsilon with a cell for each."""
    whole, entries = without_noise(results), seed_means(results.points)
    names = [name for name in _SHORT if any(name in entry.with_ for entry in entries)]
    rows = []
    for entry in entries:
        cells = []
        for name in names:
            told = entry.with_.get(name, {}).get("hr@10")
            part = None if told is None else _share(entry, told, whole.get(name, {}).get("hr@10"))
            cells.append("-" if told is None else f"{_short(told)}{f' ({part})' if part else ''}")
        rows.append([f"{entry.epsilon:g}", *cells])
    return [_SHORT[name] for name in names], rows


def _share(entry: Compared, told: Difference, whole: Difference | None) -> str:
    part = share(told, whole) if entry.epsilon < float("inf") else None
    return "" if part is None else f"{100 * part:.0f}%"


def _short(told: Difference) -> str:
    return f"{told.mean:+.3f} ±{max(told.high - told.mean, told.mean - told.low):.3f}"
