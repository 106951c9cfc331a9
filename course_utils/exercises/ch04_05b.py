"""Exercise 4.5.4: BERT's corruption, its plausible mistakes and its check."""

from __future__ import annotations

from collections.abc import Sequence

from course_utils.exercises.engine import Trial


def mask_tokens(
    ids: Sequence[int],
    choice: Sequence[float],
    fate: Sequence[float],
    words: Sequence[int],
    mask_id: int,
    end_id: int,
) -> tuple[list[int], list[int]]:
    inputs, labels = [], []
    for token, pick, how, word in zip(ids, choice, fate, words, strict=True):
        if pick >= 0.15 or token == end_id:
            inputs.append(token)
            labels.append(-100)
            continue
        labels.append(token)
        inputs.append(mask_id if how < 0.8 else word if how < 0.9 else token)
    return inputs, labels


def mask_tokens_torch(ids, choice, fate, words, mask_id, end_id):
    import torch

    old, dice = torch.tensor(ids), torch.tensor(fate, dtype=torch.float64)
    chosen = (torch.tensor(choice, dtype=torch.float64) < 0.15) & (old != end_id)
    inputs = old.masked_fill(chosen & (dice < 0.8), mask_id)
    inputs = torch.where(chosen & (dice >= 0.8) & (dice < 0.9), torch.tensor(words), inputs)
    return inputs, old.masked_fill(~chosen, -100)


def labels_where_changed(ids, choice, fate, words, mask_id, end_id):
    inputs, labels = mask_tokens(ids, choice, fate, words, mask_id, end_id)
    kept = zip(ids, inputs, labels, strict=True)
    return inputs, [label if new != old else -100 for old, new, label in kept]


def labels_everywhere(ids, choice, fate, words, mask_id, end_id):
    return mask_tokens(ids, choice, fate, words, mask_id, end_id)[0], list(ids)


def all_hidden(ids, choice, fate, words, mask_id, end_id):
    _, labels = mask_tokens(ids, choice, fate, words, mask_id, end_id)
    return [mask_id if y != -100 else x for x, y in zip(ids, labels, strict=True)], labels


def end_chosen(ids, choice, fate, words, mask_id, end_id):
    return mask_tokens(ids, choice, fate, words, mask_id, -1)


def labels_of_inputs(ids, choice, fate, words, mask_id, end_id):
    inputs, labels = mask_tokens(ids, choice, fate, words, mask_id, end_id)
    return inputs, [x if y != -100 else -100 for x, y in zip(inputs, labels, strict=True)]


def in_place(ids, choice, fate, words, mask_id, end_id):
    inputs, labels = mask_tokens(ids, choice, fate, words, mask_id, end_id)
    ids[:] = inputs
    return ids, labels


INPUT_MISTAKES = (
    (
        all_hidden,
        "Here every chosen token became the mask: a tenth is replaced by `words[i]`, a tenth "
        "stays.",
    ),
    (
        end_chosen,
        "The end-of-text id must never be chosen: it is no word, and its place says where a "
        "document stops.",
    ),
)
LABEL_MISTAKES = (
    (
        labels_where_changed,
        "A chosen place has its true id as label also where the token stayed: there the model "
        "must say that the word it sees is right.",
    ),
    (
        labels_everywhere,
        "Labels are -100 at places that were not chosen, or the model is mostly trained to copy.",
    ),
    (labels_of_inputs, "Those labels were taken after the corruption. Take the true ids."),
)


def check_mask_tokens(answer, t: Trial) -> None:
    for _ in range(3):
        ids = [t.rng.randint(10, 90) for _ in range(24)]
        choice = [t.rng.choice([0.05, 0.1, 0.5]) for _ in ids]
        fate = [t.rng.random() for _ in ids]
        # every fate occurs, once also at an end of text
        choice[:5], fate[:5] = [0.1] * 5, [0.3, 0.85, 0.95, 0.2, 0.8]
        ids[3], ids[9] = 0, 0
        words = [t.rng.randint(100, 190) for _ in ids]
        arguments = (ids, choice, fate, words, 1, 0)
        expected = mask_tokens(*arguments)
        mistakes = {
            wrong: wrong(list(ids), *arguments[1:])
            for wrong, _ in (*INPUT_MISTAKES, *LABEL_MISTAKES)
        }
        got = t.call(answer, *arguments, shows="mask_tokens(...) with 24 tokens")
        t.that(
            isinstance(got, (tuple, list)) and len(got) == 2,
            "Return two lists: inputs and labels.",
        )
        t.equal(
            [int(x) for x in got[0]],
            expected[0],
            says="The inputs are not those that the dice ask for.",
            mistakes=[(mistakes[wrong][0], sentence) for wrong, sentence in INPUT_MISTAKES],
        )
        t.equal(
            [int(x) for x in got[1]],
            expected[1],
            says="The labels are not the true ids at the chosen places and -100 elsewhere.",
            mistakes=[(mistakes[wrong][1], sentence) for wrong, sentence in LABEL_MISTAKES],
        )
    t.passed("Inputs and labels agree for hidden, replaced and kept tokens, and ends stay")
