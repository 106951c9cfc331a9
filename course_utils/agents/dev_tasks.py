"""Chapter 4 - Tasks to try a prompt on, so that the authored ones stay a test.

The wording of ``few_shot`` and the masks of ``copying`` were chosen on these. None of them is among
the authored tasks or the examples.
"""

from __future__ import annotations

from course_utils.agents.tasks import Task

_TASKS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("no_tool", 'What is the plural of "foot"?', ("feet",)),
    ("no_tool", 'What is the past tense of "see"?', ("saw",)),
    ("no_tool", 'What is the opposite of "early"?', ("late",)),
    ("no_tool", 'Which animal says "moo"?', ("cow",)),
    ("no_tool", 'Translate the Spanish word "gracias" into English.', ("thank you", "thanks")),
    ("no_tool", "How many hours does a day have?", ("24", "twenty-four")),
    ("no_tool", "What colour is fresh snow?", ("white",)),
    (
        "no_tool",
        "Is a whale larger or smaller than a mouse? Answer with one word.",
        ("larger", "bigger"),
    ),
    ("no_tool", 'Complete the proverb: "Practice makes ..."', ("perfect",)),
    ("no_tool", "Which word does not fit: chair, table, banana, sofa?", ("banana",)),
    ("no_tool", "What do bees make?", ("honey",)),
    ("no_tool", "What is 3 plus 4?", ("7", "seven")),
    ("calculator", "What is 7 to the power of 4?", ("2401",)),
    ("calculator", "What is 24 percent of 550?", ("132",)),
    ("calculator", "Compute (96 - 41) * 12.", ("660",)),
    ("calculator", "What is 218 times 34?", ("7412",)),
    ("calculator", "Divide 7,548 by 37.", ("204",)),
    (
        "calculator",
        "A garden is 38 m long and 21 m wide. What is its area in square metres?",
        ("798",),
    ),
    ("calculator", "Add 2,310, 455 and 1,208.", ("3973",)),
    ("calculator", "How many minutes are there in 3 hours and 25 minutes?", ("205",)),
    ("calculator", "What is the mean of 62, 75, 81 and 90?", ("77",)),
    (
        "calculator",
        "A truck brings 18 crates with 24 bottles each, and 17 bottles break. How many bottles are "
        "whole?",
        ("415",),
    ),
    (
        "calculator",
        "The rent of 987.60 dollars is shared by 4 people. How much does each pay in dollars?",
        ("246.9", "246.90"),
    ),
    ("calculator", "What do you get when you take 2,345 away from 8,000?", ("5655",)),
    (
        "calculator",
        "A chair costs 74 euros and 23 are ordered. What is the total price in euros?",
        ("1702",),
    ),
    ("python", "What is the factorial of 9?", ("362880",)),
    ("python", 'Write the word "notebook" backwards.', ("koobeton",)),
    ("python", 'How many letters o are in "cooking school book"?', ("6", "six")),
    ("python", "What is the greatest common divisor of 646 and 204?", ("34",)),
    ("python", "How many numbers from 1 to 300 can be divided by 9?", ("33",)),
    ("python", "Write the decimal number 77 in binary.", ("1001101",)),
    ("python", "What is the sum of the cubes of the whole numbers from 1 to 20?", ("44100",)),
    (
        "python",
        "Sort the words lemon, kiwi, plum and date by the alphabet. Which one is first?",
        ("date",),
    ),
    ("search", "In which year was Alfred Nobel born?", ("1833",)),
    ("search", "What is the capital of Azerbaijan?", ("Baku",)),
    ("search", "Who directed the film Solaris?", ("Andrei Tarkovsky", "Tarkovsky")),
    ("search", "What is the chemical formula of methane, the simplest alkane?", ("CH4",)),
    ("search", "Which river is the longest of Albania?", ("Drin",)),
    ("search", "In which ocean does Alaska's western coast lie?", ("Pacific",)),
    ("search", "What is the capital of Algeria?", ("Algiers",)),
    (
        "search",
        "What does ASCII stand for?",
        ("American Standard Code for Information Interchange",),
    ),
)


def dev_tasks() -> list[Task]:
    """All of them; ids are negative, so they cannot be taken for authored ones."""
    return [
        Task(-i, question, (), kind, answers)
        for i, (kind, question, answers) in enumerate(_TASKS, 1)
    ]
