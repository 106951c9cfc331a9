"""Set the course up from a bare clone, with nothing but Python and pip.

`make lab` and `make test` call it first. It can be stopped and started at any point: each step
looks at what is there, and a step leaves its mark only after it has succeeded.

    python tools/setup.py            environment, course_utils, models and texts
    python tools/setup.py --no-assets   the same without models and texts
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "course-environment"
UV = "uv==0.9.30"
TORCH = "torch==2.13.0"
OLDEST, NEWEST = (3, 11), (3, 13)


class SetupError(Exception):
    """A step failed; the text says which, and what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Set the course up (repairs what is half done).")
    parser.add_argument("--no-assets", action="store_true", help="leave out models and texts")
    options = parser.parse_args()
    start = time.perf_counter()
    try:
        check_python()
        make_venv()
        install()
        if not options.no_assets:
            run([python(), "-m", "course_utils", "assets", "--fetch"], "fetching models and texts")
    except SetupError as error:
        print(f"\nSet-up stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nSet-up interrupted. Run the same command again: it goes on from here.")
        return 130
    print(f"Set-up is complete ({time.perf_counter() - start:.0f} s).")
    return 0


def python() -> str:
    """The interpreter of the course's own environment."""
    folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return str(VENV / folder / name)


def check_python() -> None:
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        have = ".".join(map(str, sys.version_info[:3]))
        raise SetupError(
            f"the course is tested with Python 3.11 to 3.13, and this is {have}. "
            "Install one of these and run: make lab PYTHON=python3.12"
        )


def make_venv() -> None:
    """Create .venv, or make it again when its interpreter or pip does not run."""
    if works([python(), "-m", "pip", "--version"]):
        return
    if VENV.exists():
        print("The environment in .venv is broken; making it again.")
        shutil.rmtree(VENV)
    print("Creating the environment in .venv")
    try:
        venv.create(VENV, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupError(
            f"the virtual environment could not be made ({error}). "
            "On Debian and Ubuntu: apt install python3-venv"
        ) from error


def install() -> None:
    """Install the pinned packages and course_utils, unless that has been done already."""
    if STAMP.exists() and STAMP.read_text() == fingerprint() and works(smoke_test()):
        return
    STAMP.unlink(missing_ok=True)
    run([python(), "-m", "pip", "install", "--quiet", UV], "installing uv")
    install_torch()
    print("Installing the packages of requirements.txt (about 3 GB on disk)")
    pinned = ["-r", "requirements.txt", "-c", "constraints.txt"]
    run([*uv_install(), *pinned], "installing requirements.txt")
    run([*uv_install(), "--quiet", "--no-deps", "-e", "."], "installing course_utils")
    STAMP.write_text(fingerprint())


def install_torch() -> None:
    """Install torch: nothing if it is there, else the build that suits this machine.

    uv looks for a GPU and takes the matching build (CPU: 0.2 GB). Where its package index
    cannot be reached, pip takes what the configured index has; on Linux that brings CUDA.
    """
    version = TORCH.partition("==")[2]
    have = f"import torch, sys; sys.exit(torch.__version__.split('+')[0] != {version!r})"
    if works([python(), "-c", have]):
        return
    print(f"Installing {TORCH}")
    if works([*uv_install(), TORCH, "--torch-backend=auto"]):
        return
    run([python(), "-m", "pip", "install", "--quiet", TORCH], f"installing {TORCH}")


def uv_install() -> list[str]:
    return [python(), "-m", "uv", "pip", "install", "--python", python()]


def smoke_test() -> list[str]:
    """A command that fails if one of the packages a lesson cannot start without is gone."""
    names = "course_utils", "torch", "transformers", "datasets", "jupyterlab", "papermill", "pytest"
    find = "import sys, importlib.util as u; sys.exit(not all(map(u.find_spec, sys.argv[1:])))"
    return [python(), "-c", find, *names]


def fingerprint() -> str:
    """Changes when the pins, the package's metadata or the interpreter change."""
    files = "requirements.txt", "constraints.txt", "pyproject.toml"
    content = b"".join((ROOT / name).read_bytes() for name in files)
    return hashlib.sha256(content + sys.version.encode() + str(ROOT).encode()).hexdigest()


def works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    except OSError:
        return False


def run(command: list[str], what: str) -> None:
    """Run a step; its own output stays visible, and a failure becomes one sentence."""
    code = subprocess.run(command, cwd=ROOT).returncode
    if code:
        raise SetupError(
            f"{what} failed (exit status {code}; its own message is above). "
            "Check the network and the free disk space, then run the same command again: "
            "what is already there is kept."
        )


if __name__ == "__main__":
    sys.exit(main())
