"""One question of the server to a device: the only form in which it travels."""

from __future__ import annotations

from dataclasses import dataclass

from shared.config import ExperimentConfig
from shared.data.split import Phase
from shared.update import Arrays


@dataclass(frozen=True)
class Request:
    """One request of the server.

    Attributes
    ----------
    release : str
        What is asked for, in the ledger's word: "update", "histogram", or "ranks" of held-out
        items, which no ledger records.
    arrays : mapping of str to float32 array
        The global adapter; empty for a histogram.
    round_number : int
        >= 0; 0 is before the first round.
    users : int
        Size of the population, >= 1.
    phase : str
        Which held-out item is asked for; has no meaning outside `evaluate`.
    config : ExperimentConfig
        The settings of the point.
    settings : str
        Their hash.
    policy : str
        The signed policy of the run.
    schema : str
        Digest of the adapter's schema; empty for a histogram.
    merge : bool
        Whether sums over several clients are welcome.
    clip : float
        This round's clipping norm under adaptive clipping; 0 where the settings fix it.
    """

    release: str
    arrays: Arrays
    round_number: int
    users: int
    phase: Phase
    config: ExperimentConfig
    settings: str
    policy: str
    schema: str
    merge: bool
    clip: float
