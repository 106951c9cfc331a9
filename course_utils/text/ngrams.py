"""Chapter 1 – N-gram language models: count, smooth, measure in bits, sample.

A model of order n predicts a word from the n - 1 words before it. All models here share the
padding, the vocabulary and the measures of :class:`NGramModel`; they differ in one method, the
probability of a word after a context. Words may be any hashable things: strings, token ids or
byte values.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
Word = Hashable
Context = tuple[Word, ...]


def ngrams(words: Sequence[Word], n: int) -> list[tuple[Word, ...]]:
    """All runs of ``n`` neighbours.

    >>> ngrams("a b c d".split(), 3)
    [('a', 'b', 'c'), ('b', 'c', 'd')]
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def choose_vocabulary(sentences: Iterable[Iterable[Word]], min_count: int = 1) -> set[Word]:
    """The words that occur at least ``min_count`` times; the rest will be ``<unk>``."""
    counts = Counter(word for sentence in sentences for word in sentence)
    return {word for word, count in counts.items() if count >= min_count}


class NGramModel:
    """What all n-gram models share; a subclass gives :meth:`_probability`.

    A sentence is scored with ``order - 1`` start marks before it and one end mark after it. The
    end mark is predicted like a word, the start mark never is. Words outside the vocabulary are
    read as ``<unk>``, so perplexities compare only between models of one vocabulary.

    Args:
        order: length of the n-grams, 1 = unigrams.

    Attributes:
        vocabulary: every word that can be predicted, ``<unk>`` and the end mark included.
        counts: ``counts[k][context][word]`` for contexts of k words, k = 0 … order - 1.
        totals: ``totals[k][context]``, the sum of these counts over all words.
    """

    def __init__(self, order: int) -> None:
        if not isinstance(order, int) or order < 1:
            raise ValueError(f"order must be a whole number of 1 or more, got {order!r}")
        self.order = order
        self.vocabulary: set[Word] = set()
        self.counts: list[dict[Context, dict[Word, int]]] = []
        self.totals: list[dict[Context, int]] = []

    def fit(
        self, sentences: Iterable[Sequence[Word]], vocabulary: Iterable[Word] | None = None
    ) -> NGramModel:
        """Count the n-grams of all orders up to ``order``.

        Args:
            sentences: sequences of words (not one string per sentence: split it first).
            vocabulary: the words to know; by default all that occur.

        Raises:
            TypeError: if a sentence is a string.
            ValueError: if there is no sentence.
        """
        sentences = [_checked(sentence) for sentence in sentences]
        if not sentences:
            raise ValueError("there is no sentence to learn from")
        known = choose_vocabulary(sentences) if vocabulary is None else set(vocabulary)
        self.vocabulary = known | {END, UNKNOWN}
        padded = [self._pad(sentence) for sentence in sentences]
        self.counts = [_nest(_count(padded, k + 1)) for k in range(self.order)]
        self.totals = [table_totals(table) for table in self.counts]
        self._ordered = sorted(self.vocabulary, key=str)  # set order differs between runs
        self._prepare()
        return self

    def _prepare(self) -> None:
        """Hook for tables that a subclass computes once after counting."""

    def _probability(self, word: Word, context: Context) -> float:
        raise NotImplementedError

    def probability(self, word: Word, context: Sequence[Word] = ()) -> float:
        """P(word | context), a number from 0 to 1.

        Args:
            word: any word; an unknown one is read as ``<unk>``.
            context: the words before it; the last ``order - 1`` count. With fewer words the
                model of the matching lower order answers (no start marks are added).
        """
        return self._probability(self._known(word), self._cut(context))

    def distribution(self, context: Sequence[Word] = ()) -> dict[Word, float]:
        """P(word | context) for every word of the vocabulary; the values sum to one."""
        context = self._cut(context)
        return {word: self._probability(word, context) for word in self.vocabulary}

    def bits(self, sentence: Sequence[Word]) -> list[float]:
        """Surprise -log2 P of each word and of the end mark; infinite where P is 0."""
        padded = self._pad(_checked(sentence))
        first = self.order - 1
        values = (
            self._probability(padded[i], tuple(padded[i - first : i]))
            for i in range(first, len(padded))
        )
        return [-math.log2(p) if p > 0 else math.inf for p in values]

    def entropy(self, context: Sequence[Word] = ()) -> float:
        """Uncertainty about the next word in bits: -sum p log2 p over the vocabulary."""
        return math.fsum(-p * math.log2(p) for p in self.distribution(context).values() if p > 0)

    def cross_entropy(self, sentences: Iterable[Sequence[Word]]) -> float:
        """Mean surprise in bits per word, end marks counted as words."""
        surprises = [bits for sentence in sentences for bits in self.bits(sentence)]
        if not surprises:
            raise ValueError("there is no sentence to score")
        return math.fsum(surprises) / len(surprises)

    def perplexity(self, sentences: Iterable[Sequence[Word]]) -> float:
        """2 to the cross-entropy: among how many equally likely words the model would choose."""
        entropy = self.cross_entropy(sentences)
        return 2.0**entropy if entropy < 1000 else math.inf

    def sample(
        self, rng: random.Random, prompt: Sequence[Word] = (), max_words: int = 50
    ) -> list[Word]:
        """Draw words one after the other until the end mark or ``max_words``.

        Args:
            rng: source of randomness.
            prompt: first words of the sentence; they are part of the result.
            max_words: how many words to add at most.
        """
        words = [START] * (self.order - 1) + [self._known(word) for word in prompt]
        for _ in range(max_words):
            distribution = self.distribution(words[max(0, len(words) - self.order + 1) :])
            word = rng.choices(self._ordered, [distribution[w] for w in self._ordered])[0]
            if word == END:
                break
            words.append(word)
        return words[self.order - 1 :]

    def _known(self, word: Word) -> Word:
        return word if word in self.vocabulary or word == START else UNKNOWN

    def _cut(self, context: Sequence[Word]) -> Context:
        words = tuple(self._known(word) for word in context)
        return words[max(0, len(words) - self.order + 1) :]

    def _pad(self, sentence: Sequence[Word]) -> list[Word]:
        return [START] * (self.order - 1) + [self._known(word) for word in sentence] + [END]


