"""Every sentence about privacy that is printed, with what computes it or shows that it holds.

Rewrite the page with `python -m shared.privacy.claims docs/claims.md`. A test compares page and
table, finds every sentence where it is said to stand, and refuses sentences about privacy in the
source that are not here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shared.files import write_atomically
from shared.privacy import guarantee, sentences
from shared.privacy.accounting.accountant import calibrate
from shared.privacy.accounting.meaning import Meaning, meaning
from shared.privacy.accounting.steps import Step
from shared.privacy.guarantee import USER_CENTRAL, Guarantee, Unit

PEOPLE, WINDOWS = 943, 4
REPORT, README, PRIVACY = "report.html", "README.md", "docs/privacy.md"

# Lines with figures and labels that stand elsewhere in the source, and what their figures are.
PRINTED = {
    "after … round(s): …-level epsilon … at delta … (… trust); adapter …, ledger …": (
        "shared.privacy.ledger.ledger.Ledger"
    ),
    "after … round(s): what was spent is on each device's own ledger": (
        "shared.privacy.plan.terms.server_terms"
    ),
    "warning: epsilon is infinite: this policy promises no privacy, and every device declines but "
    'those whose owner wrote epsilon = "inf" into caps.toml': (
        "shared.privacy.policy.caps.load_caps"
    ),
    "What is hidden: user | example | both": "shared.privacy.plan.terms.server_terms",
    "Who adds noise: central | distributed | local": "shared.privacy.plan.terms.server_terms",
    "Of the budget, for metrics from devices; 0: none.": (
        "shared.privacy.accounting.accountant.calibrate"
    ),
    "…: each device's own ledger shows it (starling policy spent), no other": (
        "shared.privacy.plan.terms.device_terms"
    ),
    "NOT SHOWN: claims, ledgers and files agree as far as they go; see the lines above.": (
        "simulations.verify.run.verify_run"
    ),
    "The same ledgers at other deltas, by the accountant that counts": (
        "shared.privacy.accounting.accountant.epsilon"
    ),
    "At user-level ε …, example-level ε is ….": "shared.privacy.ledger.spent.spent",
    "Measured for the evaluator on private data; not covered by ε, not for release.": (
        "shared.privacy.sentences.evaluators"
    ),
    "Horizontal lines: reference points, without noise and without a budget.": (
        "simulations.engine.references.popularity"
    ),
    "not noised; whoever publishes it publishes what devices keep for themselves": (
        "shared.privacy.sentences.personal"
    ),
    "Ranking accuracy against privacy budget; the tables below hold the same numbers.": (
        "simulations.report.curve.curve_figure"
    ),
    "Released at epsilon …, seed …, on validation items:": (
        "shared.privacy.contribution.evaluation.estimate_metrics"
    ),
    "Above the dashed line the noise is larger than the signal": (
        "simulations.report.rounds.noise_figure"
    ),
    "At ε … the model ranks worse than a list of the most popular items (… of its HR@10): as it "
    "stands it should not be used.": "simulations.report.tables.accuracy_rows",
    "At ε … the model ranks worse than it did untrained (zero-shot): its budget was spent for "
    "nothing.": "simulations.report.tables.accuracy_rows",
    "The point at ε …, seed …… spent …: more than its target.": (
        "simulations.report.tables.privacy_rows"
    ),
}

INTRODUCTION = f"""\
# What is said about privacy, and what is behind it

Written from `shared/privacy/claims.py`, not by hand: `python -m shared.privacy.claims
docs/claims.md`.

