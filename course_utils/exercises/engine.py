"""The parts an exercise is made of: ``Exercise``, ``Wrong`` and the ``Trial`` a check runs in.

A check is a function ``check(answer, t)``. It draws inputs from ``t.rng``, runs the learner's
code with ``t.call`` and judges the result with ``t.equal``, ``t.close`` and ``t.that``. The
first judgement that fails ends the check.
"""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from course_utils.exercises import compare, errors
from course_utils.exercises.copies import copied
from course_utils.exercises.describe import call_text, kind, name_of, short
from course_utils.exercises.limits import TimeUp

if TYPE_CHECKING:
    import numpy as np
    import torch

DIFFICULTIES = ("easy", "medium", "hard")
HINT_NAMES = ("nudge", "test case", "outline")
ID = re.compile(r"\d+\.\d+\.\d+")
_NOTHING = object()


@dataclass(frozen=True)
class Wrong:
    """A plausible wrong answer and a part of the sentence that it must be told."""

    answer: Any
    says: str


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One exercise: what the learner reads, what is right, and how it is checked.

    Args:
        id: chapter.lesson.number, such as ``"1.2.1"``.
        title, statement: plain text and Markdown.
        difficulty, minutes: ``"easy"``, ``"medium"`` or ``"hard"``; an honest estimate.
        stub: source of the learner's cell: typed signature, docstring with an example and
            ``raise NotImplementedError``; or ``name = None`` for an exercise about a value.
        name: the name that the stub defines.
        reference: a correct function (or value); its source is the solution shown.
        alternatives: other correct answers, in another style.
        wrong: plausible mistakes, three or more.
        check: ``check(answer, trial)``.
        hints: nudge, test case, outline.
        limit: seconds after which the learner's code is stopped.
        solution: source to show instead of the reference's own.
    """

    id: str
    title: str
    difficulty: str
    minutes: int
    statement: str
    stub: str
    name: str
    reference: Any
    check: Callable[[Any, Trial], None]
    hints: tuple[str, str, str]
    alternatives: tuple = ()
    wrong: tuple[Wrong, ...] = ()
    limit: float = 10.0
    solution: str | None = None

    def __post_init__(self) -> None:
        if not ID.fullmatch(self.id):
            raise ValueError(f"id must be chapter.lesson.number such as '1.2.1', got {self.id!r}")
        if self.difficulty not in DIFFICULTIES:
            raise ValueError(
                f"{self.id}: difficulty must be one of {', '.join(DIFFICULTIES)}; "
                f"got {self.difficulty!r}"
            )
        if isinstance(self.hints, str) or len(self.hints) != len(HINT_NAMES):
            raise ValueError(f"{self.id}: hints must be three texts: {', '.join(HINT_NAMES)}")
        if not self.name.isidentifier():
            raise ValueError(f"{self.id}: name must be a Python name, got {self.name!r}")

    @property
    def lesson(self) -> str:
        """``"1.2"`` for exercise ``"1.2.1"``."""
        return self.id.rsplit(".", 1)[0]

    @property
    def about_a_value(self) -> bool:
        """True if the answer is a value and not something to call."""
        return not callable(self.reference)


class Signal(BaseException):
    """Ends a check. Not an Exception: the learner's ``except Exception`` cannot swallow it."""


class NotAttempted(Signal):
    """The stub is still there."""


class Failed(Signal):
    """The answer is wrong; carries what the learner reads."""

    def __init__(self, message: str, **details: str) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


