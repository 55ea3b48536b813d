"""A profile and a reason, each from a template or from a writer whose sentences were checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from client.words.check import Checker, Titles
from client.words.facts import Items, facts_of
from client.words.said import Said, profile, said
from client.words.writer import Writer
from shared.data.catalogue import Catalogue


class Speaker:
    """What is said of one catalogue's items.

    Parameters
    ----------
    catalogue : Catalogue
    writer : Writer, optional
        Without one templates alone are used.
    """

    def __init__(self, catalogue: Catalogue, writer: Writer | None = None) -> None:
        self.items = Items(catalogue)
        self.writer = writer

    @cached_property
    def titles(self) -> Titles:
        """Of the whole catalogue, for the check."""
        return Titles(self.items)

    def profile(
        self,
        history: npt.NDArray[np.int64],
        liked: Iterable[int] = (),
        weighing: Sequence[int] = (),
    ) -> Said:
        """A person's taste.

        Parameters
        ----------
        history : int64 [n]
            Oldest first; may be empty.
        liked : iterable of int
            Items that the person said they like.
        weighing : sequence of int
            Items that weigh most in what is recommended, most first.
        """
        facts = facts_of(self.items, history, liked)
        template = profile(facts, [self.items[item].title for item in weighing])
        if self.writer is None:
            return Said(template)
        draft = self.writer.profile(facts)
        return said(template, Checker(facts, self.titles), draft, self.writer.name)

    def because(
        self, item: int, chosen: Sequence[int], liked: Iterable[int], reasons: Sequence[str]
    ) -> Said:
        """Why an item is recommended.

        Parameters
        ----------
        item : int
        chosen : sequence of int
            The items of the history that speak most for it: beside it, all that may be named.
        liked : iterable of int
        reasons : sequence of str
            As `client.serving.reasons.reasons`, which the template says.
        """
        known = self.items[item]
        template = f"{known.title}: {'; '.join(reasons)}."
        if self.writer is None:
            return Said(template)
        others = [self.items[each] for each in chosen]
        checker = Checker(facts_of(self.items, [*chosen, item], liked), self.titles)
        draft, by = self.writer.because(known, others), self.writer.name
        return said(template, checker, draft, by, {each.title for each in others})
