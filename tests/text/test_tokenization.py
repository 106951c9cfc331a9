"""Byte-level BPE: by hand, by invariants, and against `tokenizers` and SmolLM2's own file."""

import itertools
import json
import random
import re
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from course_utils import assets, corpora
from course_utils.text import bpe_training, pretokenization
from course_utils.text.bpe_training import PairIndex, learn_merges, merge_pair, naive_merges
from course_utils.text.pretokenization import (
    BYTE_LEVEL_PLAIN,
    GPT2_PATTERN,
    GPT4_PATTERN,
    SUPERWORD_PATTERN,
    PreTokenizer,
)
from course_utils.text.tokenization import BPETokenizer
from course_utils.text.tokenizer_file import from_printable, to_printable

HELLO = (
    "Hello world, it's 2024!  Tabs\tand\n\n  blank lines \n",
    "def f(x):\n    return x ** 2  # naïve\n\n\n2024",
    "Здравей, свят! 你好，世界 🙂👩‍👩‍👧 ﷽ e\u0301 \u200b end ",
    "",
    " ",
    "a" * 211,
    "١٢٣ ½ ² 1,000,000.00",
)


@pytest.fixture(scope="module")
def smollm2_file():
    return assets.path("smollm2-135m-instruct") / "tokenizer.json"


@pytest.fixture(scope="module")
def smollm2(smollm2_file):
    return BPETokenizer.from_hf(smollm2_file)


@pytest.fixture(scope="module")
def theirs(smollm2_file):
    return Tokenizer.from_file(str(smollm2_file))


@pytest.fixture(scope="module")
def small():
    return BPETokenizer.train([t for t in HELLO if t] * 3, 307, ["<|end|>", "<|end|>more"])


