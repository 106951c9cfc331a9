"""The few-shot mind with a tiny random model: every call is valid whatever the model is."""

from __future__ import annotations

import re

import pytest
import torch

from course_utils.agents import copying, few_shot, loop, tasks
from course_utils.agents.decoding import Decoder, Written
from course_utils.agents.dev_tasks import dev_tasks
from course_utils.agents.small_model import ClosedBookMind, SmallModelMind
from course_utils.agents.trace import Step, Trace
from course_utils.prompting.automata import compile_regex
from course_utils.prompting.structured import constrained, schema_mask
from course_utils.prompting.token_mask import TokenMask, trie_of

TASKS = ["What is 347 times 29?", 'Who wrote "Cairo" in 1932?', "Sort pear and fig.", "Is ice hot?"]


def test_every_call_is_valid_and_runs_end(llm, box):
    mind = SmallModelMind(llm, box)
    found = loop.react_batch(mind, box, TASKS, loop.Limits(steps=4))
    for trace in found:
        assert trace.ended
        assert all(step.problem != "refused" for step in trace.steps), trace
        assert {step.name for step in trace.steps} <= {*box.names, "finish"}


def test_numbers_are_copied(llm, box):
    mind = SmallModelMind(llm, box)
    pattern = mind.pattern("calculator", Trace(TASKS[0]))
    assert re.fullmatch(pattern, "347 * 29")
    assert not re.fullmatch(pattern, "348 * 29")
    free = SmallModelMind(llm, box, copy=False).pattern("calculator", Trace(TASKS[0]))
    assert re.fullmatch(free, "348 * 29")


def test_without_tools_there_is_one_answer(llm):
    closed = ClosedBookMind(llm)
    found = loop.react_batch(closed, closed.tools, TASKS)
    assert [len(t.steps) for t in found] == [1] * 4 and all(t.answer for t in found)


def test_computed_results_are_read_next(llm, box):
    trace = Trace("t 1", [Step("", "calculator", {}, "42")])
    assert SmallModelMind(llm, box).choose([trace]) == ["finish"]
    failed = Trace(
        "t 1", [Step("", n, {}, "no", "failed") for n in ("calculator", "search", "python")]
    )
    assert SmallModelMind(llm, box).choose([failed]) == ["finish"]


def test_calibration_takes_the_prior_off(llm, box):
    mind = SmallModelMind(llm, box)
    scores = mind.type_scores(few_shot.CALIBRATION)
    # float32 sums of 12 log-probabilities
    assert scores.mean(0).abs().max() < 1e-4


def test_a_question_is_read_once(llm, box):
    mind = SmallModelMind(llm, box)
    first = mind.type_scores(TASKS[:2], calibrated=False)
    reads, mind._first_tokens = [], lambda which, texts, options: reads.append(texts)
    again = mind.type_scores([TASKS[1], TASKS[0], TASKS[1]], calibrated=False)
    assert not reads and torch.equal(again, first[[1, 0, 1]])


def test_a_forced_space_is_left_to_the_next_choice(llm):
    """After a lone space token a model writes digits; " cow" is one token."""
    mask = TokenMask(compile_regex(" (?:cow|12)\n"), trie_of(llm.tokenizer))
    row = Written(mask, 9)
    assert row.run_on() == []
    scores = torch.zeros(mask.trie.vocab_size)
    scores[llm.tokenizer.encode(" cow")[0]] = 5.0
    row.choose(scores, 0.0, None)
    assert row.text == " cow\n" and row.done and row.chosen == 1


def test_long_and_short_forced_spans_side_by_side(llm):
    """Rows that read a long span while others write: the same texts as alone."""
    patterns = [
        " (?:a|b) and then a long way that nobody chose [a-z]{7}\n",
        " [a-e]{7}\n",
        " (?:x|y)\n",
    ]
    masks = [TokenMask(compile_regex(p), trie_of(llm.tokenizer)) for p in patterns]
    prompts = [llm.tokenizer.encode(t) for t in ("One:", "Two more words:", "Three:")]
    decoder = Decoder(llm.model, llm.tokenizer.encode("Shared. "))
    together = decoder.write(prompts, masks)
    alone = [decoder.write([p], [m])[0] for p, m in zip(prompts, masks, strict=True)]
    assert [row.text for row in together] == [row.text for row in alone]
    assert [row.ids for row in together] == [row.ids for row in alone]


