"""Running a learner's code safely: a time limit, captured prints, and his own line in errors."""

from __future__ import annotations

import contextlib
import ctypes
import io
import linecache
import opcode
import random
import signal
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

PRINT_LIMIT = 300
AGAIN, STORM = 0.05, 2e-5  # seconds between alarms that were not obeyed
_PACKAGE = str(Path(__file__).resolve().parent)
_LIBRARIES = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")})


class TimeUp(BaseException):
    """The time limit passed. Not an Exception, so that ``except Exception`` cannot swallow it."""


class Alarm:
    """Raises :class:`TimeUp` in the running code after some seconds, and again until it obeys.

    On Unix, in the main thread, a timer signal does it; elsewhere a watching thread asks the
    interpreter to raise. Neither can interrupt one long call inside C code.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.fired = False
        self.armed = False
        self.how = _how()
        self._undo: Callable[[], None] | None = None

    def start(self) -> None:
        """Arm the alarm; does nothing where the platform offers no way."""
        self.armed = True
        if self.how == "signal":
            handler = signal.signal(signal.SIGALRM, self._on_signal)
            timer = signal.setitimer(signal.ITIMER_REAL, self.seconds, AGAIN)
            self._undo = lambda: _restore(timer, handler)
        elif self.how == "thread":
            self._done, self._lock = threading.Event(), threading.Lock()
            self._target = ctypes.c_ulong(threading.get_ident())
            self._undo = self._call_off
            threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Disarm; safe to call twice, and to be struck by a last alarm."""
        self.armed = False
        if self._undo is not None:
            self._undo()
            self._undo = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.armed:
            signal.setitimer(signal.ITIMER_REAL, 0)  # a late one: no more of them
            return
        if self.fired:
            # swallowed by a bare `except:`; at this rate one soon strikes outside its `try`
            signal.setitimer(signal.ITIMER_REAL, STORM, STORM)
        self.fired = True
        raise TimeUp

    def _watch(self) -> None:
        wait = self.seconds
        while not self._done.wait(wait):
            wait = AGAIN
            with self._lock:
                if self._done.is_set() or not self.armed:
                    return
                self.fired = True
                raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
                raise_in(self._target, ctypes.py_object(TimeUp))

    def _call_off(self) -> None:
        self._done.set()
        with self._lock:  # nothing is sent after this; take back what is on its way
            ctypes.pythonapi.PyThreadState_SetAsyncExc(self._target, None)


def _restore(timer: tuple[float, float], handler: Any) -> None:
    signal.setitimer(signal.ITIMER_REAL, *timer)
    signal.signal(signal.SIGALRM, handler)


def _how() -> str:
    """``"signal"``, ``"thread"`` or ``"none"``: what can stop code here."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and hasattr(signal, "setitimer"):
        return "signal"
    has_threads = sys.platform not in ("emscripten", "wasi")
    return "thread" if has_threads and hasattr(ctypes, "pythonapi") else "none"


def run_limited(work: Callable[[], Any], alarm: Alarm) -> Any:
    """Run ``work`` until the alarm.

    Raises:
        TimeUp: also when the code swallowed the alarm and came back late.
    """
    try:
        try:
            alarm.start()
            value = work()
        finally:
            alarm.armed = False  # subtle: before any call, since an alarm may strike at a call
            alarm.stop()
    except TimeUp:
        alarm.stop()  # the last alarm may have struck inside stop()
        raise
    if alarm.fired:
        raise TimeUp
    return value


class Printed(io.TextIOBase):
    """Keeps the first characters that are written and counts the others."""

    def __init__(self, limit: int = PRINT_LIMIT) -> None:
        self.limit = limit
        self.text = ""
        self.total = 0

    def writable(self) -> bool:
        """True: what the io protocol asks."""
        return True

    def write(self, text: str) -> int:
        """Keep what still fits; returns the number of characters taken."""
        self.total += len(text)
        if len(self.text) < self.limit:
            self.text += text[: self.limit - len(self.text)]
        return len(text)

    def __str__(self) -> str:
        left_out = self.total - len(self.text)
        return self.text + (f"… ({left_out:,} more characters)" if left_out else "")


@contextlib.contextmanager
def captured_prints() -> Iterator[Printed]:
    """Keep what is printed out of the page."""
    printed = Printed()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        yield printed


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators for a while, then put the learner's states back."""
    state = random.getstate()
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    numpy_state = numpy.random.get_state() if numpy else None
    torch_state = torch.get_rng_state() if torch else None
    try:
        random.seed(seed)
        if numpy:
            numpy.random.seed(seed % 2**32)
        if torch:
            torch.manual_seed(seed)
        yield
    finally:
        random.setstate(state)
        if numpy:
            numpy.random.set_state(numpy_state)
        if torch:
            torch.set_rng_state(torch_state)


def own_code(answer: Any) -> set[CodeType]:
    """The code of an answer: of a function, of a class's methods, and all that is inside."""
    for attribute in ("__wrapped__", "func", "__func__"):
        inner = getattr(answer, attribute, None)
        if inner is not None and not isinstance(answer, type):
            return own_code(inner)
    code = getattr(answer, "__code__", None)
    if code is not None:
        return _with_inner(code)
    cls = answer if isinstance(answer, type) else type(answer)
    codes = (getattr(value, "__code__", None) for value in vars(cls).values())
    return set().union(*(_with_inner(code) for code in codes if code is not None))


def _with_inner(code: CodeType) -> set[CodeType]:
    inner = (_with_inner(const) for const in code.co_consts if isinstance(const, CodeType))
    return {code}.union(*inner)


def own_line(
    trace: TracebackType | None, answer: Any, *, helpers: bool = True
) -> tuple[int, str] | None:
    """Number and text of the deepest line of the learner's code in a traceback.

    Args:
        helpers: also other functions of the file that the answer was written in.
    """
    codes, found = own_code(answer), None
    files = {code.co_filename for code in codes} if helpers else set()
    while trace is not None:
        code = trace.tb_frame.f_code
        if code in codes or code.co_filename in files or _is_learners(code.co_filename):
            found = code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    if found is None:
        return None
    return found[1], linecache.getline(*found).strip()


def _is_learners(filename: str) -> bool:
    """A notebook cell or an interactive line; never a library or this package."""
    if filename.startswith(_LIBRARIES) or filename.startswith(_PACKAGE):
        return False
    return "ipykernel_" in filename or filename.startswith(("<ipython-input", "<stdin"))


def raised_here(trace: TracebackType | None, answer: Any) -> bool:
    """True if a ``raise`` statement in the learner's own code raised, not a library.

    Decided by the instruction the deepest frame stopped at, so no source text is read.
    """
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    files = {own.co_filename for own in own_code(answer)}
    if code.co_filename not in files and not _is_learners(code.co_filename):
        return False
    return code.co_code[trace.tb_lasti] == opcode.opmap["RAISE_VARARGS"]