@dataclass
class Trial:
    """One run of a check: seeded inputs, the learner's calls, the judgements."""

    exercise: Exercise
    answer: Any
    seed: int
    rng: random.Random = field(init=False)
    successes: list[str] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._shows = ""
        self._got: Any = _NOTHING
        self._numpy: np.random.Generator | None = None
        self._torch: torch.Generator | None = None

    def numpy_rng(self) -> np.random.Generator:
        """The numpy generator of this run; the same one at each call, so draws differ."""
        if self._numpy is None:
            import numpy as np

            self._numpy = np.random.default_rng(self.seed)
        return self._numpy

    def torch_generator(self) -> torch.Generator:
        """The torch generator (CPU) of this run; the same one at each call."""
        if self._torch is None:
            import torch

            self._torch = torch.Generator().manual_seed(self.seed)
        return self._torch

    def call(
        self,
        fn: Callable,
        *args: Any,
        shows: str | None = None,
        says: str = "",
        in_place: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Run the learner's code on copies of the arguments and return what it returns.

        Args:
            fn: the answer, or anything made by it (an instance, a bound method).
            shows: how the call is printed, instead of the arguments themselves.
            says: a sentence put before the one about an error in this call.
            in_place: hand over the arguments themselves, because the exercise asks to change
                them. Otherwise changed lists, dicts, sets, arrays and tensors are a failure.
        """
        self._shows = shows or call_text(self._name(fn), args, kwargs)
        self._got = _NOTHING
        given, before = (args, kwargs), None
        if not in_place:
            given, before = copied(given)
        got = self._run(fn, *given, says)
        self._got = got
        self.results.append(got)
        if before is not None:
            self._inputs_unchanged(fn, given, before)
        return got

    def raises(
        self,
        error: type[BaseException] | tuple[type[BaseException], ...],
        fn: Callable,
        *args: Any,
        says: str,
        shows: str | None = None,
        **kwargs: Any,
    ) -> BaseException:
        """The learner's code must raise ``error`` for these arguments; returns the error."""
        self._shows = shows or call_text(self._name(fn), args, kwargs)
        self._got = _NOTHING
        (args, kwargs), _ = copied((args, kwargs))
        expected = " or ".join(
            e.__name__ for e in (error if isinstance(error, tuple) else (error,))
        )
        try:
            got = fn(*args, **kwargs)
        except error as caught:
            return caught
        except (Signal, TimeUp, KeyboardInterrupt):
            raise
        except BaseException as other:
            self._not_attempted_if_stub(other)
            sentence = errors.sentence(other, self.answer)
            raise self._failed(says, sentence, expected=f"an error: {expected}") from None
        self._got = got
        raise self._failed(says, f"No {expected} was raised.", expected=f"an error: {expected}")

    def equal(
        self, got: Any, expected: Any, *, says: str = "", mistakes: Sequence[tuple[Any, str]] = ()
    ) -> None:
        """``got`` must have the content of ``expected``, in whatever container.

        Args:
            says: the sentence for this failure.
            mistakes: pairs (what a typical mistake returns, the sentence for that mistake).
        """
        got_plain, expected_plain = compare.plain(got), compare.plain(expected)
        if compare.same(got_plain, expected_plain):
            return
        sentence = self._mistake(
            mistakes, lambda value: compare.same(got_plain, compare.plain(value))
        )
        where = compare.difference(got_plain, expected_plain)
        self._refuse(got_plain if _consumed(got) else got, expected, sentence or says, where)

    def close(
        self,
        got: Any,
        expected: Any,
        *,
        tolerance: float = 1e-6,
        says: str = "",
        mistakes: Sequence[tuple[Any, str]] = (),
    ) -> None:
        """Numbers must agree: ``|got - expected| <= tolerance * max(1, |expected|)``.

        A float32 answer is given at least 1e-5. NaN agrees with NaN only.
        """
        got = list(got) if _consumed(got) else got
        if compare.is_close(got, expected, tolerance):
            return
        where = compare.gap(got, expected, tolerance)
        sentence = self._mistake(mistakes, lambda value: compare.is_close(got, value, tolerance))
        self._refuse(got, expected, sentence or says, where)

    def that(self, condition: Any, sentence: str) -> None:
        """A property must hold; ``sentence`` is what the learner reads when it does not."""
        if not bool(condition):
            raise self._failed(sentence)

    def has_type(
        self, got: Any, expected: type | tuple[type, ...], sentence: str | None = None
    ) -> None:
        """``got`` must be an instance of ``expected``."""
        if isinstance(got, expected):
            return
        types = expected if isinstance(expected, tuple) else (expected,)
        wanted = " or ".join(cls.__name__ for cls in types)
        sentence = sentence or f"The answer must be of type {wanted}."
        raise self._failed(sentence, self._none(got), expected=wanted, got=got)

    def has_shape(self, got: Any, expected: tuple[int, ...], sentence: str | None = None) -> None:
        """``got`` (array, tensor or nested lists) must have this shape."""
        try:
            shape = tuple(got.shape) if hasattr(got, "shape") else compare.numbers(got).shape
        except (TypeError, ValueError):
            shape = None
        if shape == tuple(expected):
            return
        received = kind(got) if shape is None else f"shape {shape}"
        where = f"Expected shape {tuple(expected)}, received {received}."
        raise self._failed(sentence or "", where, expected=f"shape {tuple(expected)}", got=got)

    def unchanged(self, now: Any, before: Any, sentence: str) -> None:
        """Something the check kept a copy of must still be as it was."""
        if not compare.unchanged(now, before):
            raise self._failed(sentence, expected=short(before), got=now)

    def passed(self, text: str) -> None:
        """Say what was checked, for the message of success; may be called several times."""
        self.successes.append(text)

    def last_call(self) -> dict[str, str]:
        """The call under way or just made, for a check that ends without a judgement."""
        details = {"call": self._shows} if self._shows else {}
        return details if self._got is _NOTHING else details | {"received": short(self._got)}

    # -- below: what the judgements share -------------------------------------------------

    def _name(self, fn: Callable) -> str:
        return self.exercise.name if fn is self.answer else name_of(fn)

    def _run(self, fn: Callable, args: tuple, kwargs: dict, says: str) -> Any:
        try:
            return fn(*args, **kwargs)
        except (Signal, TimeUp, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._not_attempted_if_stub(error)
            raise self._failed(says, errors.sentence(error, self.answer)) from None

    def _not_attempted_if_stub(self, error: BaseException) -> None:
        if errors.is_stub(error, self.answer):
            raise NotAttempted from None

    def _inputs_unchanged(self, fn: Callable, given: tuple, before: tuple) -> None:
        changed = [
            name
            for name, now, then in _named_arguments(fn, given, before)
            if not compare.unchanged(now, then)
        ]
        if changed:
            raise self._failed(
                f"Your code changed its input {changed[0]}. The caller still needs it: "
                "work on a copy.",
            )

    def _mistake(self, mistakes: Sequence[tuple[Any, str]], matches: Callable[[Any], bool]) -> str:
        return next((sentence for value, sentence in mistakes if matches(value)), "")

    def _none(self, got: Any) -> str:
        if got is None and self._got is None:
            return "Your function returned None: is a `return` missing?"
        return ""

    def _refuse(self, got: Any, expected: Any, says: str, where: str) -> None:
        none = self._none(got) if expected is not None else ""
        says = says or ("" if none or where else "The result is not the expected one.")
        raise self._failed(says, none or where, expected=short(expected), got=got)

    def _failed(
        self, says: str, where: str = "", *, expected: str = "", got: Any = _NOTHING
    ) -> Failed:
        received = self._got if got is _NOTHING else got
        details = {"call": self._shows, "expected": expected}
        if received is not _NOTHING:
            details["received"] = short(received)
        message = " ".join(part for part in (says.strip(), where) if part)
        return Failed(message, **{key: text for key, text in details.items() if text})


def _consumed(value: Any) -> bool:
    """True for an iterator, which can be read only once."""
    return hasattr(value, "__next__")


def _named_arguments(fn: Callable, given: tuple, before: tuple) -> list[tuple[str, Any, Any]]:
    """(name in words, value after the call, value before) for every argument."""
    args, kwargs = given
    try:
        names = [f"`{name}`" for name in inspect.signature(fn).parameters]
    except (TypeError, ValueError):
        names = []
    names += [f"number {i + 1}" for i in range(len(names), len(args))]
    rows = list(zip(names, args, before[0], strict=False))
    return rows + [(f"`{key}`", kwargs[key], before[1][key]) for key in kwargs]
