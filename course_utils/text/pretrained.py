"""Chapter 1 – Word embeddings: the static table inside a pre-trained model.

Every transformer starts by looking its tokens up in a table. Before any attention has
happened these vectors are static word embeddings, trained on far more text than a lesson can.
"""

from __future__ import annotations

import numpy as np

from course_utils import assets
from course_utils.text.similarity import WordVectors

TABLE = "embeddings.word_embeddings.weight"


def input_embeddings(model: str = "minilm-l6") -> WordVectors:
    """The input-embedding table of a bundled BERT-type model, whole words only.

    Pieces (``##ing``), marks and reserved entries are left out: they are not words.

    Args:
        model: name of an asset with ``model.safetensors`` and ``vocab.txt``.

    Returns:
        one row a lower-case word, in the model's own order, float32. Not centred: call
        ``.centred()`` before measuring angles.
    """
    from safetensors import safe_open

    folder = assets.path(model)
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    with safe_open(folder / "model.safetensors", framework="np") as weights:
        name = next(key for key in weights.keys() if key.endswith(TABLE))  # noqa: SIM118
        table: np.ndarray = weights.get_tensor(name)
    rows = [row for row, token in enumerate(tokens[: len(table)]) if token.isalpha()]
    return WordVectors(tuple(tokens[row] for row in rows), table[rows].astype(np.float32))
