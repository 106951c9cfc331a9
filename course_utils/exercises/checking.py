"""``check``, ``hint`` and ``solution``: what a learner calls. None of them ever raises."""

from __future__ import annotations

import difflib
import secrets
import sys
from dataclasses import dataclass, field
from typing import Any

from course_utils.exercises import catalogue, errors, store
from course_utils.exercises.cards import Card, show
from course_utils.exercises.describe import kind, quoted, short
from course_utils.exercises.engine import (
    HINT_NAMES,
    Exercise,
    Failed,
    NotAttempted,
    Trial,
)
from course_utils.exercises.limits import (
    Alarm,
    Printed,
    TimeUp,
    captured_prints,
    own_line,
    run_limited,
    seeded,
)
from course_utils.exercises.sources import solution_source

PASSED, FAILED, NOT_ATTEMPTED, ERROR = "passed", "failed", "not attempted", "error"
WORDS = {PASSED: "Passed", FAILED: "Not yet", NOT_ATTEMPTED: "Not attempted yet", ERROR: "Error"}
SEEDS = 10_000  # short enough to be read aloud and typed


@dataclass(repr=False)
class Result:
    """The verdict on one answer.

    ``status`` is "passed", "failed", "not attempted" or "error"; ``message`` the sentences the
    learner read; ``seed`` reproduces the inputs; ``details`` holds call, expected, received,
    printed, and notes, as text.
    """

    status: str
    message: str
    seed: int | None = None
    details: dict[str, str] = field(default_factory=dict)
    exercise_id: str = ""
    title: str = ""

    def __repr__(self) -> str:
        return f"<{self.exercise_id or 'check'}: {self.status}>"

    def _ipython_display_(self) -> None:
        """Nothing in the cell of the check, where the card already stands; later, the card."""
        if self._cell != _cell():
            show(result_card(self))

    def __post_init__(self) -> None:
        self._cell: int | None = _cell()


def check(exercise_id: str, answer: Any, *, seed: int | None = None) -> Result:
    """Check an answer, show the verdict and remember it.

    Args:
        exercise_id: such as ``"1.2.1"``.
        answer: the function (or value) that the exercise asks for.
        seed: draws the same inputs again; a failure shows the seed it was found with.
    """
    exercise = _find(exercise_id)
    if isinstance(exercise, str):
        result = Result(ERROR, exercise, exercise_id=str(exercise_id))
    else:
        result = examine(exercise, answer, seed)
        note = store.remember_check(exercise.id, result.status)
        if note:
            result.details["note"] = note
    show(result_card(result))
    return result


def examine(exercise: Exercise, answer: Any, seed: int | None = None) -> Result:
    """The verdict alone: nothing is shown or remembered, nothing is raised."""
    try:
        seed = secrets.randbelow(SEEDS) if seed is None else int(seed)
        early = _before_running(exercise, answer)
        result = early or _judge(exercise, answer, seed)
    except Exception as error:
        result = Result(ERROR, f"The check itself failed ({type(error).__name__}: {error}).")
    result.exercise_id, result.title = exercise.id, exercise.title
    return result


def _before_running(exercise: Exercise, answer: Any) -> Result | None:
    if answer is None or answer is Ellipsis:
        return Result(NOT_ATTEMPTED, _how_to_start(exercise))
    if not exercise.about_a_value and not callable(answer):
        return Result(
            FAILED,
            f"The check needs `{exercise.name}` itself, without brackets after the name: "
            f'`check("{exercise.id}", {exercise.name})`. It received {kind(answer)}.',
        )
    return None


def _how_to_start(exercise: Exercise) -> str:
    if exercise.about_a_value:
        return f"Give `{exercise.name}` a value in the cell above, then run it again."
    return (
        f"Replace `raise NotImplementedError` in `{exercise.name}` by your own code, "
        "then run the cell again."
    )


def _judge(exercise: Exercise, answer: Any, seed: int) -> Result:
    trial = Trial(exercise, answer, seed)
    alarm = Alarm(exercise.limit)
    with captured_prints() as printed:
        result = _verdict(trial, alarm)
    _add_details(result, printed, alarm)
    return result


def _verdict(trial: Trial, alarm: Alarm) -> Result:
    exercise, answer, seed = trial.exercise, trial.answer, trial.seed
    try:
        with seeded(seed):
            run_limited(lambda: exercise.check(answer, trial), alarm)
    except NotAttempted:
        return Result(NOT_ATTEMPTED, _how_to_start(exercise))
    except Failed as failure:
        return Result(FAILED, failure.message, seed, failure.details)
    except TimeUp as error:
        return Result(FAILED, _too_slow(alarm, error, answer), seed, trial.last_call())
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _stumbled(trial, error)
    return Result(PASSED, " ".join(map(_sentence, trial.successes)), seed)


def _too_slow(alarm: Alarm, error: TimeUp, answer: Any) -> str:
    line = own_line(error.__traceback__, answer)
    where = f" It was at {errors.line_text(line)}." if line else ""
    return (
        f"Your code was stopped after {alarm.seconds:g} seconds.{where} "
        "Does a loop never end, or does the work grow too fast with the input?"
    )


