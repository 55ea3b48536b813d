"""A LoRA that plain PEFT saved, as what a model's corrections begin from.

Nothing of it is private to the run that begins from it: whoever makes the run states so
(`model.start_is_public`), since what it holds is in every adapter and no budget counts it.
"""

from shared.model.start.begin import (
    begin_from,
    refuse_on_devices,
    refuse_same_people,
    start_of,
    started_from,
)
from shared.model.start.reading import Start, read_start

__all__ = [
    "Start",
    "begin_from",
    "read_start",
    "refuse_on_devices",
    "refuse_same_people",
    "start_of",
    "started_from",
]
