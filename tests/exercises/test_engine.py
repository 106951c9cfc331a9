"""The verdicts: what a learner is told for every kind of answer."""

from __future__ import annotations

import functools
import math
import sys
import threading
import time

import numpy as np
import pytest
import torch

from course_utils.exercises import checking
from course_utils.exercises.checking import Result, check, examine
from course_utils.exercises.engine import Exercise, Failed, Trial, Wrong


def make(check_function, **options) -> Exercise:
    """An exercise with this check; everything else is filled in."""
    defaults = {
        "id": "9.9.1",
        "title": "Double",
        "difficulty": "easy",
        "minutes": 3,
        "statement": "Double every number of a list.",
        "stub": "def double(xs):\n    raise NotImplementedError",
        "name": "double",
        "reference": lambda xs: [2 * x for x in xs],
        "hints": ("a nudge", "a case", "an outline"),
    }
    return Exercise(check=check_function, **(defaults | options))


def check_double(answer, t: Trial) -> None:
    xs = [t.rng.randint(1, 9) for _ in range(5)]
    t.equal(
        t.call(answer, xs),
        [2 * x for x in xs],
        says="Every number must be doubled.",
        mistakes=[([x + 2 for x in xs], "You add 2."), (sum(xs), "You sum.")],
    )
    t.passed("lists are doubled")


DOUBLE = make(check_double)


def verdict(answer, exercise: Exercise = DOUBLE, seed: int = 7) -> Result:
    return examine(exercise, answer, seed)


# -- right answers in any container ------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        lambda xs: [2 * x for x in xs],
        lambda xs: tuple(2 * x for x in xs),
        lambda xs: (2 * x for x in xs),
        lambda xs: map((2).__mul__, xs),
        lambda xs: 2 * np.array(xs),
        lambda xs: 2.0 * np.array(xs),
        lambda xs: [np.int64(2 * x) for x in xs],
        lambda xs: torch.tensor(xs) * 2,
        lambda xs: torch.tensor(xs, dtype=torch.float32, requires_grad=True) * 2,
        lambda xs: [torch.tensor(2 * x) for x in xs],
    ],
)
def test_right_answers_pass_in_any_container(answer):
    result = verdict(answer)
    assert (result.status, result.message) == ("passed", "Lists are doubled.")


def test_a_class_can_be_the_answer():
    def check_layer(answer, t):
        layer = t.call(answer, 3)
        t.equal(t.call(layer, 4), 7)
        t.equal(t.call(layer.shift, 4), 7)
        t.passed("both calls add")

    class Layer:
        def __init__(self, n):
            self.n = n

        def __call__(self, x):
            return x + self.n

        def shift(self, x):
            return x + self.n

    class Stub(Layer):
        def shift(self, x):
            raise NotImplementedError

    exercise = make(check_layer, reference=Layer)
    assert verdict(Layer, exercise).status == "passed"
    assert verdict(Stub, exercise).status == "not attempted"


# -- not attempted -----------------------------------------------------------------------------


def stub(xs):
    raise NotImplementedError


def stub_with_text(xs):
    raise NotImplementedError("your code here")


def stub_in_helper(xs):
    return [stub(x) for x in xs]


def lazy_stub(xs):
    yield 2
    raise NotImplementedError


@pytest.mark.parametrize("answer", [stub, stub_with_text, stub_in_helper, lazy_stub, None, ...])
def test_untouched_stubs_are_not_attempted(answer):
    result = verdict(answer)
    assert result.status == "not attempted"
    assert "Replace `raise NotImplementedError` in `double`" in result.message


def test_a_value_left_at_none_is_not_attempted_and_a_value_is_judged():
    def check_value(answer, t):
        t.close(answer, 0.25, tolerance=1e-3, says="One in four.")
        t.passed("right")

    exercise = make(check_value, reference=0.25)
    assert verdict(None, exercise).status == "not attempted"
    assert "Give `double` a value" in verdict(..., exercise).message
    assert verdict(0.2501, exercise).status == "passed"
    assert verdict("x", exercise).message == "One in four. Expected a number, received a string."


