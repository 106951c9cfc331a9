"""Chapter 4 - Constraints: instructions that a program can check, so that no judge is needed.

"In at most ten words", "as JSON with the keys name and age", "in French": whether a reply obeys
is a fact. A constraint is a dictionary with a ``kind`` and its parameter, as it stands in the
authored set ``instructions``. Each check is strict and dumb on purpose: it looks at form, never at
sense. A reply may obey and be wrong, or be right and disobey.

Source: Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models" (IFEval),
sections 2.1 (verifiable instructions) and 2.3 (accuracy by prompt and by instruction).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from course_utils.tuning.languages import SMALL_WORDS, detect_language

Constraint = Mapping[str, Any]
BULLET = re.compile(r"^\s*[-*•]\s+\S")
NUMBERED = re.compile(r"^\s*(\d+)[.)]\s+\S")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?")
FENCE = re.compile(r"^```\w*\s*\n(.*?)\n?```$", re.DOTALL)
# a full stop after these ends no sentence
SHORT = re.compile(r"\b(?:mr|mrs|ms|dr|st|prof|no|vs|e\.g|i\.e|etc|approx|a\.m|p\.m)\.$", re.I)
SENTENCE_END = re.compile(r"""(?<=[.!?…])["'”’)\]»]*\s+""")


def words(text: str) -> list[str]:
    """The words: what stands between white space and holds a letter or digit.

    >>> words("Well - a state-of-the-art 3.5 mm jack.")
    ['Well', 'a', 'state-of-the-art', '3.5', 'mm', 'jack.']
    """
    return [piece for piece in text.split() if any(c.isalnum() for c in piece)]


def sentences(text: str) -> list[str]:
    """The sentences: parts that end with . ! ? or … before white space; titles end none.

    Line breaks end no sentence, so a poem without full stops is one.

    >>> sentences("Dr. Ito left. Why? At 3.5 km/h")
    ['Dr. Ito left.', 'Why?', 'At 3.5 km/h']
    """
    found: list[str] = []
    for part in SENTENCE_END.split(text.strip()):
        if found and SHORT.search(found[-1]):
            found[-1] += " " + part
        elif words(part):
            found.append(part)
    return found


def lines(text: str) -> list[str]:
    """The lines that are not empty."""
    return [line for line in text.splitlines() if line.strip()]


def bullets(text: str) -> int:
    """How many lines begin with ``-``, ``*`` or ``•`` and a space."""
    return sum(bool(BULLET.match(line)) for line in lines(text))


def _numbered(text: str, n: int) -> bool:
    found = [int(hit[1]) for line in lines(text) if (hit := NUMBERED.match(line))]
    return found == [*range(1, n + 1)]


def _has(text: str, wanted: str) -> bool:
    """Whether a word or phrase occurs as whole words; case does not count."""
    left = r"(?<!\w)" if wanted[:1].isalnum() else ""
    right = r"(?!\w)" if wanted[-1:].isalnum() else ""
    return bool(re.search(left + re.escape(wanted) + right, text, re.IGNORECASE))


def _answer(text: str) -> str:
    """Trimmed, without a final full stop, case folded."""
    return text.strip().removesuffix(".").strip().casefold()


def _json_keys(text: str, keys: Sequence[str]) -> bool:
    """A JSON object with exactly these keys, bare or in one code fence."""
    fenced = FENCE.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text)
    except json.JSONDecodeError:
        return False
    return isinstance(value, dict) and set(value) == set(keys)


def _last_number(text: str, value: float) -> bool:
    found = NUMBER.findall(text)
    return bool(found) and abs(float(found[-1].replace(",", "")) - float(value)) < 1e-9


def _cased(text: str, same: Callable[[str], str]) -> bool:
    return same(text) == text and any(c.isalpha() for c in text)


