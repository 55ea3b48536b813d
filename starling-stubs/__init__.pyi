# `starling` is a module, and only a package can say that it is typed (PEP 561).
from simulations.api.adapter import Adapter as Adapter
from simulations.api.experiment import simulate as simulate
from simulations.api.offpolicy import value_policy as value_policy
from simulations.api.run import Run as Run
from simulations.api.run import load_run as load_run

def main(arguments: list[str] | None = None) -> None: ...
