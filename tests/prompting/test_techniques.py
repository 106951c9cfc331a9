"""Voting, search, validation, labels and optimisation, with models that answer by a rule."""

from __future__ import annotations

import importlib.util
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from course_utils.prompting import (
    AdvancedPromptTechniques,
    InvalidOutput,
    PromptOptimizer,
    ask_for_data,
    classify,
    extract_number,
    find_json,
    majority,
    number_game,
    optimizer,
    read_label,
    self_consistency,
    tree_search,
)
from course_utils.prompting.labels import calibrated
from course_utils.prompting.validated import check_schema

_spec = importlib.util.spec_from_file_location("fake_llm", Path(__file__).with_name("fake_llm.py"))
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
FakeLLM = _module.FakeLLM


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 x 5 = 15", "15"),
        ("The answer is 1,250 of 3", "1250"),
        ("answer: -7. Check: 9", "-7"),
        ("#### 4.50 euros", "4.5"),
        ("so 2,5 or 3", "3"),
        ("none", None),
    ],
)
def test_numbers_are_read(text, number):
    assert extract_number(text) == number


def test_majority_by_hand():
    vote = majority(["7", None, "12", "7", "12", None, "3"])
    assert (vote.answer, vote.share) == ("7", 2 / 7)
    assert majority([None, None]).answer is None and majority([None]).share == 0


def test_self_consistency_samples_and_votes():
    llm = FakeLLM(lambda messages, seed: f"the answer is {5 if seed % 3 else 8}")
    [vote] = self_consistency(llm, ["p"], 7, seed=0)
    assert vote.counts == {"5": 4, "8": 3} and vote.answer == "5"
    assert [r.sampling.seed for r in llm.seen] == list(range(7))
    assert {r.sampling.temperature for r in llm.seen} == {0.7}
    with pytest.raises(ValueError, match="above 0"):
        self_consistency(llm, ["p"], 3, temperature=0)


def _every_board():
    for numbers in itertools.combinations_with_replacement(range(1, 6), 3):
        yield number_game.start(numbers)


def _search(board, score, **options):
    return tree_search(
        board, number_game.moves, score, lambda b: number_game.solved(b, 11), **options
    )


def test_complete_search_equals_brute_force_whatever_the_scores():
    rng = np.random.default_rng(7)
    for board in _every_board():
        found = _search(board, lambda states: rng.normal(size=len(states)), max_visits=10**4)
        assert (found.goal is not None) == number_game.solvable(board, 11), board
        if found.goal:
            assert found.path[0] == board and found.path[-1].numbers == (11,)
            assert all(b in number_game.moves(a) for a, b in itertools.pairwise(found.path))


def test_the_steps_of_a_solution_are_true():
    board = _search(number_game.start((2, 3, 5)), lambda s: [0] * len(s)).goal.state
    for step in board.steps:
        left, right = step.split(" = ")
        assert eval(left) == int(right)  # our own text, four signs


def test_exact_scores_need_no_backtracking_and_bad_ones_do():
    board = number_game.start((2, 3, 5))
    exact = _search(board, lambda states: [number_game.solvable(s, 11) for s in states])
    assert exact.visited == 3 and exact.backtracks == 0
    bad = _search(board, lambda states: [-float(number_game.solvable(s, 11)) for s in states])
    assert bad.backtracks > 0 and bad.visited > 3 and bad.goal is not None
    pruned = _search(
        board, lambda states: [-float(number_game.solvable(s, 11)) for s in states], breadth=1
    )
    assert pruned.goal is None and any(n.fate == "pruned" for n in pruned.nodes)


def test_threshold_budget_and_repeats():
    board = number_game.start((2, 3, 5))
    none = _search(board, lambda states: [0.0] * len(states), threshold=0.5)
    assert none.goal is None and none.visited == 1 and none.nodes[0].fate == "dead end"
    short = _search(board, lambda states: [0.0] * len(states), max_visits=2)
    assert short.visited == 2 and short.goal is None
    loop = tree_search(0, lambda s: [(s + 1) % 3], lambda s: [0] * len(s), lambda s: False)
    assert loop.visited == 3 and loop.nodes[-1].fate == "seen before"
    with pytest.raises(ValueError, match="2 numbers for"):
        _search(board, lambda states: [0.0, 0.0])


