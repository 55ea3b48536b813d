"""One device as its person meets it: what it recommends and why, what it spent, what leaves it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import RLock

import numpy as np
import numpy.typing as npt

from client.device.folder import SETTINGS, DeviceFolder
from client.person.items import Slate, Suggestion, Thing
from client.person.leaving import Leaving, leaving
from client.person.spending import Spending, read_spending
from client.serving.adapters import Trained, open_release, start
from client.serving.asking import read_wish, recommend_as_asked
from client.serving.exploration.device import scene_of, slate
from client.serving.exploration.policies import parsed
from client.serving.reasons import case_of, reasons, weighing
from client.serving.recommend import Recommendation, explain, recommend, scores_of
from client.serving.releases import Release
from client.training.personal import PersonalTensors
from client.words.facts import Items
from client.words.said import Said
from client.words.spoken import Speaker
from client.words.wish import Wish
from client.words.writer import Writer
from shared.data.catalogue import Catalogue
from shared.data.population import person_key
from shared.data.titles import titled
from shared.errors import ConfigError
from shared.model.adapter import install
from shared.published import ADAPTER

PERSONAL = "personal.sqlite"  # what training left on the device
_FOUND = 20  # items that a search shows
_FEW = 10  # recommended at once


@dataclass(frozen=True)
class _Now:
    """What ranks at one moment: model, choices, and what was said of items."""

    catalogue: Catalogue
    trained: Trained
    liked: set[int]
    unwanted: set[int]
    history: npt.NDArray[np.int64]

    @cached_property
    def items(self) -> Items:
        return Items(self.catalogue)

    def recommend(self, k: int) -> list[Recommendation]:
        length = self.trained.config.model.max_length
        closed = sorted(self.unwanted)
        return recommend(self.trained.recommender, self.history, length, k, closed)

    def explain(self, item: int) -> Recommendation:
        length = self.trained.config.model.max_length
        return explain(self.trained.recommender, self.history, length, [item])[0]


class Person:
    """One device's folder, opened for the person whose it is.

    The model is built at the first recommendation and kept; a release that is installed meanwhile
    takes its place at the next.

    Parameters
    ----------
    folder : DeviceFolder
    clock : callable, optional
        Seconds since 1970: when a word on an item was said.
    """

    def __init__(self, folder: DeviceFolder, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock
        self._lock = RLock()  # a page asks from several threads
        self._opened: tuple[object, Catalogue, Trained | None] | None = None
        self._spent: tuple[object, Spending] | None = None

    @property
    def release(self) -> Release | None:
        """What the operator published and this device installed last; None before the first."""
        return self.folder.release

    @property
    def forgotten(self) -> bool:
        """Whether the device has forgotten its person, and takes part in nothing."""
        return self.folder.forgotten

    @property
    def ranks_by(self) -> str:
        """What recommendations rest on, in words."""
        release = self.release
        if release is None:
            return (
                "Nothing is published yet: ranked by what is publicly written about the items, and "
                "by your own choices."
            )
        return f"Release {release.version}, issued {release.manifest.issued[:10]}."

    @property
    def catalogue(self) -> Catalogue:
        """The items: the release's, or those that the device began with."""
        return self._open()[0]

    def recommend(self, k: int = _FEW) -> list[Suggestion]:
        """The k best items that the person neither met nor turned down; fewer if there are fewer.

        Raises
        ------
        ConfigError
            If k < 1, or there is none.
        ModelError
            If the language model that ranks is not installed.
        """
        with self._lock:
            now = self._now()
            at_most = len(now.catalogue) - len({*now.history.tolist(), *now.unwanted})
            k = min(k, at_most) if k > 0 and at_most > 0 else k
            return [_suggestion(one, now) for one in now.recommend(k)]

    def explore(self, k: int, policy: str, rng: np.random.Generator | None = None) -> Slate:
        """A slate that an exploration policy chose; kept, so that feedback is learned from.

        Parameters
        ----------
        k : int
            Places; fewer if fewer items are open.
        policy : str
            `NAME` or `NAME=STRENGTH`, see `client.serving.exploration.policies`.
        rng : Generator, optional
            By default the system's own numbers.

        Raises
        ------
        ConfigError
            If the owner does not allow it, k < 1, or there is no such policy.
        ModelError
            As for `recommend`.
        """
        name, strength = parsed(policy)
        owned = self.folder.owned.exploration
        if not owned.allowed:
            raise ConfigError(
                f"--explore {name}: this device's owner does not allow it; write allowed = true "
                f"under [exploration] in {self.folder.path / SETTINGS}"
            )
        with self._lock:
            now, store = self._now(), self.folder.store
            closed = sorted({*now.history.tolist(), *now.unwanted})
            recommender, length = now.trained.recommender, now.trained.config.model.max_length
            asked = (name, strength, min(k, len(now.catalogue) - len(closed)) if k > 0 else k)
            scene = scene_of(recommender, scores_of(recommender, now.history, length), closed)
            generator = rng or np.random.default_rng()
            placed = slate(scene, now.catalogue, store.shown(), asked, owned, generator)
            items = [now.catalogue.index(each.item) for each in placed]
            found = explain(recommender, now.history, length, items)
            store.show(placed, int(self._clock()))
        shown = tuple(_suggestion(one, now) for one in found)
        return Slate(name, strength, shown, tuple(each.propensity for each in placed))

    def ask(self, words: str, k: int = _FEW) -> tuple[Wish, list[Suggestion]]:
        """The same for what the person asks for in words, and what of these was understood.

        The words are kept nowhere. Parameters and errors else as for `recommend`.
        """
        with self._lock:
            now = self._now()
            wish = read_wish(now.trained, now.items, words)
            closed = {*now.history.tolist(), *now.unwanted, *wish.named, *wish.rejected}
            at_most = len(now.catalogue) - len(closed)
            k = min(k, at_most) if k > 0 and at_most > 0 else k
            found = recommend_as_asked(now.trained, now.history, k, wish, sorted(now.unwanted))
            return wish, [_suggestion(one, now, wish) for one in found]

    def why(self, item: str) -> Suggestion:
        """What the score of any item is made of.

        Raises
        ------
        DataError
            If the catalogue has no such item.
        ModelError
            As for `recommend`.
        """
        with self._lock:
            now = self._now()
            return _suggestion(now.explain(now.catalogue.index(item)), now)

    def because(self, item: str, writer: Writer | None = None) -> Said:
        """Why an item, in a sentence; a writer's are checked. Errors as for `why`."""
        with self._lock:
            now = self._now()
            one = now.explain(now.catalogue.index(item))
        speaker = Speaker(now.catalogue, writer)  # a writer takes its time: nobody waits for it
        case = case_of(one, speaker.items, now.liked)
        return speaker.because([case], now.liked)[0]

    def profile(self, writer: Writer | None = None) -> Said:
        """The person's taste as a paragraph, from their own choices and public texts.

        Parameters
        ----------
        writer : Writer, optional
            A language model whose sentences are checked; without one it is a template's.

        Raises
        ------
        ModelError
            As for `recommend`.
        """
        with self._lock:
            now = self._now()
            some = min(_FEW, len(now.catalogue) - len({*now.history.tolist(), *now.unwanted}))
            found = now.recommend(some) if some > 0 else []
        liked = now.liked & set(now.history.tolist())
        return Speaker(now.catalogue, writer).profile(now.history, liked, weighing(found))

    def feedback(self, item: str, liked: bool | None) -> Thing:
        """Keep the person's word on an item: liked counts as chosen, disliked is not shown again.

        Parameters
        ----------
        item : str
        liked : bool or None
            None takes the word back.

        Raises
        ------
        DataError
            If the catalogue has no such item, or it cannot be kept.
        """
        thing = self.thing(item)
        self.folder.store.judge(item, liked, int(self._clock()))
        return Thing(thing.item, thing.title, thing.about, liked)

    def thing(self, item: str) -> Thing:
        """An item of the catalogue; a DataError if there is none."""
        catalogue = self.catalogue
        return _thing(catalogue, catalogue.index(item), self.folder.store.opinions())

    def said(self) -> list[Thing]:
        """What the person said a word on, as far as the catalogue has it; by title."""
        catalogue, opinions = self.catalogue, self.folder.store.opinions()
        known = [catalogue.index(item) for item in opinions if item in catalogue]
        things = [_thing(catalogue, index, opinions) for index in known]
        return sorted(things, key=lambda one: one.title)

    def find(self, words: str) -> list[Thing]:
        """Items whose text holds all of some words, whatever their case; at most 20."""
        wanted = words.casefold().split()
        catalogue, opinions = self.catalogue, self.folder.store.opinions()
        texts = enumerate(catalogue.texts)
        hits = (i for i, text in texts if all(word in text.casefold() for word in wanted))
        return [_thing(catalogue, i, opinions) for i, _ in zip(hits, range(_FOUND), strict=False)]

    def knows(self) -> int:
        """How many interactions are kept, likes among them."""
        return len(self.folder.store.interactions())

    def budget(self) -> Spending:
        """What was agreed, what the owner allows, and what taking part has cost.

        Raises
        ------
        ConfigError, PrivacyError, LedgerError
            If the folder's records cannot be read or were altered.
        """
        with self._lock:
            stamp = _stamp(self.folder.path)
            if self._spent is None or self._spent[0] != stamp:
                self._spent = stamp, read_spending(self.folder.path)
            return self._spent[1]

    def leaves(self) -> Leaving:
        """What left this device by its records, and what may; errors as for `budget`."""
        with self._lock:
            trained = self._open()[1] if self.release else None
            return leaving(self.budget(), trained)

    def pause(self, paused: bool) -> None:
        """Take part in nothing, or again; a ConfigError if the caps cannot be written."""
        self.folder.pause(paused)

    def export(self, file: Path) -> None:
        """Write all that is kept about the person into one file."""
        self.folder.export(file)

    def forget(self) -> None:
        """Delete what is kept about the person, and take part in nothing from now on."""
        with self._lock:
            self.folder.forget()
            self._opened = self._spent = None

    def _model(self) -> tuple[Catalogue, Trained]:
        catalogue, trained = self._open()
        if trained is None:
            trained = start(catalogue)
            self._opened = None, catalogue, trained
        return catalogue, trained

    def _open(self) -> tuple[Catalogue, Trained | None]:
        """The catalogue and model of the current release; before one, the model only when asked."""
        with self._lock:
            release = self.release
            of = release and (release.version, str(release.folder))
            if self._opened is None or self._opened[0] != of:
                self._opened = of, *self._read(release)
            return self._opened[1:]

    def _read(self, release: Release | None) -> tuple[Catalogue, Trained | None]:
        catalogue = self.folder.catalogue
        if release is None:
            return catalogue, None
        trained = open_release(release.folder / ADAPTER, catalogue)
        config, schema = trained.config, trained.schema
        file, last = self.folder.path / PERSONAL, config.federation.fixed_rounds
        if personal := PersonalTensors.of(config, schema, last, file):
            key = person_key(self.folder.owned.user)
            mine = personal.adapters(trained.adapter, [key])[0]
            install(trained.recommender, schema, mine)
        return catalogue, trained

    def _now(self) -> _Now:
        catalogue, trained = self._model()
        liked, unwanted = self._said(catalogue)
        return _Now(catalogue, trained, liked, unwanted, self._history(catalogue, unwanted))

    def _said(self, catalogue: Catalogue) -> tuple[set[int], set[int]]:
        """Indices of what is liked, and of what is not wanted."""
        opinions = self.folder.store.opinions()
        known = {
            catalogue.index(item): liked for item, liked in opinions.items() if item in catalogue
        }
        return {i for i in known if known[i]}, {i for i in known if not known[i]}

    def _history(self, catalogue: Catalogue, unwanted: set[int]) -> npt.NDArray[np.int64]:
        """What ranks: all that was chosen but what was turned down since."""
        history = self.folder.store.history(catalogue)
        return history[~np.isin(history, sorted(unwanted))]


def _stamp(state: Path) -> list[tuple[str, int, int]]:
    """Of the small files that budgets rest on: another one when one of them changed."""
    files = [each for kind in ("*.toml", "*.json", "*.jsonl") for each in state.glob(kind)]
    return sorted((each.name, (at := each.stat()).st_mtime_ns, at.st_size) for each in files)


def _suggestion(one: Recommendation, now: _Now, wish: Wish | None = None) -> Suggestion:
    items = now.items
    return Suggestion(
        items.catalogue.item_ids[one.item],
        *titled(items.catalogue.texts[one.item]),
        one.score,
        one.popularity,
        one.language_model,
        tuple((items[item].title, share) for item, share in one.history),
        one.kinds,
        reasons(one, items, now.liked, wish),
        one.asked,
    )


def _thing(catalogue: Catalogue, index: int, opinions: dict[str, bool]) -> Thing:
    item = catalogue.item_ids[index]
    return Thing(item, *titled(catalogue.texts[index]), opinions.get(item))