def test_rows_and_prefix_do_not_change_a_text(llm):
    """A batch with a shared prefix against ``structured.constrained``, one row at a time."""
    ids = llm.tokenizer.encode
    schemas = [{"enum": ["red", "green apple", "blue"]}, {"type": "integer"}, {"enum": ["one"]}]
    masks = [schema_mask(s, llm.tokenizer) for s in schemas]
    prefix, prompts = (
        ids("Some shared words before. "),
        [ids(t) for t in ("A b:", "Count the:", "C")],
    )
    batch = Decoder(llm.model, prefix).write(prompts, masks)
    again = Decoder(llm.model, prefix)
    for prompt, mask, got in zip(prompts, masks, batch, strict=True):
        alone = constrained(llm.model, [[*prefix, *prompt]], mask)[0]
        assert got.text == alone.text == again.write([prompt], [mask])[0].text
    with pytest.raises(ValueError, match="prompts"):
        again.write(prompts[:2], masks)
    with pytest.raises(ValueError, match="too small"):
        again.write(prompts, masks, max_new_tokens=1)


def test_copying_patterns():
    assert copying.numbers_in("1,875 and 2.5 and 1,875") == ["1875", "2.5"]
    spans = copying.spans('He said: "Ann Lee (poet), born 1932."', 3)
    assert re.fullmatch(spans, "Ann Lee") and re.fullmatch(spans, "born 1932")
    assert not re.fullmatch(spans, "Lee poet")
    spans = copying.spans(
        "Aruba: Its capital is Oranjestad", question="What is the capital of Aruba?"
    )
    assert [bool(re.fullmatch(spans, w)) for w in ("Oranjestad", "Aruba", "Its")] == [
        True,
        False,
        True,
    ]
    assert re.fullmatch(copying.spans("Aruba", question="Aruba?"), "Aruba")
    ends = copying.endings("Who wrote it?")
    assert re.fullmatch(ends, "wrote it") and not re.fullmatch(ends, "it")
    wide = copying.expression_pattern("(96 - 41) * 12")
    assert re.fullmatch(wide, "(96 - 41) * 12") and re.fullmatch(wide, "12 * 41 - 96")
    assert not re.fullmatch(wide, "96 - 41") and not re.fullmatch(wide, "96 * 96 * 12")  # each once
    mean = copying.expression_pattern("What is the mean of 2, 4 and 9?")
    assert re.fullmatch(mean, "(2 + 4 + 9) / 3") and not re.fullmatch(mean, "(2 + 4 + 9) / 2")
    area = copying.expression_pattern("3 by 5 square metres")
    assert not re.fullmatch(area, "3 ** 5")
    powers = [copying.expression_pattern(t) for t in ("2 to the power of 3", "2 and 3")]
    assert [bool(re.fullmatch(p, "2 ** 3")) for p in powers] == [True, False]
    with pytest.raises(ValueError, match="no word"):
        copying.spans("...")


def test_examples_are_not_authored_tasks():
    asked = {task.task for task in tasks.load_tasks()}
    assert not asked & {e.question for e in few_shot.EXAMPLES}
    assert not asked & set(few_shot.CALIBRATION)
    tried = {task.task for task in dev_tasks()}
    assert not tried & (asked | {e.question for e in few_shot.EXAMPLES} | set(few_shot.CALIBRATION))
    assert {task.kind for task in dev_tasks()} <= set(tasks.KINDS) and len(tried) == len(
        dev_tasks()
    )


def test_examples_are_true(box):
    """What the examples teach must be what the tools give."""
    for example in few_shot.EXAMPLES:
        if example.tool in ("calculator", "python"):
            name = few_shot.ARGUMENT[example.tool]
            result = box.call(example.tool, {name: example.argument})
            assert result.strip("[]").replace("'", "") == example.answer
        if example.then:
            assert box.call("calculator", {"expression": example.then}) == example.answer
