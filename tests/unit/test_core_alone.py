"""The engine's core runs where Flower, Opacus and the accountants are missing: on a GPU machine."""

import json
import subprocess
import sys

import pytest

from tests.support import ROOT
from tests.support.absent import ABSENT, hiding


def without(names, code):
    """Run code in a process in which these packages are not installed."""
    return subprocess.run(
        [sys.executable, "-c", hiding(names) + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


CORE = (
    "client.device.device simulations.engine.cohort simulations.engine.placement "
    "simulations.world.world"
)
SEEN = """
try:
    import server.app
except ModuleNotFoundError as error:
    print("absent:", error.name)
"""


@pytest.mark.parametrize(
    ("lacking", "only"),
    [
        pytest.param([], "qwen", id="with LoRA"),
        pytest.param(["peft"], "bert", id="without peft", marks=pytest.mark.slow),
    ],
)
def test_the_gpu_script_runs_alone_on_a_cpu(lacking, only, tmp_path):
    out = tmp_path / "found.json"
    arguments = ["gpu.py", "--device", "cpu", "--users", "2", "--only", only, "--out", str(out)]
    code = f"import runpy, {', '.join(CORE.split())}\nsys.argv = {arguments}\n"
    code += "runpy.run_path('benchmarks/gpu.py', run_name='__main__')\n"
    done = without([*ABSENT, *lacking], SEEN + code)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "absent: flwr" in done.stdout  # otherwise the run shows nothing
    found = json.loads(out.read_text())
    assert all(check["passed"] for check in found["checks"])
    names = {check["check"] for check in found["checks"]}
    assert {"cohort at once on cpu", "bf16 on cpu against float32"} <= names
    assert {row["shape"] for row in found["measured"]} == {f"tiny {only.replace('qwen', 'qwen2')}"}
    assert all(row["clients_per_second"] > 0 and row["peak_mib"] > 0 for row in found["measured"])
    skipped = " ".join(found["skipped"])
    assert "no CUDA device is used" in skipped
    assert ("peft is missing" in skipped) == bool(lacking)
    assert found["machine"]["peft"] == (not lacking)
