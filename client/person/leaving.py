"""What leaves a device, in words and bytes: what its records say was sent, and what may be."""

from __future__ import annotations

from dataclasses import dataclass

from client.person.spending import Spending
from client.serving.adapters import Trained
from shared.aggregation import rule_of
from shared.config import ExperimentConfig, settings_hash
from shared.errors import StarlingError
from shared.leaves import Section, sections
from shared.privacy.contribution.evaluation import DIM
from shared.privacy.contribution.units import moments_dim, sums_securely
from shared.privacy.plan.summed import summed_form

_NUMBER = 4  # bytes of a float32
# Of the table of all that leaves: replies of a device.
REPLIES = ("update", "letter", "declined", "error", "envelope")
WORDS = {
    "update": "a change to the shared model, learned here from what you chose",
    "histogram": "counts of which items were chosen",
    "moments": "numbers about which items were chosen together",
    "metrics": "whether the model ranked well what you chose",
    "training": "all changes of a run, counted at once",
}


@dataclass(frozen=True)
class Sent:
    """One kind of contribution that this device's records say it made.

    Attributes
    ----------
    kind, words : str
        As ledgers call it, and what it is.
    times : int
    bytes_each : int or None
        Of its numbers; None where the settings it was made under are not here any more.
    """

    kind: str
    words: str
    times: int
    bytes_each: int | None


@dataclass(frozen=True)
class Leaving:
    """What left, and what may.

    Attributes
    ----------
    sent : tuple of Sent
    replies : tuple of Section
        The rows of the table of all that leaves which a device's replies have.
    """

    sent: tuple[Sent, ...]
    replies: tuple[Section, ...]

    @property
    def messages(self) -> int:
        """Contributions in all."""
        return sum(each.times for each in self.sent)

    @property
    def known_bytes(self) -> int:
        """Of the numbers in those whose size is known."""
        return sum(each.times * (each.bytes_each or 0) for each in self.sent)


def leaving(spending: Spending, trained: Trained | None) -> Leaving:
    """What left a device.

    Parameters
    ----------
    spending : Spending
    trained : Trained, optional
        The model of the current release: contributions to the run that made it have its sizes.
    """
    sent = []
    for ledger in spending.kept:
        config, users = None, spending.agreed.users if spending.agreed else 0
        if trained is not None and settings_hash(trained.config) == ledger.header.settings:
            config = trained.config
        times: dict[str, int] = {}
        for entry in ledger.entries:
            if entry.release != "training":  # all updates as one cost: no message of its own
                times[entry.release] = times.get(entry.release, 0) + 1
        for kind, count in times.items():
            size = _size(config, users, kind, trained) if config and trained else None
            sent.append(Sent(kind, WORDS.get(kind, kind), count, size))
    table = sections()
    return Leaving(_merged(sent), tuple(table[key] for key in REPLIES))


def _merged(sent: list[Sent]) -> tuple[Sent, ...]:
    """Of several runs those of one kind and size together."""
    times: dict[tuple[str, str, int | None], int] = {}
    for each in sent:
        key = (each.kind, each.words, each.bytes_each)
        times[key] = times.get(key, 0) + each.times
    return tuple(Sent(kind, words, n, size) for (kind, words, size), n in times.items())


def _size(config: ExperimentConfig, users: int, kind: str, trained: Trained) -> int | None:
    """Bytes of the numbers of one contribution, as `server.release.traffic` expects them."""
    schema, items = trained.schema, len(trained.recommender.items)
    dims = {
        "update": lambda: schema.subset(rule_of(config).trained(schema.names, 1)).dim,
        "histogram": lambda: items,
        "moments": lambda: moments_dim(config, items)[2],
        "metrics": lambda: DIM,
    }
    if kind not in dims:
        return None
    dim = dims[kind]()
    if not sums_securely(config, simulated=False):
        return _NUMBER * dim
    try:
        form = summed_form(config, users, kind)
    except StarlingError:  # nothing of the kind is summed among so few
        return None
    return form.ring.packed(form.size(dim))
