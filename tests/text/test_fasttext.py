"""FastText: n-grams by hand, hashes and n-grams against gensim, unseen words."""

import numpy as np
import pytest
import torch

from course_utils.text.cooccurrence import Vocabulary
from course_utils.text.embeddings import Word2VecOptions
from course_utils.text.fasttext import (
    SubwordLayer,
    Subwords,
    character_ngrams,
    fnv1a,
    train_fasttext,
)

WORDS = ["where", "a", "naïve", "изба", "uncharacteristically", "日本"]


def test_ngrams_of_the_paper():
    # section 3.2 of the paper: "where" with n = 3
    assert character_ngrams("where", 3, 3) == ["<wh", "whe", "her", "ere", "re>"]


@pytest.mark.parametrize("word", [w for w in WORDS if len(w) > 1])
def test_ngrams_agree_with_gensim(word):
    from gensim.models.fasttext_inner import compute_ngrams

    theirs = set(compute_ngrams(word, 3, 6)) - {f"<{word}>"}  # gensim keeps the whole word too
    assert set(character_ngrams(word)) == theirs


def test_short_words_and_bad_sizes():
    assert character_ngrams("a") == []
    assert character_ngrams("a", 2, 2) == ["<a", "a>"]
    with pytest.raises(ValueError, match="got 4 and 3"):
        character_ngrams("word", 4, 3)


@pytest.mark.parametrize("text", [*WORDS, "", "<wh"])
def test_hash_agrees_with_gensim(text):
    from gensim.models.fasttext_inner import ft_hash_bytes

    assert fnv1a(text) == ft_hash_bytes(text.encode("utf-8"))


def test_hash_of_ascii_is_the_published_fnv1a():
    assert fnv1a("") == 0x811C9DC5
    assert fnv1a("a") == 0xE40C292C  # test vector of the hash's authors
    assert fnv1a("foobar") == 0xBF9CF968


@pytest.fixture
def subwords():
    return Subwords(Vocabulary(("walk", "walked", "talk"), np.array([3, 2, 1])), 3, 4, buckets=97)


def test_rows_of_known_and_unknown_words(subwords):
    known, unknown = subwords.of("walk"), subwords.of("walking")
    assert known[0] == 0
    assert len(known) == 1 + len(character_ngrams("walk", 3, 4))
    assert all(3 <= row < 100 for row in [*known[1:], *unknown])
    assert subwords.rows == 100


def test_layer_puts_words_together_from_pieces(subwords):
    layer = SubwordLayer(subwords, 5, torch.Generator().manual_seed(0))
    batch = torch.tensor([2, 0, 2, 1])
    expected = [layer.table[subwords.of(subwords.vocabulary.words[i])].mean(0) for i in batch]
    torch.testing.assert_close(layer.forward(batch), torch.stack(expected))


def test_each_piece_gets_the_whole_change_and_repeats_add_up(subwords):
    layer = SubwordLayer(subwords, 5, torch.Generator().manual_seed(0))
    batch, change = torch.tensor([2, 0, 2]), torch.randn(3, 5)
    expected = layer.table.clone()
    for word, row_change in zip(batch.tolist(), change, strict=True):
        for row in subwords.of(subwords.vocabulary.words[word]):
            expected[row] += row_change
    layer.update(batch, change)
    torch.testing.assert_close(layer.table, expected)


@pytest.fixture(scope="module")
def model():
    """Stems decide the topic: words in -berry and words in -stone never meet."""
    rng = np.random.default_rng(0)
    starts = ["rasp", "blue", "straw", "cran", "goose"], ["lime", "sand", "mile", "flag", "grind"]
    words = [
        [s + end for s in group] for group, end in zip(starts, ("berry", "stone"), strict=True)
    ]
    text = [rng.choice(words[topic], 7).tolist() for topic in rng.integers(0, 2, 300)]
    vocabulary = Vocabulary.build(text, min_count=1)
    options = Word2VecOptions(dim=7, epochs=3, sample=0.0, batch_size=31, shared_noise=13)
    return train_fasttext(vocabulary.encode(text), vocabulary, options, buckets=997)


def test_unseen_words_get_a_sensible_vector(model):
    table = model.vectors(["raspberry", "limestone", "blackberry", "cobblestone"])
    assert table.similarity("blackberry", "raspberry") > table.similarity("blackberry", "limestone")
    assert table.similarity("cobblestone", "limestone") > table.similarity(
        "cobblestone", "raspberry"
    )
    assert model.losses[-1] < model.losses[0]


def test_table_of_the_vocabulary_is_the_layers(model):
    table = model.vectors()
    assert table.words == model.subwords.vocabulary.words
    np.testing.assert_allclose(table["raspberry"], model.vector("raspberry"), atol=0)


def test_a_word_without_pieces_has_no_vector(model):
    with pytest.raises(KeyError, match="'b' is unknown"):
        model.vector("b")
