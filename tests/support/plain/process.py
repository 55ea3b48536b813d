"""A Python of plain libraries: those installed beside this project, and nothing of it."""

import subprocess
import sys
import sysconfig
from pathlib import Path

# Isolated, and without site: no PYTHONPATH, no current folder, and no editable installation.
_BEFORE = """
import importlib.util, sys
sys.path += {places!r}
for name in ("starling", "shared", "client", "server", "simulations"):
    if importlib.util.find_spec(name) is not None:
        sys.exit(f"{{name}} can be imported")
"""


def run_plainly(script: Path, told: str = "") -> str:
    """Run a script there, told something on standard input, warnings errors; what it printed."""
    paths = sysconfig.get_paths()
    places = list(dict.fromkeys([paths["purelib"], paths["platlib"]]))
    run = f"import runpy\nrunpy.run_path({str(script)!r}, run_name='__main__')"
    code = f"{_BEFORE.format(places=places)}\n{run}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error::UserWarning", "-c", code],
        input=told,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
