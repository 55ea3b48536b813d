"""All that a GPU is measured for, in one command: parity, speed beside the loop, roofline, profile.

    python benchmarks/bench_gpu.py [--repeats 3] [--out FOLDER]

Runs `gpu.py` (does it compute what the CPU computes), `speed.py` (client updates a second beside
the sequential loop, and `pfl` where it is installed) and `roofline.py` for the shape of MiniLM and
for a Qwen2 of half a billion parameters. Without a GPU all of it runs on tiny shapes on the CPU,
says so, and writes nothing. Every part runs, whatever becomes of those before it; the exit code is
the largest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent


def parts(on_gpu: bool, repeats: int) -> list[tuple[str, list[str]]]:
    """The name of the results and the command of each part."""
    sizes = ("minilm", "qwen") if on_gpu else ("tiny", "tiny-qwen")
    device = ["--device", "cuda" if on_gpu else "cpu"]
    few = [] if on_gpu else ["--cohorts", "1", "--repeats", "1"]
    peers = ["--peers", "sequential,pfl,ours,ours-bf16", "--units", "none,user,sum"]
    speed = [*peers, *device, "--sizes", ",".join(sizes), "--repeats", str(repeats), *few]
    found = [
        ("gpu", ["gpu.py", *device]),
        ("speed_gpu", ["speed.py", *speed]),
    ]
    brief = [] if on_gpu else ["--seconds", "0.05", "--repeats", "1", "--turns", "1"]
    for size in sizes:
        name = f"roofline_gpu_{size.removeprefix('tiny-').replace('tiny', 'minilm')}"
        found.append((name, ["roofline.py", "--size", size, *device, *brief]))
    return found


def main() -> None:
    """Run every part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        print("No CUDA device: tiny shapes on the CPU show that this runs; nothing is written.")
    worst = 0
    for name, command in parts(on_gpu, chosen.repeats):
        print(f"\n{name}: {' '.join(command)}", flush=True)
        kept = ["--out", str(chosen.out / f"{name}.json")] if on_gpu and chosen.out else []
        file, *options = command
        done = subprocess.run([sys.executable, str(HERE / file), *options, *kept], check=False)
        worst = max(worst, done.returncode)
    sys.exit(worst)


if __name__ == "__main__":
    main()
