"""`python -m shared.leaves docs/what-leaves.md` writes the page."""

import sys
from pathlib import Path

from shared.leaves import page

Path(sys.argv[1]).write_text(page(), encoding="utf-8")