class AddK(NGramModel):
    """Add-k smoothing (k = 1: Laplace; k = 0: maximum likelihood, no smoothing at all).

    P(w | h) = (c(h w) + k) / (c(h) + k V), V = size of the vocabulary.

    With k = 0 a context that was never seen has no distribution: every word gets 0.

    Source: Jurafsky & Martin, Speech and Language Processing (3rd ed.), section 3.5.
    """

    def __init__(self, order: int, k: float = 1.0) -> None:
        super().__init__(order)
        if k < 0:
            raise ValueError(f"k must not be negative, got {k}")
        self.k = k

    def _probability(self, word: Word, context: Context) -> float:
        count = self.counts[len(context)].get(context, {}).get(word, 0)
        total = self._total(context)
        return (count + self.k) / total if total else 0.0

    def _total(self, context: Context) -> float:
        return self.totals[len(context)].get(context, 0) + self.k * len(self.vocabulary)

    def distribution(self, context: Sequence[Word] = ()) -> dict[Word, float]:
        """P(word | context) for every word, filled in from the words that were seen."""
        context = self._cut(context)
        total = self._total(context)
        values = dict.fromkeys(self.vocabulary, self.k / total if total else 0.0)
        for word, count in self.counts[len(context)].get(context, {}).items():
            values[word] = (count + self.k) / total
        return values


def _checked(sentence: Sequence[Word]) -> Sequence[Word]:
    if isinstance(sentence, str):
        raise TypeError(f"a sentence must be a sequence of words, got the string {sentence[:40]!r}")
    return list(sentence)


def _count(padded: Iterable[Sequence[Word]], n: int) -> Counter[tuple[Word, ...]]:
    """Frequency of each n-gram that does not end in a start mark."""
    counts: Counter[tuple[Word, ...]] = Counter()
    for words in padded:
        counts.update(zip(*(words[i:] for i in range(n)), strict=False))
    counts.pop((START,) * n, None)  # the only n-gram that can end in a start mark
    return counts


def _nest(counts: Counter[tuple[Word, ...]]) -> dict[Context, dict[Word, int]]:
    """{(a, b, c): 3} -> {(a, b): {c: 3}}."""
    nested: dict[Context, dict[Word, int]] = {}
    for gram, count in counts.items():
        nested.setdefault(gram[:-1], {})[gram[-1]] = count
    return nested


def table_totals(table: dict[Context, dict[Word, int]]) -> dict[Context, int]:
    """The sum of the counts after each context."""
    return {context: sum(words.values()) for context, words in table.items()}
