"""What an audit cannot see and does not say, in words, by what was audited."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CANNOT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "simulation": (
            "Whether real devices run this code, and draw noise from the operating system.",
            "What was read while the run went on, by whoever had its machine.",
            "A simulation's noise follows from its settings: its adapters are not for release.",
        ),
        "deployment": (
            "What single devices sent: secure aggregation keeps it from the operator too. The code "
            "was run again on made-up people.",
            "Whether devices kept to their clip, and their own noise where they add it: each one's "
            "owner audits the device's folder.",
            "Whether the server ran this code: its operator answers for that.",
        ),
        "device": (
            "What other devices sent, how many took part, and the noise that was added to sums.",
            "What the operator's ledger says: whoever has the run's folder audits that.",
        ),
        "adapter": (
            "What was spent: the ledger is in the run's folder, and this file says so of itself.",
            "Clips, noise, sampling, and whose data it was made of.",
        ),
        "foreign": (
            "Whether the files are what happened: nobody sealed them.",
            "What is not in the files: each question that needed more says so.",
        ),
    }
)
"""What whoever holds no more than this cannot check."""

OWN = "The key of this audit is the one that sealed the run: whoever ran it audited it."
"""Where nobody else looked."""

LIMITS = (
    "A lower bound below the claim is no proof of the claim: attacks may be weak.",
    "Mistakes that no check asks about are not seen. What is asked: docs/audit.md.",
    "Of correct code each check says that it is violated with a chance of one in ten thousand at "
    "most, by the test that docs/audit-replay.md names for it.",
    "Its figures about people are computed from their data without noise: they are the auditor's, "
    "and not for release.",
)
