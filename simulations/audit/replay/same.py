"""Whether a run released what its settings give when they are run again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from shared.errors import ModelError
from shared.files import check_file
from shared.update import Arrays
from simulations.audit.checks.risk import REPLAY
from simulations.audit.findings import Finding

REPRODUCED = "reproduced"

_ROUNDING = 1e-2  # relative, of how far the adapter moved: sums are added in another order


def reproduced(released: Arrays, again: Arrays, start: Arrays) -> Finding:
    """Whether two adapters are one, as far as floats let them be.

    Where they are, what a replay shows of its noise is shown of the run. Where they are not another
    machine or another version may be why: nothing is shown by that.

    Parameters
    ----------
    released, again, start : mapping of str to float32 array
        The run's, that of the same settings run again, and what both began from.
    """
    if {*released} != {*again} or any(released[n].shape != again[n].shape for n in released):
        words = "The released adapter has other tensors than these settings give"
        return Finding(REPRODUCED, "not shown", REPLAY, words)
    apart = _length([released[name] - again[name] for name in again])
    moved = _length([again[name] - start[name] for name in again])
    figures = {"apart": apart, "moved": moved}
    if apart <= _ROUNDING * moved:
        near = apart / max(moved, 1e-30)
        words = f"Run again, its settings give its adapter (apart by {near:.1e} of its way)"
        return Finding(REPRODUCED, "holds", REPLAY, words, figures)
    words = (
        f"Run again here, its settings give another adapter ({apart:.3g} away, moved {moved:.3g})"
    )
    return Finding(REPRODUCED, "not shown", REPLAY, words, figures)


def arrays_of(file: Path) -> Arrays:
    """The tensors of a file that anybody may have written.

    Raises
    ------
    ModelError
        If it is missing, or holds anything but finite numbers.
    """
    try:
        check_file(file)
        found: dict[str, np.ndarray] = load_file(file)
        numbers = all(np.issubdtype(of.dtype, np.number) for of in found.values())
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise ModelError(f"{file.name}: its tensors cannot be read ({str(error)[:100]})") from None
    if not (numbers and all(np.isfinite(of).all() for of in found.values())):
        raise ModelError(f"{file.name}: holds what is no finite number")
    return dict(found)


def _length(parts: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(float(np.sum(part.astype(np.float64) ** 2)) for part in parts)))
