"""What a person is shown: items, with what is said of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Suggestion:
    """An item, what its score is made of, and why in words.

    Attributes
    ----------
    item, title, about : str
        Its identifier, and its public text up to the first full stop and beyond it.
    score, popularity, language_model : float
        See `client.serving.recommend.Recommendation`, as `history`, `alike` and `asked`.
    history : tuple of (title, share)
    alike : tuple of (kind, share)
    reasons : tuple of str
    asked : float
    """

    item: str
    title: str
    about: str
    score: float
    popularity: float
    language_model: float
    history: tuple[tuple[str, float], ...]
    alike: tuple[tuple[str, float], ...]
    reasons: tuple[str, ...]
    asked: float = 0.0


@dataclass(frozen=True)
class Slate:
    """What an exploration policy chose, from the top down.

    Attributes
    ----------
    policy : str
    strength : float
    items : tuple of Suggestion
    propensities : tuple of float
        Of each place given the items above, in (0, 1].
    """

    policy: str
    strength: float
    items: tuple[Suggestion, ...]
    propensities: tuple[float, ...]


@dataclass(frozen=True)
class Thing:
    """An item of the catalogue, and what the person said of it.

    Attributes
    ----------
    item, title, about : str
    liked : bool or None
        None: nothing.
    """

    item: str
    title: str
    about: str
    liked: bool | None