def their_ids(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


# -- by hand ----------------------------------------------------------------------------------


def test_merges_of_a_corpus_that_can_be_counted_on_paper():
    # "hug" 10, "pug" 5, "pun" 12, "bun" 4, "hugs" 5 (Hugging Face course, chapter 6, part 5):
    # u+g 20, u+n 16, h+ug 15
    words = {b"hug": 10, b"pug": 5, b"pun": 12, b"bun": 4, b"hugs": 5}
    merges = learn_merges(words, 259)
    assert merges == [(ord("u"), ord("g")), (ord("u"), ord("n")), (ord("h"), 256)]


def test_wikipedia_example_of_byte_pair_encoding():
    # aaabdaaabac: aa -> Z (4 overlapping pairs), then Za and ab tie at 2: the pair of plain
    # letters comes first, giving Zab -> X; the result is XdXac
    tokenizer = BPETokenizer.train(["aaabdaaabac"], 259)
    spelled = [tokenizer.tokens[i] for i in range(256, 259)]
    assert spelled == [b"aa", b"ab", b"aaab"]
    assert [tokenizer.tokens[i] for i in tokenizer.encode("aaabdaaabac")] == [
        b"aaab",
        b"d",
        b"aaab",
        b"a",
        b"c",
    ]


def test_encoding_follows_the_order_of_the_merges_not_the_longest_match():
    # "ab" was learned before "bc" and "abcd" never: a b c d -> ab c d -> ab cd
    tokens = {i: bytes([i]) for i in range(256)} | {256: b"ab", 257: b"bcd", 258: b"cd"}
    merges = [(97, 98), (99, 100), (98, 258)]
    tokenizer = BPETokenizer(tokens, merges, {}, PreTokenizer.from_pattern(GPT2_PATTERN))
    assert tokenizer.encode("abcd") == [256, 258]
    assert tokenizer.encode("bcd") == [257]


def test_merge_pair_does_not_overlap():
    assert merge_pair((7, 7, 7, 7, 7), (7, 7), 11) == (11, 11, 7)
    assert merge_pair((), (7, 7), 11) == ()


def test_pair_index_counts_by_hand():
    index = PairIndex({(3, 3, 3): 2, (5, 3, 7): 11})
    assert index.counts == {(3, 3): 4, (5, 3): 11, (3, 7): 11}
    assert index.most_frequent() == ((3, 7), 11)  # a tie: the smaller pair
    index.merge((3, 7), 13)
    assert {pair: count for pair, count in index.counts.items() if count} == {
        (3, 3): 4,
        (5, 13): 11,
    }


def test_a_pair_is_merged_from_the_left_in_whatever_order_its_places_were_found():
    index = PairIndex({(1, 2, 3, 4, 1, 2): 1})
    index.merge((1, 2), 9)
    index.merge((3, 4), 9)  # two merges of one spelling share a symbol: 9 9 9
    index.merge((9, 9), 11)
    assert [symbol for symbol in index.symbols if symbol >= 0] == [11, 9]


def test_ids_below_256_are_the_bytes():
    tokenizer = BPETokenizer.train(["zz"], 257, [])
    assert tokenizer.encode("aé") == [0x61, 0xC3, 0xA9]
    assert tokenizer.encode_bytes(b"\xff\x00") == [0xFF, 0]


def test_special_tokens_come_last_and_are_never_merged(small):
    end, more = small.special_tokens["<|end|>"], small.special_tokens["<|end|>more"]
    assert (end, more) == (small.vocab_size - 2, small.vocab_size - 1)
    assert small.encode("a<|end|>b") == [*small.encode("a"), end, *small.encode("b")]
    assert small.encode("<|end|>more") == [more]  # the longest wins
    assert small.decode([end, *small.encode("x")], special=False) == "x"


def test_special_tokens_in_users_text_can_be_disarmed(small):
    text = "ignore<|end|>this"
    ids = small.encode(text, special=False)
    assert small.special_tokens["<|end|>"] not in ids
    assert small.decode(ids) == text


def test_half_a_character_is_a_replacement_mark_until_the_rest_comes(small):
    ids = small.encode_bytes("猫".encode())
    assert small.decode(ids[:1]).startswith("\ufffd")
    with pytest.raises(UnicodeDecodeError):
        small.decode(ids[:1], errors="strict")
    assert small.decode(ids) == "猫"


def test_superwords_cross_spaces_and_keep_the_first_stage():
    texts = ["by the way of the sea", "by the way", "on the way"] * 7
    first = BPETokenizer.train(texts, 271)
    second = first.extend(texts, 281, pattern=SUPERWORD_PATTERN)
    assert second.merges[: len(first.merges)] == first.merges
    assert any(b" " in token.strip() for token in second.tokens.values())
    assert not any(b" " in token.strip() for token in first.tokens.values())
    assert second.decode(second.encode(texts[0])) == texts[0]
    assert len(second.encode(texts[0])) < len(first.encode(texts[0]))


# -- errors -----------------------------------------------------------------------------------


def test_mistakes_are_named(small, tmp_path):
    with pytest.raises(TypeError, match="one string"):
        BPETokenizer.train("abc", 300)
    with pytest.raises(TypeError, match="int"):
        BPETokenizer.train(["a", 3], 300)
    with pytest.raises(ValueError, match="258 or more"):
        BPETokenizer.train(["abc"], 257, ["<a>", "<b>"])
    with pytest.raises(TypeError, match="list of strings"):
        BPETokenizer.train(["abc"], 300, "<a>")
    with pytest.raises(ValueError, match="learned token"):
        BPETokenizer.train(["abc"], 300, ["x"])
    with pytest.raises(TypeError, match="bytes"):
        small.encode(b"abc")
    with pytest.raises(ValueError, match="surrogate"):
        small.encode("a\ud800")
    with pytest.raises(ValueError, match="no token has the id 99999"):
        small.decode([99999])
    with pytest.raises(ValueError, match=r"259|grow|or more"):
        small.extend(["a"], small.vocab_size, pattern=SUPERWORD_PATTERN)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(ValueError, match="not a tokenizer file"):
        BPETokenizer.load(broken)


def changed(file, **changes):
    content = json.loads(file.read_text())
    for key, value in changes.items():
        place = content["model"] if key in content["model"] else content
        place[key] = value
    return content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pre_tokenizer": {"type": "Metaspace"}}, "Metaspace"),
        ({"pre_tokenizer": None}, "None"),
        ({"pre_tokenizer": {"type": "Digits", "individual_digits": True}}, "ByteLevel"),
        ({"normalizer": {"type": "NFC"}}, "NFC"),
        ({"dropout": 0.1}, "dropout"),
        ({"byte_fallback": True}, "byte_fallback"),
        ({"type": "WordPiece"}, "WordPiece"),
    ],
)
def test_files_that_would_give_other_ids_are_refused(small, tmp_path, changes, message):
    file = tmp_path / "tokenizer.json"
    small.save(file)
    file.write_text(json.dumps(changed(file, **changes)))
    with pytest.raises(ValueError, match=message):
        BPETokenizer.from_hf(file)


