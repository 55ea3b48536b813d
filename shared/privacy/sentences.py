"""What a guarantee says, in words for people who need no mathematics.

Every sentence about privacy that the product prints stands here or in the guarantee's own words
(`shared.privacy.guarantee`); figures come from `shared.privacy.accounting.meaning`. The table of
all of them, with what computes or checks each, is `shared.privacy.claims`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

from shared.privacy.accounting.meaning import Meaning, most_found

FALSE_ALARM = 0.01  # of the attacker in the bounds on what can be found


def unit_of(unit: str) -> str:
    """Whose presence is hidden."""
    return {
        "user": (
            "User-level: the unit is a person, everything that one user ever contributed together."
        ),
        "example": (
            "Example-level: the unit is one training window, a piece of one person's history, not "
            "the person. That somebody took part is not hidden. An interaction is the target of "
            "one window only, but also context of what follows it there, and the first input of "
            "the next window."
        ),
    }.get(unit, _unknown("privacy unit", unit))


def neighbours(unit: str, relation: str) -> str:
    """Which two data sets are compared."""
    return {
        ("user", "zero_out"): (
            "Two data sets are neighbours if one has all that a person contributed and the other "
            "has nothing of it. How many people there are is public and the same in both, so that "
            "somebody is among them is not hidden."
        ),
        ("example", "zero_out"): (
            "Two data sets are neighbours if one has a window and the other has nothing in its "
            "place. The person is in both, and how many people there are is public."
        ),
    }.get((unit, relation), _unknown("neighbour relation", relation))


def whom(unit: str, users: int | None, group: int = 1) -> str:
    """To whom a budget is promised, in a few words."""
    if unit == "example":
        return "each training window, not each person"
    if unit != "user":
        return _unknown("privacy unit", unit)
    people = f"each of {users:,} people" if users else "each person"
    together = "" if group == 1 else f", and any {group} of them together"
    return f"{people}{together}, with all that they ever contributed"


def scheduled() -> str:
    """What correlated noise takes as known."""
    return (
        "The same people are asked in the same rounds in both data sets: when somebody took part "
        "is not hidden. The noise of a round is correlated with that of the rounds before "
        "(DP-FTRL); all rounds are one release, which is counted once."
    )


def server_sees(trust: str, *, in_clear: bool = False) -> str:
    """What reaches the server in each form of trust, and whether that is each device's own."""
    if trust == "central" and in_clear:
        return (
            "The server adds the noise. A real server receives each device's own clipped "
            "contributions before that, and must be trusted with every one of them; in a "
            "simulation one process sees everything. Against the server itself, or whoever breaks "
            "into it, this budget promises nothing."
        )
    return {
        "central": (
            "The server adds the noise. A real server learns the sums of many devices' clipped "
            "contributions before that, by secure aggregation, and must be trusted with these "
            "sums; in a simulation one process sees everything. Against the server itself, or "
            "whoever breaks into it, this budget promises nothing."
        ),
        "distributed": (
            "Every device adds a share of the noise before anything is summed, so the server sees "
            "noised sums only. That holds as long as as many devices as the run counts on are "
            "honest, and single messages do not reach the server: in a deployment that is by "
            "secure aggregation, in a simulation one process adds them up in its stead."
        ),
        "local": (
            "Every device's own message carries noise, so a server that sends the agreed settings "
            "need not be trusted with single windows. Devices hold different people's windows, so "
            "the budget is that of the device that spent the most, not a sum."
        ),
    }.get(trust, _unknown("trust model", trust))


def trusted(trust: str, *, in_clear: bool = False) -> str:
    """Whom a budget is not against, in a few words."""
    return {
        "central": (
            "the server, with each device's own contributions"
            if in_clear
            else "the server, with sums of many devices' contributions"
        ),
        "distributed": "not the server; as many devices as the run counts on",
        "local": "not the server, as long as it sends the agreed settings",
    }.get(trust, _unknown("trust model", trust))


def odds(told: Meaning) -> str:
    """What epsilon and delta say together, and what delta is not."""
    sentence = (
        f"At ε = {at_most(told.epsilon)} and δ = {number(told.delta)} the probability of any event "
        f"with a unit's data is at most e^ε = {at_most(math.exp(min(told.epsilon, 700.0)))} times "
        "its probability without them, plus δ, and the other way round."
    )
    if told.exceeds is None:
        return sentence
    return (
        f"{sentence} δ is not the probability that more than ε is lost: the privacy loss is above "
        f"ε with probability {number(told.exceeds)}, {number(told.exceeds / told.delta, 2)} δ, by "
        "the accountant's own distribution."
    )