def test_not_implemented_raised_by_a_library_is_an_error_of_the_learner():
    def unsupported(xs):
        return torch.nn.Module()(xs)

    result = verdict(unsupported)
    assert result.status == "failed"
    assert "NotImplementedError" in result.message
    assert "line " in result.message


# -- wrong answers -----------------------------------------------------------------------------


def test_a_mistake_gets_its_own_sentence_and_the_case_is_shown():
    result = verdict(lambda xs: [x + 2 for x in xs], seed=7)
    assert result.status == "failed"
    assert result.message.startswith("You add 2. ")
    assert "Every number" not in result.message
    assert result.details["call"].startswith("double([")
    assert set(result.details) == {"call", "expected", "received"}
    assert result.seed == 7


def test_another_wrong_answer_gets_the_general_sentence_and_the_place():
    result = verdict(lambda xs: [*(2 * x for x in xs[:-1]), 99])
    assert result.message.startswith("Every number must be doubled. Expected ")
    assert "at `[4]`, received `99`." in result.message


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda xs: None, "returned None: is a `return` missing?"),
        (lambda xs: "text", "Expected a list of 5 items, received a string."),
        (lambda xs: [2 * x for x in xs][:3], "Expected 5 items, received 3 items."),
        (lambda xs: {x: 2 * x for x in xs}, "received a dict"),
        (lambda xs: 3, "received a whole number"),
        (lambda xs: print, "received a function (print)"),
    ],
)
def test_wrong_types_are_named(answer, part):
    result = verdict(answer)
    assert result.status == "failed"
    assert part in result.message


def test_the_result_of_a_call_instead_of_the_function():
    result = verdict([2, 4])
    assert result.status == "failed"
    assert 'check("9.9.1", double)' in result.message
    assert "a list of 2 items" in result.message


def test_close_has_sentences_for_shape_nan_and_distance():
    def check_close(answer, t):
        t.close(t.call(answer, 0), np.array([[1.0, 2.0], [3.0, 5.0]]), says="Sum it.")

    exercise = make(check_close)
    near = torch.tensor([[1.0, 2.0], [3.0, 5.00001]])
    assert verdict(lambda x: near, exercise).status == "passed"
    assert verdict(lambda x: ((1, 2), (3, 5)), exercise).status == "passed"
    cases = {
        "Sum it. Expected shape (2, 2), received shape (2,).": [1, 2],
        "1 of 4 numbers differ, first at `[1][0]`: expected 3, received 3.5.": [[1, 2], [3.5, 5]],
        "The result is NaN (not a number) at `[0][1]`": [[1, math.nan], [3, 5]],
        "returned None": None,
        "received a string": "abc",
    }
    for part, value in cases.items():
        assert part in verdict(lambda x, value=value: value, exercise).message


def test_properties_types_and_shapes():
    def check_properties(answer, t):
        got = t.call(answer, 3)
        t.has_type(got, (list, np.ndarray))
        t.has_shape(got, (2, 3), "Two rows.")
        t.that(np.sum(got) == 6, "The sum must be 6.")
        t.passed("all")

    exercise = make(check_properties)
    assert verdict(lambda n: np.ones((2, 3)), exercise).status == "passed"
    assert "type list or ndarray" in verdict(lambda n: "x", exercise).message
    wrong_shape = verdict(lambda n: np.ones((3, 2)), exercise).message
    assert wrong_shape == "Two rows. Expected shape (2, 3), received shape (3, 2)."
    assert verdict(lambda n: np.zeros((2, 3)), exercise).message == "The sum must be 6."


def test_required_errors():
    def check_error(answer, t):
        t.raises(ValueError, answer, -1, says="Refuse negative numbers.")
        t.passed("negative numbers are refused")

    def refuses(x):
        raise ValueError(x)

    def other(x):
        raise KeyError(x)

    exercise = make(check_error)
    assert verdict(refuses, exercise).status == "passed"
    assert verdict(lambda x: x, exercise).message.startswith("Refuse negative numbers. No ValueErr")
    assert "KeyError" in verdict(other, exercise).message
    assert verdict(stub, exercise).status == "not attempted"


