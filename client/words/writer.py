"""Prompts for a causal language model: facts in, sentences out, which nobody believes unchecked.

A model of this size repeats what it is shown, so the prompt shows what is wanted: the facts of two
made-up people and a text about each, in words that the check lets through. Its films exist in no
catalogue; whatever of them comes back is refused as any other invented title is.
"""

from __future__ import annotations

from collections.abc import Sequence

from client.words.facts import Facts, Known, in_common
from client.words.said import TEMPLATE, counted, listed
from shared.errors import ModelError
from shared.model.sources.causal import CausalModel

MOST = 90  # tokens of a text
_RECENT = 3  # latest choices that a profile may name
_PROFILE = """\
Facts: 31 titles. Kinds: western (14), musical (9). Decades: 1960s (20), 1950s (8). \
Recent: The Long Ford (1968), Dust and Bells (1961).
Profile: Your favorite kind is western, and you also enjoy musical. You chose mostly films of the \
1960s. Lately you chose The Long Ford (1968) and Dust and Bells (1961).

Facts: 12 titles. Kinds: documentary (7), war (5). Decades: 1970s (9). \
Recent: Harbour Lights (1974).
Profile: You are drawn to documentary and war, with 9 titles of the 1970s. Lately you chose \
Harbour Lights (1974).

"""
_WHY = "Reasons why films are recommended.\n\n"
_BECAUSE = """\
Recommended: The Long Ford (1968). Chosen before: Dust and Bells (1961) and Salt Road (1965).
Reason: The Long Ford (1968) is recommended because you chose Dust and Bells (1961) and \
Salt Road (1965){common}.

Recommended: Harbour Lights (1974). Chosen before: Night Ferry (1983) and Tin Moon (1979).
Reason: Harbour Lights (1974) is recommended because you chose Night Ferry (1983) and \
Tin Moon (1979){common}.

Recommended: {title}. Chosen before: {chosen}.
Reason: {title}"""


class Writer:
    """A causal language model that writes about one person's items.

    Parameters
    ----------
    name : str
        As `model.backbone`, see `shared.model.sources.causal.CausalModel`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._model = CausalModel(name)

    def profiles(self, people: Sequence[Facts]) -> list[str]:
        """Drafts of profiles, written at once; of no choices an empty one."""
        some = [facts for facts in people if facts.items]
        prompts = [f"Facts: {_told(facts)}\nProfile: You" for facts in some]
        found = iter(self._model.write(_PROFILE, prompts, MOST) if some else [])
        return [f"You {next(found)}" if facts.items else "" for facts in people]

    def because(self, cases: Sequence[tuple[Known, Sequence[Known]]]) -> list[str]:
        """Drafts of why each item is recommended, by the items that speak most for it."""
        some = [(item, chosen) for item, chosen in cases if chosen]
        prompts = [_asking_why(item, chosen) for item, chosen in some]
        found = iter(self._model.write(_WHY, prompts, MOST) if some else [])
        return [f"{item.title} {next(found)}" if chosen else "" for item, chosen in cases]


def _told(facts: Facts) -> str:
    eras = counted((f"{decade}s", count) for decade, count in facts.decades)
    kinds = counted(facts.attributes) or "various"
    recent = ", ".join(item.title for item in facts.recent[:_RECENT])
    return f"{len(facts.items)} titles. Kinds: {kinds}. Decades: {eras}. Recent: {recent}."


def _asking_why(item: Known, chosen: Sequence[Known]) -> str:
    # The same facts in every example: a model of this size takes them from the nearest one.
    common = listed(in_common([item, *chosen]))
    common = f", which share {common}" if common else ""
    names = listed(each.title for each in chosen)
    return _BECAUSE.format(title=item.title, chosen=names, common=common)


def open_writer(name: str) -> Writer | None:
    """A writer by name; None for `template`.

    Raises
    ------
    ModelError
        If it is not installed, or is no causal language model.
    """
    if name == TEMPLATE:
        return None
    try:
        return Writer(name)
    except ModelError as error:
        raise ModelError(f"--writer {name}: {error}") from None