def test_the_class_searches_with_the_models_scores():
    class Knowing(FakeLLM):
        def log_probabilities(self, conversations, continuations):
            assert continuations == ["Yes", "No"]
            boards = [number_game.start(tuple(map(int, c.split()))) for c in conversations]
            return [[0.0, -float(number_game.solvable(b, 11))] for b in boards]

    advanced = AdvancedPromptTechniques(Knowing(lambda m, s: ""))
    root = number_game.start((2, 3, 5))
    solved = lambda board: number_game.solved(board, 11)  # noqa: E731
    found = advanced.tree_of_thoughts(root, number_game.moves, solved, str)
    assert found.visited == 3 and found.path[-1].numbers == (11,)


def test_the_class_votes_and_validates():
    said = FakeLLM(lambda messages, seed: '{"age": 7}')
    advanced = AdvancedPromptTechniques(said)
    assert advanced.self_consistent_answer("p", 3, seed=1).answer == "7"
    assert advanced.structured_output("t", "x", '{"age": 0}', SCHEMA).value == {"age": 7}


def test_game_moves_by_hand():
    assert [b.numbers for b in number_game.moves(number_game.start((6, 2)))] == [
        (8,),
        (4,),
        (12,),
        (3,),
    ]
    games = number_game.puzzles(5, size=3, target=12, seed=3)
    assert len(set(games)) == 5 and all(number_game.solvable(g, 12) for g in games)


SCHEMA = {
    "type": "object",
    "required": ["age"],
    "properties": {"age": {"type": "integer"}},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('Sure: {"a": {"b": [1, 2]}} done', {"a": {"b": [1, 2]}}),
        ("[1, 2] and {}", [1, 2]),
        ('use {x} like {"a": 1}', {"a": 1}),
    ],
)
def test_json_is_found(text, value):
    assert find_json(text) == value


@pytest.mark.parametrize(("text", "says"), [("no", "no JSON"), ('{"a": ', "broken")])
def test_json_that_is_not_there(text, says):
    with pytest.raises(InvalidOutput, match=says):
        find_json(text)


def test_schemas_of_both_kinds():
    class Person(BaseModel):
        age: int

    assert check_schema({"age": 3}, SCHEMA) == {"age": 3}
    assert check_schema({"age": 3}, Person).age == 3
    for value, says in (({"age": "x"}, "age"), ({}, "required"), ({"age": 1, "b": 2}, "b")):
        with pytest.raises(InvalidOutput, match=says):
            check_schema(value, SCHEMA)
    with pytest.raises(InvalidOutput, match="age"):
        check_schema({"age": "x"}, Person)


def test_retry_shows_the_fault_to_the_model():
    def rule(messages, seed):
        if len(messages) == 1:
            return "thirty" if "A" in messages[0]["content"] else '{"age": 4}'
        return '{"age": 30}' if "no JSON" in messages[-1]["content"] else "?"

    llm = FakeLLM(rule)
    first, second = ask_for_data(llm, ["A", "B"], SCHEMA)
    assert (first.value, first.attempts, second.attempts) == ({"age": 30}, 2, 1)
    assert first.texts == ("thirty", '{"age": 30}') and "no JSON" in first.errors[0]
    assert [m["role"] for m in llm.seen[2].messages] == ["user", "assistant", "user"]
    [never] = ask_for_data(FakeLLM(lambda messages, seed: ""), ["A"], SCHEMA, attempts=3)
    assert not never.valid and never.attempts == 3 and len(never.errors) == 3


def test_labels_are_whole_words():
    assert read_label("Unpositive? NEGATIVE.", ["positive", "negative"]) == "negative"
    assert read_label("praise, not billing", ["billing", "praise"]) == "praise"
    assert read_label("positively", ["positive"]) is None


def test_calibration_by_hand():
    raw = [[-1.0, -2.0], [-3.0, -3.0], [-2.0, -7.0]]
    assert np.allclose(np.mean(calibrated(raw), axis=0), 0, atol=1e-15)
    assert np.argmax(calibrated(raw), axis=1).tolist() == [1, 1, 0]


