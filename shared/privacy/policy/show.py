"""A policy in words."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.canonical import policy_digest
from shared.printable import printable
from shared.privacy.policy.signed import Policy, PromisedRelease, policy_text


def in_words(made: Policy, file: Path) -> str:
    """What a policy, read from a file, promises: a few lines of printable letters."""
    lines = [
        f"{file}: policy {policy_digest(policy_text(file))[:16]} of operator {made.issuer}",
        f"holds from {made.valid_from} until {made.valid_until}{_now(made)}; "
        f"settings {made.settings[:16]}",
        f"{_rounds(made)}aggregation {made.aggregation}; adapter {made.schema[:16]}",
    ]
    for promise in made.promises:
        told = promise.guarantee
        lines.append(
            f"{told.unit}-level epsilon {told.budget:g} at delta {told.delta:g}, "
            f"{told.trust} trust, {told.relation}, groups of {told.group}, against {told.adversary}"
            if math.isfinite(told.budget)
            else f"no guarantee: {told.unit}-level epsilon inf, {told.trust} trust"
        )
        lines += [
            f"  {release.kind}: at most {release.times} times, {release.mechanism}, noise "
            f"multiplier {release.noise_multiplier:.4g}, clipping norm {_clip(release)}"
            for release in promise.releases
        ]
    return "\n".join(map(printable, lines))


def plain(made: Policy) -> dict[str, Any]:
    """The same as JSON has it."""
    return {**dataclasses.asdict(made), "now": _now(made).strip(" ()") or "holds"}


def _rounds(made: Policy) -> str:
    if not made.rounds:
        return f"no rounds: what is below, among {made.users} users; "
    return (
        f"{made.rounds} rounds among {made.users} users; of one person at most {made.windows} "
        f"windows of {made.window_length} interactions in an update; "
    )


def _now(made: Policy) -> str:
    """What today's date says of it; nothing while it holds."""
    now = datetime.now(UTC)
    if now < made.from_time:
        return " (NOT YET: devices decline)"
    return " (EXPIRED: devices decline)" if now >= made.until_time else ""


def _clip(release: PromisedRelease) -> str:
    norm = f"{release.clipping_norm:.4g}"
    if "adaptive" not in release.mechanism:
        return norm
    return f"{norm} in the first round, then adapting, at most 1000 times that"
