"""Exercises of lesson 0.0, Start here: how checking works, similarity, sampling temperature."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from course_utils.exercises.engine import Exercise, Trial, Wrong

WORDS = ("token", "model", "vector", "the", "an", "prompt", "layer", "loss", "data", "index")


def most_common_word(text: str) -> str:
    counts = Counter(text.lower().split())
    most = max(counts.values())
    return min(word for word, count in counts.items() if count == most)


def by_sorting(text: str) -> str:
    words = text.lower().split()
    return sorted(set(words), key=lambda word: (-words.count(word), word))[0]


def case_kept(text: str) -> str:
    counts = Counter(text.split())
    most = max(counts.values())
    return min(word for word, count in counts.items() if count == most).lower()


def first_of_a_tie(text: str) -> str:
    return Counter(text.lower().split()).most_common(1)[0][0]


def counted_with_its_number(text: str) -> tuple[str, int]:
    counts = Counter(text.lower().split())
    return min(counts.most_common(), key=lambda pair: (-pair[1], pair[0]))


def most_common_letter(text: str) -> str:
    letters = [letter for letter in text.lower() if letter.isalpha()]
    return min(set(letters), key=lambda letter: (-letters.count(letter), letter))


def _shuffled_text(t: Trial, counts: dict[str, int]) -> str:
    """A text with these counts, in random order, each word in random case."""
    words = [word for word, count in counts.items() for _ in range(count)]
    t.rng.shuffle(words)
    cased = [t.rng.choice((word, word.capitalize(), word.upper())) for word in words]
    return " ".join(cased)


def check_most_common_word(answer, t: Trial) -> None:
    for _ in range(4):
        first, rival, *others = t.rng.sample(WORDS, 4)
        # spread over three spellings, the leader loses to the rival unless case is ignored
        words = [first, first, first.upper(), first.upper(), first.capitalize()] + [rival] * 4
        words += others
        t.rng.shuffle(words)
        got = t.call(answer, " ".join(words))
        t.has_type(got, str, "Return the word alone, as a string, not a pair with its count.")
        t.that(len(got) > 1, "That is a letter. Split the text into words first.")
        t.that(got == got.lower(), "Return the word in lower case.")
        t.equal(
            got,
            first,
            says="Another word is more common once `Model` and `model` count as one.",
        )
    t.passed("The most common word is found whatever the case of its letters")
    for _ in range(4):
        tied = t.rng.sample(WORDS, 3)
        got = t.call(answer, _shuffled_text(t, dict.fromkeys(tied, t.rng.randint(2, 3))))
        t.equal(
            got,
            min(tied),
            says="Several words are equally common here: the first in the alphabet wins a tie.",
        )
    t.passed("ties go to the word that is first in the alphabet")


MOST_COMMON_WORD = Exercise(
    id="0.0.1",
    title="The most common word",
    difficulty="easy",
    minutes=5,
    statement="""
A warm-up that shows how checking works. Write a function that returns the most common word of
a text.

- Words are what `text.split()` gives; `Model` and `model` are the same word.
- The answer is in lower case.
- If several words are equally common, return the one that comes first in the alphabet.

