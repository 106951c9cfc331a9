"""Run notebooks through papermill, several at a time, with one live line for each."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.claims import HELD, NOT_HELD
from course_utils.runner.cells import exercise_ids, expand
from course_utils.runner.execute import (
    LOG_LEVEL,
    TIMEOUT,
    PeakMemory,
    describe_failure,
    environment,
)
from course_utils.runner.layout import Layout, Lesson, write_whole
from course_utils.runner.notebook import read_notebook, write_notebook

if TYPE_CHECKING:
    from nbformat import NotebookNode

CLAIM = re.compile(
    rf"^({re.escape(HELD)}|{re.escape(NOT_HELD)}) (?P<text>.+): (?P<value>\S+) \(expected .+\)$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Settings:
    """How a batch of notebooks is run.

    ``parameters`` go into the cell after the one tagged ``parameters``; ``threads`` = None
    shares the cores among the jobs; ``watch`` names folders (of assets) whose use is noted,
    which works only ``offline``.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    jobs: int = 1
    threads: int | None = None
    offline: bool = False
    strict: bool = False
    avx2: bool = False
    watch: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one run measured: seconds, largest memory of the kernel, claims, exercises."""

    key: str
    seconds: float
    peak_mb: float
    held: int
    not_held: int
    exercises: int
    claims: dict[str, float]
    output: str
    error: str = ""
    assets: tuple[str, ...] = ()


def run_all(
    lessons: list[Lesson], layout: Layout, out: Path, settings: Settings
) -> Iterator[Outcome]:
    """Run notebooks in fresh kernels; outcomes come as they are ready.

    Args:
        lessons: what to run.
        layout: the course they belong to.
        out: folder for the executed notebooks; a failed one is kept there with its error.
        settings: parameters and how many at a time.
    """
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=settings.jobs, backend="loky", return_as="generator_unordered")
    yield from pool(delayed(run_one)(lesson, layout, out, settings) for lesson in lessons)


def run_one(lesson: Lesson, layout: Layout, out: Path, settings: Settings) -> Outcome:
    """Run one notebook in a fresh kernel and measure it; a failure is part of the outcome."""
    import papermill

    register_engine()
    source, target = source_notebook(lesson, layout, out), out / f"{lesson.key}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    lesson.notebook.parent.mkdir(parents=True, exist_ok=True)
    opened = out / "state" / f"{lesson.key.replace('/', '-')}.opened"
    opened.parent.mkdir(parents=True, exist_ok=True)
    opened.unlink(missing_ok=True)
    variables = _variables(layout, settings) | {"COURSE_OPENED": str(opened)}
    error, start = "", time.perf_counter()
    with PeakMemory() as memory:
        try:
            papermill.execute_notebook(
                source,
                target,
                settings.parameters,
                engine_name="course",
                kernel_name="python3",
                cwd=lesson.notebook.parent,
                progress_bar=False,
                variables=variables,
                progress_file=progress_file(out, lesson),
            )
        except papermill.PapermillExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}"
        except Exception as failure:  # a dead kernel, a notebook that cannot be read
            error = f"{type(failure).__name__}: {failure}"
    seconds = time.perf_counter() - start
    return _outcome(lesson, target, seconds, memory.megabytes, error, opened)


def _variables(layout: Layout, settings: Settings) -> dict[str, str]:
    threads = settings.threads or max(1, (os.cpu_count() or 1) // max(settings.jobs, 1))
    made = environment(
        layout,
        offline=settings.offline,
        strict=settings.strict,
        avx2=settings.avx2,
        threads=threads,
    )
    return made | {"COURSE_WATCH_FOLDERS": json.dumps(settings.watch)} if settings.watch else made


def _outcome(
    lesson: Lesson, target: Path, seconds: float, peak: float, error: str, opened: Path
) -> Outcome:
    book = read_notebook(target)
    text = "" if book is None else printed(book)
    if error and book is not None:
        error = describe_failure(book) or error
    verdicts = [match.group(1) for match in CLAIM.finditer(text)]
    return Outcome(
        key=lesson.key,
        seconds=round(seconds, 1),
        peak_mb=round(peak),
        held=verdicts.count(HELD),
        not_held=verdicts.count(NOT_HELD),
        exercises=len(exercise_ids(lesson.source.read_text(encoding="utf-8"))),
        claims=claim_values(text),
        output=str(target),
        error=error,
        assets=tuple(sorted(opened.read_text().split())) if opened.exists() else (),
    )


def claim_values(text: str) -> dict[str, float]:
    """The value of every claim line in a text, by the claim's words.

    >>> claim_values("[claim held] macro-F1: 0.81 (expected at least 0.7)")
    {'macro-F1': 0.81}
    """
    return {m["text"]: float(m["value"].replace(",", "")) for m in CLAIM.finditer(text)}


def printed(book: NotebookNode) -> str:
    """Everything that the cells of a notebook wrote to standard output."""
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    streams = [o.text for c in cells for o in c.outputs if o.get("name") == "stdout"]
    return "\n".join(streams)


def source_notebook(lesson: Lesson, layout: Layout, out: Path) -> Path:
    """The stored notebook; for a lesson not built yet, one made from its text."""
    if lesson.notebook.exists():
        return lesson.notebook
    made = out / "state" / f"{lesson.stem}.ipynb"
    write_notebook(made, expand(lesson, layout))
    return made


def progress_file(out: Path, lesson: Lesson) -> Path:
    """Where a running notebook notes how many of its cells are done."""
    return out / "state" / f"{lesson.key.replace('/', '-')}.cells"


def register_engine() -> None:
    """Teach papermill to start the kernel with given variables and to note its progress."""
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines

    class CourseEngine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(
            cls, nb_man, kernel_name, variables, progress_file, **kwargs
        ) -> NotebookNode:
            _note_progress(nb_man, progress_file)
            client = PapermillNotebookClient(
                nb_man,
                kernel_name=kernel_name,
                timeout=TIMEOUT,
                startup_timeout=120,
                record_timing=False,
                extra_arguments=[LOG_LEVEL],
            )
            return client.execute(env=variables)

    papermill_engines.register("course", CourseEngine)


def _note_progress(nb_man: Any, path: Path) -> None:
    """After each cell, write "done total" for the live display of another process."""
    total, complete = len(nb_man.nb.cells), nb_man.cell_complete
    done = 0

    def cell_complete(*args: Any, **options: Any) -> None:
        nonlocal done
        complete(*args, **options)
        done += 1
        path.write_text(f"{done} {total}")

    nb_man.cell_complete = cell_complete


def write_summary(outcomes: list[Outcome], out: Path) -> Path:
    """Store a batch's outcomes as ``summary.json``."""
    path = out / "summary.json"
    write_whole(path, json.dumps([asdict(o) for o in outcomes], indent=1) + "\n")
    return path
