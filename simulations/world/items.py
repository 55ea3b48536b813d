"""The items of the synthetic world: what they are about, and text that says most of it.

The words are chosen so that a sentence encoder places items of one genre, theme, mood or setting
near each other. The hidden part of an item is drawn independently and no text shows it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.data.catalogue import Catalogue

# Genre and the themes it favours.
GENRES: dict[str, tuple[str, ...]] = {
    "Crime": ("heist", "revenge", "investigation"),
    "Romance": ("first love", "wedding", "reunion"),
    "Science Fiction": ("space voyage", "machine uprising", "time travel"),
    "Fantasy": ("quest", "magic school", "prophecy"),
    "Horror": ("haunting", "monster", "cult"),
    "Comedy": ("mistaken identity", "wedding", "road trip"),
    "War": ("siege", "resistance", "homecoming"),
    "Family": ("animal friendship", "road trip", "magic school"),
    "Sport": ("underdog team", "comeback", "training"),
    "History": ("royal court", "resistance", "invention"),
}

# Theme, how a description puts it, and nouns for titles.
THEMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "heist": ("a crew planning one last robbery", ("Vault", "Job", "Diamond")),
    "revenge": ("an old wrong that must be avenged", ("Vengeance", "Debt", "Grudge")),
    "investigation": ("a detective following a murder case", ("Detective", "Case", "Witness")),
    "first love": ("two people falling in love for the first time", ("Kiss", "Summer", "Letter")),
    "wedding": ("a wedding that goes wrong", ("Wedding", "Bride", "Vow")),
    "reunion": ("old friends and lovers meeting again", ("Reunion", "Return", "Evening")),
    "space voyage": ("astronauts far from Earth", ("Orbit", "Planet", "Starship")),
    "machine uprising": ("robots turning on their makers", ("Machine", "Android", "Circuit")),
    "time travel": ("a traveller lost in time", ("Clock", "Paradox", "Tomorrow")),
    "quest": ("heroes searching for a lost relic", ("Quest", "Sword", "Relic")),
    "magic school": ("young wizards learning their spells", ("Wizard", "Spellbook", "Academy")),
    "prophecy": ("a chosen one and an ancient prophecy", ("Prophecy", "Crown", "Dragon")),
    "haunting": ("restless ghosts in an old house", ("Ghost", "Mansion", "Whisper")),
    "monster": ("a creature hunting in the dark", ("Beast", "Creature", "Fang")),
    "cult": ("a village with a terrible ritual", ("Ritual", "Cult", "Altar")),
    "mistaken identity": ("a man taken for somebody else", ("Impostor", "Double", "Disguise")),
    "road trip": ("strangers sharing a long drive", ("Road", "Highway", "Journey")),
    "siege": ("soldiers holding out under siege", ("Siege", "Fortress", "Bunker")),
    "resistance": ("a secret resistance against occupiers", ("Rebel", "Underground", "Partisan")),
    "homecoming": ("a veteran coming home", ("Homecoming", "Soldier", "Medal")),
    "animal friendship": ("a child and a faithful animal", ("Dog", "Pony", "Paw")),
    "underdog team": ("a hopeless team that starts to win", ("Team", "League", "Season")),
    "comeback": ("a fallen champion in one more fight", ("Champion", "Round", "Title")),
    "training": ("a young athlete and a hard coach", ("Coach", "Runner", "Finish")),
    "royal court": ("intrigue at a royal court", ("Queen", "Palace", "Throne")),
    "invention": ("an inventor ahead of the age", ("Inventor", "Engine", "Patent")),
}

MOODS: dict[str, tuple[str, ...]] = {
    "dark and brooding": ("Dark", "Silent", "Black"),
    "light-hearted": ("Merry", "Sunny", "Happy"),
    "tense and thrilling": ("Deadly", "Last", "Final"),
    "melancholy": ("Lonely", "Fading", "Lost"),
    "epic and sweeping": ("Golden", "Great", "Eternal"),
    "quirky": ("Crooked", "Curious", "Peculiar"),
    "tender": ("Gentle", "Quiet", "Tender"),
    "violent": ("Bloody", "Savage", "Burning"),
}

SETTINGS: tuple[str, ...] = (
    "a rainy city",
    "a small fishing town",
    "the desert",
    "a snowbound mountain village",
    "Paris",
    "Tokyo",
    "the deep jungle",
    "a university campus",
    "the open sea",
    "the American suburbs",
)

HIDDEN = 6  # dimensions that no text shows


@dataclass(frozen=True)
class Items:
    """The catalogue and what is true of its items.

    Attributes
    ----------
    catalogue : Catalogue
    visible : float64 [items, genres + themes + moods + settings]
        What the text says: rows of unit length in each of the four groups.
    hidden : float64 [items, HIDDEN]
        What it does not say, of expected squared length 1.
    popularity : float64 [items]
        Natural logarithm of how attractive an item is to everybody.
    """

    catalogue: Catalogue
    visible: NDArray[np.float64]
    hidden: NDArray[np.float64]
    popularity: NDArray[np.float64]


def draw_items(items: int, rng: np.random.Generator, zipf: float) -> Items:
    """Draw a world's items; `zipf` is the exponent of their popularity by rank, >= 0."""
    genre = rng.choice(len(GENRES), items, p=_skewed(len(GENRES)))
    second = rng.choice(len(GENRES), items)
    second[rng.random(items) < 0.6] = -1  # most items have one genre
    second[second == genre] = -1
    theme = _draw_themes(genre, rng)
    mood = rng.integers(len(MOODS), size=items)
    setting = rng.integers(len(SETTINGS), size=items)
    visible = np.concatenate(
        [
            _genre_rows(genre, second),
            np.eye(len(THEMES))[theme],
            np.eye(len(MOODS))[mood],
            np.eye(len(SETTINGS))[setting],
        ],
        axis=1,
    )
    rank = rng.permutation(items) + 1
    popularity = -zipf * np.log(rank) + 0.3 * rng.standard_normal(len(GENRES))[genre]
    hidden = rng.standard_normal((items, HIDDEN)) / np.sqrt(HIDDEN)
    words = rng.integers(1 << 30, size=(items, 2))
    catalogue = _catalogue(genre, second, theme, mood, setting, words)
    return Items(catalogue, visible, hidden, popularity)