def test_saving_leaves_no_half_file(small, tmp_path, monkeypatch):
    monkeypatch.setattr(json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        small.save(tmp_path / "t.json")
    assert list(tmp_path.iterdir()) == []


# -- invariants -------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=61))
def test_round_trip_of_any_bytes(data):
    tokenizer = trained_once()
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=61))
def test_round_trip_of_any_text(text):
    tokenizer = trained_once()
    assert tokenizer.decode(tokenizer.encode(text)) == text


_trained = []


def trained_once():
    if not _trained:
        _trained.append(BPETokenizer.train(HELLO, 401))
    return _trained[0]


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, GPT4_PATTERN, SUPERWORD_PATTERN])
def test_pieces_join_to_the_text_and_tokens_stay_inside_them(pattern):
    tokenizer = BPETokenizer.train(HELLO, 331, pattern=pattern)
    for text in HELLO:
        pieces = tokenizer.pieces(text)
        assert "".join(pieces) == text
        assert tokenizer.encode(text) == [i for p in pieces for i in tokenizer.encode(p)]


def test_incremental_training_finds_the_merges_of_the_naive_algorithm():
    rng = random.Random(5)
    for _ in range(60):
        alphabet = rng.choice(["ab", "aab c", "xyz é"])
        text = "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 83)))
        words = bpe_training.count_pieces([text], str.split)
        assert learn_merges(words, 277) == list(dict.fromkeys(naive_merges(words, 277)[0]))


def test_the_pair_index_stays_equal_to_a_recount():
    rng = random.Random(7)
    words = Counter(tuple(rng.choices(range(5), k=rng.randrange(1, 19))) for _ in range(97))
    index = PairIndex(words)
    for new in range(11, 31):
        pair, count = index.most_frequent()
        assert count == recount(words)[pair] == max(recount(words).values())
        index.merge(pair, new)
        merged = Counter()
        for word, frequency in words.items():
            merged[merge_pair(word, pair, new)] += frequency
        words = merged
        assert Counter({p: c for p, c in index.counts.items() if c}) == recount(words)


def recount(words):
    counts = Counter()
    for word, frequency in words.items():
        for pair in itertools.pairwise(word):
            counts[pair] += frequency
    return counts


def test_training_cost_follows_the_changes_not_corpus_times_merges():
    rng = random.Random(11)
    letters = "etaoinshrdlu"
    weights = [2.0**-i for i in range(len(letters))]
    words = Counter(
        bytes("".join(rng.choices(letters, weights, k=rng.randrange(2, 12))), "ascii")
        for _ in range(3001)
    )
    index = bpe_training.index_words(words)
    learn_merges(words, 256 + 211, index=index)
    _, counted = naive_merges(words, 256 + 211)
    assert counted > 20 * index.updates


def test_same_merges_whatever_the_order_of_the_texts():
    texts = [*HELLO, "one more line of plain text"]
    assert BPETokenizer.train(texts, 347).merges == BPETokenizer.train(texts[::-1], 347).merges


def test_a_tokenizer_holds_all_smaller_ones(small, smollm2):
    for size in (258, 271, 293, small.vocab_size):
        texts = [t for t in HELLO if t] * 3
        wanted = BPETokenizer.train(texts, size, list(small.special_tokens))
        shrunk = small.shrink(size)
        assert (shrunk.tokens, shrunk.merges) == (wanted.tokens, wanted.merges)
        assert shrunk.special_tokens == wanted.special_tokens
    with pytest.raises(ValueError, match="cannot keep"):
        small.shrink(small.vocab_size + 1)
    with pytest.raises(ValueError, match=r"train\(\)"):
        smollm2.shrink(1000)


