"""Every exercise of the course: each answer that it names gets the verdict it deserves."""

from __future__ import annotations

import time

import pytest

from course_utils.exercises import catalogue, notebook_cells
from course_utils.exercises.checking import examine
from course_utils.exercises.engine import Exercise, Wrong
from course_utils.exercises.questions import load_quiz, quiz_ids
from course_utils.exercises.sources import solution_source


def _load() -> tuple[dict[str, Exercise], dict[str, str]]:
    """The registry, and why a lesson could not be read, so that one bad module hides no other."""
    exercises, broken = {}, {}
    for lesson in catalogue.lessons():
        try:
            exercises |= {exercise.id: exercise for exercise in catalogue.of_lesson(lesson)}
        except Exception as error:
            broken[lesson] = f"{type(error).__name__}: {error}"
    return exercises, broken


REGISTRY, BROKEN = _load()
EXERCISES = list(REGISTRY.values())
PASS_SEEDS, WRONG_SEEDS = range(5), range(100, 103)
MAX_SECONDS = 2.0  # a check that is slower than this interrupts the learner's thought


def _label(value) -> str:
    return value.id if isinstance(value, Exercise) else getattr(value, "__name__", "value")


ALTERNATIVES = [(e, answer) for e in EXERCISES for answer in e.alternatives]
WRONG = [(e, wrong) for e in EXERCISES for wrong in e.wrong]
WRONG_LABELS = [f"{e.id}-{_label(wrong.answer)}-{i}" for i, (e, wrong) in enumerate(WRONG)]


def _must_pass(exercise: Exercise, answer) -> None:
    for seed in PASS_SEEDS:
        result = examine(exercise, answer, seed)
        assert result.status == "passed", f"seed {seed}: {result.message} {result.details}"
        assert result.message, "t.passed() must say what was checked"


@pytest.mark.parametrize("exercise", EXERCISES, ids=_label)
def test_reference_passes(exercise, record_property):
    record_property("reference", True)
    examine(exercise, exercise.reference, 0)  # the first run may import torch
    start = time.perf_counter()
    _must_pass(exercise, exercise.reference)
    assert (time.perf_counter() - start) / len(PASS_SEEDS) < MAX_SECONDS


@pytest.mark.parametrize(("exercise", "answer"), ALTERNATIVES, ids=_label)
def test_alternative_passes(exercise, answer, record_property):
    record_property("alternative", True)
    _must_pass(exercise, answer)


@pytest.mark.parametrize("exercise", EXERCISES, ids=_label)
def test_untouched_stub_is_not_attempted(exercise, record_property):
    record_property("stub", True)
    scope = _notebook_scope(exercise)
    exec(compile(exercise.stub, f"<stub {exercise.id}>", "exec"), scope)
    assert exercise.name in scope, f"the stub must define {exercise.name}"
    result = examine(exercise, scope[exercise.name])
    assert result.status == "not attempted", result.message


@pytest.mark.parametrize(("exercise", "wrong"), WRONG, ids=WRONG_LABELS)
def test_wrong_answer_gets_its_sentence(exercise: Exercise, wrong: Wrong, record_property):
    record_property("wrong", True)
    for seed in WRONG_SEEDS:
        result = examine(exercise, wrong.answer, seed)
        assert result.status == "failed", f"seed {seed}: {result.status} {result.message}"
        assert wrong.says in result.message, f"seed {seed}: got {result.message!r}"


@pytest.mark.parametrize("exercise", EXERCISES, ids=_label)
def test_shown_solution_runs_by_itself_and_passes(exercise):
    scope: dict = {"__name__": "__main__"}
    exec(compile(solution_source(exercise), f"<solution {exercise.id}>", "exec"), scope)
    result = examine(exercise, scope[exercise.name], 0)
    assert result.status == "passed", result.message


@pytest.mark.parametrize("exercise", EXERCISES, ids=_label)
def test_exercise_is_complete(exercise):
    assert len(exercise.wrong) >= 3
    assert len({wrong.says for wrong in exercise.wrong}) >= 2, "mistakes deserve own sentences"
    assert all(len(wrong.says.split()) >= 2 or "Error" in wrong.says for wrong in exercise.wrong)
    assert exercise.alternatives
    assert len(exercise.hints) == 3
    assert all(len(hint.split()) >= 5 for hint in exercise.hints)
    assert isinstance(exercise.minutes, int)
    assert 1 <= exercise.minutes <= 60
    assert exercise.title.strip() == exercise.title
    assert len(exercise.statement.split()) >= 15


@pytest.mark.parametrize("exercise", EXERCISES, ids=_label)
def test_stub_has_types_and_an_example(exercise):
    if not exercise.about_a_value:
        assert "->" in exercise.stub or "class " in exercise.stub
        assert '"""' in exercise.stub
        assert "NotImplementedError" in exercise.stub
    cells = notebook_cells(exercise.id)
    assert [kind for kind, _ in cells] == ["markdown", "code"]
    assert cells[1][1].endswith(f'\n\ncheck("{exercise.id}", {exercise.name})')


def test_every_module_loads():
    assert not BROKEN
    assert catalogue.registry() == REGISTRY


def test_ids_follow_their_modules_and_count_from_one():
    for lesson in catalogue.lessons():
        ids = [exercise.id for exercise in catalogue.of_lesson(lesson)]
        assert ids == [f"{lesson}.{i}" for i in range(1, len(ids) + 1)]


def test_only_lessons_with_a_notebook_are_offered(tmp_path, monkeypatch):
    for name in ("00_start_here", "01_foundations/02_text_preprocessing"):
        path = tmp_path / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.setattr(catalogue, "NOTEBOOKS", tmp_path)
    assert catalogue.offered() == ["0.0", "1.2"]
    monkeypatch.setattr(catalogue, "NOTEBOOKS", tmp_path / "absent")
    assert catalogue.offered() == list(catalogue.lessons())


def test_every_lesson_has_two_to_five_exercises_and_a_quiz():
    assert all(2 <= len(catalogue.of_lesson(lesson)) <= 5 for lesson in catalogue.lessons())
    for lesson in catalogue.offered():
        assert lesson in quiz_ids(), f"quiz of {lesson} is missing"


@pytest.mark.parametrize("quiz_id", quiz_ids())
def test_quiz_is_well_formed(quiz_id):
    for question in load_quiz(quiz_id):
        assert sum(option.right for option in question.options) == 1
        for option in question.options:
            assert len(option.why.split()) >= 6, f"{option.text}: {option.why} explains nothing"


def test_titles_read_without_import_are_those_of_the_registry():
    assert catalogue.titles() == {id: exercise.title for id, exercise in REGISTRY.items()}


def _notebook_scope(exercise: Exercise) -> dict:
    """What a lesson has imported before its exercises: names that signatures may use."""
    import importlib

    module = importlib.import_module(
        f"course_utils.exercises.{catalogue.lessons()[exercise.lesson]}"
    )
    names = {k: v for k, v in vars(module).items() if k != exercise.name}
    return names | {"__name__": "__main__"}
