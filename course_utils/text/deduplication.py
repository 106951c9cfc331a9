"""Chapter 4 - Deduplication: texts that stand in a corpus more than once, exactly or nearly.

Exact copies share a hash. Near copies (a mirror with another footer, a post with one more reply)
share most of their *shingles*, runs of n words. MinHash replaces the set of a document's shingles
by a few numbers, and banding finds pairs without comparing all with all.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import regex

PRIME = (1 << 61) - 1  # hashes are taken modulo this Mersenne prime
_WORDS = regex.compile(r"\w+")


def normal_form(text: str) -> str:
    """Lower case, words only, one space between them: what a copy cannot easily change."""
    return " ".join(_WORDS.findall(text.lower()))


def shingles(text: str, size: int = 5) -> set[str]:
    """The runs of ``size`` words of a text, as a set; a shorter text is one shingle.

    >>> sorted(shingles("to be or not", 3))
    ['be or not', 'to be or']
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    words = normal_form(text).split()
    if len(words) <= size:
        return {" ".join(words)}
    return {" ".join(words[i : i + size]) for i in range(len(words) - size + 1)}


def jaccard(a: set, b: set) -> float:
    """Shared members as a share of all: ``|a ∩ b| / |a ∪ b|``, 0 to 1 (two empty sets: 1).

    >>> jaccard({1, 2, 3}, {2, 3, 4})
    0.5
    """
    union = len(a | b)
    return len(a & b) / union if union else 1.0


class MinHash:
    """Signatures whose agreement estimates the Jaccard similarity of two sets.

    Each of K random functions orders all shingles; a document keeps, for each, the smallest
    value among its shingles. Two documents agree in one place with probability J(a, b), because
    the smallest of the union is equally likely any member, and agrees if it is a shared one. The
    standard error of the estimate is sqrt(J (1 - J) / K).

    Args:
        count: K. size: words of a shingle. seed: of the K functions.

    Source: Broder 1997, "On the resemblance and containment of documents", section 3.
    """

    def __init__(self, count: int = 128, size: int = 5, seed: int = 0) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        rng = np.random.default_rng(seed)
        self.count, self.size = count, size
        # (a x + b) mod 2^64 with odd a, upper bits: a cheap family that numpy computes at once
        self._a = rng.integers(1, 1 << 63, (count, 1), dtype=np.uint64) * 2 + 1
        self._b = rng.integers(0, 1 << 63, (count, 1), dtype=np.uint64)

    def signature(self, text: str) -> np.ndarray:
        """The K smallest values (K,) of a text's shingles."""
        values = np.array([_hash(s) for s in shingles(text, self.size)], dtype=np.uint64)
        with np.errstate(over="ignore"):
            mixed = self._a * values + self._b  # (K, shingles), modulo 2^64
        return ((mixed >> np.uint64(16)) ^ (mixed << np.uint64(48))).min(axis=1)

    def signatures(self, texts: Iterable[str]) -> np.ndarray:
        """One row a text, (N, K)."""
        return np.stack([self.signature(text) for text in texts])


def _hash(shingle: str) -> int:
    return int.from_bytes(hashlib.blake2b(shingle.encode(), digest_size=8).digest(), "little")


def candidate_pairs(signatures: np.ndarray, bands: int) -> set[tuple[int, int]]:
    """Pairs (i < j) of rows that agree in all places of at least one band.

    With K values in b bands of r, a pair of similarity J becomes a candidate with probability
    ``1 - (1 - J^r)^b``, a steep curve around ``(1 / b)^(1 / r)``.

    Args:
        signatures: (N, K). bands: b, a divisor of K.

    Source: Leskovec, Rajaraman & Ullman, "Mining of Massive Datasets", section 3.4.
    """
    if signatures.shape[1] % bands:
        raise ValueError(f"{bands} bands do not divide {signatures.shape[1]} values")
    pairs: set[tuple[int, int]] = set()
    for band in np.split(signatures, bands, axis=1):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for row, values in enumerate(band):
            buckets[values.tobytes()].append(row)
        for rows in buckets.values():
            pairs |= set(itertools.combinations(rows, 2))
    return pairs


def near_duplicates(
    texts: Sequence[str], threshold: float = 0.8, *, bands: int = 32, seed: int = 0
) -> list[tuple[int, int, float]]:
    """Pairs (i, j, similarity) with a Jaccard similarity of at least ``threshold``.

    Candidates come from MinHash (K = 128 in ``bands`` bands) and are then compared exactly, so
    no pair is reported wrongly; one may be missed.

    Source: Lee et al. 2022, "Deduplicating Training Data Makes Language Models Better",
    section 4.2.
    """
    minhash = MinHash(seed=seed)
    pairs = sorted(candidate_pairs(minhash.signatures(texts), bands)) if len(texts) > 1 else []
    sets = {i: shingles(texts[i], minhash.size) for i in set(itertools.chain(*pairs))}
    found = [(i, j, jaccard(sets[i], sets[j])) for i, j in pairs]
    return [pair for pair in found if pair[2] >= threshold]


def deduplicate(texts: Sequence[str], threshold: float = 0.8, *, seed: int = 0) -> list[int]:
    """Numbers of the texts to keep: of each group of copies the first.

    Groups are chained: if b is a copy of a and c one of b, only a stays.
    """
    leader = list(range(len(texts)))

    def top(i: int) -> int:
        while leader[i] != i:
            i = leader[i]
        return i

    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        leader[i] = first.setdefault(normal_form(text), i)
    unique = sorted(first.values())
    for i, j, _ in near_duplicates([texts[k] for k in unique], threshold, seed=seed):
        low, high = sorted((top(unique[i]), top(unique[j])))
        leader[high] = low
    return [i for i in range(len(texts)) if leader[i] == i]


def split_by_document(
    documents: Sequence[Hashable], held_out: int, *, seed: int = 0
) -> tuple[list[int], list[int]]:
    """Row numbers for training and for testing; all rows of one document on the same side.

    Args:
        documents: which document each row belongs to, (N,).
        held_out: how many documents to hold out.

    Returns:
        (training rows, held-out rows), each in the order in which they came.

    Raises:
        ValueError: nothing would be left on one side.

    >>> split_by_document(["a", "a", "b", "c", "b"], held_out=1)
    ([0, 1, 2, 4], [3])
    """
    names = list(dict.fromkeys(documents))
    if not 0 < held_out < len(names):
        raise ValueError(f"hold out 1 to {len(names) - 1} of {len(names)} documents: {held_out}")
    drawn = np.random.default_rng(seed).permutation(len(names))[:held_out]
    held = {names[i] for i in drawn}
    rows = range(len(documents))
    return [i for i in rows if documents[i] not in held], [i for i in rows if documents[i] in held]
