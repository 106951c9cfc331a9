"""BLEU, chrF and ROUGE: numbers by hand, invariants, sacrebleu and rouge-score as oracles."""

import math
import random

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from course_utils.evaluation.bleu import (
    BleuStats,
    bleu_score,
    bleu_stats,
    brevity_penalty,
    corpus_bleu,
    sentence_bleu,
    tokenize_13a,
)
from course_utils.evaluation.chrf import corpus_chrf, sentence_chrf
from course_utils.evaluation.rouge import (
    lcs_length,
    lcs_places,
    rouge,
    rouge_l,
    rouge_lsum,
    rouge_n,
    rouge_tokens,
)

TIGHT = {"rel": 0, "abs": 1e-9}  # scores up to 100 in double precision; another order of sums
TEXT_OF_ALL = "the cat sat on a mat , and it's 3.14 no-one (here) looked ! Cats running generously"
WORDS = TEXT_OF_ALL.split()
TEXT = st.text("ab c.,-'1 2(é&<\n", max_size=23)
SENTENCE = st.lists(st.sampled_from(WORDS), max_size=11).map(" ".join)


def corpus(seed: int, size: int = 13) -> tuple[list[str], list[list[str]]]:
    """Random hypotheses, and for each of them three noisy copies as references."""
    rng = random.Random(seed)
    hypotheses, references = [], []
    for _ in range(size):
        words = rng.choices(WORDS, k=rng.randint(0, 17))
        hypotheses.append(" ".join(words))
        noisy = [[w for w in words if rng.random() < 0.8] + rng.choices(WORDS, k=2)] * 1
        noisy += [rng.sample(words, len(words)), rng.choices(WORDS, k=5)]
        references.append([" ".join(text) for text in noisy])
    return hypotheses, references


def streams(references: list[list[str]]) -> list[list[str]]:
    """What sacrebleu wants: one list per reference, each as long as the corpus."""
    return [list(column) for column in zip(*references, strict=True)]


# -- BLEU ----------------------------------------------------------------------------------------


def test_bleu_by_hand():
    # Papineni et al., section 2.1, example 2: seven times "the" against a reference with two
    stats = bleu_stats("the the the the the the the", ["the cat is on the mat"])
    assert stats == BleuStats(7, 6, (2, 0, 0, 0), (7, 6, 5, 4))
    stats = bleu_stats("a b c d e", ["a b c d x y"])
    assert stats == BleuStats(5, 6, (4, 3, 2, 1), (5, 4, 3, 2))
    product = (4 / 5) * (3 / 4) * (2 / 3) * (1 / 2)
    expected = 100 * math.exp(1 - 6 / 5) * product**0.25
    assert bleu_score(stats, smoothing="none").score == pytest.approx(expected, **TIGHT)
    assert brevity_penalty(5, 6) == pytest.approx(math.exp(-0.2))


def test_a_corpus_is_not_the_mean_of_its_sentences():
    hypotheses, references = ["a b c d", "x"], [["a b c d"], ["y"]]
    assert corpus_bleu(hypotheses, references).score == pytest.approx(100 * (4 / 5) ** 0.25)
    assert sum(sentence_bleu(h, r).score for h, r in zip(hypotheses, references, strict=True)) == (
        pytest.approx(100)
    )


@pytest.mark.parametrize("tokenize", ["13a", "none", "char"])
@pytest.mark.parametrize(
    ("smoothing", "value"),
    [("exp", None), ("none", None), ("floor", None), ("floor", 0.3), ("add-k", None), ("add-k", 2)],
)
def test_bleu_equals_sacrebleu(tokenize, smoothing, value):
    for seed in range(5):
        hypotheses, references = corpus(seed)
        options = {"smooth_method": smoothing, "smooth_value": value, "tokenize": tokenize}
        ours = corpus_bleu(
            hypotheses, references, tokenize=tokenize, smoothing=smoothing, value=value
        )
        theirs = BLEU(**options).corpus_score(hypotheses, streams(references))
        assert ours.score == pytest.approx(theirs.score, **TIGHT)
        assert ours.precisions == pytest.approx(theirs.precisions, **TIGHT)
        assert ours.brevity_penalty == pytest.approx(theirs.bp, **TIGHT)
        for hypothesis, several in zip(hypotheses, references, strict=True):
            one = sentence_bleu(
                hypothesis, several, tokenize=tokenize, smoothing=smoothing, value=value
            )
            theirs = BLEU(effective_order=True, **options).sentence_score(hypothesis, several)
            assert one.score == pytest.approx(theirs.score, **TIGHT)