def test_rare_pairs_are_left_alone_on_request():
    tokenizer = BPETokenizer.train(["ab ab cd"], 400, min_frequency=2)
    assert [tokenizer.tokens[i] for i in range(256, tokenizer.vocab_size)] == [b"ab", b" ab"][:1]


def test_training_stops_when_nothing_is_left_to_merge():
    assert BPETokenizer.train(["abc"], 5003).vocab_size == 258


def test_save_and_load(small, tmp_path):
    small.save(tmp_path / "t.json")
    again = BPETokenizer.load(tmp_path / "t.json")
    assert (again.tokens, again.merges) == (small.tokens, small.merges)
    assert again.special_tokens == small.special_tokens
    for text in (*HELLO, "x<|end|>y"):
        assert again.encode(text) == small.encode(text)


def test_long_pieces_take_no_quadratic_time():
    tokenizer = BPETokenizer.train(["ab" * 50], 300)
    seen = CountingRanks(tokenizer._ranks)
    tokenizer._ranks = seen
    tokenizer.encode("ab" * 5000)
    assert seen.lookups < 40 * 10_000


class CountingRanks(dict):
    lookups = 0

    def __contains__(self, key):
        self.lookups += 1
        return super().__contains__(key)


def test_spelling_in_gpt2s_alphabet():
    assert to_printable(b" \n\x00a") == "ĠĊĀa"
    assert all(from_printable(to_printable(bytes([b]))) == bytes([b]) for b in range(256))
    assert from_printable("<|日|>") == "<|日|>".encode()


# -- oracle: the `tokenizers` library ---------------------------------------------------------


def train_theirs(texts, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


def test_same_merges_in_the_same_order_as_the_tokenizers_trainer():
    rng = random.Random(13)
    for round_ in range(150):
        alphabet = rng.choice(["ab", "abc ", "a", "aé 1", "the cat sat. "])
        texts = ["".join(rng.choices(alphabet, k=rng.randrange(0, 43))) for _ in range(3)]
        ours = BPETokenizer.train(texts, 379)
        spelled = [
            (to_printable(ours.tokens[a]), to_printable(ours.tokens[b])) for a, b in ours.merges
        ]
        assert spelled == train_theirs(texts, 379), (round_, texts)


def test_saved_file_opens_in_the_tokenizers_library(tmp_path):
    for pattern in (GPT2_PATTERN, GPT4_PATTERN):
        ours = BPETokenizer.train(HELLO, 353, ["<|end|>"], pattern=pattern)
        ours.save(tmp_path / "t.json")
        theirs = Tokenizer.from_file(str(tmp_path / "t.json"))
        for text in (*HELLO, "a<|end|> b"):
            assert ours.encode(text) == their_ids(theirs, text)
            assert theirs.decode(ours.encode(text), skip_special_tokens=False) == text


@pytest.mark.parametrize("text", HELLO)
def test_smollm2_ids_on_difficult_strings(smollm2, theirs, text):
    assert smollm2.encode(text) == their_ids(theirs, text)


@settings(
    max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=53))
def test_smollm2_ids_on_random_unicode(smollm2, theirs, text):
    ours = smollm2.encode(text)
    assert ours == their_ids(theirs, text)
    assert smollm2.decode(ours) == theirs.decode(ours, skip_special_tokens=False)


def test_text_is_cut_alike_wherever_unicode_versions_differ(smollm2, theirs):
    # every seventh code point, and all that our regex package knows and theirs does not; each
    # stands between two letters, so that its class shows as a cut or no cut
    newer = [int(part, 16) for part in re.split("[ -]", pretokenization._AFTER_UNICODE_16)]
    points = {*range(0, 0x110000, 7), *newer, *(i + 1 for i in newer), *(i - 1 for i in newer)}
    text = [chr(i) for i in sorted(points) if not 0xD800 <= i < 0xE000]
    for start in range(0, len(text), 1 << 13):
        part = "a".join(text[start : start + (1 << 13)])
        ours = [to_printable(piece.encode()) for piece in smollm2.pieces(part)]
        assert ours == [piece for piece, _ in theirs.pre_tokenizer.pre_tokenize_str(part)]
        assert smollm2.encode(part) == their_ids(theirs, part)