# -- errors in the learner's code --------------------------------------------------------------


def divides(xs):
    total = 0
    return [x / total for x in xs]


def calls_itself(xs):
    return calls_itself(xs)


def leaves(xs):
    sys.exit(3)


def bad_syntax(xs):
    return eval("2 *")


def unknown_name(xs):
    return doubled(xs)  # noqa: F821


def in_a_library(xs):
    return np.zeros(3) @ np.zeros((5, 7))


def too_much_memory(xs):
    raise MemoryError


def stops(xs):
    raise StopIteration


def closes(xs):
    raise GeneratorExit


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        (divides, ("ZeroDivisionError: division by zero", "`return [x / total for x in xs]`")),
        (calls_itself, ("RecursionError", "without an end", "`return calls_itself(xs)`")),
        (leaves, ("SystemExit: 3", "`sys.exit(3)`", "should return a value")),
        (bad_syntax, ("SyntaxError", '`return eval("2 *")`')),
        (unknown_name, ("NameError: name 'doubled' is not defined", "spelled right")),
        (in_a_library, ("ValueError: matmul", "`return np.zeros(3) @ np.zeros((5, 7))`")),
        (lambda: 3, ("TypeError", "takes 0 positional arguments", "arguments that the stub names")),
        (too_much_memory, ("MemoryError",)),
        (stops, ("StopIteration",)),
        (closes, ("GeneratorExit",)),
    ],
)
def test_errors_become_one_sentence_with_the_learners_line(answer, parts):
    result = verdict(answer)
    assert result.status == "failed"
    for part in parts:
        assert part in result.message
    assert "Traceback" not in result.message
    assert result.details["call"].startswith("double([")


def test_the_line_is_the_learners_even_below_a_decorator():
    @functools.wraps(divides)
    def wrapped(xs):
        return divides(xs)

    assert "`return [x / total for x in xs]`" in verdict(wrapped).message
    assert "[x / total" in verdict(functools.partial(divides)).message


def test_an_error_while_a_lazy_answer_is_read():
    def lazy(xs):
        yield 1 / 0

    result = verdict(lazy)
    assert result.status == "failed"
    assert "ZeroDivisionError" in result.message
    assert "`yield 1 / 0`" in result.message