Run the cell as it is: the card says *Not attempted yet*. Then try an answer that you know is
wrong, such as `return text`, and read what the card tells you. The inputs are new at each run.
""",
    stub='''
def most_common_word(text: str) -> str:
    """The most common word of a text, in lower case; the first in the alphabet wins a tie.

    >>> most_common_word("The model reads the text")
    'the'
    """
    raise NotImplementedError
''',
    name="most_common_word",
    reference=most_common_word,
    alternatives=(by_sorting,),
    wrong=(
        Wrong(case_kept, "`Model` and `model` count as one"),
        Wrong(first_of_a_tie, "the first in the alphabet wins a tie"),
        Wrong(counted_with_its_number, "Return the word alone"),
        Wrong(most_common_letter, "Split the text into words first"),
    ),
    check=check_most_common_word,
    hints=(
        "Two steps: count the words, then choose among the words with the highest count. "
        "`collections.Counter` does the first one.",
        'Try `most_common_word("b a B a")`. Both words occur twice, so the answer is `"a"`, '
        'though `"b"` comes first in the text.',
        "1. `counts = Counter(text.lower().split())`\n"
        "2. `most` = the largest of `counts.values()`\n"
        "3. among the words whose count is `most`, return the smallest: `min(...)` compares "
        "strings by the alphabet.",
    ),
)


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    length_a = math.sqrt(sum(x * x for x in a))
    length_b = math.sqrt(sum(y * y for y in b))
    if length_a == 0 or length_b == 0:
        return 0.0
    return dot / (length_a * length_b)


def cosine_numpy(a: Sequence[float], b: Sequence[float]) -> float:
    product = np.linalg.norm(a) * np.linalg.norm(b)
    return np.dot(a, b) / product if product else np.float64(0)


def dot_product(a: Sequence[float], b: Sequence[float]) -> float:
    return float(np.dot(a, b))


def squared_lengths(a: Sequence[float], b: Sequence[float]) -> float:
    below = float(np.dot(a, a) * np.dot(b, b))
    return float(np.dot(a, b)) / below if below else 0.0


def distance(a: Sequence[float], b: Sequence[float]) -> float:
    return 1 - cosine(a, b)


def no_zero_case(a: Sequence[float], b: Sequence[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / (math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b)))


def absolute(a: Sequence[float], b: Sequence[float]) -> float:
    return abs(cosine(a, b))


def _numbers(t: Trial, size: int) -> list[int]:
    """Whole numbers between -4 and 5, without 0, so that no vector is empty."""
    return [t.rng.choice([-4, -3, -2, -1, 1, 2, 3, 4, 5]) for _ in range(size)]


def check_cosine(answer, t: Trial) -> None:
    for size in (2, 3, 5, 7):
        a, b = _numbers(t, size), _numbers(t, size)
        # both signs must occur, whatever the seed: the second round uses -b
        for other in (b, [-x for x in b]):
            got = t.call(answer, a, other)
            _judge_cosine(t, got, a, other)
    t.passed("The cosine agrees for vectors of 2, 3, 5 and 7 numbers, negative values included")
    a = _numbers(t, 3)
    longer = [10 * x for x in a]
    t.close(
        t.call(answer, a, longer), 1.0, says="A vector and ten times itself point the same way."
    )
    t.passed("length does not matter, only direction")
    got = t.call(answer, a, [0, 0, 0])
    t.close(got, 0.0, says="A vector of zeros has no direction: return 0.0 for it.")
    t.passed("a vector of zeros gives 0")


def _judge_cosine(t: Trial, got, a: list[int], b: list[int]) -> None:
    right = cosine(a, b)
    t.close(
        got,
        right,
        says="The cosine is the dot product divided by both lengths.",
        mistakes=[
            (dot_product(a, b), "This is the dot product: divide it by both lengths."),
            (squared_lengths(a, b), "The lengths need a square root, $\\sqrt{\\sum_i a_i^2}$."),
            (1 - right, "This is a distance, 1 - cosine: similar vectors should score high."),
            (abs(right), "The sign is lost: opposite vectors have a cosine of -1."),
        ],
    )


COSINE = Exercise(
    id="0.0.2",
    title="Cosine similarity by hand",
    difficulty="medium",
    minutes=8,
    statement=r"""
Retrieval compares a question with passages by the angle between their vectors:

$$\cos(a, b) = \frac{\sum_i a_i b_i}{\sqrt{\sum_i a_i^2}\,\sqrt{\sum_i b_i^2}}$$

