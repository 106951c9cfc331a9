"""Chapter 4 - BERTScore: match token vectors instead of tokens.

Every token of one text takes the most similar token of the other, by the cosine of their vectors
in context. A paraphrase scores, where BLEU and ROUGE see no common word; so does a sentence with
the one wrong number, and that is the metric's weakness.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from course_utils.evaluation.rouge import Score

if TYPE_CHECKING:
    from course_utils.nn.contextual import ContextualEncoder

BATCH = 32


def greedy_match(
    ours: np.ndarray,
    theirs: np.ndarray,
    our_weights: Sequence[float] | None = None,
    their_weights: Sequence[float] | None = None,
) -> Score:
    """Precision, recall and F1 of two sets of token vectors.

    P = mean over our tokens x of max over theirs y of cos(x, y); R the same the other way round;
    F1 = 2 P R / (P + R). With weights the means are weighted.

    Args:
        ours, theirs: (T, C) and (S, C); rows of zeros are not allowed.
        our_weights, their_weights: (T,) and (S,), such as idf; equal by default.

    Returns:
        each from -1 to 1; zeros if one text has no token.

    Source: Zhang et al. 2020, "BERTScore", section 3 (P_BERT, R_BERT, F_BERT and idf weighting).
    """
    ours, theirs = (np.asarray(vectors, dtype=float) for vectors in (ours, theirs))
    if not len(ours) or not len(theirs):
        return Score(0.0, 0.0, 0.0)
    ours, theirs = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (ours, theirs))
    cosines = ours @ theirs.T  # (T, S)
    precision = _mean(cosines.max(axis=1), our_weights)
    recall = _mean(cosines.max(axis=0), their_weights)
    total = precision + recall
    return Score(precision, recall, 2 * precision * recall / total if total else 0.0)


def bert_score(
    encoder: ContextualEncoder,
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    layer: int = -1,
    idf: Mapping[int, float] | None = None,
) -> list[Score]:
    """BERTScore of each hypothesis against its reference.

    The marks ``[CLS]`` and ``[SEP]`` take no part (the original lets tokens match them).

    Args:
        encoder: a BERT-type model, such as ``ContextualEncoder.from_pretrained(minilm)``.
        hypotheses, references: N texts each.
        layer: which layer's vectors; the best one differs between models.
        idf: weights of :func:`idf_table`, to let rare words count more.
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"got {len(hypotheses)} hypotheses and {len(references)} references")
    ours = token_vectors(encoder, hypotheses, layer)
    theirs = token_vectors(encoder, references, layer)
    pairs = zip(ours, theirs, strict=True)
    return [greedy_match(x, y, _weights(xi, idf), _weights(yi, idf)) for (xi, x), (yi, y) in pairs]


def token_vectors(
    encoder: ContextualEncoder, texts: Sequence[str], layer: int = -1
) -> list[tuple[list[int], np.ndarray]]:
    """Ids (T,) and vectors (T, C) of each text's tokens, without marks and padding."""
    found: list[tuple[list[int], np.ndarray]] = []
    for start in range(0, len(texts), BATCH):
        part = list(texts[start : start + BATCH])
        encoded = encoder.encode(part)
        ids = encoder.tokenizer(part, truncation=True)["input_ids"]
        tokens = encoded.offsets[..., 1] > encoded.offsets[..., 0]  # (B, T), False for marks
        for row, real in enumerate(tokens.numpy()):
            places = np.flatnonzero(real)
            vectors = encoded.states[layer, row].numpy()[places]
            found.append(([ids[row][place] for place in places], vectors))
    return found


def idf_table(encoder: ContextualEncoder, texts: Sequence[str]) -> dict[int, float]:
    """Inverse document frequency of every token id: log((M + 1) / (df + 1)) over M texts.

    Ids that no text holds are absent; :func:`bert_score` gives them log(M + 1), stored under -1.

    Source: Zhang et al. 2020, section 3 (with plus-one smoothing).
    """
    ids = encoder.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    frequency = Counter(token for row in ids for token in set(row))
    total = len(texts) + 1
    table = {token: math.log(total / (count + 1)) for token, count in frequency.items()}
    return table | {-1: math.log(total)}


def rescale(score: Score, baseline: Score) -> Score:
    """Spread scores out: (score - b) / (1 - b), b the mean score of unrelated texts.

    Cosines of one model lie in a narrow band, so raw scores all look high. The order of texts
    does not change, and a pair below the baseline gets a negative number.

    Source: Zhang et al. 2020, section 3 (baseline rescaling).
    """
    return Score(*((x - b) / (1 - b) for x, b in zip(score, baseline, strict=True)))


def _mean(values: np.ndarray, weights: Sequence[float] | None) -> float:
    if weights is not None and not np.any(weights):
        weights = None  # every token is in every text: none is rarer than another
    return float(np.average(values, weights=weights))


def _weights(ids: Sequence[int], idf: Mapping[int, float] | None) -> list[float] | None:
    return None if idf is None else [idf.get(token, idf[-1]) for token in ids]
