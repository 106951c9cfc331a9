"""Cards: the same words as HTML and as text; nothing that a sanitizer takes away matters."""

from __future__ import annotations

import re

import pytest

from course_utils.exercises import notebook_cells
from course_utils.exercises.cards import Card, escape, inline, show_bundle
from course_utils.exercises.checking import Result, examine, result_card
from course_utils.exercises.engine import Exercise
from course_utils.exercises.sources import solution_source

EVIL = "<script>alert('1')</script>&\"<b>"


def card() -> Card:
    body = Card("failed", "Not yet", EVIL).text(f"a `{EVIL}` b {EVIL}").table({"call": EVIL})
    body.fold(EVIL, EVIL).fold_prose(EVIL, EVIL).small(EVIL).prose(f"```\n{EVIL}\n```").code(EVIL)
    return body


def test_learner_strings_are_escaped_everywhere():
    html = card().html()
    assert "<script" not in html
    assert "<b>" not in html
    assert html.count(escape(EVIL)) == 11  # once for each place


def test_text_and_html_say_the_same():
    plain = re.sub(r"\s+", "", card().plain())
    visible = re.sub(r"<[^>]+>", "", card().html())
    for word in ("Not yet", EVIL):
        assert word.replace(" ", "") in plain
        assert escape(word) in visible


@pytest.mark.parametrize("status", ["passed", "failed", "not attempted", "error"])
def test_every_verdict_is_said_in_words(status):
    result = Result(status, "Because.", 3, exercise_id="1.2.3", title="Title")
    words = {"passed": "Passed", "failed": "Not yet", "not attempted": "Not attempted"}
    html, plain = result_card(result).html(), result_card(result).plain()
    assert words.get(status, "Error") in re.sub(r"<[^>]+>", "", html)
    assert plain.startswith(f"[{words.get(status, 'Error')}")
    assert "Because." in plain


def test_only_a_failure_shows_seed_and_hint():
    for status, shown in (("failed", True), ("passed", False), ("not attempted", False)):
        plain = result_card(Result(status, "x", 41, exercise_id="1.2.3")).plain()
        assert ("seed=41" in plain) is shown
        assert ('hint("1.2.3")' in plain) is shown


def test_styles_are_literal_and_colours_come_in_pairs():
    html = card().html()
    assert not re.search(r"<(style|script)|var\(|class=", html)
    for style in re.findall(r'style="([^"]*)"', html):
        names = {rule.partition(":")[0] for rule in style.split(";")}
        assert ("color" in names) == ("background" in names), style
        literal = [r for r in style.split(";") if r.startswith(("color:", "background:"))]
        assert not literal or literal[0].endswith(tuple("0123456789abcdef")), style


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2, section "relative luminance")."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(
    "look", ["passed", "failed", "not attempted", "error", "hint", "solution", "progress", "quiz"]
)
def test_contrast_is_at_least_four_and_a_half_in_both_themes(look):
    html = Card(look, "Word", "t").text("x `y`").small("z").fold("a", "b").html()
    checked = 0
    for style in re.findall(r'style="([^"]*)"', html):
        rules = dict(rule.split(":", 1) for rule in style.split(";"))  # the last one: light-dark
        if "color" not in rules:
            continue
        pairs = [re.findall(r"#\w{6}", rules[name]) for name in ("color", "background")]
        for ink, paper in zip(*pairs, strict=True):
            bright, dark = sorted((_luminance(ink), _luminance(paper)), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)
            checked += 1
    assert checked == 10  # verdict, small, code, fold: each in both themes


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a *b* c", "a <em>b</em> c"),
        ("**b** 2*3*4", "<strong>b</strong> 2*3*4"),
        ("x * y * z", "x * y * z"),
        ("`unclosed", "`unclosed"),
        ("5 < 7", "5 &lt; 7"),
        ("$a^*b^*$ *c*", "$a^*b^*$ <em>c</em>"),
    ],
)
def test_inline_marks(text, html):
    assert inline(text) == html


def test_stars_inside_code_stay():
    assert "2*x*y</code>" in inline("`2*x*y`")


def test_lists_in_hints_keep_their_lines():
    html = Card("hint", "Hint").prose("First\nwrapped.\n1. one\n2. two\n\n    code = 3").html()
    texts = re.findall(r"<(?:div|pre)[^>]*>([^<]+)</", html)
    assert texts == ["First wrapped.", "1. one", "2. two", "code = 3"]


def test_a_narrow_console_gets_replacement_characters(monkeypatch):
    import io
    import sys

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    show_bundle({"text/plain": "a … 漢"})
    sys.stdout.flush()
    assert raw.getvalue().decode("cp1252").split() == ["a", "…", "?"]


# -- what stands in the notebook ---------------------------------------------------------------


def test_notebook_cells():
    (kind, statement), (code_kind, code) = notebook_cells("0.0.2")
    assert (kind, code_kind) == ("markdown", "code")
    assert statement.startswith("### Exercise 0.0.2 · Cosine similarity by hand\n\n*medium, about")
    assert 'hint("0.0.2")' in statement
    assert code.startswith("def cosine(")
    assert code.endswith('raise NotImplementedError\n\n\ncheck("0.0.2", cosine)')
    with pytest.raises(KeyError):
        notebook_cells("0.0.99")


SCALE = 2


def _helper(x):
    return SCALE * x


def _reference(xs):
    """Uses a helper, a constant and itself."""
    return [_helper(x) for x in xs] if len(xs) < 2 else _reference(xs[:1]) + _reference(xs[1:])


def _exercise(**options) -> Exercise:
    defaults = dict.fromkeys(("title", "statement", "stub"), "x")
    defaults |= {"id": "1.1.1", "difficulty": "easy", "minutes": 1, "name": "double"}
    return Exercise(check=lambda a, t: None, hints=("a", "b", "c"), **(defaults | options))


def test_the_solution_brings_what_it_needs_in_order():
    source = solution_source(_exercise(reference=_reference))
    assert source.index("SCALE = 2") < source.index("def _helper") < source.index("def double")
    assert "_reference" not in source
    scope: dict = {}
    exec(source, scope)
    assert scope["double"]([3, 5, 7]) == [6, 10, 14]


def test_the_solution_of_a_value_and_a_given_solution():
    assert solution_source(_exercise(reference=0.25)) == "double = 0.25"
    assert solution_source(_exercise(reference=len, solution="double = len\n")) == "double = len"


def test_a_check_that_says_nothing_still_has_a_sentence():
    result = examine(_exercise(reference=len), len)
    assert "All cases agree." in result_card(result).plain()
