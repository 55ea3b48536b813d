"""Training windows: a history cut into pieces in which every interaction is a target at most once.

Windows are disjoint in targets. An interaction is nevertheless seen more than once: as the target
of one window and as context (input) of the position after it, and, with attention, of all later
positions of the same window. Example-level privacy protects one window; it does not hide a user.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

START = -1  # start of a history; also pads inputs
PAD = -1  # no target at this position


@dataclass(frozen=True)
class Windows:
    """Windows of one user, oldest first.

    Attributes
    ----------
    inputs : int64 [w, L]
        Item index or `START`; position p is what was last seen before `targets[:, p]`.
    targets : int64 [w, L]
        Item index or `PAD`.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.inputs)


def windows(history: NDArray[np.int64], max_length: int, max_windows: int) -> Windows:
    """Cut the most recent interactions into windows, from the end.

    [START] + history[:-1] predicts history. The last `max_length * max_windows` targets are kept,
    which is the user's *contribution bound*, and cut into pieces of `max_length` that end at the
    end of the history; so only the oldest piece can be short. It is padded on the right.

    Parameters
    ----------
    history : int64 [n]
        Item indices, oldest first; may be empty.
    max_length : int
        L, positions per window, >= 1.
    max_windows : int
        W, >= 1.

    Returns
    -------
    Windows
        w = ceil(min(n, L W) / L) of them.

    Examples
    --------
    >>> cut = windows(np.array([7, 3, 9]), max_length=2, max_windows=4)
    >>> cut.inputs.tolist(), cut.targets.tolist()
    ([[-1, -1], [7, 3]], [[7, -1], [3, 9]])
    """
    if max_length < 1 or max_windows < 1:
        raise ValueError(f"Expected max_length={max_length} and max_windows={max_windows} >= 1")
    kept = min(len(history), max_length * max_windows)
    count = -(-kept // max_length)
    previous = np.concatenate(([START], history))[: len(history)]
    return Windows(
        inputs=_rows(previous[len(history) - kept :], count, max_length, START),
        targets=_rows(history[len(history) - kept :], count, max_length, PAD),
    )


def _rows(values: NDArray[np.int64], count: int, length: int, fill: int) -> NDArray[np.int64]:
    """Cut into rows of `length` that end at the end: only the first row may need padding."""
    rows = np.full((count, length), fill, dtype=np.int64)
    if count:
        short = len(values) - (count - 1) * length  # in [1, length]
        rows[0, :short] = values[:short]
        rows[1:] = values[short:].reshape(count - 1, length)
    return rows


def context_window(history: NDArray[np.int64], max_length: int) -> NDArray[np.int64]:
    """The model's input that asks for the next item: the end of [START] + history.

    Returns
    -------
    int64 [min(n + 1, max_length)]

    Examples
    --------
    >>> context_window(np.array([7, 3]), 5).tolist()
    [-1, 7, 3]
    >>> context_window(np.array([7, 3]), 2).tolist()
    [7, 3]
    """
    if max_length < 1:
        raise ValueError(f"Expected max_length={max_length} >= 1")
    return np.concatenate(([START], history)).astype(np.int64)[-max_length:]