def test_likelihood_needs_a_model_that_gives_it():
    with pytest.raises(TypeError, match="does not give probabilities"):
        classify(FakeLLM(lambda m, s: ""), ["x"], ["a", "b"], by="likelihood")
    with pytest.raises(ValueError, match="two labels"):
        classify(FakeLLM(lambda m, s: ""), ["x"], ["a"])


CASES = [
    {"input": "I love this product!", "expected": "positive"},
    {"input": "This is terrible", "expected": "negative"},
    {"input": "It's okay, nothing special", "expected": "neutral"},
]


def _clever(messages, seed):
    """Right only when the prompt says which words may be answered."""
    text = messages[-1]["content"]
    if "Answer with one word" not in text:
        return "What a fine text."
    last = text.split("\n")[-1].lower()
    return "positive" if "love" in last else "negative" if "terrible" in last else "Neutral."


def test_refinement_keeps_the_edit_that_helps():
    tuner = PromptOptimizer(FakeLLM(_clever))
    assert tuner.evaluate_prompt("Classify the sentiment: {input}", CASES) == 0.0
    prompt, accuracy = tuner.iterative_refinement("Classify the sentiment: {input}", CASES)
    assert accuracy == 1.0
    assert prompt == (
        "Answer with one word: positive, negative or neutral.\n\nClassify the sentiment: {input}"
    )
    kept = [h["strategy"] for h in tuner.performance_history if h["kept"]]
    assert kept == ["as given", "Clarify the output format"]


def test_every_strategy_edits_and_repeats_nothing():
    shown = [{"input": "fine", "expected": "good"}]
    tuner = PromptOptimizer(FakeLLM(_clever), examples=shown, meanings={"good": "pleasant"})
    base = "Please determine the kind.\n\nText: {input}\nKind:"
    for strategy in optimizer.STRATEGIES:
        once = tuner.apply(strategy, base, ["good", "bad"])
        assert once != base and once.endswith("Text: {input}\nKind:") and once.count("{input}") == 1
        assert tuner.apply(strategy, once, ["good", "bad"]) == once
    prompt = base
    for strategy in optimizer.STRATEGIES:
        prompt = tuner.apply(strategy, prompt, ["good", "bad"])
    assert prompt == (
        "Say the kind.\n- good: pleasant\nAnswer with one word: good or bad.\n"
        "Choose exactly one. Do not explain your choice.\n\nText: fine\nKind: good\n\n"
        "Text: {input}\nKind:"
    )
    talk = optimizer.as_turns(prompt, "new")
    assert [m["role"] for m in talk] == ["system", "user", "assistant", "user"]
    assert talk[1]["content"] == "fine" and talk[-1]["content"] == "new"
    with pytest.raises(ValueError, match="unknown strategy"):
        tuner.apply("Shout", base, ["good", "bad"])


def test_the_test_cases_are_used_once_and_must_be_fresh():
    tuner = PromptOptimizer(FakeLLM(_clever), labels=["positive", "negative", "neutral"])
    base = "Classify the sentiment: {input}"
    best, _ = tuner.iterative_refinement(base, CASES)
    with pytest.raises(ValueError, match="1 test cases are dev cases"):
        tuner.report(base, best, CASES[:1])
    fresh = [
        {"input": "We love it", "expected": "positive"},
        {"input": "x", "expected": "negative"},
    ]
    report = tuner.report(base, best, fresh)
    assert report.base == (0.0, 0.0) and report.best == (1.0, 0.0)
    assert (report.base_dev, report.best_dev) == (0.0, 1.0)
    with pytest.raises(ValueError, match="used already"):
        tuner.report(base, best, fresh)


def test_braces_in_inputs_and_prompts_pass():
    seen = FakeLLM(lambda messages, seed: "positive")
    tuner = PromptOptimizer(seen, labels=["positive", "negative"])
    case = [{"input": "{input} {}", "expected": "positive"}]
    assert tuner.evaluate_prompt('Answer {"label": …}.\nText: {input}', case) == 1.0
    assert seen.seen[0].messages[0]["content"].endswith("Text: {input} {}")
    with pytest.raises(ValueError, match="no case"):
        tuner.evaluate_prompt("x", [])
    assert math.isnan(tuner._score_of("never seen"))
