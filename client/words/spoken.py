"""A profile and a reason, each from a template or from a writer whose sentences were checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from client.words.check import Checker, Titles
from client.words.facts import Facts, Items, facts_of
from client.words.said import Said, profile, said
from client.words.writer import Writer
from shared.data.catalogue import Catalogue


@dataclass(frozen=True)
class Case:
    """One recommendation that is to be explained.

    Attributes
    ----------
    item : int
    leading : tuple of int
        The items of the history that speak most for it: beside it, all that may be named.
    reasons : tuple of str
        As `client.serving.reasons.reasons`, which the template says.
    """

    item: int
    leading: tuple[int, ...]
    reasons: tuple[str, ...]


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
        return self._profiles([facts_of(self.items, history, liked)], [weighing])[0]

    def profiles(
        self, histories: Sequence[npt.NDArray[np.int64]], weighing: Sequence[Sequence[int]]
    ) -> list[Said]:
        """The same of several people, whom a writer writes about at once."""
        return self._profiles([facts_of(self.items, each) for each in histories], weighing)

    def _profiles(self, people: list[Facts], weighing: Sequence[Sequence[int]]) -> list[Said]:
        templates = [
            profile(facts, [self.items[item].title for item in some])
            for facts, some in zip(people, weighing, strict=True)
        ]
        if self.writer is None:
            return [Said(template) for template in templates]
        drafts, by = self.writer.profiles(people), self.writer.name
        return [
            said(template, Checker(facts, self.titles), draft, by)
            for facts, template, draft in zip(people, templates, drafts, strict=True)
        ]

    def because(self, cases: Sequence[Case], liked: Iterable[int] = ()) -> list[Said]:
        """Why each of some items is recommended; a writer writes them all at once.

        Parameters
        ----------
        cases : sequence of Case
        liked : iterable of int
            Items that the person said they like.
        """
        items, kept = self.items, list(liked)
        templates = [f"{items[one.item].title}: {'; '.join(one.reasons)}." for one in cases]
        if self.writer is None:
            return [Said(template) for template in templates]
        chosen = [[items[each] for each in one.leading] for one in cases]
        pairs = [(items[one.item], others) for one, others in zip(cases, chosen, strict=True)]
        drafts, found = self.writer.because(pairs), []
        for one, template, draft in zip(cases, templates, drafts, strict=True):
            facts = facts_of(items, [*one.leading, one.item], kept)
            about = {items[each].title for each in one.leading}
            checker = Checker(facts, self.titles)
            found.append(said(template, checker, draft, self.writer.name, about))
        return found
