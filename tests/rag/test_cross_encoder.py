"""A cross-encoder with random weights: sentence-transformers as the witness, order and limits."""

import numpy as np
import pytest
import torch

from course_utils import assets
from course_utils.rag.cross_encoder import CrossEncoder

QUESTIONS = ["How tall is the tower?", "Who dances?"]
TEXTS = [
    ["It has 330 metres.", "Bees dance. " * 9, "x"],
    ["A tower.", "Bees dance to show the way."],
]


def checkpoint(folder, labels=1):
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm-l6"))
    torch.manual_seed(0)
    recipe = BertConfig(
        vocab_size=len(tokenizer), hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=40, num_labels=labels, initializer_range=0.5,
    )  # fmt: skip
    BertForSequenceClassification(recipe).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("judge"))


def test_equal_to_sentence_transformers(folder):
    library = pytest.importorskip("sentence_transformers")
    theirs = library.CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    ours = CrossEncoder(folder, batch_size=2).scores_batch(QUESTIONS, TEXTS)
    for question, texts, own in zip(QUESTIONS, TEXTS, ours, strict=True):
        expected = theirs.predict([(question, text) for text in texts])
        np.testing.assert_allclose(own, expected, atol=1e-5)  # float32, another padding


def test_batches_and_company_do_not_matter(folder):
    alone = CrossEncoder(folder, batch_size=1)
    together = CrossEncoder(folder).scores_batch(QUESTIONS, TEXTS)
    for question, texts, own in zip(QUESTIONS, TEXTS, together, strict=True):
        np.testing.assert_allclose(alone.scores(question, texts), own, atol=1e-5)
        assert len(set(own.round(4))) == len(own)  # the text does matter


def test_the_question_is_never_cut(folder):
    judge = CrossEncoder(folder, max_tokens=16)
    long = "bees " * 40
    assert judge.scores(QUESTIONS[0], [long]) == pytest.approx(
        judge.scores(QUESTIONS[0], [long + "and towers"]), abs=1e-6
    )
    assert abs(judge.scores(QUESTIONS[0], [long]) - judge.scores("Why so?", [long])) > 1e-3


def test_no_texts_no_scores(folder):
    found = CrossEncoder(folder).scores_batch(["a", "b"], [[], ["x"]])
    assert [len(row) for row in found] == [0, 1]


def test_a_classifier_of_two_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="one output, got 2"):
        CrossEncoder(checkpoint(tmp_path, labels=2))


def test_none_is_bundled():
    with pytest.raises(assets.AssetError, match='MODELS = "hub"'):
        CrossEncoder()
