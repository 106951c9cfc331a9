"""Exercises of lesson 4.12, Agents: checked arguments, precedence, a loop that ends, results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from course_utils.exercises.engine import Exercise, Trial, Wrong

# -- 4.12.1 arguments against a schema -----------------------------------------------------------


def call_problems(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
    properties, found = schema["properties"], []
    for name in schema["required"]:
        if name not in arguments:
            found.append((name, "missing"))
    for name, value in arguments.items():
        if name not in properties:
            found.append((name, "unknown"))
            continue
        kind = properties[name]["type"]
        fits = isinstance(value, kinds[kind])
        if isinstance(value, bool) and kind != "boolean":  # Python calls True an int, JSON does not
            fits = False
        if not fits:
            found.append((name, "type"))
    return sorted(found)


def call_problems_jsonschema(schema, arguments):
    from jsonschema import Draft202012Validator

    found = {(name, "missing") for name in schema["required"] if name not in arguments}
    found |= {(name, "unknown") for name in arguments if name not in schema["properties"]}
    for name, value in arguments.items():
        inner = schema["properties"].get(name)
        if inner and not Draft202012Validator(inner).is_valid(value):
            found.add((name, "type"))
    return sorted(found)


def _without(kind: str) -> Callable:
    return lambda schema, arguments: [p for p in call_problems(schema, arguments) if p[1] != kind]


def forgets_unknown(schema, arguments):
    return _without("unknown")(schema, arguments)


def forgets_types(schema, arguments):
    return _without("type")(schema, arguments)


def all_are_required(schema, arguments):
    extra = [(n, "missing") for n in schema["properties"] if n not in arguments]
    return sorted(set(call_problems(schema, arguments)) | set(extra))


def true_is_a_number(schema, arguments):
    def fine(name):
        inner = schema["properties"].get(name, {}).get("type")
        return isinstance(arguments.get(name), bool) and inner in ("integer", "number")

    return [p for p in call_problems(schema, arguments) if not (p[1] == "type" and fine(p[0]))]


def whole_is_no_number(schema, arguments):
    extra = [
        (n, "type")
        for n, v in arguments.items()
        if type(v) is int and schema["properties"].get(n, {}).get("type") == "number"
    ]
    return sorted([*call_problems(schema, arguments), *extra])


CALL_MISTAKES = (
    (forgets_unknown, "An argument that the schema does not know must be reported as unknown."),
    (all_are_required, "Only the names in `required` may be missing; others are optional."),
    (
        true_is_a_number,
        "In Python True is an int, in JSON a boolean is no number: check bool before int.",
    ),
    (forgets_types, "The values' types were not checked."),
    (whole_is_no_number, "A whole number such as 3 fits the type number."),
)


def check_call_problems(answer, t: Trial) -> None:
    schema = {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "count": {"type": "integer"},
            "share": {"type": "number"},
            "loud": {"type": "boolean"},
        },
        "required": ["text", "count"],
    }
    whole, part = t.rng.randint(2, 99), t.rng.random()
    cases = [
        {"text": "a", "count": whole},
        {"text": "a"},
        {"text": "a", "count": whole, "share": whole, "loud": True},
        {"text": "a", "count": True},
        {"text": "a", "count": 1, "share": False},
        {"text": whole, "count": part, "share": "x", "loud": 1},
        {"text": "a", "count": whole, "colour": "red"},
        {"share": part, "size": whole},
    ]
    cases.insert(0, cases.pop(5))  # before the booleans: forgotten types deserve their own sentence
    for arguments in cases:
        got = t.call(answer, schema, dict(arguments))
        t.has_type(got, list, "Return a list of pairs (argument, problem).")
        t.equal(
            [tuple(pair) for pair in got],
            call_problems(schema, arguments),
            says="The list of problems is not the expected one.",
            mistakes=[(f(schema, arguments), sentence) for f, sentence in CALL_MISTAKES],
        )
    t.passed("Missing, unknown and wrongly typed arguments are found, and valid calls pass")


CALL_PROBLEMS = Exercise(
    id="4.12.1",
    title="Arguments against a schema",
    difficulty="easy",
    minutes=10,
    statement="""
A model has written `arguments` for a tool. Compare them with the tool's `schema`, an object with
`properties` (each has a `type`: string, integer, number or boolean) and `required` (a list of
names). Return a **sorted** list of pairs (argument, problem), with these problems:

- `"missing"`: required and not there;
- `"unknown"`: there and not in the schema;
- `"type"`: there, known, and of another type. 3 is both an integer and a number; `True` is
  neither.
