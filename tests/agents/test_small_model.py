"""The few-shot mind with a tiny random model: every call is valid whatever the model is."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import torch

from course_utils import assets
from course_utils.agents import copying, few_shot, loop, tasks
from course_utils.agents.decoding import Decoder
from course_utils.agents.small_model import ClosedBookMind, SmallModelMind
from course_utils.agents.trace import Step, Trace
from course_utils.prompting.structured import constrained, schema_mask


@pytest.fixture(scope="module")
def llm():
    """SmolLM2's tokenizer with a model of one small random layer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from course_utils.nn.llama import Llama

    tokenizer = AutoTokenizer.from_pretrained(assets.path("smollm2-135m-instruct"))
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=2048,
        tie_word_embeddings=True,
    )  # fmt: skip
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        LlamaForCausalLM(config).save_pretrained(folder)
        model = Llama.from_pretrained(folder)
    return SimpleNamespace(model=model.eval(), tokenizer=tokenizer)


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
    schema = mind.call_schema("calculator", Trace(TASKS[0]))
    pattern = schema["properties"]["arguments"]["properties"]["expression"]["pattern"]
    assert re.fullmatch(pattern[1:-1], "347 * 29")
    assert not re.fullmatch(pattern[1:-1], "348 * 29")


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
    powers = [copying.expression_pattern(t) for t in ("2 to the power of 3", "2 and 3")]
    assert [bool(re.fullmatch(p, "2 ** 3")) for p in powers] == [True, False]
    with pytest.raises(ValueError, match="no word"):
        copying.spans("...")


def test_examples_are_not_authored_tasks():
    asked = {task.task for task in tasks.load_tasks()}
    assert not asked & {e.question for e in few_shot.EXAMPLES}
    assert not asked & set(few_shot.CALIBRATION)


def test_examples_are_true(box):
    """What the examples teach must be what the tools give."""
    for example in few_shot.EXAMPLES:
        if example.tool in ("calculator", "python"):
            name = few_shot.ARGUMENT[example.tool]
            result = box.call(example.tool, {name: example.argument})
            assert result.strip("[]").replace("'", "") == example.answer
        if example.then:
            assert box.call("calculator", {"expression": example.then}) == example.answer
