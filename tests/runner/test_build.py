"""Building: executed, cleaned, refused when it must not be stored, rebuilt only when needed."""

import json
import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course_utils.runner import build as builder
from course_utils.runner import notebook as books
from course_utils.runner.cells import LessonError
from course_utils.runner.execute import environment
from course_utils.runner.layout import Layout

KEY = "01_foundations/01_tiny"
PNG = "iVBORw0KGgo="


@pytest.fixture
def executions(monkeypatch):
    """Counts executions and replaces the kernel by fixed outputs."""
    done = []

    def execute(book, folder, variables):
        done.append(variables)
        code = [cell for cell in book.cells if cell.cell_type == "code"]
        for number, cell in enumerate(code, 1):
            cell.execution_count = number
            cell.outputs = [new_output("stream", name="stdout", text=f"run {len(done)}\n")]

    monkeypatch.setattr(builder, "execute", execute)
    return done


@pytest.fixture
def build(course, exercise_cells):
    made = course()

    def run(**options):
        return builder.build(made.lesson(KEY), made, exercise_cells=exercise_cells, **options)

    run.layout, run.lesson = made, made.lesson(KEY)
    return run


def stored(build):
    return nbformat.read(build.lesson.notebook, as_version=4)


def edit(build, old, new):
    text = build.lesson.source.read_text()
    assert old in text
    build.lesson.source.write_text(text.replace(old, new))


def test_a_real_kernel_executes_the_lesson_and_a_second_build_is_identical(build):
    done = build()
    assert done.status == "built", done.message
    book = stored(build)
    assert [c.execution_count for c in book.cells if c.cell_type == "code"] == [1, 2, 3, 4]
    assert "[claim held] the sum of two and three: 5" in book.cells[4].outputs[0].text
    assert set(book.metadata) == {"kernelspec", "language_info", "course"}
    assert "version" not in book.metadata.language_info
    assert book.metadata.course.lesson == f"lessons/{KEY}.py"
    first = build.lesson.notebook.read_bytes()
    assert build(force=True).status == "built"
    assert build.lesson.notebook.read_bytes() == first


def test_what_did_not_change_is_not_executed(build, executions):
    assert build().status == "built"
    assert build().status == "fresh"
    assert len(executions) == 1
    assert build(force=True).status == "built"
    assert len(executions) == 2


def test_changed_prose_keeps_the_outputs_without_executing(build, executions):
    build()
    edit(build, "add two numbers", "add any two numbers")
    assert build().status == "prose"
    assert len(executions) == 1
    assert "add any two numbers" in stored(build).cells[0].source
    assert stored(build).cells[4].outputs[0].text == "run 1\n"
    assert build().status == "fresh"


def test_a_removed_prose_cell_moves_no_output(build, executions):
    edit(build, "# %%\nfrom", "# %% [markdown]\n# Between.\n\n# %%\nfrom")
    build()
    edit(build, "# %% [markdown]\n# Between.\n\n", "")
    assert build().status == "prose"
    assert len(executions) == 1
    book = stored(build)
    assert [c.id for c in book.cells] == [f"01_tiny-{n:03d}" for n in range(len(book.cells))]


def test_changed_code_is_executed(build, executions):
    build()
    edit(build, "2 + 3, equals=5", "2 + 4, equals=6")
    assert build().status == "built"
    assert len(executions) == 2


def test_a_new_stub_is_executed_though_the_lesson_is_the_same(build, executions, exercise_cells):
    build()
    cells = [("markdown", "### Exercise 1.1.1"), ("code", "def triple(x): ...")]
    done = builder.build(build.lesson, build.layout, exercise_cells=lambda i: cells)
    assert done.status == "built"
    assert len(executions) == 2


def test_the_cost_card_is_updated_without_executing_and_without_staleness(build, executions):
    build()
    build.layout.timings.parent.mkdir()
    entry = {"this": {"seconds": 120, "peak_mb": 700}, "assets": []}
    stored_costs = {"machines": {"this": "2 cores"}, "lessons": {KEY: entry}}
    build.layout.timings.write_text(json.dumps(stored_costs))
    assert builder.state(build.lesson, build.layout, stored(build)) == "fresh"
    assert builder.update_card(build.lesson, build.layout)
    assert "| minutes | 2.0 |" in stored(build).cells[0].source
    assert not builder.update_card(build.lesson, build.layout)
    assert build().status == "fresh"
    assert len(executions) == 1


def test_a_false_claim_stops_the_build_with_cell_and_reason(build):
    edit(build, "SEED, at_most=1", "SEED, at_least=1")  # measured: raises only in strict mode
    done = build()
    assert done.status == "failed"
    assert "cell 4 failed" in done.message
    assert "| from course_utils.claims import claim" in done.message
    assert "[claim did not hold here] the seed: 0 (expected at least 1)" in done.message
    assert "kept: runs/failed/01_foundations/01_tiny.ipynb" in done.message
    kept = build.layout.runs / "failed" / f"{KEY}.ipynb"
    assert "ClaimError" in kept.read_text()
    assert not build.lesson.notebook.exists()


