"""Chapter 4 - ROUGE: how much of the reference's wording a summary has found.

Equal to the package rouge-score (a port of the original ROUGE-1.5.5). ROUGE-N counts n-grams,
ROUGE-L the longest common subsequence, that is, words in the same order with gaps allowed, and
ROUGE-Lsum the same sentence by sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple

from course_utils.text.ngrams import ngrams

NOT_A_WORD = re.compile(r"[^a-z0-9]+")
KINDS = ("rouge1", "rouge2", "rougeL")


class Score(NamedTuple):
    """Precision, recall and their harmonic mean, each 0 to 1."""

    precision: float
    recall: float
    f1: float


def f_score(common: float, found: float, wanted: float) -> Score:
    """P = common / found, R = common / wanted, F1 = 2 P R / (P + R); 0 where undefined.

    >>> f_score(2, 4, 2)
    Score(precision=0.5, recall=1.0, f1=0.6666666666666666)
    """
    precision = common / found if found else 0.0
    recall = common / wanted if wanted else 0.0
    total = precision + recall
    return Score(precision, recall, 2 * precision * recall / total if total else 0.0)


def rouge_tokens(text: str, *, stem: bool = False) -> list[str]:
    """Lower-cased runs of a-z and 0-9; every other character, also é, separates.

    >>> rouge_tokens("The café's cats!"), rouge_tokens("cats", stem=True)
    (['the', 'caf', 's', 'cats'], ['cat'])

    Args:
        stem: Porter stemmer for words of more than three letters.
    """
    words = NOT_A_WORD.sub(" ", text.lower()).split()
    return [_stemmer().stem(w) if len(w) > 3 else w for w in words] if stem else words


def rouge_n(summary: Sequence[Hashable], reference: Sequence[Hashable], n: int) -> Score:
    """Clipped n-gram overlap of two token lists.

    recall = sum over n-grams min(count in both) / n-grams of the reference

    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", equation 1.
    """
    ours, theirs = Counter(ngrams(summary, n)), Counter(ngrams(reference, n))
    return f_score((ours & theirs).total(), ours.total(), theirs.total())


def rouge_l(summary: Sequence[Hashable], reference: Sequence[Hashable]) -> Score:
    """Length of the longest common subsequence over each text's length.

    Source: Lin 2004, section 3.1, equations 2-4 with beta = 1.
    """
    return f_score(lcs_length(summary, reference), len(summary), len(reference))


def lcs_length(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence: same order, gaps allowed.

    L(i, j) = L(i-1, j-1) + 1 if the tokens are equal, else max(L(i-1, j), L(i, j-1));
    only the last row is kept, so memory is O(length) and time O(length²).

    >>> lcs_length("the cat sat".split(), "the fat cat had sat".split())
    3
    """
    row = [0] * (len(second) + 1)
    for token in first:
        corner = 0  # L(i-1, j-1)
        for j, other in enumerate(second, start=1):
            above = row[j]
            row[j] = corner + 1 if token == other else max(above, row[j - 1])
            corner = above
    return row[-1]


def rouge_lsum(
    summary: Sequence[Sequence[Hashable]], reference: Sequence[Sequence[Hashable]]
) -> Score:
    """ROUGE-L of a text of several sentences: each reference sentence may be pieced together.

    For every reference sentence take the union of its longest common subsequences with all summary
    sentences; no token counts oftener than either text holds it.

    Args:
        summary, reference: sentences as lists of tokens.

    Source: Lin 2004, section 3.2, equations 5-7; clipped as in ROUGE-1.5.5.
    """
    ours, theirs = (
        Counter(t for sentence in text for t in sentence) for text in (summary, reference)
    )
    found: Counter = Counter()
    for sentence in reference:
        places = set().union(*(lcs_places(sentence, other) for other in summary))
        found.update(sentence[i] for i in places)
    return f_score((found & ours & theirs).total(), ours.total(), theirs.total())


def lcs_places(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[int]:
    """Where in ``first`` the tokens of one longest common subsequence stand.

    >>> lcs_places("the cat sat".split(), "the fat cat had sat".split())
    [0, 1, 2]
    """
    table = [[0] * (len(second) + 1)]
    for token in first:
        row = [0]
        for j, other in enumerate(second):
            row.append(table[-1][j] + 1 if token == other else max(table[-1][j + 1], row[-1]))
        table.append(row)
    places, i, j = [], len(first), len(second)
    while i and j:
        if first[i - 1] == second[j - 1]:
            i, j = i - 1, j - 1
            places.append(i)
        elif table[i][j - 1] > table[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return places[::-1]


def rouge(
    summary: str,
    references: str | Sequence[str],
    *,
    kinds: Sequence[str] = KINDS,
    stem: bool = False,
) -> dict[str, Score]:
    """ROUGE of one summary; of several references each kind takes the one with the best F1.

    Args:
        summary: the text to judge.
        references: one right text or several.
        kinds: "rouge1" … "rouge9", "rougeL" and "rougeLsum" (sentences end at a line break).
        stem: see :func:`rouge_tokens`.

    Raises:
        ValueError: if a kind is not known or there is no reference.
    """
    texts = [references] if isinstance(references, str) else list(references)
    if not texts:
        raise ValueError("a summary needs at least one reference")
    ours, *others = (_sentences(text, stem) for text in (summary, *texts))
    return {
        kind: max((_one(kind, ours, other) for other in others), key=lambda score: score.f1)
        for kind in kinds
    }


def _sentences(text: str, stem: bool) -> list[list[str]]:
    return [rouge_tokens(line, stem=stem) for line in text.split("\n")]


def _one(kind: str, ours: list[list[str]], theirs: list[list[str]]) -> Score:
    if kind == "rougeLsum":
        return rouge_lsum(ours, theirs)
    whole = [[token for line in text for token in line] for text in (ours, theirs)]
    if kind == "rougeL":
        return rouge_l(*whole)
    if not re.fullmatch(r"rouge[1-9]", kind):
        raise ValueError(f"kind must be rouge1 … rouge9, rougeL or rougeLsum, got {kind!r}")
    return rouge_n(*whole, int(kind[-1]))


@lru_cache(maxsize=1)
def _stemmer():
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()
