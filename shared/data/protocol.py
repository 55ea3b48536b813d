"""Whom an evaluation asks about what, as it can be carried out on the people that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from shared.data.catalogue import TEXTLESS
from shared.data.split import MIN_EVALUATED, is_evaluated

FEW = 30  # people: an interval over fewer is no more than a hint
DRAWN = "negatives_drawn"  # in `data` of results.json
CUTOFF = 10  # of HR@10 and NDCG@10: with fewer negatives every ranking is a hit
FULL = "among all items that a person has not met"  # what full metrics rank


@dataclass(frozen=True)
class Protocol:
    """Who is evaluated, and among how many sampled negatives.

    Attributes
    ----------
    items : int
        Of the catalogue.
    users : int
        People that were gone through.
    evaluated : int
        Of them those who are asked about a held-out item.
    short : int
        Those with fewer than three interactions.
    met_all : int
        Those of the others who met every item: nothing competes with theirs.
    negatives_wanted : int
        That the settings ask for, >= 1.
    negatives_least : int
    negatives_median : float
        That are drawn for one evaluated person; 0 where nobody is.
    certain : int
        Evaluated people with fewer than ten negatives: HR@10 is 1 for them whatever ranks.
    """

    items: int
    users: int
    evaluated: int
    short: int
    met_all: int
    negatives_wanted: int
    negatives_least: int
    negatives_median: float
    certain: int

    @classmethod
    def of(cls, interactions: Sequence[int], items: int, wanted: int) -> Protocol:
        """Of people with so many interactions each, a catalogue, and `data.negatives`."""
        drawn = [min(wanted, items - n) for n in interactions if is_evaluated(n, items)]
        short = sum(n < MIN_EVALUATED for n in interactions)
        return cls(
            items=items,
            users=len(interactions),
            evaluated=len(drawn),
            short=short,
            met_all=len(interactions) - short - len(drawn),
            negatives_wanted=wanted,
            negatives_least=min(drawn, default=0),
            negatives_median=float(median(drawn)) if drawn else 0.0,
            certain=sum(n < CUTOFF for n in drawn),
        )

    def stated(self) -> dict[str, Any]:
        """What `results.json` says of it, beside what it says of the data."""
        return {
            "evaluated_users": self.evaluated,
            "negatives": self.negatives_wanted,
            DRAWN: {
                "least": self.negatives_least,
                "median": self.negatives_median,
                "certain": self.certain,
            },
        }

    @property
    def why_nobody(self) -> str:
        """Why not one person can be evaluated; empty where somebody can."""
        if self.evaluated:
            return ""
        reasons = {
            f"have fewer than {MIN_EVALUATED} interactions (one to train on, one to validate, "
            "one to test)": self.short,
            f"met all {self.items} items, so that nothing competes": self.met_all,
        }
        told = [f"{count} {reason}" for reason, count in reasons.items() if count]
        people = "1 person" if self.users == 1 else f"{self.users} people"
        return f"nobody can be evaluated: of {people} {' and '.join(told)}"


def negatives_in_words(data: Mapping[str, object]) -> str:
    """Among what the sampled metrics rank: the only sentence that says so.

    Parameters
    ----------
    data : mapping
        As `Protocol.stated`; without what was drawn nothing is known but that no more was.

    Examples
    --------
    >>> negatives_in_words({"negatives": 99, "negatives_drawn": {"least": 99}})
    'among 99 sampled negatives'
    >>> negatives_in_words({"negatives": 99, "negatives_drawn": {"least": 9, "median": 12.5}})
    'among as few as 9 sampled negatives (median 12.5; 99 asked for)'
    >>> negatives_in_words({"negatives": 99})
    'among at most 99 sampled negatives'
    """
    wanted, drawn = data.get("negatives"), data.get(DRAWN)
    if not wanted:
        return "among sampled negatives"
    if not isinstance(drawn, Mapping):
        return f"among at most {wanted} sampled negatives"
    if drawn["least"] == wanted:
        return f"among {wanted} sampled negatives"
    middle = f"median {drawn['median']:g}; {wanted} asked for"
    return f"among as few as {drawn['least']} sampled negatives ({middle})"


def protocol_warnings(data: Mapping[str, Any]) -> list[str]:
    """What a reader of figures must know first; empty where all was carried out as it was asked.

    Parameters
    ----------
    data : mapping
        As `Protocol.stated`, with `items` and `Catalogue.stated`; what is missing is not warned
        of.
    """
    found, drawn = [], data.get(DRAWN)
    wanted: Any = data.get("negatives")
    evaluated = data.get("evaluated_users")
    if drawn and evaluated:
        if drawn["least"] < wanted:
            found.append(
                f"Held-out items are ranked {negatives_in_words(data)}: no more items are left "
                "that a person never met. Fewer make every figure higher: compare with none that "
                f"was measured among {wanted}."
            )
        if drawn["certain"]:
            left = f"those of them to whom fewer than {CUTOFF} items are left"
            found.append(
                f"For {drawn['certain']} of {evaluated} people HR@10 is 1 whatever ranks: fewer "
                f"than {CUTOFF} negatives compete with their item. So is full HR@10 of test items "
                f"for {left if wanted < CUTOFF else 'them'}."
            )
    if evaluated and evaluated < FEW:
        found.append(
            f"{evaluated} {'person is' if evaluated == 1 else 'people are'} evaluated: figures "
            "over so few say next to nothing of others, and intervals over them are too narrow."
        )
    if without := data.get(TEXTLESS):
        found.append(_without_text(without, data.get("items")))
    return found


def _without_text(without: int, items: int | None) -> str:
    whom = "No item has" if without == items else f"{without} of {items or 'the'} items have no"
    return (
        f"{whom} {'a ' * (without == items)}text that says anything of it (an identifier, or no "
        "word): what is told of such items is how often they were chosen, and with which others."
    )
