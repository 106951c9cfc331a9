"""Chapter 4 - Compression: what gzip and xz need for a text, as a baseline for language models.

A model that gives a text the probability p can store it in -log2 p bits (arithmetic coding), and a
compressor that stores it in n bits behaves as if it had given it 2^-n. So both are measured alike.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable

# raw formats where there are any: headers are no knowledge about the text
_XZ = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 26}]
METHODS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: zlib.compress(data, level=9, wbits=-15),
    "bzip2": lambda data: bz2.compress(data, 9),
    "xz": lambda data: lzma.compress(data, lzma.FORMAT_RAW, filters=_XZ),
}


def compressed_bits(text: str | bytes, method: str, given: str | bytes = b"") -> int:
    """Bits that a compressor adds for a text when it has just read another one.

    ``8 (|c(given + text)| - |c(given)|)``: with the training text as ``given``, the compressor
    knows what the language model knows. gzip forgets all but the last 32 kB of it, xz does not.

    Args:
        method: "gzip" (DEFLATE), "bzip2" or "xz" (LZMA2).

    Raises:
        ValueError: an unknown method.

    Source: Delétang et al. 2024, "Language Modeling Is Compression", sections 2 and 3.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    compress = METHODS[method]
    text, given = _bytes(text), _bytes(given)
    before = len(compress(given)) if given else 0
    return 8 * (len(compress(given + text)) - before)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def utf8_sizes(texts: Iterable[str]) -> list[int]:
    """Bytes of each text in UTF-8."""
    return [len(text.encode()) for text in texts]
