"""The catalogue: every item that can be recommended, and the public text that describes it."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from shared.errors import DataError

TEXTLESS = "items_without_text"  # in `data` of results.json
_COMMON = 0.9  # of the items: a word that more of them have tells none from another


@dataclass(frozen=True)
class Catalogue:
    """Items in a fixed order; an item is known by its index everywhere after loading.

    The catalogue is public and fixed before a run. It must not be derived from interactions:
    which items exist would then reveal who interacted with them.

    Parameters
    ----------
    item_ids : tuple of str
        Distinct, at least 2.
    texts : tuple of str
        One per item, not blank.

    Raises
    ------
    DataError
        For fewer than 2 items, texts and ids of different number, a repeated or blank id, or a
        blank text.

    Examples
    --------
    >>> catalogue = Catalogue(("a", "b"), ("Alpha. Drama", "Beta. Comedy"))
    >>> catalogue.index("b")
    1
    """

    item_ids: tuple[str, ...]
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.item_ids) != len(self.texts):
            raise DataError(
                f"catalogue: {len(self.item_ids)} item ids but {len(self.texts)} texts;"
                " give one text per item"
            )
        if len(self.item_ids) < 2:
            raise DataError(
                f"catalogue: {len(self.item_ids)} item(s); at least 2 are needed to rank anything"
            )
        seen: set[str] = set()
        for item_id, text in zip(self.item_ids, self.texts, strict=True):
            if not item_id.strip():
                raise DataError(f"catalogue: an item id is blank (text {text!r}); give it an id")
            if item_id in seen:
                raise DataError(f"catalogue: item {item_id!r} appears twice; keep one")
            if not text.strip():
                raise DataError(f"catalogue: item {item_id!r} has no text; describe every item")
            seen.add(item_id)

    def __len__(self) -> int:
        return len(self.item_ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._indices

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {item_id: index for index, item_id in enumerate(self.item_ids)}

    def index(self, item_id: str) -> int:
        """Position of an item, in [0, len).

        Raises
        ------
        DataError
            If the catalogue has no such item.
        """
        try:
            return self._indices[item_id]
        except KeyError:
            raise DataError(
                f"item {item_id!r} is not among the {len(self)} items of the catalogue;"
                " add it to the items file or drop its interactions"
            ) from None

    @cached_property
    def described(self) -> tuple[str, ...]:
        """The texts, one per item; empty where a text says nothing of its item.

        It says something by a word: letters without a digit, two at least (one, of scripts other
        than Latin), that no more than nine of ten items have. An identifier in the place of a text
        says nothing unless it is written with blanks, as names are.

        Examples
        --------
        >>> Catalogue(("a", "7", "8"), ("Alien. Horror", "7", "item 8")).described
        ('Alien. Horror', '', '')
        """
        words = [_words(*pair) for pair in zip(self.item_ids, self.texts, strict=True)]
        shared = Counter(word for some in words for word in some)
        common = {word for word, count in shared.items() if count > _COMMON * len(self)}
        return tuple(
            text if some - common else "" for text, some in zip(self.texts, words, strict=True)
        )

    def stated(self) -> dict[str, int]:
        """What results say of the texts: how many items have none, where any."""
        without = self.described.count("")
        return {TEXTLESS: without} if without else {}

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over ids and texts in order: equal exactly for equal catalogues."""
        content = json.dumps([self.item_ids, self.texts], ensure_ascii=True).encode("ascii")
        return hashlib.sha256(content).hexdigest()


def _words(item_id: str, text: str) -> set[str]:
    """The words of a text; none if it is the item's identifier."""
    if text.strip() == item_id.strip() and " " not in text.strip():
        return set()
    found = re.findall(r"[^\W_]+", text.casefold())
    return {word for word in found if word.isalpha() and (len(word) > 1 or not word.isascii())}
