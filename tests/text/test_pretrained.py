"""The static table of a bundled model: the model's own numbers, whole words only."""

import numpy as np
import pytest

from course_utils import assets
from course_utils.text.pretrained import input_embeddings


@pytest.fixture(scope="module")
def table():
    return input_embeddings("minilm-l6")


def test_rows_are_the_models_own(table):
    from transformers import AutoModel, AutoTokenizer

    folder = assets.path("minilm-l6")
    theirs = AutoModel.from_pretrained(folder).embeddings.word_embeddings.weight.detach().numpy()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for word in ("bank", "queen", "python"):
        row = tokenizer.convert_tokens_to_ids(word)
        np.testing.assert_array_equal(table[word], theirs[row])


def test_only_whole_words(table):
    assert all(word.isalpha() for word in table.words)
    assert "##ing" not in table
    assert "[CLS]" not in table
    assert len(table) > 20_000
