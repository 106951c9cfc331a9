"""Exercises of lesson 4.9, Prompt engineering: build, fill, vote."""

from __future__ import annotations

import re
from collections import Counter

from course_utils.exercises import ch04_09b as search
from course_utils.exercises.engine import Exercise, Trial, Wrong

WORDS = ["amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty"]


# -- 4.9.1 a few-shot prompt -------------------------------------------------------------------


def few_shot(task: str, examples: list[tuple[str, str]], query: str) -> str:
    blocks = [task]
    blocks += [f"Text: {text}\nLabel: {label}" for text, label in examples]
    blocks.append(f"Text: {query}\nLabel:")
    return "\n\n".join(blocks)


def few_shot_by_adding(task, examples, query):
    prompt = task + "\n\n"
    for example in examples:
        prompt += "Text: " + example[0] + "\n"
        prompt += "Label: " + example[1] + "\n\n"
    return prompt + "Text: " + query + "\nLabel:"


def space_at_the_end(task, examples, query):
    return few_shot(task, examples, query) + " "


def indented(task, examples, query):
    return "\n".join("    " + line if line else line for line in _lines(task, examples, query))


def _lines(task, examples, query):
    return few_shot(task, examples, query).split("\n")


def no_gaps(task, examples, query):
    return few_shot(task, examples, query).replace("\n\n", "\n")


def other_form(task, examples, query):
    return few_shot(task, examples, query).removesuffix(f"Text: {query}\nLabel:") + query


def query_first(task, examples, query):
    return few_shot(task, [], query) + "\n\n" + few_shot(task, examples, query).split("\n\n", 1)[-1]


FEW_SHOT_MISTAKES = (
    (
        space_at_the_end,
        "A space after the last colon: the label's first token begins with that space itself, so "
        "the model would have to start in the middle of a word.",
    ),
    (indented, "Every line is indented: a triple-quoted text keeps the indentation of your code."),
    (no_gaps, "Put an empty line between the task, the examples and the question."),
    (other_form, "The question must have the form of the examples and end with 'Label:'."),
    (query_first, "The question comes last: the model continues what it read last."),
)


def check_few_shot(answer, t: Trial) -> None:
    for count in (0, 1, 3):
        words = t.rng.sample(WORDS, 2 * count + 2)
        pairs = [(f"{words[2 * i]} is fine", words[2 * i + 1]) for i in range(count)]
        case = (f"Sort into {words[-1]} or not.", pairs, f"what about {words[-2]}?")
        t.equal(
            t.call(answer, *case),
            few_shot(*case),
            says="The prompt is not the expected text.",
            mistakes=[(wrong(*case), sentence) for wrong, sentence in FEW_SHOT_MISTAKES],
        )
    t.passed("The text is right to the last character, with no, one and three examples")


FEW_SHOT = Exercise(
    id="4.9.1",
    title="A few-shot prompt, to the last character",
    difficulty="easy",
    minutes=6,
    statement="""
Build the prompt as one text:

- the task on the first line;
- each example as two lines, `Text: …` and `Label: …`;
- last the query as `Text: …` and a line with `Label:` and **nothing after the colon**;
- an empty line between these blocks, none at the end.
""",
    stub='''
def few_shot(task: str, examples: list[tuple[str, str]], query: str) -> str:
    """The prompt for a query, with worked (text, label) examples.

    >>> few_shot("Good or bad?", [("I like it", "good")], "I hate it")
    'Good or bad?\\\\n\\\\nText: I like it\\\\nLabel: good\\\\n\\\\nText: I hate it\\\\nLabel:'
    """
    raise NotImplementedError
''',
    name="few_shot",
    reference=few_shot,
    alternatives=(few_shot_by_adding,),
    wrong=(
        Wrong(space_at_the_end, "A space after the last colon"),
        Wrong(indented, "keeps the indentation of your code"),
        Wrong(no_gaps, "an empty line between"),
        Wrong(other_form, "the form of the examples"),
        Wrong(query_first, "The question comes last"),
    ),
    check=check_few_shot,
    hints=(
        "Make a list of blocks and join it; then no block has to know its neighbours.",
        "Without examples it is `task`, an empty line, `Text: query`, `Label:`.",
        'blocks = [task] + [one for each example] + [the query]; return "\\n\\n".join(blocks)',
    ),
)


# -- 4.9.2 fill a template ---------------------------------------------------------------------


def fill_template(template: str, values: dict[str, str]) -> str:
    if not values:
        return template
    names = "|".join(re.escape(name) for name in values)
    return re.sub(r"\{(" + names + r")\}", lambda found: values[found.group(1)], template)


def fill_by_scanning(template, values):
    result, place = [], 0
    while place < len(template):
        for name, value in values.items():
            mark = "{" + name + "}"
            if template.startswith(mark, place):
                result.append(value)
                place += len(mark)
                break
        else:
            result.append(template[place])
            place += 1
    return "".join(result)


def by_format(template, values):
    return template.format(**values)


def one_after_the_other(template, values):
    for name, value in values.items():
        template = template.replace("{" + name + "}", value)
    return template


