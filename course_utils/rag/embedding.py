"""Chapter 4 - Embedding: texts to vectors of length one, by MiniLM, and kept on disk.

The vector of a text is the mean of its tokens' states in the last layer, scaled to length one;
then the inner product of two vectors is the cosine of their angle. Texts are sorted by length
before they are put into batches, so that little padding is computed.

Letters: N texts, B batch, T tokens, C width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from course_utils import assets, config
from course_utils.assets.files import written_whole

if TYPE_CHECKING:
    from torch import Tensor

MODEL = "minilm-l6"
MAX_TOKENS = 256  # the published model's max_seq_length: what comes after is not read
BATCH = 32
RECHECKED = 8  # rows of a cached matrix that are computed again before it is believed
TOLERANCE = 1e-3  # largest difference of a coordinate between two machines' float32


class Embedder(Protocol):
    """What a collection needs of an embedder; write your own with these three.

    Attributes:
        name: changes whenever the vectors would; stored with a collection.
        width: C.
    """

    name: str
    width: int

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (N, C) of length one, float32."""


class MiniLMEmbedder:
    """Sentence vectors of all-MiniLM-L6-v2, by our own BERT, in float32.

    v = mean of the last states over the real tokens, marks included;  v / |v|

    Args:
        model: an asset's name, or a folder with the weights and the tokenizer.
        max_tokens: a text is cut there, marks included.
        batch_size: texts that are computed together.
        device: by default the fastest that is there.

    Source: Reimers & Gurevych 2019, "Sentence-BERT", section 3 (mean pooling); Wang et al. 2020,
    "MiniLM".
    """

    def __init__(
        self,
        model: str | Path = MODEL,
        *,
        max_tokens: int = MAX_TOKENS,
        batch_size: int = BATCH,
        device: str | None = None,
    ) -> None:
        if max_tokens < 3 or batch_size < 1:
            raise ValueError(
                f"need max_tokens >= 3 (two are marks) and batch_size >= 1, got {max_tokens}, "
                f"{batch_size}"
            )
        self.folder = Path(model) if Path(model).is_dir() else assets.path(str(model))
        self.max_tokens, self.batch_size = max_tokens, batch_size
        self.device = device or config.device()
        self.model, self.tokenizer = _load(self.folder, self.device)
        self.width = int(self.model.recipe.hidden_size)
        self.name = f"{Path(model).name}/{_fingerprint(self.folder)}/{max_tokens} tokens"

    def __repr__(self) -> str:
        return f"<MiniLMEmbedder {self.name}>"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of length one, (N, C); rows in the order of the texts.

        Raises:
            TypeError: a single text instead of a list.
        """
        vectors = np.empty((len(_checked(texts)), self.width), np.float32)
        for rows, states, real in self.batches(texts):
            weights = real[..., None].to(states.dtype)  # (B, T, 1)
            mean = (states * weights).sum(1) / weights.sum(1)
            vectors[rows] = (mean / mean.norm(dim=1, keepdim=True)).cpu().numpy()
        return vectors

    def token_vectors(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The last states of each text's tokens, each of length one: N arrays (T, C)."""
        found: list[np.ndarray] = [np.empty(0)] * len(_checked(texts))
        for rows, states, real in self.batches(texts):
            unit = states / states.norm(dim=-1, keepdim=True)
            for row, vectors, mask in zip(rows, unit, real, strict=True):
                found[row] = vectors[mask].cpu().numpy()
        return found

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Row numbers, last states (B, T, C) and real tokens (B, T), texts of like length."""
        import torch

        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        options = {"padding": True, "truncation": True, "max_length": self.max_tokens}
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            batch = self.tokenizer([texts[i] for i in rows], return_tensors="pt", **options)
            real = batch["attention_mask"].bool().to(self.device)
            with torch.inference_mode():
                states = self.model(batch["input_ids"].to(self.device), padding_mask=real)
            yield rows, states, real


def cached_embeddings(
    texts: Sequence[str], embedder: Embedder, folder: str | Path | None = None
) -> np.ndarray:
    """Vectors (N, C) of a corpus: from the disk, or computed once and kept there.

    The file's name is a hash of the embedder's name and of all texts, so another text, order or
    model asks anew. A second process waits for the first one. Some rows of a stored matrix are
    computed again before it is believed; a damaged or doubtful file is replaced.

    Args:
        texts: N texts.
        embedder: see :class:`Embedder`.
        folder: by default ``embeddings`` in the course's cache folder.
    """
    from filelock import FileLock

    folder = Path(folder) if folder else config.course_home() / "embeddings"
    file = folder / f"{corpus_key(_checked(texts), embedder)}.npy"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        vectors = _believed(file, texts, embedder)
        if vectors is None:
            vectors = embedder.encode(texts)
            with written_whole(file) as out:
                np.save(out, vectors)
    return vectors


def corpus_key(texts: Sequence[str], embedder: Embedder) -> str:
    """Hash of the embedder's name and the texts, with their lengths so that no border can move."""
    digest = hashlib.sha256(embedder.name.encode())
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:24]


def _believed(file: Path, texts: Sequence[str], embedder: Embedder) -> np.ndarray | None:
    """The stored matrix if it is whole and some rows of it come out again, else None."""
    try:
        vectors = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if vectors.shape != (len(texts), embedder.width) or vectors.dtype != np.float32:
        return None
    rows = np.unique(np.linspace(0, len(texts) - 1, min(RECHECKED, len(texts))).astype(int))
    again = embedder.encode([texts[i] for i in rows])
    return vectors if np.abs(vectors[rows] - again).max(initial=0.0) < TOLERANCE else None


def _checked(texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise TypeError("expected a list of texts, got one text: put it into a list")
    return texts


def _fingerprint(folder: Path) -> str:
    """Twelve digits that change with the weights: configuration, sizes, and the first megabyte."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(str(file.stat().st_size).encode())
        with file.open("rb") as weights:
            digest.update(weights.read(1_000_000))
    return digest.hexdigest()[:12]


@lru_cache(maxsize=2)
def _load(folder: Path, device: str) -> tuple[Any, Any]:
    from transformers import AutoTokenizer

    from course_utils.nn.bert import Bert

    return Bert.from_pretrained(folder).to(device).eval(), AutoTokenizer.from_pretrained(folder)
