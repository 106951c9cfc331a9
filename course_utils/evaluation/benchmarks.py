"""Chapter 4 - Benchmark protocols: how GLUE, SQuAD, MMLU and HELM make one number of many.

Each number is a convention: which metric a task has, how tasks of different sizes are averaged,
what counts as the same answer. Two models can change places when the convention does.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from course_utils.evaluation.answers import exact_match, normalize_answer, token_f1
from course_utils.evaluation.classification import label_scores, matthews
from course_utils.text.similarity import spearman

GLUE_TASKS = {
    "cola": ("matthews",),
    "sst2": ("accuracy",),
    "mrpc": ("accuracy", "f1"),
    "stsb": ("pearson", "spearman"),
    "qqp": ("accuracy", "f1"),
    "mnli": ("matched", "mismatched"),  # accuracy on two test sets; together one task
    "qnli": ("accuracy",),
    "rte": ("accuracy",),
    "wnli": ("accuracy",),
}
METRICS = {
    "accuracy": lambda truth, found: label_scores(truth, found).accuracy,
    "f1": lambda truth, found: float(label_scores(truth, found, (0, 1)).f1[1]),
    "matthews": matthews,
    "pearson": lambda truth, found: float(np.corrcoef(truth, found)[0, 1]),
    "spearman": spearman,
}
LETTERS = "ABCDEFGH"


def glue_metrics(task: str, truth: Sequence, predicted: Sequence) -> dict[str, float]:
    """The metrics that GLUE asks for in a task, in percent.

    Args:
        task: name in :data:`GLUE_TASKS`; "mnli" gives the accuracy on one of its two test sets.
        truth, predicted: labels 0 and 1 (grades for "stsb"), N each.

    Raises:
        ValueError: if the task is not known.

    Source: Wang et al. 2018, "GLUE", table 1.
    """
    names = GLUE_TASKS[_known(task)]
    if task == "mnli":
        names = ("accuracy",)
    return {name: 100 * METRICS[name](truth, predicted) for name in names}


def glue_score(results: Mapping[str, Mapping[str, float]]) -> float:
    """Mean over tasks of the mean over each task's metrics; every task counts the same.

    RTE (3,000 test items) weighs as much as QQP (391,000).

    Args:
        results: for each task its metrics, such as {"mrpc": {"accuracy": 84.0, "f1": 88.0}}.

    Raises:
        ValueError: if a task is not known or its metrics are not exactly those of GLUE.

    Source: Wang et al. 2018, "GLUE", evaluation ("unweighted average of the metrics").
    """
    if not results:
        raise ValueError("there is no task to average")
    for task, metrics in results.items():
        if set(metrics) != set(GLUE_TASKS[_known(task)]):
            wanted = ", ".join(GLUE_TASKS[task])
            raise ValueError(f"{task} is scored by {wanted}; got {', '.join(metrics)}")
    return float(np.mean([np.mean(list(metrics.values())) for metrics in results.values()]))


@dataclass(frozen=True)
class SquadScores:
    """SQuAD scores of N questions, each 0 to 1.

    Attributes:
        exact, f1: (N,) in the order of the questions.
        answerable: whether the question has an answer, (N,).
    """

    exact: np.ndarray
    f1: np.ndarray
    answerable: np.ndarray

    def summary(self) -> dict[str, float]:
        """Percentages of the official script: all, with an answer, without; NaN where none is."""
        found = {"exact": self.exact.mean(), "f1": self.f1.mean()}
        for prefix, rows in (("has_answer", self.answerable), ("no_answer", ~self.answerable)):
            for name, values in (("exact", self.exact), ("f1", self.f1)):
                found[f"{prefix}_{name}"] = values[rows].mean() if rows.any() else float("nan")
        return {name: 100 * float(value) for name, value in found.items()}


def squad_scores(
    predictions: Mapping[Hashable, str],
    answers: Mapping[Hashable, Sequence[str]],
    *,
    no_answer: Mapping[Hashable, float] | None = None,
    threshold: float = 1.0,
) -> SquadScores:
    """Exact match and F1 by question id; an empty list of answers means unanswerable.

    Args:
        predictions: a text for every id, "" to abstain.
        answers: the right texts for every id, in the order of the result.
        no_answer: the model's probability that there is none; above ``threshold`` it abstains.
        threshold: from :func:`best_threshold` on other questions.

    Raises:
        ValueError: if there is no question, or ids have no prediction.

    Source: Rajpurkar et al. 2016, section 6.1; Rajpurkar, Jia & Liang 2018, "Know What You Don't
    Know".
    """
    missing = [name for name in answers if name not in predictions]
    if missing or not answers:
        raise ValueError(f"no prediction for {len(missing)} of {len(answers)}: {missing[:3]}")
    rows = []
    for name, texts in answers.items():
        silent = no_answer is not None and no_answer[name] > threshold
        said = "" if silent else predictions[name]
        right = [text for text in texts if normalize_answer(text)]
        rows.append((exact_match(said, right), token_f1(said, right), bool(right)))
    exact, f1, answerable = (np.array(column) for column in zip(*rows, strict=True))
    return SquadScores(exact, f1, answerable)


def best_threshold(
    scores: Sequence[float], answerable: Sequence[bool], no_answer: Sequence[float]
) -> tuple[float, float]:
    """The best mean score over all thresholds of abstaining, and a threshold that reaches it.

    Tuned on the questions that it is reported on, as the official script does, this is an upper
    bound and no result.

    Args:
        scores: score of each answer if it is given (0 for one to an unanswerable question), (N,).
        answerable: (N,).
        no_answer: probability that there is none, (N,).

    Returns:
        mean score from 0 to 1, threshold: abstain where ``no_answer`` is greater.
    """
    order = np.argsort(no_answer, kind="stable")
    p = np.asarray(no_answer, dtype=float)[order]
    gain = np.where(answerable, scores, -1.0)[order]  # an answer where silence was right costs 1
    totals = np.concatenate([[0.0], np.cumsum(gain)]) + np.sum(~np.asarray(answerable, dtype=bool))
    cuts = np.concatenate([[-np.inf], p])
    totals[:-1][cuts[:-1] == p] = -np.inf  # equal probabilities abstain together
    best = int(totals.argmax())
    return float(totals[best] / len(p)), float(cuts[best])


def mmlu_prompt(
    question: str,
    choices: Sequence[str],
    *,
    subject: str = "",
    examples: Sequence[tuple[str, Sequence[str], int]] = (),
) -> str:
    """The prompt of MMLU: solved examples, then the question, ending in "Answer:".

    The model's choice is the most likely of " A", " B", " C", " D", so length plays no part; but
    a small model may not know what the letters stand for.

    Args:
        question, choices: the item.
        subject: named in the first line.
        examples: (question, choices, index of the right one), five in the paper.

    Source: Hendrycks et al. 2021, "Measuring Massive Multitask Language Understanding",
    figure 1.
    """
    about = f" about {subject}" if subject else ""
    head = f"The following are multiple choice questions (with answers){about}."
    solved = [f"{_item(q, options)} {LETTERS[right]}" for q, options, right in examples]
    return "\n\n".join([head, *solved, _item(question, choices)])


def macro_by_group(scores: Sequence[float], groups: Sequence[Hashable]) -> dict[Hashable, float]:
    """Mean score of each group; the mean of these is the macro average over subjects."""
    if len(scores) != len(groups):
        raise ValueError(f"got {len(scores)} scores for {len(groups)} group names")
    found: dict[Hashable, list[float]] = {}
    for score, name in zip(scores, groups, strict=True):
        found.setdefault(name, []).append(score)
    return {name: float(np.mean(values)) for name, values in found.items()}


def mean_win_rate(table: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """HELM's ranking: the share of the other models that a model beats, averaged over scenarios.

    Ties count half. It needs no common scale, and it forgets by how much: adding a model to the
    table can turn the order of two others.

    Args:
        table: model -> scenario -> score, greater is better; every model on every scenario.

    Raises:
        ValueError: if there are fewer than two models or scenarios are missing.

    Source: Liang et al. 2022, "Holistic Evaluation of Language Models", mean win rate.
    """
    scenarios = list(next(iter(table.values()), {}))
    if len(table) < 2 or any(set(row) != set(scenarios) for row in table.values()):
        raise ValueError("need two models or more, each scored on the same scenarios")
    scores = np.array([[row[name] for name in scenarios] for row in table.values()])
    wins = (scores[:, None] > scores).sum(1) + ((scores[:, None] == scores).sum(1) - 1) / 2
    return dict(zip(table, (wins / (len(table) - 1)).mean(axis=1).tolist(), strict=True))


def _item(question: str, choices: Sequence[str]) -> str:
    lines = [f"{LETTERS[i]}. {text}" for i, text in enumerate(choices)]
    return "\n".join([question, *lines, "Answer:"])


def _known(task: str) -> str:
    if task not in GLUE_TASKS:
        raise ValueError(f"task must be one of {', '.join(GLUE_TASKS)}; got {task!r}")
    return task