def first_only(template, values):
    for name in values:
        template = template.replace("{" + name + "}", f"\x00{name}\x00", 1)
    for name, value in values.items():
        template = template.replace(f"\x00{name}\x00", value)
    return template


def unknown_become_empty(template, values):
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found.group(1), ""), template)


def check_fill(answer, t: Trial) -> None:
    a, b, c = t.rng.sample(WORDS, 3)
    template = f'Say {{{a}}} and {{{b}}}, {{{a}}} again, as {{"kind": "{c}"}}; leave {{{c}}}.'
    # each value holds the other's mark: it must not be filled in turn
    values = {a: f"one {{{b}}}", b: f'two {{"x": 1}} {{{a}}}'}
    try:
        got = t.call(answer, template, values)
    except (KeyError, ValueError, IndexError):
        got = None
    mistakes = (
        (
            one_after_the_other,
            "A mark inside a value was filled too: user text could pull in other parts of the "
            "prompt. Go through the template once.",
        ),
        (first_only, "A mark that occurs twice must be filled twice."),
        (unknown_become_empty, "Braces without a value of that name must stay as they are."),
    )
    t.equal(
        got,
        fill_template(template, values),
        says="The filled template is not the expected text.",
        mistakes=[(wrong(template, values), sentence) for wrong, sentence in mistakes],
    )
    t.equal(t.call(answer, template, {}), template, says="Without values nothing changes.")
    t.passed("JSON braces survive, marks inside values are not filled, repeated marks are")


FILL = Exercise(
    id="4.9.2",
    title="Fill a template that holds JSON",
    difficulty="medium",
    minutes=8,
    statement="""
A prompt with JSON in it cannot go through `str.format`: the first brace of the JSON is an error.
Replace every `{name}` whose name is a key of `values` by its value. Leave all other braces alone.
What a value contains is data: a `{name}` **inside a value** must not be filled.
""",
    stub='''
def fill_template(template: str, values: dict[str, str]) -> str:
    """The template with {name} replaced by values["name"], in one pass.

    >>> fill_template('Answer as {"label": "…"}: {text}', {"text": "I like {text}"})
    'Answer as {"label": "…"}: I like {text}'
    """
    raise NotImplementedError
''',
    name="fill_template",
    reference=fill_template,
    alternatives=(fill_by_scanning,),
    wrong=(
        Wrong(by_format, "KeyError"),
        Wrong(one_after_the_other, "A mark inside a value was filled too"),
        Wrong(first_only, "must be filled twice"),
        Wrong(unknown_become_empty, "must stay as they are"),
    ),
    check=check_fill,
    hints=(
        "Several calls of `replace` read what earlier calls wrote. One pass does not.",
        'Try the template "{a} {b}" with {"a": "{b}", "b": "x"}: expected "{b} x".',
        "`re.sub` with a function: the pattern is `\\{(name1|name2)\\}` with escaped names, the "
        "function looks the found name up in `values`.",
    ),
)


# -- 4.9.3 self-consistency --------------------------------------------------------------------


def vote(texts: list[str]) -> tuple[str | None, float]:
    found = [re.findall(r"-?\d+", text) for text in texts]
    answers = [numbers[-1] for numbers in found if numbers]
    if not answers:
        return None, 0.0
    answer, count = Counter(answers).most_common(1)[0]  # of equals the first that came
    return answer, count / len(texts)


def vote_by_sorting(texts):
    order, counts = [], {}
    for text in texts:
        numbers = re.findall(r"-?\d+", text)
        if not numbers:
            continue
        if numbers[-1] not in counts:
            order.append(numbers[-1])
        counts[numbers[-1]] = counts.get(numbers[-1], 0) + 1
    if not order:
        return (None, 0)
    best = sorted(order, key=lambda number: (-counts[number], order.index(number)))[0]
    return (best, counts[best] / len(texts))


def _with(texts, pick, ties=1, share_of_readable=False, drop_unreadable=True):
    answers = []
    for text in texts:
        numbers = re.findall(r"-?\d+", text)
        if numbers or not drop_unreadable:
            answers.append(pick(numbers) if numbers else None)
    if not answers:
        return None, 0.0
    counts = Counter(answers)
    top = max(counts.values())
    best = [answer for answer in counts if counts[answer] == top][0 if ties == 1 else -1]
    return best, top / (len([a for a in answers if a]) if share_of_readable else len(texts))


def first_number(texts):
    return _with(texts, lambda numbers: numbers[0])


def unreadable_vote(texts):
    return _with(texts, lambda numbers: numbers[-1], drop_unreadable=False)


def share_of_the_readable(texts):
    return _with(texts, lambda numbers: numbers[-1], share_of_readable=True)


def last_of_equals(texts):
    return _with(texts, lambda numbers: numbers[-1], ties=-1)


def no_minus(texts):
    return vote([text.replace("-", " ") for text in texts])


