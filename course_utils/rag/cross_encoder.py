"""Chapter 4 - A cross-encoder: one model reads question and text together and gives a score.

An embedder reads both apart, so that a text's vector can be made beforehand. A cross-encoder lets
every word of the question look at every word of the text, in all layers. It is the better judge,
and nothing of it can be made beforehand: K texts cost K passes, so it only re-ranks.

Letters: N questions, K texts of a question.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from course_utils import assets, config

MODEL = "cross-encoder-minilm"  # MODELS = "hub": none is bundled
MAX_TOKENS = 512
BATCH = 32


class CrossEncoder:
    """Relevance of texts to a question, by a classifier with one output.

    Args:
        model: an asset's name, or a folder with the weights and the tokenizer.
        max_tokens: question, text and marks together; the text is cut, never the question.
        batch_size: pairs that are computed together. device: by default the fastest there is.

    Raises:
        AssetError: the model is not bundled and ``MODELS`` is not "hub".
        ValueError: the model has more than one output, so it is no judge of relevance.

    Source: Nogueira & Cho 2019, "Passage Re-ranking with BERT", section 3.1.
    """

    def __init__(
        self,
        model: str | Path = MODEL,
        *,
        max_tokens: int = MAX_TOKENS,
        batch_size: int = BATCH,
        device: str | None = None,
    ) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder = Path(model) if Path(model).is_dir() else assets.path(str(model))
        self.device = device or config.device()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        judge = AutoModelForSequenceClassification.from_pretrained(folder)
        if judge.config.num_labels != 1:
            raise ValueError(f"expected a model with one output, got {judge.config.num_labels}")
        self.model = judge.float().eval().to(self.device)
        self.max_tokens, self.batch_size = max_tokens, batch_size

    def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
        """The score of each text, (K,); larger is better, only the order means something."""
        return self.scores_batch([question], [texts])[0]

    def scores_batch(
        self, questions: Sequence[str], texts: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """The scores of each question's own texts: N arrays (K,)."""
        pairs = [(q, text) for q, own in zip(questions, texts, strict=True) for text in own]
        values = iter(self._judge(pairs))
        return [np.array(list(itertools.islice(values, len(own)))) for own in texts]

    def _judge(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """One score a pair; pairs of like length are computed together."""
        import torch

        found = np.empty(len(pairs))
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][1]))
        options = {"truncation": "only_second", "max_length": self.max_tokens, "padding": True}
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            asked, read = zip(*(pairs[i] for i in rows), strict=True)
            batch = self.tokenizer(list(asked), list(read), return_tensors="pt", **options)
            with torch.inference_mode():
                logits = self.model(**batch.to(self.device)).logits  # (batch, 1)
            found[rows] = logits[:, 0].cpu().numpy()
        return found