def unlearned(epsilon: float, delta: float, unit: str) -> str:
    """What forgetting on a device cannot take back, and what holds of it."""
    whose = {"user": "all of this person's data", "example": "any one window of this person's data"}
    return (
        "What was contributed before stays in the models and statistics that were released since, "
        f"and cannot be taken out again. What was spent bounds it: at ε = {at_most(epsilon)} and "
        f"δ = {number(delta)} the probability of anything that is found in them is at most "
        f"e^ε = {at_most(math.exp(min(epsilon, 700.0)))} times what it would be without "
        f"{whose.get(unit, _unknown('unit', unit))}, plus δ, and the other way round."
    )


def together(told: Meaning) -> str:
    """What groups of units are held by."""
    figures = [f"{size} have {at_most(value)}" for size, value in told.groups.items()]
    covered = "one has" if told.group == 1 else f"{told.group} together have"
    return (
        "Units that behave alike, such as the people of a household or two accounts of one person, "
        f"are not protected together as one is: where {covered} ε = {at_most(told.epsilon)}, "
        f"{_and(figures)} at the same δ."
    )


def whole_person(told: Meaning, windows: int) -> str:
    """What an example-level budget says of somebody with that many windows."""
    value = told.groups.get(windows, math.inf) if windows > told.group else told.epsilon
    return (
        f"A person's windows, at most {windows}, are a group: all of them together have "
        f"ε = {at_most(value)} at the same δ, where one has {at_most(told.epsilon)}."
    )


def found(told: Meaning) -> Sequence[str]:
    """The most that attacks find, each with its adversary."""

    def share(epsilon: float) -> str:
        return f"{at_most(100 * most_found(epsilon, told.delta, FALSE_ALARM), 4)}%"

    limit = f"while wrongly accusing {100 * FALSE_ALARM:g}% of the others"
    if not told.seen:
        return [
            f"Whoever this budget is against finds at most {share(told.epsilon)} of the units with "
            f"data {limit}, whatever else they know."
        ]
    return [
        f"Someone who does not know which of the sums a unit was sampled into finds at most "
        f"{share(told.epsilon)} of the units with data {limit}, whatever else they know.",
        *(
            f"Someone who does is held by ε = {at_most(one.epsilon)} for a unit in {one.sums} of "
            f"them ({which}), and finds at most {share(one.epsilon)} of such units."
            for one, which in zip(
                told.seen, ("the expected number", "the most, typically"), strict=True
            )
        ),
    ]


def accounted() -> Sequence[str]:
    """Beneath what a plan of rounds costs."""
    return (
        "PLD counts; RDP is a looser bound and never lower; PRV computes the same and checks it.",
        "Amplified by sampling only against those who never learn who was in a round; the last "
        "column is for someone who does, of a unit that was in all of them.",
        "The unit is whoever one clipping norm bounds: a person, or one training example.",
    )


def large_delta(delta: float) -> str:
    """Of a delta that is no small probability."""
    return (
        f"delta = {delta:g} is large: it allows to publish one unit of {1 / delta:.3g} outright. A "
        "run refuses a delta above 1 / units: give --users to have it checked."
    )


def nothing() -> str:
    """Of a run without a private point."""
    return "Nothing is protected: no model in this run was trained under a finite privacy budget."


def of_a_file(kind: str) -> str:
    """Of an adapter that is handed on alone: without a budget, with one, with private metrics."""
    return {
        "nothing": (
            "Nothing is protected: this file carries no finite privacy budget. A model trained "
            "that way can reveal what single people did."
        ),
        "told": (
            "What follows is what the adapter's file says of itself, and whoever made that file "
            "wrote it. `starling verify`, on the run's folder, recomputes it from the ledger."
        ),
        "noised": (
            "These figures were released with noise, in rounds that the ledger counts: the budget "
            "above covers them. Their intervals include the noise."
        ),
    }[kind]


def two_budgets() -> str:
    """Of a run under both units."""
    return (
        "Every private model carries two budgets, one for each unit below. They are different "
        "promises: neither figure may be read as the other."
    )


def covers(size: int) -> str:
    """Of a guarantee for groups."""
    return f"The budget covers any {size} such units together, not only one."


def only_windows() -> str:
    """Of a page on which no budget is a person's."""
    return (
        "Every ε on this page is example-level: it bounds what is learned of one training window, "
        "not of a person. What it says of all windows of a person stands under “Protected”."
    )


def evaluators() -> str:
    """What exact figures are for."""
    return (
        "Every number about accuracy and signal on this page was computed from the users' data "
        "without noise. It is for the evaluator: the budget does not cover it, and it is not for "
        "release."
    )


def measured() -> str:
    """Beneath figures that an adapter's promise does not cover."""
    return (
        "These figures are computed from the people's data without noise: they are the "
        "evaluator's, and the promise below does not cover them."
    )


def begun(digest: str) -> str:
    """Of a model whose corrections begin from a LoRA that was made elsewhere."""
    return (
        f"The language model's corrections began from a LoRA that was made elsewhere (SHA-256 "
        f"{digest[:16]}). Whoever made the run states that nothing in it is of these people, and "
        "nobody can check that. If it is not so, no budget here covers what it holds of them."
    )