""",
    stub='''
def call_problems(schema: dict, arguments: dict) -> list[tuple[str, str]]:
    """What is wrong with a call; an empty list if nothing is.

    >>> schema = {"properties": {"n": {"type": "integer"}}, "required": ["n"]}
    >>> call_problems(schema, {"m": 3})
    [('m', 'unknown'), ('n', 'missing')]
    """
    raise NotImplementedError
''',
    name="call_problems",
    reference=call_problems,
    alternatives=(call_problems_jsonschema,),
    wrong=(
        Wrong(forgets_unknown, "reported as unknown"),
        Wrong(forgets_types, "types were not checked"),
        Wrong(all_are_required, "others are optional"),
        Wrong(true_is_a_number, "a boolean is no number"),
        Wrong(whole_is_no_number, "fits the type number"),
    ),
    check=check_call_problems,
    hints=(
        "Three questions: which required names are not in `arguments`? which names of `arguments` "
        "are not in `properties`? which of the rest have the wrong type?",
        '`{"count": True}` must give a type problem although `isinstance(True, int)` holds.',
        "1. a dictionary from type names to Python types, number to `(int, float)`\n"
        "2. loop over `required`, then over `arguments`\n"
        "3. treat bool first\n4. `sorted(...)`",
    ),
)


# -- 4.12.2 precedence ---------------------------------------------------------------------------


def evaluate(tokens: list[str]) -> float:
    power = {"+": 1, "-": 1, "*": 2, "/": 2}

    def climb(at: int, least: int) -> tuple[float, int]:
        value, at = float(tokens[at]), at + 1
        while at < len(tokens) and power[tokens[at]] >= least:
            mark = tokens[at]
            right, at = climb(at + 1, power[mark] + 1)  # + 1: operators bind to the left
            if mark == "+":
                value += right
            elif mark == "-":
                value -= right
            elif mark == "*":
                value *= right
            else:
                value /= right
        return value, at

    return climb(0, 1)[0]


def evaluate_in_two_passes(tokens):
    terms, signs = [float(tokens[0])], []
    for mark, text in zip(tokens[1::2], tokens[2::2], strict=True):
        if mark == "*":
            terms[-1] *= float(text)
        elif mark == "/":
            terms[-1] /= float(text)
        else:
            signs.append(1 if mark == "+" else -1)
            terms.append(float(text))
    return terms[0] + sum(sign * term for sign, term in zip(signs, terms[1:], strict=True))


def _apply(mark: str, a: float, b: float) -> float:
    return {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else math.inf}[mark]


def no_precedence(tokens):
    value = float(tokens[0])
    for mark, text in zip(tokens[1::2], tokens[2::2], strict=True):
        value = _apply(mark, value, float(text))
    return value


def binds_to_the_right(tokens):
    for marks in ("+-", "*/"):
        for i, token in enumerate(tokens):
            if token in marks and len(token) == 1:
                return _apply(
                    token, binds_to_the_right(tokens[:i]), binds_to_the_right(tokens[i + 1 :])
                )
    return float(tokens[0])


def plus_before_minus(tokens):
    for mark in "-+/*":
        if mark in tokens:
            i = len(tokens) - 1 - tokens[::-1].index(mark)
            return _apply(mark, plus_before_minus(tokens[:i]), plus_before_minus(tokens[i + 1 :]))
    return float(tokens[0])


def whole_division(tokens):
    terms, signs = [float(tokens[0])], []
    for mark, text in zip(tokens[1::2], tokens[2::2], strict=True):
        if mark == "*":
            terms[-1] *= float(text)
        elif mark == "/":
            terms[-1] //= float(text)
        else:
            signs.append(1 if mark == "+" else -1)
            terms.append(float(text))
    return terms[0] + sum(sign * term for sign, term in zip(signs, terms[1:], strict=True))


EVALUATE_MISTAKES = (
    (no_precedence, "That reads from left to right: * and / must be done before + and -."),
    (
        plus_before_minus,
        "+ and - are equally strong, and so are * and /: none of a pair comes before the other.",
    ),
    (
        binds_to_the_right,
        "10 - 4 - 3 is (10 - 4) - 3: operators of equal strength bind to the left.",
    ),
    (whole_division, "The division is not the whole-number one: 7 / 2 is 3.5."),
)


def check_evaluate(answer, t: Trial) -> None:
    fixed = ["7", "10 - 4 - 3", "10 - 4 + 3", "2 + 3 * 4", "7 / 2", "24 / 4 * 2", "24 / 4 / 2"]
    for _ in range(8):
        size = t.rng.randint(2, 7)
        parts = [str(t.rng.randint(1, 20))]
        for _ in range(size):
            parts += [t.rng.choice("+-*/"), str(t.rng.randint(1, 20))]
        fixed.append(" ".join(parts))
    for text in fixed:
        tokens = text.split()
        got = t.call(answer, list(tokens))
        t.close(
            got,
            evaluate(tokens),
            tolerance=1e-6,
            says=f"{text} has another value.",
            mistakes=[(f(tokens), sentence) for f, sentence in EVALUATE_MISTAKES],
        )
    t.passed("Precedence and order agree on fixed and random expressions")


EVALUATE = Exercise(
    id="4.12.2",
    title="Arithmetic without eval",
    difficulty="medium",
    minutes=15,
    statement="""
