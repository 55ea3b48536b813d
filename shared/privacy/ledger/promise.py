"""What a run's ledgers show, as a released file carries it along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from shared.canonical import canonical_json, read_json
from shared.errors import ModelError
from shared.files import check_file
from shared.printable import printable
from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.spent import Record

Tree = Mapping[str, Any]

SEEDED = "seeded: not for release"
"""Of noise that whoever knows the settings can take off again."""
SECURE = "from the operating system's generator"


def promise_of(
    kept: Sequence[tuple[Guarantee, Record | None]], settings: str, *, seeded: bool
) -> Tree:
    """The promise of a run, as its adapter carries it.

    Parameters
    ----------
    kept : sequence of (Guarantee, record or None)
        The run's guarantees, each with the record of what was spent; None where devices keep that.
    settings : str
        Their hash.
    seeded : bool
        Whether the noise follows from the settings.
    """
    guarantees = [
        promised.stated()
        # What devices spent tells of the cohorts, which a promise beside it needs secret.
        | ({"epsilon": record.epsilon(), "ledger_head": record.head} if record and not at else {})
        for at, (promised, record) in enumerate(kept)
    ]
    noise = SEEDED if seeded else SECURE
    return {"guarantees": guarantees, "settings": settings, "noise": noise}


def promise_text(promise: Tree) -> str:
    """As it stands under `promise` in the metadata of a safetensors file."""
    return canonical_json(promise)


def read_metadata(file: Path) -> dict[str, str]:
    """All that a safetensors file carries beside its tensors.

    Raises
    ------
    ModelError
        If the file cannot be read.
    """
    try:
        check_file(file)
        with safe_open(file, framework="np") as stream:
            return dict(stream.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{file}: its promise cannot be read ({str(error)[:100]})") from None


def read_promise(file: Path) -> Tree | None:
    """The promise that a released file carries; None if it carries none.

    Raises
    ------
    ModelError
        If the file cannot be read, or its promise is no object.
    """
    text = read_metadata(file).get("promise")
    try:
        found = None if text is None else read_json(text)
    except ValueError as error:
        raise ModelError(f"{file}: its promise cannot be read ({str(error)[:100]})") from None
    if not (found is None or isinstance(found, dict)):
        raise ModelError(f"{file}: its promise is no JSON object; take the adapter of a run")
    return found


def in_words(promise: Tree | None) -> str:
    """A promise in one line of printable letters.

    Whoever made the file wrote it: `starling verify` compares it with the ledger.
    """
    if promise is None:
        return "promise: none is in the file; nothing is known of its privacy"
    guarantees = promise.get("guarantees")
    kept = guarantees if isinstance(guarantees, list) else []
    said = [_guarantee_words(at) for at in kept if isinstance(at, dict)]
    noise, settings = promise.get("noise"), str(promise.get("settings"))[:16]
    line = f"promise: {'; '.join(said) or 'none'}; noise {noise}; settings {settings}"
    line += "; not verified here: starling verify does"
    return printable(line)


def _guarantee_words(told: Tree) -> str:
    epsilon = told.get("epsilon")
    where = f"ledger {str(told.get('ledger_head'))[:16]}"
    if "epsilon" not in told:
        epsilon, where = told.get("epsilon_target"), "at most, on each device's own ledger"
    if epsilon == "inf" or not isinstance(epsilon, int | float):
        return f"no guarantee (epsilon {epsilon}, {where})"
    group = told.get("group_size")
    return (
        f"{told.get('unit')}-level epsilon {epsilon:.4g} at delta {told.get('delta')} "
        f"({told.get('relation')}, {told.get('trust')} trust"
        f"{'' if group == 1 else f', groups of {group}'}; {where}) "
        f"against {told.get('adversary')}"
    )
