"""In a real browser: everything runs, an exercise answers, every picture can be read aloud."""

import json
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils import config
from course_utils.exercises import notebook_cells
from course_utils.runner.layout import START, Layout

pytestmark = pytest.mark.browser

RUN_MS = 300_000
WRONG = 'def most_common_word(text):\n    return text\n\n\ncheck("0.0.1", most_common_word)'
RIGHT = """\
def most_common_word(text):
    words = text.lower().split()
    return min(words, key=lambda word: (-words.count(word), word))


check("0.0.1", most_common_word)"""
PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent)"
NONE_NUMBERED = rf"() => {PROMPTS}.every(text => !/\d/.test(text))"
# JupyterLab gives an error's traceback the same type as text on stderr
ERRORS = """[...document.querySelectorAll("[data-mime-type$='jupyter.stderr']")]
    .map(e => e.textContent).filter(text => text.includes('Traceback'))"""
# ends at the first error, too: the cells after it would never get a number
ALL_NUMBERED = rf"""() => {ERRORS}.length
    || ({PROMPTS}.length && {PROMPTS}.every(text => /\[\d+\]/.test(text)))"""
ALTS = "all => all.map(image => (image.getAttribute('alt') || '').trim())"


def open_notebook(page, lab, name):
    page.goto(f"{lab['url']}/lab/tree/{name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_selector(".jp-Toolbar-kernelName >> text=Python 3", timeout=60_000)
    # run before the kernel answers, cells would wait for ever
    page.get_by_text("| Idle").first.wait_for(timeout=60_000)


def choose(page, menu, command):
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.locator(f'[data-command="{command}"]').click()


def run_all(page):
    """Restart the kernel and run every cell; the numbers of an earlier run are removed first."""
    choose(page, "Edit", "editmenu:clear-all")
    page.wait_for_function(NONE_NUMBERED)
    choose(page, "Run", "runmenu:restart-and-run-all")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.wait_for_function(ALL_NUMBERED, timeout=RUN_MS)
    assert page.evaluate(ERRORS) == []


def alts(page):
    """The alternative texts of all pictures in outputs."""
    return page.locator(".jp-OutputArea-output img").evaluate_all(ALTS)


def answer(page, cell, code):
    """Replace a cell's code as a learner does, and run it."""
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(code)
    page.keyboard.press("Shift+Enter")


def work_through(page, lab):
    """Run everything, then answer exercise 0.0.1 wrongly and rightly."""
    run_all(page)
    cell = page.locator(".jp-CodeCell", has_text='check("0.0.1"').first
    card = cell.locator(".jp-OutputArea")
    card.get_by_text("Not attempted").first.wait_for(timeout=10_000)
    answer(page, cell, WRONG)
    card.get_by_text("Not yet").first.wait_for(timeout=20_000)
    answer(page, cell, RIGHT)
    card.get_by_text("Passed").first.wait_for(timeout=20_000)
    assert card.get_by_text("Not attempted").count() == 0
    progress = json.loads((lab["home"] / "progress.json").read_text())
    assert progress["exercises"]["0.0.1"]["status"] == "passed"


@pytest.fixture
def real_progress_untouched():
    """Fails if the progress of the person who runs the tests has changed."""
    path = config.course_home() / "progress.json"
    before = path.read_bytes() if path.exists() else None
    yield
    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.usefixtures("real_progress_untouched")
def test_an_exercise_answers_in_a_made_notebook(page, lab):
    setup = "from course_utils import plotting\nfrom course_utils.exercises import check, quiz"
    figure = (
        "fig, ax = plotting.subplots()\nax.plot([1, 3])\n"
        'plotting.show(fig, alt="a line that rises from 1 to 3")'
    )
    exercise = [
        new_markdown_cell(source) if kind == "markdown" else new_code_cell(source)
        for kind, source in notebook_cells("0.0.1")
    ]
    cells = [new_code_cell(setup), new_code_cell(figure), *exercise]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    nbformat.write(
        new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab["shown"] / "made.ipynb"
    )
    open_notebook(page, lab, "made.ipynb")
    work_through(page, lab)
    assert alts(page) == ["a line that rises from 1 to 3"]


@pytest.mark.usefixtures("real_progress_untouched")
def test_start_here_can_be_worked_through(page, lab):
    lesson = Layout.here().lesson(START)
    if not lesson.notebook.exists():
        pytest.skip(f"{START} is not built: python -m course_utils build {START}")
    text = lesson.notebook.read_text(encoding="utf-8")
    small = text.replace(r"PROFILE = \"laptop\"", r"PROFILE = \"smoke\"", 1)
    assert small != text
    (lab["shown"] / f"{START}.ipynb").write_text(small, encoding="utf-8")
    pictures = lesson.notebook.parent / "images"
    if pictures.exists():
        shutil.copytree(pictures, lab["shown"] / "images")
    open_notebook(page, lab, f"{START}.ipynb")
    stored = alts(page)
    assert stored, "the stored outputs, not yet trusted, show no picture"
    assert all(stored)
    work_through(page, lab)
    live = alts(page)
    assert len(live) >= len(stored)
    assert all(live)
