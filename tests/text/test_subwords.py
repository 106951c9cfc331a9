"""WordPiece and Unigram: by hand, by brute force, and against `tokenizers` and SentencePiece."""

import io
import itertools
import json
import math
import random

import pytest

from course_utils import assets
from course_utils.text.subwords import (
    unigram_expected_counts,
    unigram_segment,
    wordpiece,
    wordpiece_scores,
)


def all_cuts(text):
    for marks in itertools.product((False, True), repeat=max(len(text) - 1, 0)):
        ends = [i + 1 for i, mark in enumerate(marks) if mark] + [len(text)]
        yield [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def test_wordpiece_takes_the_longest_piece_and_gives_up_as_a_whole():
    vocabulary = {"hu", "hug", "##g", "##s", "##gs"}
    assert wordpiece("hugs", vocabulary) == ["hug", "##s"]
    assert wordpiece("hugx", vocabulary) == ["[UNK]"]
    assert wordpiece("h" * 101, {"h", "##h"}) == ["[UNK]"]
    assert wordpiece("", vocabulary) == []


def test_wordpiece_scores_by_hand():
    # Hugging Face course, chapter 6, part 6: ("##g", "##s") wins with 5 / (20 · 5) = 1/20
    words = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}
    split = {(w[0], *(f"##{c}" for c in w[1:])): n for w, n in words.items()}
    scores = wordpiece_scores(split)
    assert scores["##u", "##g"] == pytest.approx(20 / (36 * 20))
    assert max(scores, key=scores.get) == ("##g", "##s")
    assert scores["##g", "##s"] == pytest.approx(1 / 20)


def test_wordpiece_equals_minilms_tokenizer():
    from tokenizers import Tokenizer

    file = assets.path("minilm-l6") / "tokenizer.json"
    theirs = Tokenizer.from_file(str(file))
    theirs.no_truncation()
    theirs.no_padding()
    vocabulary = json.loads(file.read_text())["model"]["vocab"]
    text = "Tokenization of unbelievable hyperparameters: naïve Übermut, 猫 and ∀x. zzzxqj ☃☃"
    words = theirs.pre_tokenizer.pre_tokenize_str(theirs.normalizer.normalize_str(text))
    ours = [piece for word, _ in words for piece in wordpiece(word, vocabulary)]
    assert ours == theirs.encode(text, add_special_tokens=False).tokens


def test_unigram_by_hand():
    # P(h)=.1 P(u)=.2 P(g)=.05 P(hu)=.1 P(ug)=.3 P(hug)=.02: h|ug .03, hu|g .005, hug .02
    p = {"h": 0.1, "u": 0.2, "g": 0.05, "hu": 0.1, "ug": 0.3, "hug": 0.02}
    pieces, score = unigram_segment("hug", {k: math.log(v) for k, v in p.items()})
    assert pieces == ["h", "ug"]
    assert score == pytest.approx(math.log(0.03))
    assert unigram_segment("", {"a": 0.0}) == ([], 0.0)


def test_unknown_characters_are_refused_or_scored():
    with pytest.raises(ValueError, match="no cut"):
        unigram_segment("ax", {"a": -1.0})
    assert unigram_segment("ax", {"a": -1.0}, unknown=-20.0) == (["a", "x"], -21.0)


def test_viterbi_and_expected_counts_equal_brute_force():
    rng = random.Random(3)
    for _ in range(40):
        text = "".join(rng.choices("abc", k=7))
        pieces = {text[i:j] for i in range(7) for j in range(i + 1, 8) if rng.random() < 0.5}
        p = {piece: rng.random() for piece in sorted(pieces | set("abc"))}
        cuts = [cut for cut in all_cuts(text) if all(piece in p for piece in cut)]
        weights = [math.prod(p[piece] for piece in cut) for cut in cuts]
        logs = {piece: math.log(value) for piece, value in p.items()}
        best, score = unigram_segment(text, logs)
        assert math.prod(p[piece] for piece in best) == pytest.approx(max(weights))
        assert score == pytest.approx(math.log(max(weights)))
        counts, total = unigram_expected_counts(text, p)
        assert total == pytest.approx(sum(weights))
        for piece in p:
            used = sum(w * cut.count(piece) for w, cut in zip(weights, cuts, strict=True))
            assert counts.get(piece, 0.0) == pytest.approx(used / total)


def test_unigram_equals_sentencepiece():
    import sentencepiece

    rng = random.Random(17)
    stems = ["walk", "talk", "jump", "play", "work", "token", "model", "train", "count", "test"]
    ends = ["", "s", "ed", "ing", "er", "ers", "less", "able"]
    lines = [" ".join(rng.choice(stems) + rng.choice(ends) for _ in range(11)) for _ in range(307)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=61,
        model_type="unigram",
        num_threads=1,
        minloglevel=2,
    )
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    size = theirs.get_piece_size()
    logs = {
        theirs.id_to_piece(i): theirs.get_score(i)
        for i in range(size)
        if not theirs.is_control(i) and not theirs.is_unknown(i)
    }
    for line in lines[:101]:
        pieces, _ = unigram_segment("▁" + line.replace(" ", "▁"), logs)
        assert pieces == theirs.encode(line, out_type=str)
