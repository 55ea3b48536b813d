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

from shared.config.places import ELSEWHERE
from shared.files import write_atomically
from shared.privacy import guarantee, sentences
from shared.privacy.accounting.accountant import calibrate
from shared.privacy.accounting.meaning import Meaning, meaning
from shared.privacy.accounting.steps import Step
from shared.privacy.guarantee import USER_CENTRAL, Guarantee, Unit
from shared.privacy.printed import REPORT_LINES

PEOPLE, WINDOWS = 943, 4
REPORT, README, PRIVACY = "report.html", "README.md", "docs/privacy.md"
DEVICES, CARD = "docs/devices.md", "the model card of starling export"
TUNED = "simulations.tune.asked.refuse_private"

# Lines with figures and labels that stand elsewhere in the source, and what their figures are.
PRINTED = REPORT_LINES | {
    "No guesses could have disproved a claimed epsilon: had all been right, they would have shown "
    "…, of …. What passed are the other checks.": "simulations.audit.evidence.most_provable",
    "A simulation's noise follows from its settings: its adapters are not for release.": (
        "shared.privacy.ledger.promise.promise_of"
    ),
    "Epsilon claimed and epsilon shown, for each view; the tables below hold the same numbers.": (
        "simulations.audit.report.figure.evidence_panels"
    ),
    "A lower bound below the claim is no proof of the claim: attacks may be weak.": (
        "simulations.audit.evidence.most_provable"
    ),
    "Its figures about people are computed from their data without noise: they are the auditor's, "
    "and not for release.": "simulations.audit.attacks.membership.membership",
    "Whether real devices run this code, and draw noise from the operating system.": (
        "simulations.audit.run.run_parts"
    ),
    "Whether devices kept to their clip, and their own noise where they add it: each one's owner "
    "audits the device's folder.": "simulations.audit.held.device_parts",
    "What other devices sent, how many took part, and the noise that was added to sums.": (
        "simulations.audit.held.device_parts"
    ),
    "What the operator's ledger says: whoever has the run's folder audits that.": (
        "simulations.audit.run.run_parts"
    ),
    "What was spent: the ledger is in the run's folder, and this file says so of itself.": (
        "simulations.audit.held.adapter_parts"
    ),
    "Clips, noise, sampling, and whose data it was made of.": (
        "simulations.audit.held.adapter_parts"
    ),
    "after … round(s): …-level epsilon … at delta … (… trust); …": (
        "shared.privacy.ledger.ledger.Ledger"
    ),
    "after … round(s): nothing is protected, there was no noise; …": (
        "shared.privacy.ledger.ledger.Ledger"
    ),
    "after … round(s): what was spent is on each device's own ledger": (
        "shared.privacy.plan.terms.server_terms"
    ),
    "Shares of a budget as this, where settings leave them open": (
        "shared.privacy.plan.split.budget_split"
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
    "At user-level ε …, example-level ε is ….": ("shared.privacy.ledger.spent.spent"),
    "Measured for the evaluator on private data; not covered by ε, not for release.": (
        "shared.privacy.sentences.evaluators"
    ),
    "Horizontal lines: reference points, without noise and without a budget.": (
        "simulations.engine.references.popularity"
    ),
    "not noised; whoever publishes it publishes what devices keep for themselves": (
        "shared.privacy.sentences.personal"
    ),
    "Released at epsilon …, seed …, on validation items:": (
        "shared.privacy.contribution.evaluation.estimate_metrics"
    ),
    "HR@10 above, ± 95% (share of the same model's without noise)": (
        "simulations.compare.without_noise"
    ),
    "…: … entries, …-level epsilon … at delta … (… trust); against …": (
        "client.commands.gate.spent"
    ),
    "all together: …-level epsilon … at delta …": ("client.commands.gate.spent"),
    "rounds … to …: no update counted, of about … expected (…): what was released of them"
    " is nobody's: noise, or nothing. Look into the devices' own logs, "
    "have devices connected, and": ("server.cohort.silence.Silence"),
    "…-level epsilon … at delta … (…, … trust…; …) against …": (
        "shared.privacy.ledger.promise.promise_of"
    ),
    "promise: none is in the file; nothing is known of its privacy": (
        "shared.privacy.ledger.promise.promise_of"
    ),
    "# What this device's owner allows. No server can change it; an edit counts from the "
    "next request on. # This file was written because there was none. A line that is "
    "taken out counts as it stands here. # The most that taking part may cost: all runs "
    "together, for as long as this folder is kept, without # amplification by sampling. "
    '"inf" sets no limit, and also allows runs that promise nothing. epsilon = … # At '
    "which that is counted. A run whose own delta is larger is refused. delta = … # What "
    "must be hidden: user (all that is yours), or example (it is enough that any one "
    "window of it # is; how much such an epsilon says about all that is yours is not "
    'counted). unit = "…" # Whom to trust at most: central (the server adds the noise), '
    'distributed, or local (nobody). trust = "…" # true: the server may see sums of many '
    "devices' contributions, or noised ones, and not yours alone. sums = … # Requests answered a "
    'day, by the date in UTC. "inf" sets no limit. rounds_per_day = … # true: answer nothing. '
    "pause = …": ("shared.privacy.policy.caps.load_caps"),
    "epsilon = … at delta = …, unit = …, trust = …, sums = …, rounds_per_day = …, pause = …": (
        "shared.privacy.policy.caps.load_caps"
    ),
    "the policy promises no privacy (epsilon = inf), and its owner did not allow that": (
        "shared.privacy.policy.caps.load_caps"
    ),
    "…-level epsilon … at delta …, … trust, …, groups of …, against …": (
        "shared.privacy.policy.issue.policy_of"
    ),
    "…: at most … times, …, noise multiplier …, clipping norm …": (
        "shared.privacy.policy.issue.policy_of"
    ),
}

INTRODUCTION = f"""\
# What is said about privacy, and what is behind it

Written from `shared/privacy/claims.py`, not by hand: `python -m shared.privacy.claims
docs/claims.md`.

Every sentence about privacy that a report, a ledger, a policy, an adapter or a command prints, and
those that the privacy page rests on. What `starling verify` and `policy check` find in a file is
said on the privacy page and in docs/policy.md. *Behind it* is the function that computes the
sentence or the figures in it, or the test that shows it. Figures here are those of an example:
{PEOPLE} people, δ = 1e-4; at user level ε = 2 over 40 rounds with a sampling probability of .1, or
ε = 8 over 16 rounds of everybody; at example level ε = 8 over 16 rounds, {WINDOWS} windows each.
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
    in_sums = "test_a_real_device_gives_what_is_for_a_sum_to_a_secure_one_alone"
    sees = "tests/integration/privacy/test_what_the_server_sees.py::"
    own = "tests/property/test_own_person.py::test_who_has_nothing_contributes_nothing"
    accountants = "tests/property/test_accountant.py::test_pld_never_exceeds_rdp"
    plan = "shared.privacy.plan.terms.server_terms"
    yield (
        "Units and neighbours",
        [
            *(Said(sentences.unit_of(unit), (REPORT,), own) for unit in ("user", "example")),
            *(Said(sentences.whom(unit, PEOPLE), (REPORT,), own) for unit in ("user", "example")),
            Said(sentences.whom("user", PEOPLE, 2), (REPORT,), figures),
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
            Said(
                sentences.unlearned(everybody().epsilon, everybody().delta, "user"),
                ("starling client forget", DEVICES),
                "shared.privacy.accounting.accountant.epsilon",
            ),
            Said(sentences.together(everybody()), (REPORT, PRIVACY), figures),
            Said(sentences.whole_person(windows(), WINDOWS), (REPORT, PRIVACY), figures),
            *(Said(text, (REPORT, PRIVACY), bound) for text in sentences.found(sampled())),
            *(Said(text, (REPORT,), bound) for text in sentences.found(everybody())),
            *(
                Said(text, ("starling client budget", "the device's page"), behind)
                for text, behind in (
                    (
                        sentences.own_spending(2.0, 8.0, 1e-5),
                        "client.person.spending.read_spending",
                    ),
                    (sentences.own_risk(2.0, 1e-5, "user"), bound),
                    (sentences.own_risk(2.0, 1e-5, "example"), bound),
                )
            ),
            *(Said(text, ("starling account",), accountants) for text in sentences.accounted()),
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
                    guarantee.in_sums(guarantee.USER_CENTRAL, 12, 0.1),
                    guarantee.USER_SCHEDULED,
                    guarantee.in_sums(guarantee.USER_SCHEDULED, 12, 0.1),
                    guarantee.USER_DISTRIBUTED.format("3 of the 4 or more devices in every sum"),
                    guarantee.EXAMPLE_CENTRAL,
                    guarantee.EXAMPLE_LOCAL,
                    guarantee.USER_TAKING_PART,
                )
            ),
            *(
                Said(sentences.server_sees(trust, in_clear=bare), (REPORT,), sees + test)
                for trust, bare, test in (
                    ("central", True, "test_what_arrives"),
                    ("central", False, in_sums),
                    ("distributed", False, in_sums),
                    ("local", False, "test_what_arrives"),
                )
            ),
            *(
                Said(sentences.trusted(trust, in_clear=bare), (REPORT,), sees + test)
                for trust, bare, test in (
                    ("central", True, "test_what_arrives"),
                    ("central", False, in_sums),
                    ("distributed", False, in_sums),
                    ("local", False, "test_what_arrives"),
                )
            ),
            Said(
                guarantee.HISTOGRAM_IN_CLEAR,
                ("device and server, refusing",),
                sees + "test_a_histogram_in_clear_names_the_persons_items",
            ),
        ],
    )
    yield (
        "What no budget covers",
        [
            Said(sentences.evaluators(), (REPORT,), "shared.leaves.sections"),
            Said(sentences.measured(), ("starling evaluate",), "shared.leaves.sections"),
            *(Said(sentences.of_a_file(at), (CARD,), plan) for at in ("nothing", "told", "noised")),
            Said(sentences.begun("0" * 16), (REPORT, CARD), "shared.model.start.start_of"),
            *(
                Said(
                    sentences.encoded(what, "0" * 16), (REPORT,), "shared.model.sources.choice.find"
                )
                for what in ELSEWHERE.values()
            ),
            *(Said(sentences.chosen(log), ("starling tune",), TUNED) for log in ("", "LOG")),
            Said(
                sentences.searched(4, 7.98, 1e-4),
                ("starling tune --private", "starling verify"),
                "shared.privacy.ledger.together.spent_together",
            ),
            Said(sentences.seeded(), (REPORT,), "shared.privacy.mechanisms.source.NoiseSource"),
            Said(sentences.several(), (REPORT,), "-"),
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