def test_smollm2_ids_on_all_of_wikipedia_and_on_code(smollm2, theirs, root):
    texts = [*corpora.wikipedia()["text"], *corpora.wikipedia_bg()["text"]]
    texts += [file.read_text(encoding="utf-8") for file in root.glob("course_utils/**/*.py")]
    batch = theirs.encode_batch_fast(texts, add_special_tokens=False)
    different = [
        t[:80] for t, ids in zip(texts, batch, strict=True) if smollm2.encode(t) != ids.ids
    ]
    assert different == []


def test_smollm2_special_tokens(smollm2, theirs):
    text = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert smollm2.encode(text) == their_ids(theirs, text)
    assert smollm2.encode(text)[0] == smollm2.special_tokens["<|im_start|>"] == 1


def test_smollm2_has_no_token_for_some_bytes_and_drops_them(smollm2, theirs):
    ids = smollm2.encode("a\x04b")
    assert ids == their_ids(theirs, "a\x04b") == [*smollm2.encode("a"), *smollm2.encode("b")]


@pytest.mark.parametrize("unknown", [("?", True), ("?", False)])
def test_bytes_without_a_token_become_the_unknown_token(tmp_path, unknown):
    content = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": BYTE_LEVEL_PLAIN,
        "post_processor": None,
        "decoder": BYTE_LEVEL_PLAIN,
        "model": {
            "type": "BPE",
            "unk_token": unknown[0],
            "fuse_unk": unknown[1],
            "vocab": {"?": 0, "a": 1, "b": 2, "ab": 3, "Ġ": 4},
            "merges": ["a b"],
        },
    }
    (tmp_path / "t.json").write_text(json.dumps(content))
    ours, theirs = load_both(tmp_path / "t.json")
    for text in ("abab", "a éé b", "xabyyab z"):
        assert ours.encode(text) == their_ids(theirs, text)


def load_both(file):
    return BPETokenizer.from_hf(file), Tokenizer.from_file(str(file))


STEPS = [
    pre_tokenizers.Digits(individual_digits=True),
    pre_tokenizers.Digits(individual_digits=False),
    pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"),
    pre_tokenizers.Split(Regex(r"\s+"), "removed"),
    pre_tokenizers.Split(Regex(r"[,.]"), "merged_with_previous"),
    pre_tokenizers.Split(Regex(r"[,. ]"), "merged_with_next"),
    pre_tokenizers.Split(Regex(r"[,. ]"), "contiguous"),
    pre_tokenizers.Split(Regex(r"\p{L}"), "merged_with_previous", invert=True),
    pre_tokenizers.Split("1.", "isolated"),
    pre_tokenizers.Split(Regex(GPT4_PATTERN), "isolated"),
]


@pytest.mark.parametrize("step", range(len(STEPS)))
@pytest.mark.parametrize("use_regex", [True, False])
@pytest.mark.parametrize("prefix", [True, False])
def test_every_known_pre_tokenizer_cuts_like_the_library(step, use_regex, prefix):
    last = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)
    theirs = pre_tokenizers.Sequence([STEPS[step], last])
    host = Tokenizer(models.BPE())
    host.pre_tokenizer = theirs
    ours = PreTokenizer(json.loads(host.to_str())["pre_tokenizer"])
    for text in (*HELLO, "a, b.. 1.5 22,333 don't  DON'T", ",,a,,"):
        spelled = [to_printable(piece.encode()) for piece in ours.split(text)]
        wanted = [piece for piece, _ in theirs.pre_tokenize_str(text)] if text else []
        assert [piece for piece in spelled if piece] == wanted, text


def test_whole_pieces_are_looked_up_before_merging(smollm2_file, tmp_path):
    tokenizer = BPETokenizer.train(["low lower lowest"] * 3, 262)
    tokenizer.save(tmp_path / "t.json")
    content = changed(tmp_path / "t.json", ignore_merges=True)
    content["model"]["vocab"]["zq"] = 900
    (tmp_path / "t.json").write_text(json.dumps(content))
    ours, theirs = load_both(tmp_path / "t.json")
    for text in ("zq low", "azq", "lowest"):
        assert ours.encode(text) == their_ids(theirs, text)
    assert ours.encode("zq") == [900]