def test_a_failed_rebuild_leaves_the_old_notebook(build, executions, monkeypatch):
    build()
    before = build.lesson.notebook.read_bytes()
    edit(build, "2 + 3", "3 + 2")

    def fails(book, folder, variables):
        raise builder.CellError("cell 4 failed")

    monkeypatch.setattr(builder, "execute", fails)
    assert build().status == "failed"
    assert build.lesson.notebook.read_bytes() == before


def test_an_output_that_must_not_be_stored_fails_the_build(build, monkeypatch):
    def execute(book, folder, variables):
        book.cells[4].outputs = [new_output("display_data", data={"image/png": PNG})]

    monkeypatch.setattr(builder, "execute", execute)
    done = build()
    assert done.status == "failed"
    assert "shows a bare image/png" in done.message
    assert not build.lesson.notebook.exists()
    assert (build.layout.runs / "failed" / f"{KEY}.ipynb").exists()


def test_a_lesson_without_its_exercise_fails_with_a_sentence(build, executions):
    edit(build, "1.1.1", "99.1.1")
    done = builder.build(build.lesson, build.layout)
    assert done.status == "failed"
    assert "99.1.1" in done.message
    assert not executions


def test_a_draft_goes_to_runs(build, executions):
    done = build(draft=True)
    assert done.status == "built"
    assert not build.lesson.notebook.exists()
    assert (build.layout.runs / "draft" / f"{KEY}.ipynb").exists()


def test_kernels_get_strictness_silence_and_one_thread(build, executions, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Qt5Agg")
    build()
    [given] = executions
    expected = {
        "COURSE_STRICT": "1",
        "COURSE_NO_PROGRESS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    assert expected.items() <= given.items()
    assert "MPLBACKEND" not in given
    assert given["PYTHONPATH"].split(os.pathsep)[0].endswith("offline")


def test_a_learners_own_run_may_reach_the_network_and_use_more_threads(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    given = environment(Layout(tmp_path), offline=False, threads=3)
    assert str(tmp_path / "tests" / "offline") not in given["PYTHONPATH"]
    assert (given["COURSE_STRICT"], given["OMP_NUM_THREADS"]) == ("0", "3")
    assert environment(Layout(tmp_path), avx2=True)["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def with_output(**data):
    cell = new_code_cell("show()", outputs=[new_output("display_data", data=data)])
    return new_notebook(cells=[cell])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"image/png": PNG}, "cell 0 (show()): shows a bare image/png; use plotting.show"),
        ({"text/html": f'<img src="data:image/png;base64,{PNG}">'}, "without alternative text"),
        ({"text/html": f'<img alt=" " src="data:image/png;base64,{PNG}">'}, "without alternative"),
        ({"text/plain": "x" * 1_000_001}, "have 1,000,001 bytes"),
        ({"text/plain": "see /home/ada/course"}, "a path of this machine: /home/ada"),
        ({"text/plain": r"C:\Users\ada\course"}, "a path of this machine"),
    ],
)
def test_outputs_that_must_not_be_stored_are_refused(data, sentence):
    with pytest.raises(LessonError) as caught:
        books.refuse(with_output(**data))
    assert sentence in str(caught.value)


def test_a_described_picture_is_accepted():
    html = f'<img alt="a line that rises" src="data:image/png;base64,{PNG}/home/x">'
    books.refuse(with_output(**{"text/html": html, "text/plain": "a line that rises"}))


def test_widgets_and_timing_leave_no_trace():
    view = {books.WIDGET: {"model_id": "1"}, "text/plain": "Button()"}
    outputs = [
        new_output("display_data", data=dict(view)),
        new_output("display_data", data=view | {"text/html": "<p>options</p>"}),
    ]
    cell = new_code_cell("quiz()", outputs=outputs, metadata={"execution": {"a": "time"}})
    book = new_notebook(cells=[cell], metadata={"widgets": {"state": {}}})
    books.clean(book)
    assert "widgets" not in book.metadata
    assert "execution" not in book.cells[0].metadata
    [kept] = book.cells[0].outputs
    assert set(kept.data) == {"text/plain", "text/html"}


def test_a_kernel_that_dies_is_a_failure_with_its_cell(build):
    edit(build, "from course_utils.claims", "import os\nos._exit(3)\nfrom course_utils.claims")
    done = build()
    assert done.status == "failed"
    assert "DeadKernelError" in done.message
    assert "os._exit(3)" in done.message