def encoded(what: str, digest: str) -> str:
    """Of a model made of what lies elsewhere: words of `shared.config.places.ELSEWHERE`."""
    return (
        f"The {what} (SHA-256 {digest[:16]}). Whoever made the run takes them for public, and "
        "nobody can check that nothing in them is of these people. If it is not so, no budget here "
        "covers what they hold of them."
    )


def chosen(data: str) -> str:
    """Of settings that a search chose; `data` is the log's name, empty for the synthetic world."""
    if not data:
        return "Chosen on the synthetic world, which is nobody's data: that costs no budget."
    return (
        f"Chosen on {data}, of which whoever searched states that it is public, or of other people "
        "than those whom the settings are for; nobody can check that. If it is so the choice costs "
        "no budget. On the same people it would be a release of each trial that none counts."
    )


def searched(runs: int, epsilon: float, delta: float) -> str:
    """Of settings chosen on the people's own log: what all runs of the search cost together."""
    return (
        f"All {runs} runs of the search were on these people and cost epsilon {at_most(epsilon)} "
        f"together, at delta {delta:g}: that is what they are promised, whichever run was chosen. "
        "Choosing looked at all of them: one run's own epsilon is no promise of what was chosen."
    )


def seeded() -> str:
    """What simulated noise is worth."""
    return (
        "This is a simulation. Its noise comes from a seeded generator, so that it can be "
        "repeated; whoever knows the seed can take the noise away. Its adapters measure a cost and "
        "are not for release."
    )


def several() -> str:
    """What a budget does not add up."""
    return (
        "The budget covers the models of one point. Several points trained on the same people, and "
        "settings that were chosen by looking at results on them, cost more than any one row says."
    )


def population() -> str:
    """What is learned of everybody."""
    return (
        "What holds for people in general can still be learned, and can be applied to anybody, "
        "whether they took part or not."
    )


def floating() -> str:
    """What floating point adds."""
    return (
        "The noise is computed in floating point, whose rounding can leak a little beyond the "
        "formula (Mironov 2012)."
    )


def personal() -> str:
    """What devices keep under a personal rule."""
    return (
        "Every simulated device kept a part of the adapter to itself (federation.aggregation = "
        "fedsa), and every person was ranked with their own. No noise is in that part; it lies in "
        "the run's folder `personal` and not in the adapters. Whoever publishes that folder "
        "publishes it."
    )


def nobody() -> str:
    """Of points without noise."""
    return (
        "The points marked ∞ have no privacy at all. They show what accuracy costs; a model "
        "trained that way can reveal what single people did."
    )


def own_spending(spent: float, cap: float, delta: float) -> str:
    """What taking part has cost a device's owner, beside what they allow."""
    cost = f"taking part has cost at most ε = {at_most(spent)} at δ = {number(delta)}"
    if math.isinf(cap):
        return f"You set no limit; {cost}."
    left = at_least(max(0.0, cap - spent))
    return f"Of the ε = {number(cap)} that you allow, {cost}; {left} is left."


def own_risk(spent: float, delta: float, unit: str) -> str:
    """What that says of the owner: the most that any attack is right, at 1% of false alarms."""
    whose = {"user": "what you chose was", "example": "one window of what you chose was"}[unit]
    most = at_most(100 * most_found(spent, delta, FALSE_ALARM), 4)
    return (
        f"Asked whether {whose} in it, somebody who is wrong about {100 * FALSE_ALARM:g}% of those "
        f"who were not is right about at most {most}% of those who were, whatever else they know."
    )


def number(value: float, digits: int = 3) -> str:
    """In few digits."""
    return "infinity" if math.isinf(value) else f"{value:.{digits}g}"


def at_most(value: float, digits: int = 3) -> str:
    """An upper bound in few digits: rounded up, but for what the accountants' own search leaves."""
    if math.isinf(value):
        return "infinity"
    rounded = Context(prec=digits, rounding=ROUND_CEILING).create_decimal(
        repr(float(value) * (1 - 1e-6))
    )
    return f"{float(rounded):,.0f}" if 1e3 <= rounded < 1e6 else f"{float(rounded):.{digits}g}"


def at_least(value: float, digits: int = 3) -> str:
    """A lower bound in few digits: rounded down."""
    if math.isinf(value):
        return "infinity"
    rounded = Context(prec=digits, rounding=ROUND_FLOOR).create_decimal(repr(float(value)))
    return f"{float(rounded):.{digits}g}"


def _and(parts: Sequence[str]) -> str:
    return " and ".join(parts) if len(parts) < 3 else ", ".join(parts)


def _unknown(what: str, value: str) -> str:
    return f"The {what} is “{value}”, which this page does not explain."