def _skewed(count: int) -> NDArray[np.float64]:
    weights = 1.0 / np.sqrt(np.arange(1, count + 1))
    return np.asarray(weights / weights.sum())


def _draw_themes(genre: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A theme of the item's genre, or, one time in five, any theme."""
    names = list(THEMES)
    favoured = np.array([[names.index(theme) for theme in themes] for themes in GENRES.values()])
    theme = favoured[genre, rng.integers(favoured.shape[1], size=len(genre))]
    anything = rng.random(len(genre)) < 0.2
    theme[anything] = rng.integers(len(names), size=int(anything.sum()))
    return theme


def _genre_rows(genre: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    rows = np.eye(len(GENRES))[genre]
    both = second >= 0
    rows[both, second[both]] = 1.0
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _catalogue(
    genre: NDArray[np.int64],
    second: NDArray[np.int64],
    theme: NDArray[np.int64],
    mood: NDArray[np.int64],
    setting: NDArray[np.int64],
    words: NDArray[np.int64],
) -> Catalogue:
    genres, themes, moods = list(GENRES), list(THEMES.values()), list(MOODS.items())
    times_used: Counter[str] = Counter()
    texts: list[str] = []
    for item in range(len(genre)):
        phrase, nouns = themes[theme[item]]
        feeling, adjectives = moods[mood[item]]
        first, last = words[item] % (len(adjectives), len(nouns))
        title = f"The {adjectives[first]} {nouns[last]}"
        times_used[title] += 1
        article = "An" if feeling[0] in "aeiou" else "A"
        number = f" {times_used[title]}" if times_used[title] > 1 else ""
        kinds = [genres[kind] for kind in (genre[item], second[item]) if kind >= 0]
        texts.append(
            f"{title}{number}. {', '.join(kinds)}."
            f" {article} {feeling} story of {phrase}, set in {SETTINGS[setting[item]]}"
        )
    return Catalogue(tuple(f"i{item}" for item in range(len(genre))), tuple(texts))
