"""What is promised to whom, in a few lines: the first thing that a page says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from shared.privacy import sentences
from shared.privacy.guarantee import seen_of_each
from shared.privacy.ledger.promise import SECURE
from simulations.report.tables import Row, distinct, number, privacy_rows
from simulations.results import Claim, Results


def promise_rows(results: Results) -> list[Row]:
    """One row for each unit and trust: epsilon of each model, delta, whom, against whom."""
    private, groups = results.private_claims, dict[tuple[object, ...], list[Claim]]()
    for claim in private:
        names = ("unit", "trust", "relation", "group_size", "delta")
        groups.setdefault(tuple(claim.get(name) for name in names), []).append(claim)
    # That it came from the system's generator nothing shows: `verify` takes the run's word for it.
    words = {SECURE: f"{SECURE} (the run's own word)"}
    noise = ", ".join(words.get(each, each) for each in distinct(results.points, "noise"))
    return [{**_row(results, claims), "noise": noise} for claims in groups.values()]


def _row(results: Results, claims: Sequence[Claim]) -> Row:
    unit, trust = str(claims[0].get("unit")), str(claims[0].get("trust"))
    spent: dict[float, float] = {}
    for claim in sorted(claims, key=lambda claim: claim.target):
        most = claim.epsilon if "epsilon" in claim.stated else claim.target
        spent[claim.target] = max(spent.get(claim.target, 0.0), most)
    seen = [str(claim.get("adversary")) for claim in claims if claim.get("adversary")]
    in_clear = not all(seen_of_each(words)[1] > 1 for words in seen)
    return {
        "epsilon": _or([sentences.at_most(epsilon, 4) for epsilon in spent.values()]),
        "several": len(spent) > 1,
        "unit": unit,
        "delta": number(claims[0].get("delta")),
        "whom": sentences.whom(unit, results.users, cast("int", claims[0].get("group_size", 1))),
        "against": _or([words.partition("; ")[0] for words in dict.fromkeys(seen)]),
        "trusted": sentences.trusted(trust, in_clear=in_clear),
    }


def budget_rows(results: Results) -> list[Row]:
    """The rows of `privacy_rows`; seeds of which all else is the same share one."""
    merged: dict[str, Row] = {}
    for row in privacy_rows(results):
        alike = str({name: value for name, value in row.items() if name != "seed"})
        first = merged.setdefault(alike, {**row, "seed": []})
        first["seed"].append(row["seed"])
    return [{**row, "seed": ", ".join(row["seed"])} for row in merged.values()]


def _or(words: Sequence[str]) -> str:
    words = list(dict.fromkeys(words))
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
