"""Synthetic data: overlaps by hand, a pool that grows, a judge that reads two scores."""

import pytest
import torch

from course_utils.tuning.instructions import InstructionDatasetBuilder
from course_utils.tuning.synthetic import (
    ask_for_instruction,
    judge_margins,
    keep_novel,
    word_overlap,
)


def test_overlap_by_hand():
    assert word_overlap("a b c", "b c d") == 0.5  # 2 of 4
    assert word_overlap("A b", "a B") == 1 and word_overlap("a", "b") == 0
    assert word_overlap("", "") == 0


def test_only_what_is_new_is_kept():
    # the second repeats the first, the third the pool, the fourth lies exactly at the limit
    candidates = ["a b", "B a", "x y", "a c", "d"]
    assert keep_novel(candidates, ["x y"], limit=1 / 3) == ["a b", "d"]
    assert keep_novel(candidates, ["x y"], limit=0.34) == ["a b", "a c", "d"]
    assert keep_novel([], ["a"]) == []


def test_the_prompt_shows_the_examples_in_order():
    (turn,) = ask_for_instruction(["Sing.", "Name a tree."])
    assert turn["role"] == "user"
    assert turn["content"].endswith("1. Sing.\n2. Name a tree.\n3.")


class Fixed:
    """A model whose scores after each prompt are given; remembers the prompts."""

    def __init__(self, scores):
        self.scores, self.seen, self.tokens = scores, [], torch.nn.Embedding(3, 2)

    def next_logits(self, ids):
        self.seen.append(ids[0].tolist())
        logits = torch.zeros(1, 49_152)
        for token, score in self.scores.items():
            logits[0, token] = score
        return logits


def test_the_judge_reads_yes_against_no():
    builder = InstructionDatasetBuilder()
    yes, no = (builder.tokenizer(word)["input_ids"][0] for word in ("Yes", "No"))
    model = Fixed({yes: 2.5, no: -1.0})
    pairs = [{"instruction": "Sing", "reply": "La"}, {"instruction": "Hum", "reply": "Mm"}]
    assert judge_margins(model, builder, pairs) == pytest.approx([3.5, 3.5])
    texts = [builder.tokenizer.decode(ids) for ids in model.seen]
    assert "Instruction: Sing\nReply: La\n" in texts[0] and "Reply: Mm" in texts[1]
    assert all(text.endswith("<|im_start|>assistant\n") for text in texts)
