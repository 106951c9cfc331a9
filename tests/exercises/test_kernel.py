"""In a real kernel: one card for each check, and the quiz as widget and HTML in one bundle."""

from __future__ import annotations

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

IMPORT = "from course_utils.exercises import check, quiz"
QUIZ = "quiz('0.0')"
CELLS = [
    IMPORT,
    "def f(text):\n    print('hello')\n    return text\n\ncheck('0.0.1', f)",
    "def f(text):\n    raise NotImplementedError\n\nr = check('0.0.1', f)",
    "r",
    "def g(text):\n    words = text.split()\n    return words[len(words)]\n\n"
    "check('0.0.1', g).status",
    "def h(text):\n    while True:\n        try:\n            pass\n        except:\n"
    "            pass\n\n"
    "import course_utils.exercises.catalogue as c, dataclasses\n"
    "e = dataclasses.replace(c.find('0.0.1'), limit=0.3)\n"
    "from course_utils.exercises.checking import examine\n"
    "print(examine(e, h).message)",
    QUIZ,
]


def run(monkeypatch, folder, cells, **environment) -> list:
    for name, value in (
        {"IPYTHONDIR": str(folder), "COURSE_HOME": str(folder)} | environment
    ).items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    return [cell.outputs for cell in notebook.cells]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COURSE_STRICT", raising=False)
        patch.delenv("COURSE_NO_PROGRESS", raising=False)
        return run(patch, tmp_path_factory.mktemp("kernel"), CELLS)


def test_a_check_leaves_exactly_one_card(outputs):
    for position, verdict in ((1, "Not yet"), (2, "Not attempted yet"), (3, "Not attempted yet")):
        (card,) = outputs[position]
        assert card.output_type == "display_data"
        assert set(card.data) == {"text/html", "text/plain"}
        assert verdict in card.data["text/html"]
        assert card.data["text/plain"].startswith(f"[{verdict}]")


def test_prints_stay_inside_the_card(outputs):
    assert "hello" in outputs[1][0].data["text/plain"]
    assert [output.output_type for output in outputs[1]] == ["display_data"]


def test_the_line_of_the_cell_is_shown(outputs):
    text = " ".join(outputs[4][0].data["text/plain"].split())
    assert "at line 3: `return words[len(words)]`" in text
    assert outputs[4][1].data["text/plain"] == "'failed'"


def test_an_endless_loop_in_a_cell_is_cut_off(outputs):
    (stream,) = outputs[5]
    assert "stopped after 0.3 seconds. It was at line" in stream.text


def test_a_live_quiz_is_one_bundle_of_widget_html_and_text(outputs):
    (bundle,) = outputs[6]
    assert set(bundle.data) == {
        "application/vnd.jupyter.widget-view+json",
        "text/html",
        "text/plain",
    }
    assert bundle.data["text/html"].count("<details") >= 15


def test_a_build_stores_no_widget_and_no_progress(monkeypatch, tmp_path):
    cells = [IMPORT, "check('0.0.1', len)", QUIZ]
    outputs = run(monkeypatch, tmp_path, cells, COURSE_NO_PROGRESS="1")
    (bundle,) = outputs[2]
    assert set(bundle.data) == {"text/html", "text/plain"}
    assert not (tmp_path / "progress.json").exists()
