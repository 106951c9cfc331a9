"""Execute one notebook in a fresh kernel, cut off from the network and with one thread."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from course_utils.runner.layout import Layout

if TYPE_CHECKING:
    import psutil
    from nbformat import NotebookNode

TIMEOUT = 600  # seconds per cell: catches a hang, is no budget
ANSI = re.compile(r"\x1b\[[0-9;]*m")
LOG_LEVEL = "--IPKernelApp.log_level=40"  # the kernel's own remarks are not the learner's
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
QUIET = {
    "COURSE_NO_PROGRESS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",  # the order in which a set is printed must not change
}
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


class CellError(RuntimeError):
    """A cell of a notebook failed; the message names it and shows a short traceback."""


def environment(
    layout: Layout,
    *,
    offline: bool = True,
    strict: bool = False,
    avx2: bool = False,
    threads: int = 1,
) -> dict[str, str]:
    """The variables a kernel starts with.

    Args:
        layout: its tests/offline blocks sockets.
        offline: refuse connections to other machines.
        strict: let a measured claim that does not hold raise (else as inherited).
        avx2: keep numerical libraries from using newer instructions.
        threads: threads of numerical libraries.
    """
    made = dict(os.environ) | QUIET | dict.fromkeys(THREADS, str(threads))
    # figures are displayed by plotting.show; an inherited backend must not draw them again
    made.pop("MPLBACKEND", None)
    made["COURSE_STRICT"] = "1" if strict else made.get("COURSE_STRICT", "0")
    paths = [str(layout.root), *filter(None, [made.get("PYTHONPATH")])]
    if offline:
        made["HF_HUB_OFFLINE"] = "1"
        paths.insert(0, str(layout.root / "tests" / "offline"))
    made["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return made | AVX2 if avx2 else made


def execute(book: NotebookNode, folder: Path, variables: dict[str, str]) -> None:
    """Run all cells of a notebook in place.

    Args:
        book: the notebook; its outputs are replaced.
        folder: working folder of the kernel.
        variables: environment of the kernel, complete.

    Raises:
        CellError: if a cell fails, runs too long or kills the kernel.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    folder.mkdir(parents=True, exist_ok=True)
    begun: list[NotebookNode] = []
    client = NotebookClient(
        book,
        kernel_name="python3",
        timeout=TIMEOUT,
        record_timing=False,
        extra_arguments=[LOG_LEVEL],
        resources={"metadata": {"path": str(folder)}},
        on_cell_execute=lambda cell, cell_index: begun.append(cell),
    )
    try:
        client.execute(env=variables)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise CellError(describe_failure(book, error, begun)) from None


def describe_failure(
    book: NotebookNode,
    error: Exception | None = None,
    begun: Sequence[NotebookNode] = (),
    lines: int = 14,
) -> str:
    """The failed cell's number, its source and the end of its traceback; else the error.

    Args:
        book: the notebook with the outputs that it got to.
        error: what the execution ended with.
        begun: cells in the order in which they were sent to the kernel, where that is known.
        lines: how much of the traceback to show.
    """
    for number, cell in enumerate(book.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                trace = ANSI.sub("", "\n".join(output.traceback)).splitlines()
                shown = "\n".join(line for line in trace[-lines:])
                return f"cell {number} failed:\n{_indent(cell.source)}\n{shown}"
    if error is None:
        return ""
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    # a cell gets its number when the kernel says that it begins, unless it dies before that
    last = (begun or [cell for cell in code if cell.get("execution_count")] or code)[-1]
    return f"{type(error).__name__} in this cell:\n{_indent(last.source)}\n{error}"


class PeakMemory:
    """Largest memory that the processes started below this one hold together, sampled.

    Use as a context manager; ``megabytes`` is the resident set of all descendants started
    inside it (the kernel and what that starts), without this process.
    """

    def __init__(self, interval: float = 0.1) -> None:
        self.megabytes = 0.0
        self._older: set[psutil.Process] = set()
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._older = set(_children())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            now = sum(_resident(process) for process in _children() if process not in self._older)
            self.megabytes = max(self.megabytes, now / 1e6)


def _children() -> list[psutil.Process]:
    import psutil

    return psutil.Process().children(recursive=True)


def _resident(process: psutil.Process) -> int:
    """Bytes that a process holds in memory; 0 when it has just ended."""
    import psutil

    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def _indent(source: str, lines: int = 8) -> str:
    kept = source.splitlines()
    more = ["…"] if len(kept) > lines else []
    return "\n".join(f"    | {line}" for line in [*kept[:lines], *more])
