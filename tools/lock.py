"""Pin what the direct requirements bring along: requirements.txt -> constraints.txt.

Run by `make lock` after a version in requirements.txt has changed. The CUDA packages of torch
are left out: which of them a machine needs is decided when torch is installed there.
"""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"
HEADER = "# Every version of the tested environment, direct and indirect; made by `make lock`.\n"
COMPILE = (
    "uv pip compile requirements.txt --constraint - --universal --python-version 3.11 "
    "--fork-strategy fewest --quiet --no-header --no-annotate"
)


def main() -> None:
    done = subprocess.run(
        COMPILE.split(), input=TORCH, text=True, cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    kept = [line for line in done.stdout.splitlines() if not re.match(r"nvidia|triton|cuda", line)]
    target = ROOT / "constraints.txt"
    partial = target.with_suffix(".partial")
    partial.write_text(HEADER + "\n".join(kept) + "\n")
    partial.replace(target)


if __name__ == "__main__":
    main()
