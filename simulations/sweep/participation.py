"""Who must have taken part when: in a simulation that follows from the seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from server.cohort.sampling import PoissonSampler
from shared.config import ExperimentConfig
from shared.errors import LedgerError
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.plan.terms import Terms
from simulations.flower.grid import key_of

Entries = list[tuple[str, int]]


def check_participation(
    record: DeviceLedgers, config: ExperimentConfig, nodes: Sequence[int], terms: Terms
) -> None:
    """Refuse to vouch for devices' ledgers from which something is missing.

    Every user whom the seeded sampler drew must show the rounds that it was drawn for, the first
    `terms.updates` of them, and nobody anything else. A ledger that was cut or removed while the
    run was interrupted, and filled again since, does not.

    Parameters
    ----------
    record : DeviceLedgers
        Of a completed point.
    config : ExperimentConfig
        The point's settings.
    nodes : sequence of int
        Everybody's, see `simulations.flower.grid.nodes_of`.
    terms : Terms
        Of a device.

    Raises
    ------
    LedgerError
        Naming a device and the first round in question.
    """
    drawn = _drawn(config, nodes, terms)
    expected = {f"{key_of(node)}.jsonl": entries for node, entries in drawn.items()}
    shown = record.rounds()
    for name in sorted(expected.keys() | shown.keys()):
        wanted, found = expected.get(name, []), shown.get(name, [])
        if wanted != found:
            pairs = [one for one in (*wanted, *found) if (one in wanted) != (one in found)]
            what = f"{pairs[0][0]} of round {pairs[0][1]}" if pairs else "their order"
            raise LedgerError(
                f"{record.name}/{name}: disagrees with the cohorts that the seed draws in {what}; "
                "it was cut, removed or rewritten while the run was interrupted. Start a new run"
            )


def _drawn(config: ExperimentConfig, nodes: Sequence[int], terms: Terms) -> dict[int, Entries]:
    """What each node's device records, in order; only nodes with anything."""
    federation = config.federation
    users = len(nodes)
    entries: dict[int, Entries] = defaultdict(list)
    if federation.popularity_start:
        expected = federation.expected_popularity_cohort(users)
        for node in PoissonSampler(expected, users, config.seed).draw(0, nodes):
            entries[node].append(("histogram", 0))
    cohorts = PoissonSampler(federation.expected_cohort(users), users, config.seed)
    taken: dict[int, int] = defaultdict(int)
    for number in range(1, federation.fixed_rounds + 1):
        for node in cohorts.draw(number, nodes):
            taken[node] += 1
            if taken[node] <= terms.updates:
                entries[node].append(("update", number))
    return entries
