"""What is protected, against whom, and what is not: in words that need no mathematics.

Every sentence is chosen from what the points say of themselves (unit, relation, trust); a value
without a sentence here is named as it stands, never described as something stronger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from simulations.report.tables import accuracy_rows, distinct, number, privacy_rows
from simulations.summary import epsilon_of

Results = Mapping[str, Any]

UNITS = {
    "user": "The unit is a person: everything that one user ever contributed counts as one.",
    "example": (
        "The unit is one training window, not a person: somebody with many windows is protected "
        "far less than the number suggests."
    ),
}
RELATIONS = {
    "add_remove": (
        "Two data sets are neighbours if one has a whole unit more than the other: the comparison "
        "is between taking part and not taking part."
    ),
    "replace_one": (
        "Two data sets are neighbours if one unit is replaced by another: the comparison is "
        "between one person's data and any other's. That somebody took part is not hidden."
    ),
}
TRUST = {
    "central": (
        "The coordinating server adds the noise: it sees the exact sum of the updates and must be "
        "trusted with it. Against the server itself, or whoever breaks into it, this budget "
        "promises nothing."
    ),
    "distributed": "Every device adds a share of the noise, and the server sees noised sums only.",
    "local": "Every device's own message carries its noise, so the server need not be trusted.",
}
LIMITS = (
    "Every number about accuracy and signal on this page was computed from the users' "
    "data without noise. It is for the evaluator: the budget does not cover it, and it is not for "
    "release.",
    "This is a simulation. Its noise comes from a seeded generator, so that it can be repeated; "
    "whoever knows the seed can take the noise away. Its adapters measure a cost and are not for "
    "release.",
    "The budget covers the models of one point. Several points trained on the same people, and "
    "settings that were chosen by looking at results on them, cost more than any one row says.",
    "Somebody who uses two accounts counts as two units. A group of k people who behave alike is "
    "covered by k times the budget, not by the budget.",
    "What holds for people in general can still be learned, and can be applied to anybody, whether "
    "they took part or not.",
    "The noise is computed in floating point, whose rounding can leak a little beyond the formula "
    "(Mironov 2012).",
)


def protected(results: Results) -> list[str]:
    """Sentences on what the budget means, for the private points of these results."""
    private = [p for p in results["points"] if math.isfinite(epsilon_of(p["epsilon"]))]
    if not private:
        return [
            "Nothing is protected: no model in this run was trained under a finite privacy budget."
        ]
    scoped = {"points": private}
    sentences = [_explain(UNITS, unit, "privacy unit") for unit in distinct(scoped, "unit")]
    sentences += [
        _explain(RELATIONS, r, "neighbour relation") for r in distinct(scoped, "relation")
    ]
    deltas = " or ".join(distinct(scoped, "delta")) or "not stated"
    sentences.append(
        "A budget ε bounds how much one unit can change what is released: whatever an attacker "
        "believed beforehand, the odds that a given unit was in the data change by at most a "
        f"factor e^ε. The bound may fail with probability at most δ ({deltas})."
    )
    return sentences


def adversaries(results: Results) -> list[str]:
    """Against whom, in the results' own words."""
    return distinct(results, "adversary") or ["The results do not name an adversary."]


def unprotected(results: Results) -> list[str]:
    """Sentences on what the budget does not cover."""
    sentences = [_explain(TRUST, trust, "trust model") for trust in distinct(results, "trust")]
    if any(math.isinf(epsilon_of(point["epsilon"])) for point in results["points"]):
        sentences.append(
            "The points marked ∞ have no privacy at all. They show what accuracy costs; a model "
            "trained that way can reveal what single people did."
        )
    return [*sentences, *LIMITS]


def warnings(results: Results) -> list[str]:
    """What a reader must know before believing a number on the page."""
    found = []
    if not results["points"]:
        found.append("No point has finished: there is nothing to read from this run yet.")
    if not results.get("complete", True):
        found.append(f"This run is incomplete.{_missing(results)}")
    for row in accuracy_rows(results):
        if row["below_popularity"]:
            found.append(
                f"At ε {row['epsilon']} the model ranks worse than a list of the most popular "
                f"items ({row['relative_popularity']} of its HR@10): as it stands it should not be "
                "used."
            )
        if row["below_zero_shot"]:
            found.append(
                f"At ε {row['epsilon']} the model ranks worse than it did untrained (zero-shot): "
                "its budget was spent for nothing."
            )
    for row in privacy_rows(results):
        if row["over"]:
            found.append(
                f"The point at ε {row['target']}, seed {row['seed']} spent {row['pld']}: more than "
                "its target."
            )
    if results["points"] and "popularity" not in results.get("references", {}):
        found.append("Popularity was not measured: nothing here shows that the model beats it.")
    return found


def _missing(results: Results) -> str:
    """The planned points that are absent, where the settings tell the plan."""
    sweep = results.get("config", {}).get("sweep", {})
    done = {(epsilon_of(p["epsilon_target"]), p.get("seed")) for p in results["points"]}
    absent = [
        f"ε {number(epsilon_of(epsilon))}, seed {seed}"
        for epsilon in sweep.get("epsilons", ())
        for seed in sweep.get("seeds", ())
        if (epsilon_of(epsilon), seed) not in done
    ]
    return f" Planned but not here: {'; '.join(absent)}." if absent else ""


def _explain(sentences: Mapping[str, str], value: str, what: str) -> str:
    known = sentences.get(value)
    return known or f"The {what} is “{value}”, which this page does not explain."
