"""Recorded runs: claim values over several seeds, stored with where they come from.

A spread over three seeds costs three runs, more than a lesson may take at ``laptop``. Such
runs are recorded once and shown as recorded; they are never passed to a claim.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

from course_utils.runner.layout import Layout, Lesson, write_whole

MIN_SEEDS_FOR_SPREAD = 2


def recorded(key: str, layout: Layout | None = None) -> dict[str, Any]:
    """The recorded runs of a lesson.

    Args:
        key: the lesson, such as ``"04_llms/08_preference_tuning"``.
        layout: the course; default the one this package belongs to.

    Returns:
        ``{"date", "machine", "commit", "profile", "runs": [{"seed", "seconds", "claims"}],
        "summary": {claim: {"mean", "sd", "n"}}}``.

    Raises:
        FileNotFoundError: if nothing was recorded; the message holds the command.
    """
    path = _path(key, layout or Layout.here())
    if not path.exists():
        raise FileNotFoundError(f"no recorded runs; make them: python -m course_utils record {key}")
    return json.loads(path.read_text(encoding="utf-8"))


def record(lesson: Lesson, layout: Layout, seeds: list[int], profile: str, out: Path) -> Path:
    """Run a lesson once per seed in fresh kernels and store its claims' values.

    Raises:
        RuntimeError: if a run fails; nothing is written then.
    """
    from course_utils.runner.run import Settings, run_one
    from course_utils.runner.timings import machine

    runs = []
    for seed in seeds:
        settings = Settings({"PROFILE": profile, "SEED": seed}, threads=1, offline=True)
        outcome = run_one(lesson, layout, out / f"seed-{seed}", settings)
        if outcome.error:
            raise RuntimeError(f"{lesson.key} failed with SEED = {seed}:\n{outcome.error}")
        runs.append({"seed": seed, "seconds": outcome.seconds, "claims": outcome.claims})
    made = {
        "lesson": lesson.key,
        "commit": commit(layout.root),
        "machine": machine(),
        "date": date.today().isoformat(),
        "profile": profile,
        "runs": runs,
        "summary": summary([run["claims"] for run in runs]),
    }
    path = _path(lesson.key, layout)
    write_whole(path, json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    return path


def summary(runs: list[dict[str, float]]) -> dict[str, dict[str, float | int | None]]:
    """Mean, sample standard deviation and number of runs of every claim.

    >>> summary([{"a": 1.0}, {"a": 3.0}])["a"]
    {'mean': 2.0, 'sd': 1.4142135623730951, 'n': 2}
    """
    found: dict[str, dict[str, float | int | None]] = {}
    for text in dict.fromkeys(text for run in runs for text in run):
        values = [run[text] for run in runs if text in run and math.isfinite(run[text])]
        if not values:
            continue
        enough = len(values) >= MIN_SEEDS_FOR_SPREAD
        spread = statistics.stdev(values) if enough else None
        found[text] = {"mean": statistics.fmean(values), "sd": spread, "n": len(values)}
    return found


def commit(root: Path) -> str:
    """The commit of a working copy, with ``+`` when files differ from it; "unknown" without git."""
    try:
        name = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+" if changed else "")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=root, check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()


def _path(key: str, layout: Layout) -> Path:
    return layout.root / "data" / "runs" / f"{key}.json"