Every sentence about privacy that a report, a ledger, a policy or a command prints, and those that
README and the privacy page rest on. *Behind it* is the function that computes the sentence or the
figures in it, or the test that shows it. Figures here are those of an example: {PEOPLE} people,
δ = 1e-4; at user level ε = 2 over 40 rounds with a sampling probability of .1, or ε = 8 over 16
rounds of everybody; at example level ε = 8 over 16 rounds, {WINDOWS} windows a person.
"""


@dataclass(frozen=True)
class Said:
    """One sentence.

    Attributes
    ----------
    text : str
        As it is printed, figures of the example in it.
    where : tuple of str
        Files of the repository that hold it word for word, or what prints it.
    behind : str
        Dotted name of a function, or a test as `tests/...py::name`.
    """

    text: str
    where: tuple[str, ...]
    behind: str


@cache
def sampled() -> Meaning:
    """The example at user level whose budget rests on a secret sample."""
    return _example("user", 2.0, 40, 0.1, (2, 4))


@cache
def everybody() -> Meaning:
    """The example at user level with everybody in every round."""
    return _example("user", 8.0, 16, 1.0, (2, 4))


@cache
def windows() -> Meaning:
    """The example at example level."""
    return _example("example", 8.0, 16, 1.0, (2, WINDOWS))


def _example(unit: Unit, budget: float, rounds: int, q: float, groups: tuple[int, ...]) -> Meaning:
    told = Guarantee(unit, "zero_out", "central", USER_CENTRAL, 1e-4, 1, budget)
    z = calibrate(told, rounds, q).noise_multiplier
    return meaning([[(Step(z, q, 1).event(), rounds)]], told, PEOPLE, groups)


def all_said() -> Iterator[tuple[str, list[Said]]]:
    """By heading."""
    figures = "shared.privacy.accounting.meaning.meaning"
    bound = "shared.privacy.accounting.meaning.most_found"
    sees = "tests/integration/privacy/test_what_the_server_sees.py::test_what_arrives"
    own = "tests/property/test_own_person.py"
    plan = "shared.privacy.plan.terms.server_terms"
    yield (
        "Units and neighbours",
        [
            *(Said(sentences.unit_of(unit), (REPORT,), own) for unit in ("user", "example")),
            *(
                Said(sentences.neighbours(unit, "zero_out"), (REPORT,), own)
                for unit in ("user", "example")
            ),
            Said(sentences.scheduled(), (REPORT,), plan),
            Said(sentences.covers(2), (REPORT,), figures),
            Said(sentences.two_budgets(), (REPORT,), plan),
            Said(sentences.only_windows(), (REPORT,), plan),
            Said(sentences.nothing(), (REPORT,), plan),
        ],
    )
    yield (
        "What the figures mean",
        [
            Said(sentences.odds(sampled()), (REPORT,), figures),
            Said(sentences.odds(everybody()), (REPORT, PRIVACY), figures),
            Said(sentences.together(everybody()), (REPORT, PRIVACY), figures),
            Said(sentences.whole_person(windows(), WINDOWS), (REPORT, PRIVACY), figures),
            *(Said(text, (REPORT, PRIVACY), bound) for text in sentences.found(sampled())),
            *(Said(text, (REPORT,), bound) for text in sentences.found(everybody())),
            *(Said(text, ("starling account",), figures) for text in sentences.accounted()),
            Said(
                sentences.large_delta(0.01),
                ("starling account",),
                "shared.privacy.sentences.large_delta",
            ),
        ],
    )
    yield (
        "Against whom",
        [
            *(
                Said(text, ("ledger", "policy", "results.json", REPORT), plan)
                for text in (
                    guarantee.USER_CENTRAL,
                    guarantee.USER_SCHEDULED,
                    guarantee.USER_DISTRIBUTED.format("3 of the devices in every sum"),
                    guarantee.EXAMPLE_CENTRAL,
                    guarantee.EXAMPLE_LOCAL,
                    guarantee.USER_TAKING_PART,
                )
            ),
            *(
                Said(sentences.server_sees(trust), (REPORT,), sees)
                for trust in ("central", "distributed", "local")
            ),
            Said(guarantee.HISTOGRAM_IN_CLEAR, ("device and server, refusing",), sees),
        ],
    )
    yield (
        "What no budget covers",
        [
            Said(sentences.evaluators(), (REPORT,), "shared.leaves.sections"),
            Said(sentences.seeded(), (REPORT,), "shared.privacy.mechanisms.source.NoiseSource"),
            Said(sentences.several(), (REPORT,), figures),
            Said(sentences.population(), (REPORT,), "-"),
            Said(sentences.floating(), (REPORT,), "-"),
            Said(sentences.personal(), (REPORT,), "shared.leaves.sections"),
            Said(sentences.nobody(), (REPORT,), plan),
        ],
    )


def page() -> str:
    """The text of `docs/claims.md`."""
    parts = [INTRODUCTION]
    for heading, said in all_said():
        rows = [f"| {one.text} | {', '.join(one.where)} | {_code(one.behind)} |" for one in said]
        parts.append(
            "\n".join(
                [f"## {heading}\n", "| Sentence | Said in | Behind it |", "|---|---|---|", *rows]
            )
            + "\n"
        )
    rows = [f"| {_escaped(text)} | {_code(behind)} |" for text, behind in PRINTED.items()]
    head = [
        "## Lines with figures, in the words of the source\n",
        "| Line | Behind it |",
        "|---|---|",
    ]
    return "\n".join([*parts, *head, *rows, ""])


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _code(behind: str) -> str:
    return "nothing: a fact of every such method" if behind == "-" else f"`{behind}`"


if __name__ == "__main__":
    write_atomically(Path(sys.argv[1]), page())
