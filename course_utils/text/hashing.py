"""Chapter 1 – The hashing trick: features without a vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from scipy import sparse

from course_utils.text.features import as_documents, check_norm, make_analyzer, normalise_rows


class HashedBagOfWords:
    """Term counts without a vocabulary: the column of a term is its hash modulo V.

    Terms that fall on one column are added; with ``signed``, a second bit of the hash gives
    each term a sign, so that collisions cancel on average instead of piling up.

    Args:
        columns: V, the number of columns.
        signed: use the sign.
        norm: ``"l2"``, ``"l1"`` or None.
        analyzer, ngram_range, options: see :func:`make_analyzer`.

    Source: Weinberger et al. (2009), section 2; equals scikit-learn's ``HashingVectorizer``.
    """

    def __init__(
        self,
        columns: int = 2**20,
        *,
        signed: bool = True,
        norm: str | None = "l2",
        analyzer: str = "word",
        ngram_range: tuple[int, int] = (1, 1),
        **options,
    ) -> None:
        if columns < 1:
            raise ValueError(f"columns must be at least 1, got {columns}")
        check_norm(norm)
        self.columns, self.signed, self.norm = columns, signed, norm
        self.analyze = make_analyzer(analyzer, ngram_range, **options)

    def place(self, term: str) -> tuple[int, int]:
        """(column, sign) of a term."""
        signed = murmurhash3(term.encode())
        return abs(signed) % self.columns, -1 if signed < 0 and self.signed else 1

    def transform(self, documents: Iterable[str]) -> sparse.csr_matrix:
        """Hashed counts, (N, V). There is nothing to fit."""
        places: dict[str, tuple[int, int]] = {}  # of this call only: hashing once per term
        rows, columns, values = [], [], []
        bags = [Counter(self.analyze(text)) for text in as_documents(documents)]
        for row, bag in enumerate(bags):
            for term, count in bag.items():
                if term not in places:
                    places[term] = self.place(term)
                column, sign = places[term]
                rows.append(row)
                columns.append(column)
                values.append(float(sign * count))
        shape = (len(bags), self.columns)
        return normalise_rows(sparse.csr_matrix((values, (rows, columns)), shape=shape), self.norm)


def murmurhash3(data: bytes, seed: int = 0) -> int:
    """MurmurHash3 (x86, 32 bit) as a signed number.

    Source: A. Appleby's public-domain MurmurHash3.cpp, ``MurmurHash3_x86_32``.
    """
    mask = 0xFFFFFFFF
    state = seed
    for start in range(0, len(data), 4):
        block = data[start : start + 4]
        k = int.from_bytes(block, "little") * 0xCC9E2D51 & mask
        k = (k << 15 | k >> 17) * 0x1B873593 & mask
        state ^= k
        if len(block) == 4:  # the rest of 1-3 bytes is mixed in without this step
            state = ((state << 13 | state >> 19) & mask) * 5 + 0xE6546B64 & mask
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & mask
    state = (state ^ state >> 13) * 0xC2B2AE35 & mask
    state ^= state >> 16
    return state - (1 << 32) if state >> 31 else state