def _stumbled(trial: Trial, error: BaseException) -> Result:
    """An error outside ``t.call``: a lazy answer, an answer of a strange type, or our fault."""
    if own_line(error.__traceback__, trial.answer, helpers=False) is not None:
        if errors.is_stub(error, trial.answer):
            return Result(NOT_ATTEMPTED, _how_to_start(trial.exercise))
        message = errors.sentence(error, trial.answer)
        return Result(FAILED, message, trial.seed, trial.last_call())
    replay = _replay(trial)
    what = quoted(f"{type(error).__name__}: {error}")
    if replay is None:
        message = f"The check itself failed ({what}). This is a fault of the course, not yours."
        return Result(ERROR, message, trial.seed)
    message = f"The check cannot work with what it received ({what})."
    position = len(trial.results) - 1
    if 0 <= position < len(replay.results):
        good, got = replay.results[position], trial.results[position]
        message = f"Expected {kind(good)}, received {kind(got)}. {message}"
    return Result(FAILED, message, trial.seed, trial.last_call())


def _replay(trial: Trial) -> Trial | None:
    """The same check with the reference; None if it stumbles too."""
    again = Trial(trial.exercise, trial.exercise.reference, trial.seed)
    try:
        with seeded(trial.seed):
            run_limited(
                lambda: trial.exercise.check(again.answer, again), Alarm(trial.exercise.limit)
            )
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None
    return again


def _add_details(result: Result, printed: Printed, alarm: Alarm) -> None:
    if printed.total and result.status != NOT_ATTEMPTED:
        result.details["printed"] = str(printed)
    if alarm.how == "none" and result.status != NOT_ATTEMPTED:
        result.details["note"] = "This platform offers no way to stop an endless loop."


def _sentence(text: str) -> str:
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?:" else text + "."


def _cell() -> int | None:
    """The number of the running notebook cell; None outside IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return None if shell is None else shell.execution_count


def _find(exercise_id: Any) -> Exercise | str:
    """The exercise, or the sentence that says why there is none."""
    try:
        return catalogue.find(exercise_id)
    except KeyError:
        known = catalogue.known_ids()
        near = difflib.get_close_matches(str(exercise_id), known, n=3, cutoff=0.5)
        hint_text = f" Did you mean {' or '.join(near)}?" if near else ""
        return f"There is no exercise {exercise_id!r}.{hint_text}"
    except Exception as error:
        return (
            f"Exercise {exercise_id!r} could not be loaded ({type(error).__name__}: {error}). "
            "This is a fault of the course, not yours."
        )


def result_card(result: Result) -> Card:
    """The card of a verdict."""
    card = Card(result.status, WORDS[result.status], f"{result.exercise_id} {result.title}".strip())
    card.text(result.message or "All cases agree.")
    if result.status == FAILED:
        keys = ("call", "expected", "received")
        card.table({key: result.details[key] for key in keys if key in result.details})
    if "printed" in result.details:
        card.fold("What your code printed", result.details["printed"])
    card.small(result.details.get("note", ""))
    if result.status == FAILED:
        card.small(_again(result))
    return card


def _again(result: Result) -> str:
    text = f'Stuck? `hint("{result.exercise_id}")`.'
    if result.seed is None:
        return text
    return f'The same inputs again: `check("{result.exercise_id}", …, seed={result.seed})`. {text}'


def hint(exercise_id: str) -> None:
    """Show the next hint: a nudge, then a test case, then an outline."""
    exercise = _find(exercise_id)
    if isinstance(exercise, str):
        return show(Card(ERROR, WORDS[ERROR], str(exercise_id)).text(exercise))
    used, note = store.remember_hint(exercise.id, len(HINT_NAMES))
    card = Card("hint", f"Hint {used} of {len(HINT_NAMES)}", f"{exercise.id} {exercise.title}")
    card.prose(exercise.hints[used - 1])
    for earlier in range(used - 1):
        card.fold_prose(f"Hint {earlier + 1} ({HINT_NAMES[earlier]})", exercise.hints[earlier])
    if used < len(HINT_NAMES):
        card.small(f'Call `hint("{exercise.id}")` again for the next one: {HINT_NAMES[used]}.')
    else:
        card.small(f'That was the last hint. `solution("{exercise.id}")` shows the reference.')
    return show(card.small(note))


def solution(exercise_id: str) -> None:
    """Show a reference solution, and remember that it was seen."""
    exercise = _find(exercise_id)
    if isinstance(exercise, str):
        return show(Card(ERROR, WORDS[ERROR], str(exercise_id)).text(exercise))
    passed_before, note = store.remember_solution(exercise.id)
    card = Card("solution", "Solution", f"{exercise.id} {exercise.title}")
    try:
        source = solution_source(exercise)
    except (OSError, TypeError) as error:
        source = f"# the source cannot be read here: {short(str(error))}"
    card.code(source)
    others = len(exercise.alternatives)
    if others:
        card.small(f"One way of several: the course's tests accept {others + 1} different ones.")
    if not passed_before:
        card.small(
            "Your progress now says that you have seen it. Close it, write your own from memory, "
            f'and run `check("{exercise.id}", {exercise.name})`.'
        )
    return show(card.small(note))