def test_keyboard_interrupt_passes_through():
    def interrupted(xs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verdict(interrupted)
    with pytest.raises(KeyboardInterrupt):
        check("0.0.1", interrupted)


def test_signals_are_not_swallowed_by_the_learners_except():
    def check_callback(answer, t):
        def callback(x):
            t.that(x > 0, "Call it with positive numbers.")

        t.call(answer, callback)

    def swallows(callback):
        try:
            callback(-1)
        except Exception:
            return 3

    message = verdict(swallows, make(check_callback)).message
    assert message == "Call it with positive numbers."


def test_a_broken_repr_or_equality_does_no_harm():
    class Bad:
        def __repr__(self):
            raise ValueError

        def __eq__(self, other):
            raise ValueError

        __hash__ = None

    result = verdict(lambda xs: Bad())
    assert result.status == "failed"
    assert result.details["received"] == "<Bad object whose repr fails>"


def test_a_check_that_stumbles_over_the_answer_is_the_answers_fault():
    def check_first(answer, t):
        got = t.call(answer, [3])
        t.equal(got[0] + 1, 7)
        t.passed("ok")

    exercise = make(check_first, reference=lambda xs: [2 * x for x in xs])
    result = verdict(lambda xs: None, exercise)
    assert result.status == "failed"
    assert "Expected a list of 1 item, received None." in result.message


def test_a_check_that_stumbles_over_the_reference_too_is_the_courses_fault():
    def broken(answer, t):
        t.call(answer, [3])
        raise RuntimeError("typo")

    result = verdict(lambda xs: None, make(broken))
    assert result.status == "error"
    assert "fault of the course" in result.message


# -- time, prints, inputs, seeds ---------------------------------------------------------------


def endless(xs):
    while True:
        pass


def endless_swallowing(xs):
    while True:
        try:
            while True:
                pass
        except:  # noqa: E722
            pass


def endless_generator(xs):
    while True:
        yield 1


def sleeps(xs):
    time.sleep(60)


def swallows_once_and_returns(xs):
    try:
        time.sleep(60)
    except BaseException:
        return [2 * x for x in xs]


def test_a_right_answer_that_comes_too_late_is_too_slow():
    result = verdict(swallows_once_and_returns, make(check_double, limit=0.2))
    assert "stopped after 0.2 seconds" in result.message


@pytest.mark.parametrize("answer", [endless, endless_swallowing, endless_generator, sleeps])
def test_endless_loops_are_cut_off(answer):
    start = time.perf_counter()
    result = verdict(answer, make(check_double, limit=0.2))
    assert time.perf_counter() - start < 20
    assert result.status == "failed"
    assert "stopped after 0.2 seconds. It was at line" in result.message


def test_endless_loops_are_cut_off_outside_the_main_thread():
    results = []
    exercise = make(check_double, limit=0.2)
    thread = threading.Thread(
        target=lambda: results.extend([verdict(endless, exercise), verdict(DOUBLE.reference)])
    )
    thread.start()
    thread.join(30)
    assert "stopped after 0.2 seconds" in results[0].message
    assert results[1].status == "passed"


def test_where_nothing_can_stop_a_loop_the_card_says_so(monkeypatch):
    monkeypatch.setattr("course_utils.exercises.limits._how", lambda: "none")
    result = verdict(DOUBLE.reference)
    assert result.status == "passed"
    assert "no way to stop" in result.details["note"]


def test_the_alarm_leaves_nothing_behind():
    signal = pytest.importorskip("signal")
    before = signal.getsignal(signal.SIGALRM)
    verdict(endless, make(check_double, limit=0.1))
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    time.sleep(0.15)  # a late alarm would end the test here


def test_prints_are_kept_and_cut(capsys):
    def talks(xs):
        print("<b>hello</b>")
        print("x" * 1000, file=sys.stderr)
        return [2 * x for x in xs]

    result = verdict(talks)
    assert result.status == "passed"
    assert result.details["printed"].startswith("<b>hello</b>\nxxx")
    assert "(714 more characters)" in result.details["printed"]
    assert capsys.readouterr() == ("", "")


def test_a_changed_input_is_noticed():
    def in_place(xs):
        for i in range(len(xs)):
            xs[i] *= 2
        return xs

    def sorts(xs):
        xs.sort(reverse=True)
        xs.append(3)
        return []

    assert "changed its input `xs`" in verdict(in_place).message
    assert "changed its input `xs`" in verdict(sorts).message


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3]],
        {"a": [1]},
        {3},
        np.arange(3.0),
        torch.arange(3.0),
        torch.zeros(3, requires_grad=True),
        [np.array([1.0, math.nan])],
        bytearray(b"ab"),
    ],
)
def test_mutation_of_every_kind_of_input(value):
    def check_kept(answer, t):
        t.call(answer, value)
        t.passed("kept")

    def spoil(x):
        inner = next(iter(x.values())) if isinstance(x, dict) else x
        if isinstance(inner, list):
            inner = inner[0] if hasattr(inner[0], "__len__") else inner
        if isinstance(inner, set):
            inner.add(99)
        else:
            data = inner.detach() if hasattr(inner, "detach") else inner
            data[0] = 99

    exercise = make(check_kept)
    assert verdict(lambda x: 1, exercise).status == "passed"
    assert "changed its input `x`" in verdict(spoil, exercise).message


def test_in_place_exercises_hand_over_the_object_itself():
    def check_sort(answer, t):
        xs = [5, 2, 3]
        t.call(answer, xs, in_place=True)
        t.equal(xs, [2, 3, 5], says="Sort the list itself.")
        t.passed("sorted")

    exercise = make(check_sort)
    assert verdict(lambda xs: xs.sort(), exercise).status == "passed"
    assert verdict(lambda xs: sorted(xs), exercise).status == "failed"


