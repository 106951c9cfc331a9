"""Chapter 1 – Smoothing of n-gram models: stupid backoff, Katz, Kneser-Ney.

Add-k gives unseen words a share that has nothing to do with them. The models here ask a shorter
context instead: they differ in how much is taken from the words that were seen (the discount)
and in what the shorter context is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from course_utils.text.ngrams import START, Context, NGramModel, Word, table_totals

Table = dict[Context, dict[Word, int]]


class StupidBackoff(NGramModel):
    """Stupid backoff: relative frequency where seen, else ``alpha`` times the shorter context.

    S(w | h) = c(h w) / c(h) if c(h w) > 0, else alpha S(w | h').

    The scores do not sum to one. :meth:`score` gives them; :meth:`probability` divides by their
    sum, so that perplexities can be compared. Words of count 0 keep probability 0.

    Source: Brants et al. (2007), equation 5.
    """

    def __init__(self, order: int, alpha: float = 0.4) -> None:
        super().__init__(order)
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha must be above 0 and at most 1, got {alpha}")
        self.alpha = alpha

    def _prepare(self) -> None:
        self._sums: dict[Context, float] = {}

    def score(self, word: Word, context: Sequence[Word] = ()) -> float:
        """S(word | context) of Brants et al., not normalised."""
        return self._score(self._known(word), self._cut(context))

    def _score(self, word: Word, context: Context) -> float:
        weight = 1.0
        while True:
            seen = self.counts[len(context)].get(context, {})
            if word in seen:
                return weight * seen[word] / self.totals[len(context)][context]
            if not context:
                return 0.0
            weight, context = weight * self.alpha, context[1:]

    def score_sum(self, context: Context) -> float:
        """The sum of the scores of all words after ``context``."""
        if not context:
            return 1.0
        if context not in self._sums:
            shorter = context[1:]
            seen = self.counts[len(context)].get(context, {})
            taken = sum(self._score(word, shorter) for word in seen)
            rest = self.alpha * (self.score_sum(shorter) - taken)
            self._sums[context] = (1.0 if seen else 0.0) + rest
        return self._sums[context]

    def _probability(self, word: Word, context: Context) -> float:
        return self._score(word, context) / self.score_sum(context)


class Katz(NGramModel):
    """Katz backoff with Good-Turing discounts for counts up to 5.

    P(w | h) = d_c c(h w) / c(h) if c = c(h w) > 0, else a(h) P(w | h'), where a(h) shares what
    the discounts d_c free among the words not seen after h. Below unigrams lies the uniform
    distribution.

    Source: Katz (1987), equations 14-20. Differs from the paper: where all words after a context
    were seen more than 5 times, nothing would be free; absolute discounting stands in there.
    """

    LIMIT = 5

    def _prepare(self) -> None:
        self._discounts = [good_turing_discounts(table, self.LIMIT) for table in self.counts]
        self._uniform = 1.0 / len(self.vocabulary)
        self._shares: dict[Context, dict[Word, float]] = {}
        self._left: dict[Context, float] = {}
        for k, table in enumerate(self.counts):
            for context, words in table.items():
                self._add_context(context, words, self._discounts[k])

    def _add_context(
        self, context: Context, words: dict[Word, int], discounts: dict[int, float]
    ) -> None:
        """The discounted share of each seen word, and the factor for all others."""
        total = self.totals[len(context)][context]
        if min(words.values()) > self.LIMIT:
            discounts = {count: 1 - 0.5 / count for count in words.values()}
        if len(words) == len(self.vocabulary):
            discounts = {}  # nobody is unseen, so nothing is taken away
        shares = {w: discounts.get(count, 1.0) * count / total for w, count in words.items()}
        unseen = 1.0 - sum(self._shorter(word, context) for word in words)
        self._shares[context] = shares
        self._left[context] = (1.0 - sum(shares.values())) / unseen if discounts else 0.0

    def _shorter(self, word: Word, context: Context) -> float:
        return self._probability(word, context[1:]) if context else self._uniform

    def _probability(self, word: Word, context: Context) -> float:
        shares = self._shares.get(context, {})
        if word in shares:
            return shares[word]
        return self._left.get(context, 1.0) * self._shorter(word, context)


class KneserNey(NGramModel):
    """Interpolated Kneser-Ney smoothing.

    P(w | h) = max(c - D(c), 0) / c(h) + g(h) P(w | h'), where g(h) hands on exactly the
    discounted mass. The highest order counts n-grams; lower orders count in how many different
    words' company an n-gram was seen, so that "Francisco" (frequent, but only after "San") is
    not expected elsewhere. Below unigrams lies the uniform distribution.

    Args:
        order: length of the n-grams.
        modified: three discounts, for counts 1, 2 and more (Chen & Goodman's best model); if
            False, one discount for all counts.
        discount: a fixed discount between 0 and 1 instead of the estimated ones.

    Source: Kneser & Ney (1995); Chen & Goodman (1999), sections 2.7 and 3, equations 17 and 26.
    Differs from the paper: n-grams that begin a sentence keep their true counts in the lower
    orders too, since nothing can stand to the left of them.
    """

    def __init__(self, order: int, *, modified: bool = True, discount: float | None = None) -> None:
        super().__init__(order)
        if discount is not None and not 0 < discount < 1:
            raise ValueError(f"discount must lie between 0 and 1, got {discount}")
        self.modified, self.discount = modified, discount

    def _prepare(self) -> None:
        self._tables = [self._adjusted(k) for k in range(self.order)]
        self.discounts = [self._choose(table) for table in self._tables]
        self._totals = [*map(table_totals, self._tables[:-1]), self.totals[-1]]
        self._weights = [
            _handed_on(*parts)
            for parts in zip(self._tables, self._totals, self.discounts, strict=True)
        ]
        self._uniform = 1.0 / len(self.vocabulary)

    def _adjusted(self, k: int) -> Table:
        """Counts of the highest order; below it, the number of different words to the left."""
        if k == self.order - 1:
            return self.counts[k]
        adjusted: Table = {}
        for context, words in self.counts[k + 1].items():
            companions = adjusted.setdefault(context[1:], {})
            for word in words:  # one more different word to the left of this n-gram
                companions[word] = companions.get(word, 0) + 1
        starts = {c: words for c, words in self.counts[k].items() if c[:1] == (START,)}
        return adjusted | starts

    def _choose(self, table: Table) -> tuple[float, float, float]:
        if self.discount is not None:
            return (self.discount,) * 3
        return estimate_discounts(table, modified=self.modified)

    def _probability(self, word: Word, context: Context) -> float:
        p = self._uniform
        for k in range(len(context) + 1):
            part = context[len(context) - k :]
            words = self._tables[k].get(part)
            if words is None:  # a context never seen: longer ones were not seen either
                return p
            p *= self._weights[k][part]
            if count := words.get(word, 0):
                p += (count - self.discounts[k][min(count, 3) - 1]) / self._totals[k][part]
        return p

    def distribution(self, context: Sequence[Word] = ()) -> dict[Word, float]:
        """P(word | context) for every word, each order added once for all words."""
        context = self._cut(context)
        values = dict.fromkeys(self.vocabulary, self._uniform)
        for k in range(len(context) + 1):
            part = context[len(context) - k :]
            words = self._tables[k].get(part)
            if words is None:
                break
            weight, total, discounts = (
                self._weights[k][part],
                self._totals[k][part],
                self.discounts[k],
            )
            values = {word: weight * p for word, p in values.items()}
            for word, count in words.items():
                values[word] += (count - discounts[min(count, 3) - 1]) / total
        return values


def counts_of_counts(table: Table) -> Counter[int]:
    """How many n-grams occur once, twice, and so on."""
    return Counter(count for words in table.values() for count in words.values())


def estimate_discounts(table: Table, *, modified: bool = True) -> tuple[float, float, float]:
    """Discounts for counts 1, 2 and 3 or more, from the counts of counts n_r.

    Y = n1 / (n1 + 2 n2); D_r = r - (r + 1) Y n_{r+1} / n_r for r = 1, 2, 3; without ``modified``
    all three are Y. Where a needed n_r is 0, they are 0.5, 1 and 1.5.

    Source: Chen & Goodman (1999), equation 26.
    """
    n = counts_of_counts(table)
    if not (n[1] and n[2]) or (modified and not (n[3] and n[4])):
        return (0.5, 1.0, 1.5) if modified else (0.5, 0.5, 0.5)
    y = n[1] / (n[1] + 2 * n[2])
    if not modified:
        return y, y, y
    raw = [r - (r + 1) * y * n[r + 1] / n[r] for r in (1, 2, 3)]
    d1, d2, d3 = (min(max(d, 0.0), float(r)) for r, d in enumerate(raw, start=1))
    return d1, d2, d3


def _handed_on(
    table: Table, totals: dict[Context, int], discounts: tuple[float, float, float]
) -> dict[Context, float]:
    """For each context the mass that its discounts free for the shorter context."""
    return {
        context: sum(discounts[min(count, 3) - 1] for count in words.values()) / totals[context]
        for context, words in table.items()
    }


def good_turing_discounts(table: Table, limit: int = 5) -> dict[int, float]:
    """d_r for counts r = 1 … limit; counts above are trusted.

    d_r = (r*/r - q) / (1 - q) with r* = (r + 1) n_{r+1} / n_r and q = (limit + 1) n_{limit+1} / n1.
    Where the counts of counts do not fall smoothly enough for a value between 0 and 1, absolute
    discounting stands in: d_r = 1 - n1 / (n1 + 2 n2) / r.

    Source: Katz (1987), equation 20.
    """
    n = counts_of_counts(table)
    absolute = n[1] / (n[1] + 2 * n[2]) if n[1] and n[2] else 0.5
    q = (limit + 1) * n[limit + 1] / n[1] if n[1] else 1.0
    discounts = {}
    for r in range(1, limit + 1):
        adjusted = (r + 1) * n[r + 1] / n[r] / r if n[r] else 0.0
        d = (adjusted - q) / (1 - q) if q != 1 else 0.0
        discounts[r] = d if 0 < d < 1 else 1 - absolute / r
    return discounts
