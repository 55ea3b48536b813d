"""People and windows that are in a replay or not, by a coin each, and the engine that holds them.

What bounds, sums and noises them is the code of every run.
"""

from simulations.audit.canaries.drawn import Canaries, WithCanaries
from simulations.audit.canaries.engine import AuditedEngine

__all__ = ["AuditedEngine", "Canaries", "WithCanaries"]
