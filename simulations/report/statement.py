"""What is protected, against whom, and what is not: in words that need no mathematics.

Every sentence is chosen from what the points say of themselves (unit, relation, trust); a value
without a sentence here is named as it stands, never described as something stronger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from simulations.report.tables import (
    Row,
    accuracy_rows,
    distinct,
    level,
    levels,
    number,
    privacy_rows,
)
from simulations.results import Claim, Results, Stated, epsilon_of

UNITS = {
    "user": (
        "User-level: the unit is a person, everything that one user ever contributed together."
    ),
    "example": (
        "Example-level: the unit is one training window, a piece of one person's history, not the "
        "person. That somebody took part is not hidden. An interaction is the target of one window "
        "only, but also context of what follows it there, and the first input of the next window."
    ),
}
RELATIONS = {
    ("user", "zero_out"): (
        "Two data sets are neighbours if one has a whole person more than the other: the "
        "comparison is between taking part and not taking part."
    ),
    ("example", "zero_out"): (
        "Two data sets are neighbours if one has a window more than the other, of a person who is "
        "in both."
    ),
    ("user", "replace_one"): (
        "Two data sets are neighbours if one person is replaced by another: the comparison is "
        "between one person's data and any other's. That somebody took part is not hidden."
    ),
}
# Whoever is absent adds no noise either, and the server sees who takes part.
DATA_OR_NONE = (
    "Two data sets are neighbours if one has all that a whole person contributed and the other has "
    "nothing of it: their device takes part in both, so that it takes part is not hidden."
)
# Correlated noise rests on who takes part when, not on a secret.
SCHEDULED = (
    "Two data sets are neighbours if one has all that a whole person contributed and the other has "
    "nothing of it, with the same people asked in the same rounds: that somebody took part, and "
    "when, is not hidden. The noise of a round is correlated with that of the rounds before "
    "(DP-FTRL); all rounds are one release, which is counted once."
)
PERSONAL = (
    "Every simulated device kept a part of the adapter to itself (federation.aggregation = fedsa), "
    "and every person was ranked with their own. No noise is in that part; it lies in the run's "
    "folder `personal` and not in the adapters. Whoever publishes that folder publishes it."
)
TRUST = {
    "central": (
        "The coordinating server adds the noise: it sees the exact sum of the updates and must be "
        "trusted with it. Against the server itself, or whoever breaks into it, this budget "
        "promises nothing."
    ),
    "distributed": (
        "Every device adds a share of the noise before anything is summed, so the server sees "
        "noised sums only. That holds as long as as many devices as the run counts on are honest, "
        "and single messages do not reach the server: here the simulation adds them up in its "
        "stead, a deployment needs secure aggregation for it."
    ),
    "local": (
        "Every device's own message carries noise, so a server that sends the agreed settings "
        "need not be trusted with single windows. Devices hold different people's windows, so the "
        "budget is that of the device that spent the most, not a sum."
    ),
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
    "Somebody who uses two accounts counts as two people. A group of k units, such as people who "
    "behave alike, is covered by k times the budget, not by the budget.",
    "What holds for people in general can still be learned, and can be applied to anybody, whether "
    "they took part or not.",
)
FLOATING = (
    "The noise is computed in floating point, whose rounding can leak a little beyond the formula "
    "(Mironov 2012)."
)


def protected(results: Results) -> list[str]:
    """Sentences on what the budget means, for the private points of these results."""
    private = results.private_claims
    if not private:
        return [
            "Nothing is protected: no model in this run was trained under a finite privacy budget."
        ]
    units = list(dict.fromkeys(str(c.get("unit")) for c in private if "unit" in c.stated))
    sentences = []
    if len(units) > 1:
        sentences.append(
            "Every private model carries two budgets, one for each unit below. They are different "
            "promises: neither figure may be read as the other."
        )
    for unit in units:
        sentences += _unit_sentences(unit, [c for c in private if c.get("unit") == unit], results)
    deltas = " or ".join(distinct(private, "delta")) or "not stated"
    sentences.append(
        "A budget ε bounds how much one unit can change what is released: whatever an attacker "
        "believed beforehand, the odds that a given unit was in the data change by at most a "
        f"factor e^ε. The bound may fail with probability at most δ ({deltas})."
    )
    return sentences


def _unit_sentences(unit: str, claims: Sequence[Claim], results: Results) -> Iterator[str]:
    yield _explain(UNITS, unit, "privacy unit")
    shared = [claim for claim in claims if claim.get("trust") == "distributed"]
    scheduled = [claim for claim in claims if claim.get("correlation")]
    others = [claim for claim in claims if claim not in (*shared, *scheduled)]
    for relation in distinct(others, "relation"):
        known = RELATIONS.get((unit, relation))
        yield known or _explain({}, relation, "neighbour relation")
    if shared:
        yield DATA_OR_NONE
    if scheduled:
        yield SCHEDULED
    for size in sorted({cast("int", claim.get("group_size", 1)) for claim in claims} - {1}):
        yield f"The budget covers any {size} such units together, not only one."
    if unit == "example":
        yield _whole_person(claims, results)


def _whole_person(claims: Sequence[Claim], results: Results) -> str:
    """Group privacy: what an example-level budget says of somebody with many windows."""
    config = Stated(results.config)
    trains = [tree.table("train") for tree in (Stated(config.table("private")), config)]
    windows = next((train["max_windows"] for train in trains if "max_windows" in train), None)
    largest = max(claim.epsilon for claim in claims)
    if not isinstance(windows, int):
        return "Somebody with W windows is covered by W times this ε only, at a larger δ."
    return (
        f"A person has up to {windows} windows and as a whole is covered by that many times this ε "
        f"only, at a larger δ: an example-level ε of {number(largest)} promises a person what a "
        f"user-level ε of {number(windows * largest)} would."
    )


def adversaries(results: Results) -> list[str]:
    """Against whom, in the results' own words, by unit where there is more than one."""
    private = results.private_claims
    named = [(str(c.get("unit")), str(c.get("adversary"))) for c in private if c.get("adversary")]
    several = len({unit for unit, _ in named}) > 1
    words = [f"{level(u).capitalize()}: {text}" if several else text for u, text in named]
    if private:
        return list(dict.fromkeys(words)) or ["The results do not name an adversary."]
    return ["Nobody: there is no noise."]


