"""All tests: no network, quiet libraries, one thread, and ``--lesson`` to test one lesson."""

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OFFLINE = ROOT / "tests" / "offline"

# set before any test imports a library that reads them; processes started by tests inherit them
SETTINGS = {
    "COURSE_NO_PROGRESS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
os.environ.update(SETTINGS)
paths = [str(OFFLINE), str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, paths)))

spec = importlib.util.spec_from_file_location("course_offline", OFFLINE / "sitecustomize.py")
offline = importlib.util.module_from_spec(spec)
spec.loader.exec_module(offline)  # blocks sockets in this process, unless PYTHONPATH did already


def pytest_addoption(parser):
    parser.addoption("--lesson", help="only what belongs to a lesson, such as 04_llms/01")


def pytest_collection_modifyitems(config, items):
    pattern = config.getoption("--lesson")
    if not pattern:
        return
    from course_utils.runner.layout import Layout
    from course_utils.runner.selection import belongs, unit_tests

    layout = Layout(ROOT)
    try:
        lessons = [(lesson, unit_tests(lesson, layout)) for lesson in layout.select([pattern])]
    except ValueError as error:
        raise pytest.UsageError(f"--lesson: {error}") from None

    def wanted(item):
        return any(belongs(item.nodeid, lesson, files) for lesson, files in lessons)

    dropped = [item for item in items if not wanted(item)]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if wanted(item)]


@pytest.fixture(scope="session")
def root():
    """The repository."""
    return ROOT
