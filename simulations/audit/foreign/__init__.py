"""Audits of a federated run that is not ours: what its folder claims, and what its arrays show.

The format is described in docs/audit-foreign.md. What a folder does not hold is not shown.
"""

from simulations.audit.foreign.audit import audited
from simulations.audit.foreign.reading import read
from simulations.audit.foreign.run import ForeignRun

__all__ = ["ForeignRun", "audited", "read"]
