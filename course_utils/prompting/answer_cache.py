"""Chapter 4 - Answers kept on disk: the same question to the same model is paid once.

The key is a hash of the model, the messages and the sampling options, so a change in any of them
asks anew. Only the answer is stored, never the prompt, which may hold what should not lie about.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from course_utils import config

VERSION = 1  # part of the key: raise it when answers of older code must not be used


class AnswerCache:
    """Answers by key, one small file each.

    Args:
        folder: where; by default ``answers`` in the course's cache folder.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder else config.course_home() / "answers"

    @staticmethod
    def key(model: str, messages: Sequence[Mapping], options: Mapping[str, Any]) -> str:
        """The name under which the answer to this request is kept (64 hexadecimal digits)."""
        request = [VERSION, model, list(messages), dict(options)]
        text = json.dumps(request, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def get(self, key: str) -> str | None:
        """The answer, or None: not there, or the file is damaged."""
        try:
            return str(json.loads(self._file(key).read_text(encoding="utf-8"))["answer"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, answer: str) -> None:
        """Keep an answer; the file appears whole or not at all."""
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=file.parent, prefix=".draft-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                json.dump({"answer": answer}, out)
            Path(draft).replace(file)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise

    def clear(self) -> int:
        """Forget all answers; returns how many there were."""
        files = list(self.folder.glob("??/*.json"))
        for file in files:
            file.unlink(missing_ok=True)
        return len(files)

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