def unprotected(results: Results) -> list[str]:
    """Sentences on what the budget does not cover."""
    private = results.private_claims
    sentences = [_explain(TRUST, trust, "trust model") for trust in distinct(private, "trust")]
    if not all(point.private for point in results.points):
        sentences.append(
            "The points marked ∞ have no privacy at all. They show what accuracy costs; a model "
            "trained that way can reveal what single people did."
        )
    if Stated(results.config).table("federation").get("aggregation") == "fedsa":
        sentences.append(PERSONAL)
    rounded = distinct(private, "trust") != ["distributed"]  # whose noise is whole numbers
    return [*sentences, *LIMITS, *([FLOATING] if rounded else [])]


def warnings(results: Results) -> list[str]:
    """What a reader must know before believing a number on the page."""
    found = []
    if not results.points:
        found.append("No point has finished: there is nothing to read from this run yet.")
    if {unit for unit, _ in levels(results.private_claims)} == {"example"}:
        found.append(
            "Every ε on this page is example-level: it bounds what is learned of one training "
            "window, not of a person. No person-level promise follows from it but the one under "
            "“Protected”."
        )
    if not results.complete:
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
                f"The point at ε {row['target']}, seed {row['seed']}{_of(row)} spent {row['pld']}: "
                "more than its target."
            )
    if results.points and "popularity" not in results.references:
        found.append("Popularity was not measured: nothing here shows that the model beats it.")
    return found


def _of(row: Row) -> str:
    return ", per example," if row["unit"] == "example" else ""


def _missing(results: Results) -> str:
    """The planned points that are absent, where the settings tell the plan."""
    sweep = Stated(results.config).table("sweep")
    done = {(point.target, point.get("seed")) for point in results.points}
    absent = [
        f"ε {number(epsilon_of(epsilon))}, seed {seed}"
        for epsilon in cast("Sequence[object]", sweep.get("epsilons", ()))
        for seed in cast("Sequence[object]", sweep.get("seeds", ()))
        if (epsilon_of(epsilon), seed) not in done
    ]
    return f" Planned but not here: {'; '.join(absent)}." if absent else ""


def _explain(sentences: Mapping[str, str], value: str, what: str) -> str:
    known = sentences.get(value)
    return known or f"The {what} is “{value}”, which this page does not explain."