`tokens` alternates numbers and operators, such as `["2", "+", "3", "*", "4"]` (no brackets, no
signs). Return the value as a float. `*` and `/` come before `+` and `-`; operators of the same
strength are done from left to right. No `eval`, of course.
""",
    stub='''
def evaluate(tokens: list[str]) -> float:
    """The value of an expression that is cut into tokens.

    >>> evaluate(["2", "+", "3", "*", "4"])
    14.0
    """
    raise NotImplementedError
''',
    name="evaluate",
    reference=evaluate,
    alternatives=(evaluate_in_two_passes,),
    wrong=(
        Wrong(no_precedence, "reads from left to right"),
        Wrong(binds_to_the_right, "bind to the left"),
        Wrong(plus_before_minus, "equally strong"),
        Wrong(whole_division, "not the whole-number one"),
    ),
    check=check_evaluate,
    hints=(
        "Either climb as in the lesson, or go through the tokens twice: products first.",
        "`10 - 4 - 3` is 3 and `24 / 4 * 2` is 12.",
        "1. keep a list of terms, starting with the first number\n"
        "2. at `*` or `/` change the last term, at `+` or `-` begin a new one (with its sign)\n"
        "3. the sum of the terms is the value",
    ),
)


# -- 4.12.3 a loop that ends ---------------------------------------------------------------------

Call = tuple[str, dict]


def run_agent(decide: Callable, tools: Mapping[str, Callable], max_steps: int) -> tuple[str, list]:
    history: list = []
    for _ in range(max_steps):
        name, arguments = decide(list(history))
        if name == "finish":
            return "finished", history
        if any(call == (name, arguments) for call, _ in history):
            return "repeated", history
        if name in tools:
            observation = tools[name](**arguments)
        else:
            observation = f"unknown tool: {name}"
        history.append(((name, arguments), observation))
    return "step limit", history


def run_agent_with_a_set(decide, tools, max_steps):
    seen, history, ended = set(), [], ""
    while not ended:
        if len(history) == max_steps:
            ended = "step limit"
            break
        name, arguments = decide(tuple(history))
        key = (name, repr(sorted(arguments.items())))
        if name == "finish" or key in seen:
            ended = "finished" if name == "finish" else "repeated"
            continue
        seen.add(key)
        run = tools.get(name, lambda name=name, **_: f"unknown tool: {name}")
        history.append(((name, arguments), run(**arguments)))
    return ended, history


def one_step_too_many(decide, tools, max_steps):
    return run_agent(decide, tools, max_steps + 1)


def compares_names(decide, tools, max_steps):
    history: list = []
    for _ in range(max_steps):
        name, arguments = decide(list(history))
        if name == "finish":
            return "finished", history
        if any(call[0] == name for call, _ in history):
            return "repeated", history
        run = tools.get(name, lambda name=name, **_: f"unknown tool: {name}")
        history.append(((name, arguments), run(**arguments)))
    return "step limit", history


def compares_the_last(decide, tools, max_steps):
    history: list = []
    for _ in range(max_steps):
        name, arguments = decide(list(history))
        if name == "finish":
            return "finished", history
        if history and history[-1][0] == (name, arguments):
            return "repeated", history
        run = tools.get(name, lambda name=name, **_: f"unknown tool: {name}")
        history.append(((name, arguments), run(**arguments)))
    return "step limit", history


def never_repeats(decide, tools, max_steps):
    history: list = []
    for _ in range(max_steps):
        name, arguments = decide(list(history))
        if name == "finish":
            return "finished", history
        run = tools.get(name, lambda name=name, **_: f"unknown tool: {name}")
        history.append(((name, arguments), run(**arguments)))
    return "step limit", history


def skips_unknown(decide, tools, max_steps):
    ended, history = run_agent(decide, tools, max_steps)
    return ended, [pair for pair in history if pair[0][0] in tools]


LOOP_MISTAKES = (
    (one_step_too_many, "The loop asked the mind once more after max_steps calls."),
    (compares_names, "The same tool with *other* arguments is no repetition."),
    (compares_the_last, "A call counts as repeated if it was made at *any* earlier step."),
    (never_repeats, 'The same call was run twice: stop with "repeated" instead.'),
    (skips_unknown, "A call of an unknown tool belongs into the history, with its error text."),
)


def _script(calls: list[Call]) -> Callable:
    return lambda history: calls[len(history)] if len(history) < len(calls) else ("finish", {})


def check_run_agent(answer, t: Trial) -> None:
    a, b, c = t.rng.sample(range(2, 90), 3)
    tools = {"add": lambda x, y: x + y, "twice": lambda x: 2 * x}
    first, second, third = ("add", {"x": a, "y": b}), ("twice", {"x": c}), ("add", {"x": b, "y": c})
    cases = [
        ([first, second], 5),
        ([first, third, second], 5),
        ([first, first], 5),
        ([first, second, first], 5),
        ([first, ("mail", {"x": a}), second], 5),
        ([("twice", {"x": n}) for n in range(20)], t.rng.randint(2, 6)),
        ([("twice", {"x": n}) for n in range(3)], 3),
    ]
    for calls, limit in cases:
        decide = _script(calls)
        shows = f"run_agent(decide, tools, {limit}), where decide asks for {calls[: limit + 1]}"
        got = t.call(answer, decide, tools, limit, shows=shows)
        t.that(
            isinstance(got, (tuple, list)) and len(got) == 2,
            "Return two things: why it ended, and the history.",
        )
        got = (got[0], [((call[0], call[1]), seen) for call, seen in got[1]])
        t.equal(
            got,
            run_agent(decide, tools, limit),
            says="The ending or the history is not the expected one.",
            mistakes=[(f(decide, tools, limit), sentence) for f, sentence in LOOP_MISTAKES],
        )
    t.passed("Finishing, repetition, unknown tools and the step limit are all handled")


RUN_AGENT = Exercise(
    id="4.12.3",
    title="A loop that always ends",
    difficulty="medium",
    minutes=15,
    statement="""
