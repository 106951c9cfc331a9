"""Byte-pair encoding: ours against the naive algorithm and against the `tokenizers` library.

Run with ``python -m bench.bpe``. Every row compares the same work on the same text; times are
medians of runs taken in turns, one thread.
"""

from __future__ import annotations

import os

from bench._turns import Row, in_turns

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

MERGES = 1000
NAIVE_CHARACTERS = 300_000
REPEATS = 3
RANDOM_STRINGS = 10_000


def rows() -> list[Row]:
    """One dictionary a row: name, ours, other, ratio (above 1: ours is better), unit."""
    from course_utils import corpora

    texts = corpora.wikipedia()["text"]
    return [
        _training_against_naive(texts),
        _training_against_library(texts),
        _encoding(texts, warm=False),
        _encoding(texts, warm=True),
        _random_unicode(),
    ]


def _row(name: str, ours: float, other: float, ratio: float, unit: str) -> Row:
    return {"name": name, "ours": ours, "other": other, "ratio": ratio, "unit": unit}


def _training_against_naive(texts: list[str]) -> Row:
    """Merging only, on the same word counts; the merges must be equal."""
    from course_utils.text.bpe_training import count_pieces, learn_merges, naive_merges
    from course_utils.text.pretokenization import GPT2_PATTERN, PreTokenizer

    part, size = _first(texts, NAIVE_CHARACTERS), 256 + MERGES
    words = count_pieces(part, PreTokenizer.from_pattern(GPT2_PATTERN).split)
    (ours,) = in_turns(lambda: learn_merges(words, size), repeats=REPEATS)
    (naive,) = in_turns(lambda: naive_merges(words, size), repeats=1)
    if learn_merges(words, size) != naive_merges(words, size)[0]:
        raise AssertionError("the two algorithms found different merges")
    return _row(f"BPE training, {MERGES} merges, vs naive recount", ours, naive, naive / ours, "s")


def _training_against_library(texts: list[str]) -> Row:
    from course_utils.text.tokenization import BPETokenizer

    size = 8256
    ours, theirs = in_turns(
        lambda: BPETokenizer.train(texts, size),
        lambda: _train_library(texts, size),
        repeats=REPEATS,
    )
    return _row(
        "BPE training, 8,000 merges, vs tokenizers (Rust)", ours, theirs, theirs / ours, "s"
    )


def _train_library(texts: list[str], size: int) -> object:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _encoding(texts: list[str], *, warm: bool) -> Row:
    """SmolLM2's tokenizer over all of Wikipedia; cold = with an empty cache of words."""
    from tokenizers import Tokenizer

    from course_utils import assets
    from course_utils.text.tokenization import BPETokenizer

    file = assets.path("smollm2-135m-instruct") / "tokenizer.json"
    theirs = Tokenizer.from_file(str(file))
    tokenizer = BPETokenizer.from_hf(file)
    if warm:
        _encode_all(tokenizer, texts)
    seconds = in_turns(
        lambda: _encode_all(tokenizer, texts),
        lambda: theirs.encode_batch_fast(texts),
        repeats=REPEATS if warm else 1,  # the second run would find its words in the cache
    )
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    ours, library = (megabytes / value for value in seconds)
    name = f"BPE encoding, {'warm' if warm else 'cold'} cache, vs tokenizers (Rust)"
    return _row(name, ours, library, ours / library, "MB/s")


def _encode_all(tokenizer, texts: list[str]) -> None:
    for text in texts:
        tokenizer.encode(text)


def _random_unicode() -> Row:
    """Share of random Unicode strings with the ids of SmolLM2's own tokenizer: must be 1."""
    from hypothesis import given, settings
    from hypothesis import strategies as st
    from tokenizers import Tokenizer

    from course_utils import assets
    from course_utils.text.tokenization import BPETokenizer

    file = assets.path("smollm2-135m-instruct") / "tokenizer.json"
    ours, theirs = BPETokenizer.from_hf(file), Tokenizer.from_file(str(file))
    tried = []

    @settings(max_examples=RANDOM_STRINGS, deadline=None, database=None)
    @given(st.text())
    def same_ids(text: str) -> None:
        tried.append(text)
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids

    same_ids()
    name = f"equal ids on {len(tried):,} random Unicode strings"
    return _row(name, float(len(tried)), float(len(tried)), 1.0, "strings")


def _first(texts: list[str], characters: int) -> list[str]:
    """The first texts, about so many characters."""
    kept, size = [], 0
    for text in texts:
        if size >= characters:
            break
        kept.append(text)
        size += len(text)
    return kept


if __name__ == "__main__":
    for row in rows():
        print(
            f"{row['name']:<55} ours {row['ours']:>10.3f}  other {row['other']:>10.3f} "
            f"{row['unit']:<8} ratio {row['ratio']:.2f}"
        )
