"""Token masks: by hand, invariants, llguidance as the oracle."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest

from course_utils import assets
from course_utils.prompting.automata import START, compile_regex
from course_utils.prompting.json_schema import schema_regex
from course_utils.prompting.structured_library import library_masks
from course_utils.prompting.token_mask import TokenMask, TokenTrie, token_bytes, trie_of
from course_utils.text.tokenization import BPETokenizer

TOY = [b"-", b"0", b"4", b"42", b"7", b"-3", b"00", b"5-", b"a", None]


@pytest.fixture(scope="module")
def smollm2():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(assets.path("smollm2-135m-instruct"))


def test_by_hand():
    mask = TokenMask(compile_regex("-?(?:0|[4-9][0-9]?)"), TokenTrie(TOY))

    def names(state):
        return {TOY[i] for i in np.flatnonzero(mask.allowed(state))}

    assert names(START) == {b"-", b"0", b"4", b"42", b"7"}  # -3 no: 3 is outside 4-9
    after = mask.advance(START, 0)
    assert names(after) == {b"0", b"4", b"42", b"7"}
    assert names(mask.advance(after, 2)) == {b"0", b"4", b"7"}
    assert names(mask.advance(START, 1)) == set() and mask.may_end(mask.advance(START, 1))
    assert not mask.may_end(START) and not mask.may_end(after)
    with pytest.raises(ValueError, match="not allowed"):
        mask.advance(START, 8)
    with pytest.raises(ValueError, match="not allowed"):
        mask.advance(START, 9)


def test_trie_counts_by_hand():
    trie = TokenTrie([b"ab", b"abc", b"b", None, b"", b"ad"])
    assert (trie.nodes, trie.nbytes, trie.vocab_size) == (5, 8, 6)  # a ab abc ad b
    assert np.flatnonzero(trie.usable).tolist() == [ord("b")]


def test_targets_are_walks():
    rng, automaton = random.Random(3), compile_regex('(?:[^"]{0,7}é?[a-c]*)"x?')
    spellings = [bytes(rng.choices(b'abc"x\xc3\xa9', k=rng.randint(1, 4))) for _ in range(211)]
    trie = TokenTrie(spellings)
    for state in range(1, len(automaton.table)):
        walked = [automaton.walk(token, state) for token in spellings]
        assert trie.targets(automaton.table, state).tolist() == walked


def test_no_dead_ends_without_all_bytes():
    """x and y are bytes of the language, but only xy is a token."""
    trie = TokenTrie([b"a", b"b", b"xy", b"c", b"axy", b"ax"])
    mask = TokenMask(compile_regex("ax?y?b|c"), trie)
    assert not trie.bytewise
    assert np.flatnonzero(mask.allowed(START)).tolist() == [0, 3, 4, 5]
    state = mask.advance(START, 0)
    assert np.flatnonzero(mask.allowed(state)).tolist() == [1, 2]
    # after ax only b leads on, since y alone is no token; without b it would be a dead end
    stuck = TokenMask(compile_regex("axy|c"), trie)
    assert np.flatnonzero(stuck.allowed(START)).tolist() == [0, 3, 4]
    with pytest.raises(ValueError, match="no text fits"):
        TokenMask(compile_regex("x"), trie)


def test_room_leaves_only_tokens_that_can_be_finished():
    mask = TokenMask(compile_regex("a{0,9}b"), TokenTrie([b"a", b"aaa", b"b"]))
    assert np.flatnonzero(mask.allowed(START, 1)).tolist() == [2]
    assert mask.computed == 0  # with little room nothing is remembered
    assert np.flatnonzero(mask.allowed(START, 2)).tolist() == [0, 1, 2]
    mask.allowed(START), mask.allowed(START, 30)
    assert (mask.computed, mask.asked) == (1, 4)


def test_forced_spans(smollm2):
    mask = TokenMask(compile_regex('\\{"naïve": (?:"é"|"è")\\}'), trie_of(smollm2))
    span = mask.forced(START)
    # é and è share their first byte: it is forced, but half a character is left out
    assert mask.trie.text(span).decode() == '{"naïve": "'
    assert span == smollm2.encode('{"naïve": "', add_special_tokens=False)
    rest = mask.advance(mask.state_of(span), smollm2.encode("é")[0])
    assert mask.trie.text(mask.forced(rest)) == b'"}'
    assert mask.trie.encode("<|im_end|>") != [2]  # spelled out, not the control token


def test_same_trie_from_both_tokenizers(smollm2):
    ours = BPETokenizer.from_hf(assets.path("smollm2-135m-instruct") / "tokenizer.json")
    assert token_bytes(ours) == token_bytes(smollm2)
    assert token_bytes(ours)[:17] == [None] * 17  # the special tokens
    assert trie_of(smollm2) is trie_of(smollm2)
    with pytest.raises(TypeError, match="got str"):
        token_bytes("tokenizer")


@pytest.mark.parametrize(
    "pattern, text",
    [
        (r"(?:a|bc){2,5}é?[0-9]+", "abcbcaé42"),
        (r'"[^"\\\x00-\x1f]{0,23}"', '"Łódź 1 日本"'),
        (r"[α-ω]{1,7}x|αβγ", "αβx"),
        (r"-?(?:0|[1-9][0-9]{0,4})(?:\.[0-9]{1,3})?", "-1305.25"),
    ],
)
def test_equal_to_llguidance_on_patterns(smollm2, pattern, text):
    mask, state = TokenMask(compile_regex(pattern), trie_of(smollm2)), START
    ids = mask.trie.encode(text)
    masks = library_masks(smollm2, ids, pattern=pattern)
    for theirs, token in zip(masks, [*ids, None], strict=True):
        ours = np.zeros_like(theirs)
        ours[: mask.trie.vocab_size] = mask.allowed(state)
        ours[smollm2.eos_token_id] = mask.may_end(state)
        assert np.array_equal(ours, theirs)
        state = state if token is None else mask.advance(state, token)


def test_equal_to_llguidance_on_a_schema(smollm2):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 19},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1, "maxItems": 3},
            "ok": {"type": "boolean"},
            "n": {"type": ["integer", "null"], "minimum": -3, "maximum": 5},
        },
        "required": ["name", "age", "tags", "ok", "n"],
        "additionalProperties": False,
    }
    mask, state = TokenMask(compile_regex(schema_regex(schema)), trie_of(smollm2)), START
    value = {"name": 'Zoë "Z"', "age": 31, "tags": ["a", "b"], "ok": True, "n": None}
    ids = mask.trie.encode(json.dumps(value, ensure_ascii=False))
    choices = 0
    for theirs, token in zip(library_masks(smollm2, ids, schema), [*ids, None], strict=True):
        ours = np.zeros_like(theirs)
        ours[: mask.trie.vocab_size] = mask.allowed(state)
        ours[smollm2.eos_token_id] = mask.may_end(state)
        forced = mask.forced(state)
        if forced and np.flatnonzero(theirs).tolist() == forced[:1]:
            assert ours[forced[0]]  # in forced spans they allow the tokenizer's own cut alone
        else:
            choices += 1
            assert np.array_equal(ours, theirs)
        state = state if token is None else mask.advance(state, token)
    assert choices > 15


def test_sampled_token_paths_are_accepted(smollm2):
    """Random allowed tokens, to the end: always a member, never stuck."""
    pattern = r'\{"a": "(?:[^"\\\x00-\x1f]|\\"){0,5}", "b": (?:[0-9]{1,3}|null)\}'
    mask, rng = TokenMask(compile_regex(pattern), trie_of(smollm2)), np.random.default_rng(3)
    for _ in range(30):
        state, ids = START, []
        while not mask.may_end(state):
            ids.append(int(rng.choice(np.flatnonzero(mask.allowed(state)))))
            state = mask.advance(state, ids[-1])
        assert re.fullmatch(pattern, mask.trie.text(ids).decode())
