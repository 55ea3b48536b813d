"""Everything that leaves a device or a server, or is kept by one, field by field, with its status.

One table; the page `docs/what-leaves.md` is written from it (`python -m shared.leaves
docs/what-leaves.md`), and tests run the product and fail on any field, file or line of a log that
has no row here.
"""

from shared.leaves.rows import Leaf, Section, page, sections
from shared.leaves.table import STATUSES

__all__ = ["STATUSES", "Leaf", "Section", "page", "sections"]
