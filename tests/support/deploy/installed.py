"""What an installation takes of the checkout, as pyproject.toml says."""

import shutil
import tomllib

from tests.support import ROOT

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_TOOL = _PROJECT["tool"]["setuptools"]
PARTS = [*(name.removesuffix("*") for name in _TOOL["packages"]["find"]["include"])]
PARTS += [f"{name}.py" for name in _TOOL["py-modules"]]


def copied(to, *more):
    """Those parts and more files of the checkout in a new folder, which a change leaves ours."""
    to.mkdir()
    for name in (*PARTS, *more):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, to)
    return to


def files():
    """All files that an installation should hold, by their names in the checkout."""
    found = [one for part in PARTS for one in (ROOT / part, *(ROOT / part).rglob("*"))]
    kept = (one for one in found if one.is_file() and one.suffix != ".pyc")
    return {str(file.relative_to(ROOT)) for file in kept}
