"""Chapter 4 - Answers that are right or wrong: exact match, token F1, pass@k.

Exact match and F1 are those of SQuAD: case, punctuation and articles do not count.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from course_utils.evaluation.rouge import f_score

ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, articles and surplus white space, in this order.

    >>> normalize_answer("  The U.S.A., a country")
    'usa country'

    Source: Rajpurkar et al. 2016, "SQuAD", section 6.1; the official script evaluate-v2.0.py.
    """
    text = text.lower().translate(NO_PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", text).split())


def exact_match(prediction: str, answers: str | Sequence[str]) -> float:
    """1.0 if the prediction equals one of the right answers after normalisation, else 0.0."""
    wanted = {normalize_answer(answer) for answer in _texts(answers)}
    return float(normalize_answer(prediction) in wanted)


def token_f1(prediction: str, answers: str | Sequence[str]) -> float:
    """Best harmonic mean of word precision and recall over the right answers, 0 to 1.

    If one side has no word left, the score is 1 when both have none, else 0: an empty prediction
    is the right answer to an unanswerable question (SQuAD 2.0).

    >>> token_f1("the red car", ["a red van", "blue"])
    0.5
    """
    ours = normalize_answer(prediction).split()
    return max(_f1(ours, normalize_answer(answer).split()) for answer in _texts(answers))


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k samples passes the tests.

    pass@k = 1 - C(n - c, k) / C(n, k), computed as 1 - prod (1 - k / i), i = n - c + 1 … n

    The tempting 1 - (1 - c / n)^k is biased: too low on average.

    Args:
        samples: programs drawn for the problem, n.
        correct: how many of them passed, c.
        k: size of the draw, at most n.

    Raises:
        ValueError: unless 0 <= correct <= samples and 1 <= k <= samples.

    Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code", equation 1 and
    figure 3.
    """
    if not (0 <= correct <= samples and 1 <= k <= samples):
        raise ValueError(
            f"need 0 <= correct <= samples and 1 <= k <= samples, got {correct=}, {samples=}, {k=}"
        )
    if samples - correct < k:
        return 1.0  # every draw of k holds a right one
    return 1.0 - math.prod(1 - k / i for i in range(samples - correct + 1, samples + 1))


def pass_all_k(samples: int, correct: int, k: int) -> float:
    """Unbiased estimate of the chance that all of k samples pass, pass^k = C(c, k) / C(n, k).

    pass@k asks whether a right answer is in reach, pass^k whether one can rely on the system.

    Source: Yao et al. 2024, "τ-bench", section 3 (pass^k).
    """
    pass_at_k(samples, correct, k)  # the same conditions on the arguments
    return math.comb(correct, k) / math.comb(samples, k)


def scores_of(
    score: Callable[[str, Sequence[str]], float],
    predictions: Sequence[str],
    answers: Sequence[str | Sequence[str]],
) -> np.ndarray:
    """Scores of all predictions, (N,): keep them for intervals, take ``.mean()`` to report.

    Args:
        score: :func:`exact_match`, :func:`token_f1` or a function like them.
        predictions, answers: N texts, and for each of them its right answers.
    """
    if len(predictions) != len(answers):
        raise ValueError(f"got {len(predictions)} predictions and {len(answers)} lists of answers")
    return np.array([score(p, a) for p, a in zip(predictions, answers, strict=True)], dtype=float)


def _f1(ours: list[str], theirs: list[str]) -> float:
    if not ours or not theirs:
        return float(ours == theirs)
    common = Counter(ours) & Counter(theirs)
    return f_score(common.total(), len(ours), len(theirs)).f1


def _texts(answers: str | Sequence[str]) -> Sequence[str]:
    """One answer is a list of one; no answer means that the question cannot be answered."""
    return [answers] if isinstance(answers, str) else list(answers) or [""]