def test_recording_fakes_and_gradients_survive_the_copy():
    def check_fake(answer, t):
        seen = []

        class Fake:
            calls = seen

            def __call__(self, x):
                seen.append(x)
                return x

        weight = torch.ones(2, requires_grad=True)
        t.call(answer, Fake(), weight)
        t.equal(seen, [3])
        t.equal(weight.grad, [2, 2])
        t.passed("ok")

    def uses(fake, weight):
        fake(3)
        (2 * weight).sum().backward()

    assert verdict(uses, make(check_fake)).status == "passed"


def test_explicit_comparison_of_something_kept():
    def check_kept(answer, t):
        box = {"a": 1}
        t.call(lambda f: f(box), answer)
        t.unchanged(box, {"a": 1}, "The box was opened.")
        t.passed("ok")

    exercise = make(check_kept)
    assert verdict(lambda box: 0, exercise).status == "passed"
    assert verdict(lambda box: box.clear(), exercise).message == "The box was opened."


def test_the_same_seed_draws_the_same_inputs_everywhere():
    drawn = []

    def check_draws(answer, t):
        drawn.append(
            (
                t.rng.random(),
                t.numpy_rng().random(),
                t.numpy_rng().random(),
                torch.rand(2, generator=t.torch_generator()).tolist(),
                t.call(answer, 0),
            )
        )

    def learner(x):
        import random

        return random.random(), np.random.rand(), torch.rand(1).item()

    exercise = make(check_draws)
    for seed in (3, 3, 5):
        examine(exercise, learner, seed)
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0][1] != drawn[0][2]


def test_a_check_leaves_the_notebooks_random_state_alone():
    import random

    def states():
        return random.getstate()[1][:5], np.random.get_state()[1][:5].tolist(), torch.initial_seed()

    before, draw = states(), torch.get_rng_state()
    verdict(lambda xs: [random.random(), np.random.rand(), torch.rand(1).item()])
    assert states() == before
    assert torch.equal(torch.get_rng_state(), draw)


def test_a_failure_can_be_repeated_with_its_seed():
    results = [examine(DOUBLE, lambda xs: xs) for _ in range(5)]
    assert len({result.seed for result in results}) > 1
    for result in results:
        assert examine(DOUBLE, lambda xs: xs, result.seed).details == result.details


# -- check() never raises ----------------------------------------------------------------------


@pytest.mark.parametrize("exercise_id", ["0.0.9", "99.1.1", "", "nonsense", None, 1.2, ("a",), [1]])
def test_unknown_ids_are_a_sentence(exercise_id, capsys):
    result = check(exercise_id, len)
    assert result.status == "error"
    assert "There is no exercise" in result.message
    assert "[Error]" in capsys.readouterr().out


def test_a_broken_module_is_a_sentence(monkeypatch, capsys):
    def broken(exercise_id):
        raise ImportError("no module named x")

    monkeypatch.setattr(checking.catalogue, "find", broken)
    result = check("0.0.1", len)
    assert result.status == "error"
    assert "could not be loaded" in result.message


def test_a_strange_seed_is_no_crash():
    assert examine(DOUBLE, DOUBLE.reference, "abc").status == "error"


def test_check_prints_one_card_of_plain_text(capsys):
    result = check("0.0.1", lambda text: "x", seed=3)
    out = capsys.readouterr().out
    assert out.startswith("[Not yet] 0.0.1 The most common word\n")
    assert 'check("0.0.1", …, seed=3)' in out
    assert out.count("[Not yet]") == 1
    assert repr(result) == "<0.0.1: failed>"


def test_failed_carries_its_message():
    failure = Failed("text", call="f()")
    assert (failure.message, failure.details) == ("text", {"call": "f()"})


@pytest.mark.parametrize(
    "change",
    [
        {"id": "1.2"},
        {"difficulty": "trivial"},
        {"hints": ("one",)},
        {"hints": "abc"},
        {"name": "two words"},
    ],
)
def test_a_malformed_exercise_is_refused(change):
    with pytest.raises(ValueError, match=r"must be"):
        make(check_double, **change)


def test_wrong_is_a_pair():
    assert Wrong(len, "text").says == "text"
