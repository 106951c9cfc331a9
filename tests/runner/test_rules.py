"""Each rule about stored notebooks accepts a good one and fails on what it forbids."""

import base64

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.runner import cost, rules

HELD = "[claim held] a: 1 (expected 1)\n"
NOT_HELD = "[claim did not hold here] b: 1 (expected 2)\n"


def picture(size=20, alt="a bar chart"):
    data = base64.b64encode(b"x" * size).decode()
    return {"text/html": f'<img alt="{alt}" src="data:image/png;base64,{data}">'}


def good():
    stream = new_output("stream", name="stdout", text=3 * HELD)
    figure = new_output("display_data", data=picture())
    code = [
        new_code_cell("SEED = 0", metadata={"tags": ["parameters"]}),
        new_code_cell("a = 1\nclaim()", outputs=[stream]),
        new_code_cell("show()", outputs=[figure]),
        new_code_cell("def f(): ...", metadata={"tags": ["exercise"]}),
    ]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
    title = f"# T\n\nYou will be able to see.\n\n{cost.BEGIN}x{cost.END}"
    return new_notebook(cells=[new_markdown_cell(title), *code])


def test_a_good_notebook_breaks_no_rule():
    assert rules.problems(good()) == []


def change(path, value):
    """A function that sets one attribute of a cell: ``change("1.source", "x")``."""
    index, name = path.split(".")

    def apply(book):
        setattr(book.cells[int(index)], name, value)

    return apply


def output(kind, **fields):
    return [new_output(kind, **fields)]


BROKEN = {
    "clean_run": change("2.execution_count", 7),
    "no_errors": change("2.outputs", output("error", ename="E", evalue="", traceback=[])),
    "title_and_objectives": change("0.source", f"# T {cost.BEGIN}{cost.END}"),
    "parameters_tag": change("1.metadata", {}),
    "exercise_tag": change("4.metadata", {}),
    "outputs_can_be_read": change("3.outputs", output("display_data", data=picture(alt=""))),
    "small_pictures": change("3.outputs", output("display_data", data=picture(60_001))),
    "small_notebook": change("0.source", f"# able to {cost.BEGIN}" + "x" * 1_000_001),
    "cost_card": change("0.source", "# T able to"),
    "no_machine_path": change("3.source", "open('/home/ada/x')"),
    "no_widget_state": change(
        "3.outputs",
        output("display_data", data={"application/vnd.jupyter.widget-view+json": {}}),
    ),
    "small_cells": change("4.source", "x = 1\n" * 26),
    "claims_held": change("2.outputs", output("stream", name="stdout", text=2 * HELD)),
}


def test_every_rule_has_its_broken_notebook():
    assert set(BROKEN) == {rule.__name__ for rule in rules.RULES}


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_a_rule_sees_what_it_forbids(rule):
    book = good()
    BROKEN[rule.__name__](book)
    assert rule(book)
    others = {found.split(":")[0] for found in rules.problems(book)} - {rule.__name__}
    assert others <= {"claims_held"} if rule is rules.no_errors else not others


@pytest.mark.parametrize(
    ("break_it", "rule"),
    [
        (change("2.outputs", output("stream", name="stderr", text="Warning")), rules.no_errors),
        (
            change("3.outputs", output("display_data", data={"image/png": "eA=="})),
            rules.outputs_can_be_read,
        ),
        (change("2.source", "x = 1\n" * 20), rules.small_cells),
        (
            change("2.outputs", output("stream", name="stdout", text=3 * HELD + NOT_HELD)),
            rules.claims_held,
        ),
    ],
)
def test_more_of_what_is_forbidden(break_it, rule):
    book = good()
    break_it(book)
    assert rule(book)


def test_a_picture_in_prose_needs_alternative_text():
    book = good()
    book.cells.append(new_markdown_cell("![](a.png)"))
    assert rules.outputs_can_be_read(book) == ["cell 5: has a picture without alternative text"]


def test_links_must_lead_somewhere(tmp_path):
    (tmp_path / "there.ipynb").touch()
    text = (
        "[a](there.ipynb) [b](there.ipynb#part) [c](https://example.org/x) [d](#here) "
        "`[e](code.ipynb)` [f](gone.ipynb \"title\") <img alt='x' src='gone.png'>"
    )
    assert rules.dead_links(text, tmp_path) == ["gone.ipynb", "gone.png"]
    assert rules.dead_links("$[u](s)$ and `[a](b)`, $$[u]\n(s) [v](t)$$", tmp_path) == []
    book = new_notebook(cells=[new_markdown_cell(text)])
    assert rules.notebook_links(book, tmp_path) == ["cell 0: gone.ipynb", "cell 0: gone.png"]


def test_the_statistics_fit_in_a_line():
    line = rules.statistics_line(good())
    assert line.startswith("2 code cells of 1.5 lines (median)")
    assert "3 claims, 1 pictures" in line