Write it for two lists of numbers of equal length. If one of them holds only zeros, it has no
direction: return 0.0. A loop is fine, and so is numpy.
""",
    stub='''
def cosine(a: list[float], b: list[float]) -> float:
    """Cosine of the angle between two vectors of equal length; 0.0 if one is all zeros.

    >>> cosine([1, 0], [1, 1])
    0.7071067811865475
    """
    raise NotImplementedError
''',
    name="cosine",
    reference=cosine,
    alternatives=(cosine_numpy,),
    wrong=(
        Wrong(dot_product, "This is the dot product"),
        Wrong(squared_lengths, "The lengths need a square root"),
        Wrong(distance, "similar vectors should score high"),
        Wrong(absolute, "The sign is lost"),
        Wrong(no_zero_case, "ZeroDivisionError"),
    ),
    check=check_cosine,
    hints=(
        "Three numbers are enough: the dot product and the two lengths. Compute each on its own "
        "line and print them.",
        "By hand: `cosine([3, 4], [4, 3])`. Dot product 3·4 + 4·3 = 24, both lengths are "
        "5, so the answer is 24/25 = 0.96.",
        "1. `dot = sum(x * y for x, y in zip(a, b))`\n"
        "2. `length_a = math.sqrt(sum(x * x for x in a))`, and the same for b\n"
        "3. if a length is 0 return 0.0, else return `dot / (length_a * length_b)`",
    ),
)


def softmax(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    if temperature == 0:
        winner = max(range(len(scores)), key=lambda i: scores[i])
        return [1.0 if i == winner else 0.0 for i in range(len(scores))]
    highest = max(scores)
    weights = [math.exp((score - highest) / temperature) for score in scores]
    total = sum(weights)
    return [weight / total for weight in weights]


def softmax_numpy(scores: Sequence[float], temperature: float = 1.0) -> np.ndarray:
    z = np.asarray(scores, dtype=float)
    if temperature == 0:
        return np.eye(len(z))[z.argmax()]
    z = np.exp((z - z.max()) / temperature)
    return z / z.sum()


def softmax_torch(scores: Sequence[float], temperature: float = 1.0) -> object:
    import torch

    z = torch.tensor(scores, dtype=torch.float64)
    if temperature == 0:
        return torch.nn.functional.one_hot(z.argmax(), len(z)).double()
    return torch.softmax(z / temperature, dim=0)


def unstable(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    if temperature == 0:
        return softmax(scores, 0)
    weights = [math.exp(score / temperature) for score in scores]
    return [weight / sum(weights) for weight in weights]


def unstable_numpy(scores: Sequence[float], temperature: float = 1.0) -> np.ndarray:
    if temperature == 0:
        return softmax_numpy(scores, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        weights = np.exp(np.asarray(scores) / temperature)
        return weights / weights.sum()


def multiplied(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    return softmax([score * temperature for score in scores], 1.0 if temperature else 0.0)


def after_the_softmax(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    if temperature == 0:
        return softmax(scores, 0)
    return [p / temperature for p in softmax(scores, 1.0)]


def temperature_ignored(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    return softmax(scores, 1.0 if temperature else 0.0)


def not_normalised(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    highest = max(scores)
    return [math.exp((score - highest) / (temperature or 1)) for score in scores]


def no_greedy_case(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    highest = max(scores)
    weights = [math.exp((score - highest) / temperature) for score in scores]
    return [weight / sum(weights) for weight in weights]


STABLE = (
    "Large scores overflow `exp`, and very negative ones all become 0: subtract the highest "
    "score from every score first."
)


def check_softmax(answer, t: Trial) -> None:
    for size in (2, 3, 5):
        scores = [round(t.rng.uniform(-3, 3), 2) for _ in range(size)]
        for temperature in (1.0, t.rng.choice([0.25, 0.5]), t.rng.choice([2.0, 4.0])):
            _judge_softmax(t, answer, scores, temperature)
    t.passed("The probabilities agree for temperatures from 0.25 to 4, and sum to one")
    base = t.rng.choice([1000, 2000])
    large = [base + t.rng.uniform(0, 2) for _ in range(3)]
    for scores in (large, [-score for score in large]):
        got = t.call(answer, scores, 1.0, says=STABLE)
        t.close(got, softmax(scores), says=STABLE)
    t.passed("scores of thousands neither overflow nor vanish")
    scores = [round(x, 1) for x in t.rng.sample([-1.5, -0.5, 0.3, 1.1, 2.4], 4)]
    got = t.call(answer, scores, 0)
    winner = scores.index(max(scores))
    t.close(
        got,
        [float(i == winner) for i in range(4)],
        says="Temperature 0 means greedy: all of the probability goes to the highest score.",
    )
    t.passed("temperature 0 is greedy")


def _judge_softmax(t: Trial, answer, scores: list[float], temperature: float) -> None:
    got = t.call(answer, scores, temperature)
    right = softmax(scores, temperature)
    t.close(
        got,
        right,
        says="Divide the scores by the temperature, take exp, then divide by the sum.",
        mistakes=[
            (not_normalised(scores, temperature), "The probabilities do not sum to one."),
            (multiplied(scores, temperature), "Divide by the temperature, do not multiply."),
            (
                after_the_softmax(scores, temperature),
                "The temperature divides the scores, before exp, not the probabilities.",
            ),
            (temperature_ignored(scores, temperature), "The temperature has no effect."),
        ],
    )


SOFTMAX = Exercise(
    id="0.0.3",
    title="Softmax with temperature",
    difficulty="hard",
    minutes=12,
    statement=r"""
A language model gives every token of its vocabulary a score. Softmax turns the scores $z$ into
probabilities, and the temperature $T$ decides how sharp they are:

$$p_i = \frac{\exp(z_i / T)}{\sum_j \exp(z_j / T)}$$

Write it for a list of scores, with two demands that real code has to meet:

- **Stable.** Scores of 1,000 or -1,000 must work: `math.exp(1000)` overflows. Subtracting the
  same number from every score changes no probability (why?), so choose a good one.
- **Greedy at zero.** `temperature=0` puts probability 1 on the highest score.
""",
    stub='''
def softmax(scores: list[float], temperature: float = 1.0) -> list[float]:
    """Probabilities from scores; temperature 0 gives all of it to the highest score.

    >>> softmax([0.0, 0.0])
    [0.5, 0.5]
    """
    raise NotImplementedError
''',
    name="softmax",
    reference=softmax,
    alternatives=(softmax_numpy, softmax_torch),
    wrong=(
        Wrong(unstable, "subtract the highest score"),
        Wrong(unstable_numpy, "subtract the highest score"),
        Wrong(multiplied, "Divide by the temperature, do not multiply"),
        Wrong(after_the_softmax, "not the probabilities"),
        Wrong(temperature_ignored, "The temperature has no effect"),
        Wrong(not_normalised, "The probabilities do not sum to one"),
        Wrong(no_greedy_case, "ZeroDivisionError"),
    ),
    check=check_softmax,
    hints=(
        "Write the plain formula first and check it. Then ask which number, subtracted from "
        "every score, keeps the largest `exp` at exactly 1.",
        "`softmax([1000.0, 1000.0])` is `[0.5, 0.5]`, and `softmax([1.0, 3.0], 0)` is "
        "`[0.0, 1.0]`.",
        "1. if the temperature is 0: find the position of `max(scores)` and return 1.0 there, "
        "0.0 elsewhere\n"
        "2. `highest = max(scores)`\n"
        "3. `weights = [math.exp((z - highest) / temperature) for z in scores]`\n"
        "4. divide every weight by `sum(weights)`",
    ),
)

EXERCISES = [MOST_COMMON_WORD, COSINE, SOFTMAX]