Write the loop. `decide(history)` returns a call `(name, arguments)`; `history` is a list of pairs
`((name, arguments), observation)`, empty at first. Return `(ended, history)`:

- the name `"finish"` ends with `"finished"`;
- a call that was made before, with the same arguments, is **not run** and ends with `"repeated"`;
- after `max_steps` calls in the history the mind is not asked again: `"step limit"`;
- a name that is not in `tools` gives the observation `"unknown tool: NAME"`, and the loop goes on.
""",
    stub='''
from collections.abc import Callable


def run_agent(
    decide: Callable, tools: dict[str, Callable], max_steps: int
) -> tuple[str, list[tuple[tuple[str, dict], object]]]:
    """(why it ended, history of calls and observations).

    >>> ask = lambda history: ("twice", {"x": 4}) if not history else ("finish", {})
    >>> run_agent(ask, {"twice": lambda x: 2 * x}, 5)
    ('finished', [(('twice', {'x': 4}), 8)])
    """
    raise NotImplementedError
''',
    name="run_agent",
    reference=run_agent,
    alternatives=(run_agent_with_a_set,),
    wrong=(
        Wrong(one_step_too_many, "once more after max_steps"),
        Wrong(compares_names, "is no repetition"),
        Wrong(compares_the_last, "earlier step"),
        Wrong(never_repeats, "run twice"),
        Wrong(skips_unknown, "belongs into the history"),
    ),
    check=check_run_agent,
    hints=(
        "`for _ in range(max_steps)` with a `return` inside for each early end, and one after it.",
        'If the mind asks for A, B, A, the history holds A and B, and the ending is "repeated".',
        "1. ask the mind\n2. finish? return\n3. is the call among the history's calls? return\n"
        '4. run it, or write the error text\n5. append; after the loop return "step limit"',
    ),
)


# -- 4.12.4 results of queries -------------------------------------------------------------------

Rows = list[tuple]


def same_result(ours: Rows, theirs: Rows, ordered: bool = False) -> bool:
    def plain(rows: Rows) -> list[tuple]:
        return [tuple(round(v, 6) if isinstance(v, float) else v for v in row) for row in rows]

    if ordered:
        return plain(ours) == plain(theirs)
    return Counter(plain(ours)) == Counter(plain(theirs))


def same_result_by_crossing_out(ours, theirs, ordered=False):
    def same(row, other):
        return len(row) == len(other) and all(
            math.isclose(a, b, abs_tol=1e-6)
            if isinstance(a, float) and isinstance(b, float)
            else a == b
            for a, b in zip(row, other, strict=True)
        )

    if len(ours) != len(theirs):
        return False
    if ordered:
        return all(map(same, ours, theirs))
    left = list(theirs)
    for row in ours:
        match = next((i for i, other in enumerate(left) if same(row, other)), None)
        if match is None:
            return False
        left.pop(match)
    return True


def as_sets(ours, theirs, ordered=False):
    return same_result(ours, theirs, True) if ordered else set(ours) == set(theirs)


def always_ordered(ours, theirs, ordered=False):
    return same_result(ours, theirs, True)


def never_ordered(ours, theirs, ordered=False):
    return same_result(ours, theirs, False)


def columns_in_any_order(ours, theirs, ordered=False):
    def sort(rows):
        return [tuple(sorted(row, key=repr)) for row in rows]

    return same_result(sort(ours), sort(theirs), ordered)


def exact_floats(ours, theirs, ordered=False):
    return ours == theirs if ordered else Counter(ours) == Counter(theirs)


RESULT_MISTAKES = (
    (as_sets, "A row that occurs twice is not the same result as one that occurs once."),
    (never_ordered, "With ordered=True the same rows in another order are another result."),
    (always_ordered, "Without ordered=True the rows may come in any order."),
    (columns_in_any_order, "The columns have an order: (1, 2) is not (2, 1)."),
    (
        exact_floats,
        "Numbers that differ by rounding only, such as 0.1 + 0.2 and 0.3, are the same.",
    ),
)


def check_same_result(answer, t: Trial) -> None:
    a, b, c = t.rng.sample(range(2, 900), 3)
    names = t.rng.sample(["Abacus", "Algae", "Asia", "Atom", "Aikido"], 3)
    rows = list(zip(names, (a, b, c), strict=True))
    cases = [
        (rows, list(rows), False),
        (rows, [rows[2], rows[0], rows[1]], False),
        (rows, [rows[2], rows[0], rows[1]], True),
        ([rows[0], rows[0], rows[1]], [rows[0], rows[1], rows[1]], False),
        ([(a,), (a,)], [(a,)], False),
        ([(a, b)], [(b, a)], False),
        ([(a / 3 * 0.1 + 0.2,)], [(0.2 + a * 0.1 / 3,)], False),
        ([(0.1 + 0.2,)], [(0.3,)], True),
        ([], [], True),
        ([], [(a,)], False),
        (rows, [(n, v + 1) for n, v in rows], True),
    ]
    for ours, theirs, ordered in cases:
        got = t.call(answer, list(ours), list(theirs), ordered)
        t.has_type(got, bool, "Return True or False.")
        t.equal(
            got,
            same_result(ours, theirs, ordered),
            says="Whether the two results are the same was judged wrongly.",
            mistakes=[(f(ours, theirs, ordered), sentence) for f, sentence in RESULT_MISTAKES],
        )
    t.passed("Order, repeated rows, columns and rounding are all judged rightly")


SAME_RESULT = Exercise(
    id="4.12.4",
    title="Is it the same result?",
    difficulty="easy",
    minutes=10,
    statement="""