@given(TEXT)
def test_tokens_equal_sacrebleu(text):
    assert tokenize_13a(text) == Tokenizer13a()(text).split()


def test_every_ascii_character_is_cut_like_sacrebleu():
    for code in range(32, 127):
        for text in (f"a{chr(code)}b", f"1{chr(code)}2", f"{chr(code)} &quot;", f"x{chr(code)}"):
            assert tokenize_13a(text) == Tokenizer13a()(text).split(), text


@settings(max_examples=50)
@given(SENTENCE, st.lists(SENTENCE, min_size=1, max_size=3))
def test_bleu_properties(hypothesis, references):
    score = sentence_bleu(hypothesis, references).score
    assert 0 <= score <= 100 + 1e-9
    more = bleu_stats(hypothesis, [*references, hypothesis]).matches
    assert all(
        a >= b for a, b in zip(more, bleu_stats(hypothesis, references).matches, strict=True)
    )
    if hypothesis:
        assert sentence_bleu(hypothesis, [hypothesis]).score == pytest.approx(100)


def test_sums_add_up_and_survive_a_row():
    first, second = bleu_stats("a b c", ["a b"]), bleu_stats("x y", ["x z y"])
    both = first + second
    assert both == BleuStats(5, 5, (4, 1, 0, 0), (5, 3, 1, 0))
    assert BleuStats.from_row(both.row()) == both


def test_bleu_refuses():
    with pytest.raises(TypeError, match="one string"):
        bleu_stats("a", "a")
    with pytest.raises(ValueError, match="at least one reference"):
        bleu_stats("a", [])
    with pytest.raises(ValueError, match="tokenize must be one of 13a"):
        bleu_stats("a", ["a"], tokenize="moses")
    with pytest.raises(ValueError, match="smoothing must be one of"):
        bleu_score(bleu_stats("a", ["a"]), smoothing="laplace")
    with pytest.raises(ValueError, match="2 hypotheses and 1"):
        corpus_bleu(["a", "b"], [["a"]])


# -- chrF ----------------------------------------------------------------------------------------


def test_chrf_by_hand():
    # "abc" against "abd": 1-grams 2 of 3, 2-grams 1 of 2, 3-grams 0 of 1, longer ones do not exist
    mean = (2 / 3 + 1 / 2 + 0) / 3
    assert sentence_chrf("abc", ["abd"]) == pytest.approx(100 * mean, **TIGHT)
    # "ab" against "abcd", one letter at a time: P = 1, R = 1/2, beta = 2: F = 5 P R / (4 P + R)
    assert sentence_chrf("ab", ["abcd"], char_order=1) == pytest.approx(100 * 2.5 / 4.5, **TIGHT)


@pytest.mark.parametrize("word_order", [0, 2])
@pytest.mark.parametrize("beta", [2, 3])
def test_chrf_equals_sacrebleu(word_order, beta):
    theirs = sacrebleu.CHRF(word_order=word_order, beta=beta)
    for seed in range(5):
        hypotheses, references = corpus(seed)
        hypotheses.append("a long text against a short one")
        references.append(["ab", "a", "on"])  # no 3-grams here to find any of
        ours = corpus_chrf(hypotheses, references, word_order=word_order, beta=beta)
        expected = theirs.corpus_score(hypotheses, streams(references)).score
        assert ours == pytest.approx(expected, **TIGHT)
        for hypothesis, several in zip(hypotheses, references, strict=True):
            ours = sentence_chrf(hypothesis, several, word_order=word_order, beta=beta)
            expected = theirs.sentence_score(hypothesis, several).score
            assert ours == pytest.approx(expected, **TIGHT)


@settings(max_examples=50)
@given(TEXT, TEXT)
def test_chrf_properties(first, second):
    score = sentence_chrf(first, [second])
    assert 0 <= score <= 100 + 1e-9
    assert score == pytest.approx(
        sentence_chrf(second, [first], beta=2) if first == second else score
    )
    assert sentence_chrf(first, [second], beta=1) == pytest.approx(
        sentence_chrf(second, [first], beta=1)  # F1 is symmetric
    )
    if first.split():
        assert sentence_chrf(first, [first]) == pytest.approx(100)


