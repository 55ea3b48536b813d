"""What is protected, against whom, and what is not: in words that need no mathematics.

Every sentence is one of `shared.privacy.sentences`, chosen and filled in from what the points say
of themselves; a value without one is named as it stands, never described as something stronger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from shared.data.protocol import protocol_warnings
from shared.privacy import sentences
from shared.privacy.accounting.meaning import Meaning
from shared.privacy.guarantee import seen_of_each
from simulations.compare import remarks
from simulations.report.tables import (
    Row,
    distinct,
    level,
    levels,
    number,
    privacy_rows,
)
from simulations.results import Claim, Results, Stated, epsilon_of


def protected(results: Results) -> list[str]:
    """Sentences on what the budget means, for the private points of these results."""
    private = results.private_claims
    if not private:
        return [sentences.nothing()]
    units = list(dict.fromkeys(str(c.get("unit")) for c in private if "unit" in c.stated))
    lines = []
    if len(units) > 1:
        lines.append(sentences.two_budgets())
    for unit in units:
        lines += _unit_sentences(unit, [c for c in private if c.get("unit") == unit], results)
    return lines


def _unit_sentences(unit: str, claims: Sequence[Claim], results: Results) -> Iterator[str]:
    yield sentences.unit_of(unit)
    for relation in distinct(claims, "relation"):
        yield sentences.neighbours(unit, relation)
    if any(claim.get("correlation") for claim in claims):
        yield sentences.scheduled()
    for size in sorted({cast("int", claim.get("group_size", 1)) for claim in claims} - {1}):
        yield sentences.covers(size)
    told = _largest(claims)
    if told is None:
        return
    yield sentences.odds(told)
    yield from sentences.found(told)
    windows = _windows(results)
    if unit == "example" and windows:
        yield sentences.whole_person(told, windows)


def _largest(claims: Sequence[Claim]) -> Meaning | None:
    """What the largest budget says: the others say less is lost. The table has all."""
    told = [meaning for claim in claims if (meaning := claim.meaning) is not None]
    return max(told, key=lambda one: one.epsilon, default=None)


def _windows(results: Results) -> int | None:
    """The contribution bound of a person, in windows, of the points with noise."""
    config = Stated(results.config)
    trains = [tree.table("train") for tree in (Stated(config.table("private")), config)]
    windows = next((train["max_windows"] for train in trains if "max_windows" in train), None)
    return windows if isinstance(windows, int) else None


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
    found = []
    for trust in distinct(private, "trust"):
        seen = [claim.get("adversary") for claim in private if claim.get("trust") == trust]
        bare = not all(seen_of_each(str(words))[1] > 1 for words in seen)  # unless sums are named
        found.append(sentences.server_sees(trust, in_clear=bare))
    if not all(point.private for point in results.points):
        found.append(sentences.nobody())
    if Stated(results.config).table("federation").get("aggregation") == "fedsa":
        found.append(sentences.personal())
    model = Stated(results.config).table("model")
    if "start" in model:
        found.append(sentences.begun(str(model.get("start_sha256"))))
    if results.simulated:
        found += [sentences.evaluators(), sentences.seeded()]
    found.append(sentences.several())
    for unit in distinct(private, "unit"):
        told = _largest([claim for claim in private if claim.get("unit") == unit])
        found += [sentences.together(told)] if told else []
    found.append(sentences.population())
    if distinct(private, "trust") != ["distributed"]:  # whose noise is whole numbers
        found.append(sentences.floating())
    return found


def warnings(results: Results) -> list[str]:
    """What a reader must know before believing anything on the page."""
    found = []
    if not results.points:
        found.append("No point has finished: there is nothing to read from this run yet.")
    if {unit for unit, _ in levels(results.private_claims)} == {"example"}:
        found.append(sentences.only_windows())
    if not results.complete:
        found.append(f"This run is incomplete.{_missing(results)}")
    for row in privacy_rows(results):
        if row["over"]:
            found.append(
                f"The point at ε {row['target']}, seed {row['seed']}{_of(row)} spent {row['pld']}: "
                "more than its target."
            )
    return [*found, *several_versions(results)]


def limits(results: Results) -> list[str]:
    """What a reader must know before believing a figure of accuracy."""
    if not results.simulated:
        return []
    found = protocol_warnings(results.data)
    found += [f"At {remark}." for remark in remarks(results, failing=True)]
    if results.points and "popularity" not in results.references:
        found.append("Popularity was not measured: nothing here shows that the model is above it.")
    return found


def several_versions(results: Results) -> list[str]:
    """Whether a run that was interrupted was finished by another version; empty if not."""
    several = results.several_versions
    return [f"Parts of it were computed with different versions: {several}."] if several else []


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