VOTE_MISTAKES = (
    (
        first_number,
        "You took the first number of each text: that is a step of the way, the answer is last.",
    ),
    (unreadable_vote, "A text without a number has no answer, so it must not win the vote."),
    (
        share_of_the_readable,
        "The share is of all texts: one readable answer of eight is no certainty.",
    ),
    (last_of_equals, "Of equally frequent answers take the one that came first."),
    (no_minus, "A number may have a minus sign."),
)


def check_vote(answer, t: Trial) -> None:
    a, b, c = t.rng.sample(range(11, 99), 3)
    cases = [
        [
            f"{c} + 1 is {a}",
            f"so {b}.",
            f"{c} less 2 makes {a}",
            f"{c} and {c}, hence {b} then {b}",
        ],
        ["I do not know", "hm", "no idea", f"{b}, I think: {a}"],
        [f"it is -{a}", f"{c} gives {a}", f"minus: -{a}"],
        ["who knows"],
    ]
    for texts in cases:
        expected = vote(texts)
        got = t.call(answer, texts)
        two = isinstance(got, (tuple, list)) and len(got) == 2
        t.that(two, "Return two values: (answer, share).")
        wrongs = [(wrong(texts), sentence) for wrong, sentence in VOTE_MISTAKES]
        t.equal(
            None if got[0] is None else str(got[0]),
            expected[0],
            says="That is not the winner of the vote.",
            mistakes=[(w[0], s) for w, s in wrongs],
        )
        t.close(
            got[1],
            expected[1],
            tolerance=1e-9,
            says="The answer is right, its share is not.",
            mistakes=[(w[1], s) for w, s in wrongs],
        )
    t.passed("Winner and share are right with ties, minus signs and unreadable texts")


VOTE = Exercise(
    id="4.9.3",
    title="Read the answers, take the vote",
    difficulty="medium",
    minutes=8,
    statement="""
You get several derivations of one problem. The answer of each is its **last** whole number (it may
have a minus sign). Return

1. the most frequent answer as text, of equals the one that came first; `None` if no text has a
   number;
2. its share of **all** texts. Texts without a number do not vote, but they count here.
""",
    stub='''
def vote(texts: list[str]) -> tuple[str | None, float]:
    """(winning answer, share of all texts that gave it).

    >>> vote(["3 + 4 = 7", "It is 8.", "7", "no idea"])
    ('7', 0.5)
    """
    raise NotImplementedError
''',
    name="vote",
    reference=vote,
    alternatives=(vote_by_sorting,),
    wrong=(
        Wrong(first_number, "the first number of each text"),
        Wrong(unreadable_vote, "must not win the vote"),
        Wrong(share_of_the_readable, "The share is of all texts"),
        Wrong(last_of_equals, "the one that came first"),
        Wrong(no_minus, "a minus sign"),
    ),
    check=check_vote,
    hints=(
        "Two steps: read an answer out of each text, then count.",
        '`vote(["no", "hm", "5"])` is `("5", 1/3)`.',
        "1. `re.findall(r'-?\\d+', text)`, keep the last\n2. `Counter(...).most_common(1)` keeps "
        "the order among equals\n3. divide by `len(texts)`",
    ),
)


# -- 4.9.4 a search that comes back; answers and check are in ch04_09b ------------------------

SEARCH = Exercise(
    id="4.9.4",
    title="A search that comes back",
    difficulty="hard",
    minutes=15,
    statement="""
Write the tree-of-thoughts search. Visit a state: if it is the goal, return the path from the root
to it and how many states were visited, the goal included. Otherwise take its children, keep the
`breadth` best by score (**prune**), and go on with the best of them. At a **dead end** go back to
the best child that still waits (**backtrack**). If nothing is left, return `([], visits)`.
""",
    stub='''
from collections.abc import Callable


def tree_search(
    root: str,
    children: Callable[[str], list[str]],
    score: Callable[[str], float],
    is_goal: Callable[[str], bool],
    breadth: int,
) -> tuple[list[str], int]:
    """(path from root to goal, number of visited states).

    >>> tree = {"r": ["a", "b"], "b": ["goal"]}
    >>> tree_search("r", lambda s: tree.get(s, []), {"a": 2, "b": 1, "goal": 0}.get,
    ...             lambda s: s == "goal", breadth=2)
    (['r', 'b', 'goal'], 4)
    """
    raise NotImplementedError
''',
    name="tree_search",
    reference=search.tree_search,
    alternatives=(search.search_by_recursion,),
    wrong=(
        Wrong(search.greedy, "stopped at a dead end"),
        Wrong(search.level_by_level, "level by level"),
        Wrong(search.worst_first, "highest score comes first"),
        Wrong(search.keeps_all, "best children of each"),
        Wrong(search.last_only, "the whole path"),
    ),
    check=search.check_search,
    hints=(
        "A stack of paths remembers both where to go back to and how one got there.",
        "With breadth 1 nothing waits, so the first dead end is the end: `([], visits)`.",
        "1. `stack = [[root]]`\n2. pop a path, count it, test its last state\n3. sort the "
        "children by score, keep `breadth`\n4. push them so that the best is popped first",
    ),
)


EXERCISES = [FEW_SHOT, FILL, VOTE, SEARCH]
