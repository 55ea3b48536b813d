"""What is said of people of a log in words: their profile, and why an item is recommended."""

from __future__ import annotations

from client.serving.reasons import case_of, weighing
from client.words.said import Said
from client.words.spoken import Speaker
from client.words.writer import open_writer
from shared.config import DataConfig
from shared.data.population import Population
from simulations.api.trained import Recommended, Tried, recommended
from simulations.world.sources import open_population

_RANKED = 10  # recommendations whose reasons a profile looks at


def profiled(data: DataConfig, user: str, writer: str) -> tuple[Said, Population]:
    """A person's taste by their log and public texts alone.

    Parameters
    ----------
    data : DataConfig
    user : str
        An identifier of the log.
    writer : str
        `template`, or a causal language model, as `client.words.writer.open_writer`.

    Raises
    ------
    DataError
        If the log has no such person.
    ModelError
        If the writer is not installed.
    """
    people = open_population(data)
    history = people.history(people.user_index(user))
    return Speaker(people.catalogue, open_writer(writer)).profile(history), people


def profiled_with(tried: Tried, user: str, writer: str) -> tuple[Said, Population]:
    """The same, with what of the history weighs most in what an adapter recommends."""
    found = recommended(tried, user, _RANKED)
    speaker = Speaker(found.people.catalogue, open_writer(writer))
    history = found.people.history(found.people.user_index(user))
    return speaker.profile(history, (), weighing(found.items)), found.people


def explained(found: Recommended, writer: str) -> list[Said]:
    """Why each item is recommended, in a sentence; errors as for `profiled`."""
    speaker = Speaker(found.people.catalogue, open_writer(writer))
    return speaker.because([case_of(one, speaker.items, (), found.wish) for one in found.items])
