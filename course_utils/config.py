"""Configuration: how big a run is, where models come from, which device computes.

A *profile* is a set of sizes and nothing else: ``smoke`` proves in seconds that a lesson
runs, ``laptop`` makes the stored outputs on two cores, ``full`` uses a GPU's worth of time.
A *model source* says whether the bundled models or their Hub counterparts are loaded.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import time
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

PROFILES = ("smoke", "laptop", "full")
MODEL_SOURCES = ("bundled", "hub")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Config:
    """The parameters of one run, as papermill or the learner set them."""

    profile: str = "laptop"
    models: str = "bundled"
    seed: int = 0

    def __post_init__(self) -> None:
        _require("PROFILE", self.profile, PROFILES)
        _require("MODELS", self.models, MODEL_SOURCES)
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise TypeError(f"SEED must be a whole number, got {self.seed!r}")

    def pick(self, *, smoke: _T, laptop: _T, full: _T) -> _T:
        """The size that belongs to this profile.

        >>> Config("smoke").pick(smoke=2, laptop=20, full=200)
        2
        """
        return {"smoke": smoke, "laptop": laptop, "full": full}[self.profile]

    @property
    def unchanged(self) -> bool:
        """True while the run is the one whose outputs are stored with the lesson."""
        return self == Config()


def _require(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


_current = Config()


def setup(profile: str = "laptop", models: str = "bundled", seed: int = 0) -> Config:
    """Take over a lesson's parameters, seed every generator, return the configuration.

    Raises:
        ValueError: for a profile or model source that does not exist.
        TypeError: for a seed that is not a whole number.
    """
    global _current
    _current = Config(profile, models, seed)
    quiet_libraries()
    seed_everything(seed)
    return _current


def quiet_libraries() -> None:
    """Turn off progress bars and advice of the libraries: in a stored page they are noise.

    A bar without a live widget stays at 0 % for ever. Errors are still shown.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\.")
    if "transformers" in sys.modules:
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        transformers_logging.set_verbosity_error()
    if "datasets" in sys.modules:
        import datasets

        datasets.disable_progress_bars()


def current() -> Config:
    """The configuration of the last :func:`setup` (the defaults before it)."""
    return _current


def strict() -> bool:
    """True in builds and CI (``COURSE_STRICT=1``), where a false measured claim is an error."""
    return os.environ.get("COURSE_STRICT", "") == "1"


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (the last two only if they can be imported)."""
    random.seed(seed)
    try:
        import numpy as np

        np.random.seed(seed % 2**32)
        import torch

        torch.manual_seed(seed)
    except ImportError:  # the assets command runs before the heavy packages are there
        return


def course_home() -> Path:
    """Folder for everything the course fetches or remembers, outside the repository.

    ``COURSE_HOME`` overrides the user's cache directory.
    """
    override = os.environ.get("COURSE_HOME")
    if override:
        return Path(override).expanduser().resolve()
    import platformdirs

    return Path(platformdirs.user_cache_dir("nlp-course", appauthor=False))


def machine() -> dict[str, str]:
    """What this run computes on, in words: versions, cores, memory, device.

    >>> sorted(machine())
    ['cores', 'device', 'memory', 'python', 'threads', 'torch']
    """
    import platform

    import psutil
    import torch

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "device": device(),
    }


def device() -> str:
    """``"cuda"``, ``"mps"`` or ``"cpu"``: the fastest that torch can use here."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@lru_cache(maxsize=1)
def compute_dtype() -> torch.dtype:
    """bfloat16 if this device multiplies it faster than float32, else float32.

    Decided by a probe of about 20 ms and not by the device's name: a CPU without bf16 units
    emulates the format and is 40-60 times slower. Only speed depends on this choice; text
    that a lesson shows or claims is computed in float32.
    """
    import torch

    where = device()
    if where == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    faster = _matmul_seconds(torch.bfloat16, where) < _matmul_seconds(torch.float32, where)
    return torch.bfloat16 if faster else torch.float32


def _matmul_seconds(dtype: torch.dtype, where: str, size: int = 512, repeats: int = 3) -> float:
    """Best time of a square matrix product; the first one warms up and is not counted."""
    import torch

    a = torch.ones(size, size, dtype=dtype, device=where)
    a @ a
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # .item() waits for the device to finish
        times.append(time.perf_counter() - start)
    return min(times)