# kind -> (names of its parameters, the check on the trimmed reply)
CHECKS: dict[str, tuple[tuple[str, ...], Callable[..., bool]]] = {
    "max_words": (("n",), lambda text, n: len(words(text)) <= n),
    "min_words": (("n",), lambda text, n: len(words(text)) >= n),
    "exact_words": (("n",), lambda text, n: len(words(text)) == n),
    "sentences": (("n",), lambda text, n: len(sentences(text)) == n),
    "lines": (("n",), lambda text, n: len(lines(text)) == n),
    "bullets": (("n",), lambda text, n: bullets(text) == n),
    "numbered": (("n",), _numbered),
    "starts_with": (("text",), lambda text, wanted: text.startswith(wanted)),
    "ends_with": (("text",), lambda text, wanted: text.endswith(wanted)),
    "contains": (("text",), _has),
    "excludes": (("text",), lambda text, wanted: not _has(text, wanted)),
    "one_of": (("options",), lambda text, options: _answer(text) in map(_answer, options)),
    "json_keys": (("keys",), _json_keys),
    "lowercase": ((), lambda text: _cased(text, str.lower)),
    "uppercase": ((), lambda text: _cased(text, str.upper)),
    "language": (("code",), lambda text, code: detect_language(text) == code),
    "extract": (("text",), lambda text, wanted: _answer(text) == _answer(wanted)),
    "number": (("value",), _last_number),
}


def check_constraint(response: str, constraint: Constraint) -> bool:
    """Whether a reply obeys one constraint. An empty reply obeys none.

    ==================================  ===========================================================
    kind (parameter)                    obeyed if the trimmed reply
    ==================================  ===========================================================
    max_words, min_words, exact_words   has so many :func:`words` (``n``)
    sentences, lines, bullets (n)       has exactly so many; other lines may stand beside bullets
    numbered (n)                        has lines ``1.`` to ``n.`` in this order and no other number
    starts_with, ends_with (text)       does so, case and punctuation included
    contains, excludes (text)           has (has not) these whole words, in any case
    one_of (options), extract (text)    is that, case and a final full stop aside, and nothing else
    json_keys (keys)                    is a JSON object with exactly these keys
    lowercase, uppercase                has no letter of the other case
    language (code)                     is in en, fr, de, es or it by its small words
    number (value)                      has this as its last number
    ==================================  ===========================================================

    >>> check_constraint("Paris, of course.", {"kind": "max_words", "n": 3})
    True

    Raises:
        ValueError: an unknown kind or language, a missing parameter or one too many.
    """
    kind = constraint.get("kind")
    if kind not in CHECKS:
        raise ValueError(f"unknown kind of constraint {kind!r}; known are {', '.join(CHECKS)}")
    names, test = CHECKS[kind]
    # a data set fills the parameters of other kinds with None
    given = {n: value for n, value in constraint.items() if n != "kind" and value is not None}
    if set(given) != set(names):
        wants = ", ".join(names) or "no parameter"
        raise ValueError(f"constraint {kind} takes {wants}; got {', '.join(given) or 'none'}")
    if kind == "language" and given["code"] not in SMALL_WORDS:
        raise ValueError(f"language {given['code']!r} is not one of {', '.join(SMALL_WORDS)}")
    text = response.strip()
    return bool(text) and test(text, *(given[name] for name in names))


def compliance(response: str, constraints: Sequence[Constraint]) -> dict[str, Any]:
    """How far a reply obeys all constraints of its instruction.

    Returns:
        ``all`` (True if every one is obeyed: IFEval's accuracy by prompt), ``share`` (of those
        obeyed, 0 to 1: by instruction), ``checks`` (one truth value each) and ``failed`` (kinds).

    Raises:
        ValueError: there is no constraint, or one is malformed.
    """
    if not constraints:
        raise ValueError("there is no constraint to check")
    checks = [check_constraint(response, constraint) for constraint in constraints]
    failed = [c["kind"] for c, obeyed in zip(constraints, checks, strict=True) if not obeyed]
    return {
        "all": all(checks),
        "share": sum(checks) / len(checks),
        "checks": checks,
        "failed": failed,
    }
