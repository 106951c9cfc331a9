"""Running: parameters reach the notebook, claims are counted, a failure is kept and reported."""

import json
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from typer.testing import CliRunner

from course_utils import assets
from course_utils.runner import chapters, cli, display, run, timings
from course_utils.runner.execute import PeakMemory
from course_utils.runner.layout import Layout

GOOD = "01_foundations/01_tiny"
BAD = "01_foundations/02_bad"


@pytest.fixture
def made(course, text):
    plain = text.replace('# %% tags=["exercise"]\nexercise("1.1.1")\n', "")
    return course({GOOD: plain, BAD: plain.replace("equals=5", "equals=6")})


@pytest.fixture
def command(made, monkeypatch):
    """Run the command line on the made course."""
    monkeypatch.setattr(Layout, "here", classmethod(lambda cls: made))
    return lambda *words: CliRunner().invoke(cli.app, list(words))


def test_a_batch_runs_reports_and_keeps_what_failed(command, made, tmp_path):
    out = tmp_path / "out"
    done = command("run", "01_", "--param", "SEED=2", "--jobs", "2", "--out", str(out))
    assert done.exit_code == 1, done.output
    good, bad = sorted(json.loads((out / "summary.json").read_text()), key=lambda o: o["key"])
    assert (good["key"], good["error"], good["held"], good["not_held"]) == (GOOD, "", 1, 1)
    assert good["claims"] == {"the sum of two and three": 5, "the seed": 2}
    assert good["seconds"] > 0
    assert 30 < good["peak_mb"] < 2000
    assert "ClaimError" in bad["error"]
    assert "ClaimError" in done.output
    book = nbformat.read(out / f"{GOOD}.ipynb", as_version=4)
    assert any("SEED = 2" in cell.source for cell in book.cells)
    assert "ClaimError" in (out / f"{BAD}.ipynb").read_text()
    assert not any(made.notebooks.rglob("*.ipynb"))


def test_all_good_is_status_zero(command, tmp_path, monkeypatch):
    outcome = run.Outcome(GOOD, 1.25, 100, 2, 0, 1, {}, "x.ipynb")
    monkeypatch.setattr(run, "run_all", lambda *given: iter([outcome]))
    done = command("run", GOOD, "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "done" in done.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "99_x"], "no lesson matches '99_x'"),
        (["run", "--profile", "huge"], "--profile must be one of smoke, laptop, full; got 'huge'"),
        (["run", "--models", "own"], "--models must be one of bundled, hub; got 'own'"),
        (["run", "--param", "SEED"], "--param expects NAME=VALUE, got 'SEED'"),
        (["record", "01_"], "names 2 lessons"),
    ],
)
def test_a_wrong_word_is_one_sentence(command, words, sentence):
    done = command(*words)
    assert done.exit_code == 2
    assert sentence in done.output
    assert len(done.output.splitlines()) <= 2


def test_list_names_every_lesson(command):
    lines = command("list").output.splitlines()
    assert [line.split()[0] for line in lines] == [GOOD, BAD]
    assert all("A tiny lesson" in line for line in lines)


def test_check_lists_what_is_not_built_and_fails(command):
    done = command("build", "--check")
    assert done.exit_code == 1
    assert done.output.splitlines() == [f"stale  {GOOD}", f"stale  {BAD}"]


def test_claims_are_read_from_what_cells_print():
    text = (
        "[claim held] R@3: 0.925 (expected at least 0.9)\n"
        "[claim did not hold here] gap: a: 1,234 (expected at most 7)\n"
        "a [claim held] that is quoted: 3 (expected 3)\n"
    )
    stream = new_output("stream", name="stdout", text=text)
    noise = new_output("stream", name="stderr", text="[claim held] b: 1 (expected 1)")
    book = new_notebook(cells=[new_code_cell("x", outputs=[stream, noise])])
    assert run.claim_values(run.printed(book)) == {"R@3": 0.925, "gap: a": 1234}


def test_peak_memory_counts_what_a_child_process_holds():
    code = "import time; a = bytearray(200_000_000); time.sleep(1)"
    with PeakMemory(interval=0.02) as memory:
        subprocess.run([sys.executable, "-c", code], check=True)
    assert 200 <= memory.megabytes < 320  # the interpreter itself takes about 10 MB


def test_the_table_names_each_notebook_and_its_verdict():
    rows = [
        run.Outcome(GOOD, 12.34, 567, 3, 1, 2, {}, ""),
        run.Outcome(BAD, 1, 20, 0, 0, 0, {}, "", error="x"),
    ]
    made = display.table(rows)
    cells = list(zip(*[list(column.cells) for column in made.columns], strict=True))
    assert cells[0][:6] == (GOOD, "12.3", "567", "3", "1", "2")
    assert "failed" in cells[1][6]


def test_lines_follow_the_files_of_running_notebooks(tmp_path):
    path = tmp_path / "a.cells"
    lines = display.Lines({"a": path}, quiet=True)
    with lines:
        path.write_text("3 7")
        deadline = time.monotonic() + 5
        while lines._bars.tasks[0].completed != 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (lines._bars.tasks[0].completed, lines._bars.tasks[0].total) == (3, 7)
        lines.finish(run.Outcome("a", 1, 1, 0, 0, 0, {}, ""))
    assert lines._bars.finished


def test_cards_can_be_refreshed_without_measuring(command, made):
    (made.root / "README.md").write_text(f"{chapters.BEGIN}\n{chapters.END}\n")
    done = command("timings", "--refresh-only")
    assert (done.exit_code, done.output) == (0, "updated README.md\n")
    assert not made.timings.exists()


def test_measured_costs_are_stored_and_a_failure_is_not(command, made, monkeypatch):
    def measure(lesson, layout, out, *, avx2, repeats):
        error = "ClaimError" if lesson.key == BAD else ""
        return run.Outcome(lesson.key, 7.5 + avx2, 123, 1, 0, 0, {}, "", error=error)

    monkeypatch.setattr(timings, "measure", measure)
    assert command("timings", GOOD).exit_code == 0
    assert command("timings", "--avx2").exit_code == 1
    stored = json.loads(made.timings.read_text())["lessons"]
    assert list(stored) == [GOOD]
    assert (stored[GOOD]["this"]["seconds"], stored[GOOD]["avx2"]["seconds"]) == (7.5, 8.5)


@pytest.mark.parametrize("status", [0, 1])
def test_assets_are_left_to_their_room(command, monkeypatch, status):
    given = []
    monkeypatch.setattr(assets, "cli", lambda **options: given.append(options) or status)
    assert command("assets", "--fetch").exit_code == status
    assert given == [{"fetch": True, "pin": False}]
