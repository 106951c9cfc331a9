"""Chapter 4 - Python in a process of its own, with limits.

What stands between the code and you: a fresh interpreter without your variables, environment and
site packages; a list of modules it may import; an audit hook that refuses files, sockets, other
programs and native code; the kernel's limits on CPU seconds, memory and written bytes (POSIX);
and a clock that kills the process.

What it does **not** protect from: an audit hook lives inside the process it watches, and PEP 578
says itself that it is no sandbox; a fault in the interpreter gets past it. The process runs as
you. For code that strangers send, use a container or a virtual machine without network, or at least
another user and seccomp. Here the code comes from a small model, and accidents are the risk.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from course_utils.agents.tools import ToolError

MODULES = (
    "math", "cmath", "statistics", "itertools", "functools", "operator", "collections", "string",
    "re", "datetime", "fractions", "decimal", "random", "textwrap", "calendar", "bisect", "heapq",
)  # fmt: skip
OUTPUT = 2_000  # characters that are read back


@dataclass(frozen=True)
class Limits:
    """What one run may use.

    Attributes:
        seconds: on the clock. cpu: seconds of computing (POSIX).
        memory: bytes of address space (POSIX).
    """

    seconds: float = 5.0
    cpu: int = 3
    memory: int = 512 * 2**20


@dataclass(frozen=True)
class Result:
    """What came back.

    Attributes:
        output: printed text, and the value of the last line if that is an expression.
        error: one line, None if all went well.
        ended: "normally", "time" (killed by the clock) or "limit" (killed by the kernel).
    """

    output: str
    error: str | None
    ended: str = "normally"


# The child's whole program. It reads one JSON line: code and limits.
_CHILD = r"""
import ast, builtins, io, json, sys
job = json.loads(sys.stdin.readline())
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (job["cpu"], job["cpu"]))
    resource.setrlimit(resource.RLIMIT_AS, (job["memory"], job["memory"]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, ValueError, OSError):
    pass
names = {name: __import__(name) for name in job["modules"]}
import traceback, linecache, _strptime
room, write = job["output"], sys.stdout.write
said = io.StringIO()
tree = ast.parse(job["code"], "<code>")
last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
allowed = {*job["modules"], "_strptime"}  # strptime imports this in our name
real_import = builtins.__import__

def limited_import(name, globals=None, locals=None, fromlist=(), level=0):
    caller = (globals or {}).get("__name__")
    inside = caller in (None, "__main__")  # the library's own modules may import what they need
    if inside and (level or name.split(".")[0] not in allowed):
        raise ImportError(f"{name} is not among the modules of this sandbox")
    return real_import(name, globals, locals, fromlist, level)

REFUSED = ("open", "socket", "subprocess", "os.", "shutil", "ctypes", "pty", "mmap", "import",
           "sys._", "gc.", "code.__new__", "function.__new__", "winreg", "msvcrt", "tempfile",
           "glob", "pathlib", "urllib", "http", "ftplib", "smtplib", "sqlite3", "signal",
           "resource")

def watch(event, arguments):
    if event == "import" and arguments[0].split(".")[0] in sys.modules:
        return
    if event.startswith(REFUSED) and event != "os.fspath":
        raise PermissionError(f"{event} is not allowed in this sandbox")

space = {"__name__": "__main__", **names}
plain = dict(vars(builtins))
for name in ("open", "input", "breakpoint", "exit", "quit", "help"):
    plain.pop(name, None)
plain["__import__"] = limited_import
plain["print"] = lambda *a, sep=" ", end="\n", **k: said.write(
    (sep.join(map(str, a)) + end)[: max(0, room - said.tell())])
space["__builtins__"] = plain
error = None
program = compile(tree, "<code>", "exec")
final = compile(ast.Expression(last.value), "<code>", "eval") if last else None
sys.addaudithook(watch)
try:
    exec(program, space)
    value = eval(final, space) if final else None
    if value is not None:
        said.write(repr(value)[:room] if not isinstance(value, str) else value[:room])
except BaseException as fault:
    error = f"{type(fault).__name__}: {str(fault)[:200]}"
write(json.dumps({"output": said.getvalue()[:room], "error": error}))
sys.stdout.flush()
"""


def run_python(code: str, limits: Limits | None = None) -> Result:
    """Run code in a restricted process; the value of a last expression counts as printed.

    Args:
        code: Python, without access to files, network, other programs or your variables.
        limits: by default 5 s, 3 s of CPU, 512 MB.

    >>> run_python("sum(range(5))").output
    '10'
    """
    limits = limits or Limits()
    try:
        compile(code, "<code>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Result("", f"{type(error).__name__}: {getattr(error, 'msg', error)}")
    job = {"code": code, "cpu": limits.cpu, "memory": limits.memory, "output": OUTPUT}
    job["modules"] = MODULES
    with tempfile.TemporaryDirectory() as nowhere:
        try:
            done = subprocess.run(
                # -I: no environment, no user site; -S: no site packages; -B: nothing written
                [sys.executable, "-I", "-S", "-B", "-c", _CHILD],
                input=json.dumps(job) + "\n",
                capture_output=True,
                text=True,
                timeout=limits.seconds,
                cwd=nowhere,
                env={},
            )
        except subprocess.TimeoutExpired:
            return Result("", f"stopped after {limits.seconds:g} seconds", "time")
    return _read(done)


def _read(done: subprocess.CompletedProcess[str]) -> Result:
    if done.returncode == 0:
        found = json.loads(done.stdout)
        return Result(found["output"].strip(), found["error"])
    if done.returncode < 0:  # POSIX: ended by a signal
        return Result("", f"stopped by the system's limits (signal {-done.returncode})", "limit")
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return Result("", f"the process ended with code {done.returncode}: {last[:200]}", "limit")


def python_text(code: str, limits: Limits | None = None) -> str:
    """What a model gets to read: the output, or the error as a :class:`ToolError`."""
    result = run_python(code, limits)
    if result.error:
        raise ToolError(result.error)
    return result.output or "(nothing was printed)"