Execution accuracy compares what two queries *return*. Each result is a list of rows, each row a
tuple of texts and numbers. Return True if they are the same result:

- rows may come in any order, unless `ordered` is True (the question asked for an order);
- a row that comes twice must come twice in the other result too;
- the columns of a row have an order;
- two floats that agree to six digits after the point count as equal.
""",
    stub='''
def same_result(ours: list[tuple], theirs: list[tuple], ordered: bool = False) -> bool:
    """Do two queries give the same rows?

    >>> same_result([("a", 1), ("b", 2)], [("b", 2), ("a", 1)])
    True
    """
    raise NotImplementedError
''',
    name="same_result",
    reference=same_result,
    alternatives=(same_result_by_crossing_out,),
    wrong=(
        Wrong(as_sets, "occurs twice"),
        Wrong(never_ordered, "in another order"),
        Wrong(always_ordered, "in any order"),
        Wrong(columns_in_any_order, "columns have an order"),
        Wrong(exact_floats, "differ by rounding"),
    ),
    check=check_same_result,
    hints=(
        "Make the floats comparable first. Then compare lists if order counts, else multisets.",
        "`[(1,), (1,)]` and `[(1,)]` are different results, so a set is not enough.",
        "1. round the floats of each row to 6 digits\n2. ordered? compare the lists\n"
        "3. else compare `Counter(ours)` with `Counter(theirs)`",
    ),
)


EXERCISES = [CALL_PROBLEMS, EVALUATE, RUN_AGENT, SAME_RESULT]
