"""Chapter 4 - RAGEvaluator: one set of questions, any system that retrieves or answers.

A retrieval is scored by the *ids* of what was found, or by texts where no ids are known. A system
whose documents never contain the wanted texts scores 0 whatever its quality, so that case is
reported instead of scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from course_utils.evaluation.answers import exact_match, scores_of, token_f1
from course_utils.evaluation.intervals import bootstrap_interval
from course_utils.rag.answering import ABSTENTION, is_refusal
from course_utils.rag.metrics import faithfulness, score_rankings

Truth = str | Sequence[str]


class RAGEvaluator:
    """Scores of retrieval and of answers, with bootstrap intervals.

    Args:
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    def __init__(self, *, resamples: int = 2000, seed: int = 0) -> None:
        self.resamples, self.seed = resamples, seed

    def evaluate_retrieval(
        self,
        queries: Sequence[str],
        ground_truth: Sequence[Truth],
        rag_system: Any,
        top_k: int = 3,
    ) -> dict[str, Any]:
        """precision@k, recall@k, hit@k, MRR and nDCG@k over questions that can be answered.

        Args:
            queries: N questions.
            ground_truth: for each the ids of its documents, or their texts.
            rag_system: anything with ``retrieve(query, top_k)`` that gives rows with ``id`` and
                ``document``; ``retrieve_batch`` is used where it exists.
            top_k: K.

        Returns:
            ``precision``, ``recall``, ``hit``, ``mrr``, ``ndcg``: means; ``precision_ceiling``:
            the best precision that K places allow (1/3 for one document and K = 3);
            ``intervals`` and ``per_query``: by the same names; ``k``, ``count``.

        Raises:
            ValueError: no question, lists of different lengths, a question without truth.
        """
        truths = _truths(queries, ground_truth)
        found = _retrieved(rag_system, list(queries), top_k)
        rankings = [_named(rows, truth) for rows, truth in zip(found, truths, strict=True)]
        scores = score_rankings(rankings, truths, top_k)
        scores["mrr"] = scores.pop("rr")
        ceiling = np.mean([min(len(truth), top_k) / top_k for truth in truths])
        report = self._report(scores)
        return {**report, "precision_ceiling": float(ceiling), "k": top_k, "rankings": rankings}

    def evaluate_generation(
        self,
        answers: Sequence[str | Mapping[str, Any]],
        references: Sequence[Truth | None],
        contexts: Sequence[Sequence[str]] | None = None,
    ) -> dict[str, Any]:
        """Exact match and token F1 of SQuAD, faithfulness, and the share of silent answers.

        Args:
            answers: N texts, or N results of a system's ``query``.
            references: for each its right answers; none (``[]``, ``""``, None) if the question
                cannot be answered: then silence is right.
            contexts: the passages behind each answer; taken from results of ``query`` if these
                were given. Without them there is no faithfulness.

        Returns:
            ``exact_match``, ``f1``, ``faithfulness`` (over answers that say something),
            ``abstained``: means; ``intervals`` and ``per_query`` by the same names; ``count``.

        Raises:
            ValueError: no answer, or lists of different lengths.
        """
        if not len(answers):
            raise ValueError("there is no answer to score")
        if contexts is None and all(isinstance(answer, Mapping) for answer in answers):
            contexts = [[r["document"] for r in a["retrieved_documents"]] for a in answers]
        texts = [_said(answer) for answer in answers]
        wanted = [reference or "" for reference in references]
        scores = {
            "exact_match": scores_of(exact_match, texts, wanted),
            "f1": scores_of(token_f1, texts, wanted),
            "abstained": np.array([not text for text in texts], dtype=float),
        }
        if contexts is not None:
            spoken = [
                faithfulness(text, passages)
                for text, passages in zip(texts, contexts, strict=True)
                if text
            ]
            scores["faithfulness"] = np.array(spoken, dtype=float)
        return self._report(scores)

    def _report(self, scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
        options = {"resamples": self.resamples, "seed": self.seed}
        report: dict[str, Any] = {
            name: float(values.mean()) if len(values) else float("nan")
            for name, values in scores.items()
        }
        report["intervals"] = {
            name: bootstrap_interval(values, **options)
            for name, values in scores.items()
            if len(values)
        }
        report["per_query"] = dict(scores)
        report["count"] = max(len(values) for values in scores.values())
        return report


def _truths(queries: Sequence[str], ground_truth: Sequence[Truth]) -> list[list[str]]:
    if isinstance(queries, str):
        raise TypeError("expected a list of queries, got one text: put it into a list")
    if not len(queries):
        raise ValueError("there is no question to score")
    if len(queries) != len(ground_truth):
        raise ValueError(f"got {len(queries)} queries and {len(ground_truth)} ground truths")
    truths = [[t] if isinstance(t, str) else list(t) for t in ground_truth]
    empty = [query for query, truth in zip(queries, truths, strict=True) if not truth]
    if empty:
        raise ValueError(
            f"{len(empty)} questions have no ground truth, such as {empty[0][:60]!r}: leave out "
            "questions that cannot be answered; evaluate_generation scores silence"
        )
    return truths


def _retrieved(rag_system: Any, queries: list[str], top_k: int) -> list[list[Mapping[str, Any]]]:
    if hasattr(rag_system, "retrieve_batch"):
        return rag_system.retrieve_batch(queries, top_k)
    return [rag_system.retrieve(query, top_k) for query in queries]


def _named(rows: Sequence[Mapping[str, Any]], truth: Sequence[str]) -> list[str]:
    """Each row by the truth that it fulfils: the same id, the same text, or a part of the text."""
    return [next((t for t in truth if _fits(row, t)), row["id"]) for row in rows]


def _fits(row: Mapping[str, Any], truth: str) -> bool:
    if truth in (row["id"], row["document"]):
        return True
    # a chunk of a long text; short texts could stand in others by chance
    return len(row["document"]) > 40 and row["document"] in truth


def _said(answer: str | Mapping[str, Any]) -> str:
    """The answer, or nothing where it is silence."""
    text = answer["answer"] if isinstance(answer, Mapping) else answer
    return "" if text == ABSTENTION or is_refusal(text) else text