def test_chrf_refuses():
    with pytest.raises(TypeError, match="one string"):
        sentence_chrf("a", "a")
    with pytest.raises(ValueError, match="at least one reference"):
        sentence_chrf("a", [])
    with pytest.raises(ValueError, match="1 hypotheses and 2"):
        corpus_chrf(["a"], [["a"], ["b"]])


# -- ROUGE ---------------------------------------------------------------------------------------


def test_rouge_by_hand():
    # Lin 2004, section 3.1: both candidates share "the gunman" and "police" in different order
    reference = ["police", "killed", "the", "gunman"]
    assert rouge_l(["police", "kill", "the", "gunman"], reference).recall == 3 / 4
    assert rouge_l(["the", "gunman", "kill", "police"], reference).recall == 2 / 4
    assert rouge_n(["police", "kill", "the", "gunman"], reference, 2) == (1 / 3, 1 / 3, 1 / 3)
    assert rouge_n(["a", "a", "a"], ["a", "b"], 1) == (1 / 3, 1 / 2, 0.4)  # clipped


@pytest.mark.parametrize("stem", [False, True])
def test_rouge_equals_rouge_score(stem):
    kinds = ["rouge1", "rouge2", "rouge3", "rougeL", "rougeLsum"]
    theirs = RougeScorer(kinds, use_stemmer=stem)
    for seed in range(3):
        for summary, references in zip(*corpus(seed), strict=True):
            summary, *references = (text.replace(" a ", "\n") for text in (summary, *references))
            ours = rouge(summary, references[0], kinds=kinds, stem=stem)
            expected = theirs.score(references[0], summary)
            several = rouge(summary, references, kinds=kinds, stem=stem)
            most = theirs.score_multi(references, summary)
            for kind in kinds:
                assert ours[kind] == pytest.approx(tuple(expected[kind]), **TIGHT)
                assert several[kind] == pytest.approx(tuple(most[kind]), **TIGHT)


def test_rouge_lsum_by_hand():
    # Lin 2004, section 3.2: w1 w2 is shared with the first sentence, w1 w3 w5 with the second,
    # so four of the five words of the reference are covered
    reference, summary = [[1, 2, 3, 4, 5]], [[1, 2, 6, 7, 8], [1, 3, 8, 9, 5]]
    assert rouge_lsum(summary, reference) == pytest.approx((4 / 10, 4 / 5, 8 / 15))
    assert rouge_lsum([[1], [1]], [[1], [1]]) == (1, 1, 1)
    assert rouge_lsum([[1]], [[1], [1]]).recall == 1 / 2  # one word cannot cover two


def brute_lcs(first, second):
    """Longest common subsequence by trying all subsequences of the first."""
    best = 0
    for bits in range(2 ** len(first)):
        chosen = [x for i, x in enumerate(first) if bits >> i & 1]
        rest = iter(second)
        if all(x in rest for x in chosen):
            best = max(best, len(chosen))
    return best


@settings(max_examples=60)
@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_lcs_equals_brute_force_and_is_symmetric(first, second):
    length = lcs_length(first, second)
    assert length == brute_lcs(first, second) == lcs_length(second, first)
    found = [first[i] for i in lcs_places(first, second)]
    rest = iter(second)
    assert len(found) == length
    assert all(letter in rest for letter in found)


@settings(max_examples=50)
@given(SENTENCE, SENTENCE)
def test_rouge_properties(first, second):
    there, back = rouge(first, second), rouge(second, first)
    for kind in there:
        assert all(0 <= x <= 1 for x in there[kind])
        assert there[kind].precision == back[kind].recall
        assert there[kind].f1 == pytest.approx(back[kind].f1)
    if rouge_tokens(first):
        assert rouge(first, first)["rougeL"] == (1, 1, 1)


def test_rouge_refuses():
    with pytest.raises(ValueError, match="rouge1"):
        rouge("a", "a", kinds=["rouge0"])
    with pytest.raises(ValueError, match="at least one reference"):
        rouge("a", [])
