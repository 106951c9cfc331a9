"""N-gram models: by hand, sums to one, and against NLTK and formulas written out again."""

import math
import random
from collections import Counter

import pytest

from course_utils.text.ngram_smoothing import (
    Katz,
    KneserNey,
    StupidBackoff,
    estimate_discounts,
    good_turing_discounts,
)
from course_utils.text.ngrams import (
    END,
    START,
    UNKNOWN,
    AddK,
    NGramModel,
    choose_vocabulary,
    ngrams,
)

SAM = ["I am Sam", "Sam I am", "I do not like green eggs and ham"]
SAM = [line.split() for line in SAM]


def make_sentences(number, seed=5, words=23):
    """Sentences with Zipfian words and some structure: a word depends on the one before."""
    rng = random.Random(seed)
    pool = [f"w{i}" for i in range(words)]
    weights = [1 / (i + 1) for i in range(words)]
    sentences = []
    for _ in range(number):
        line = rng.choices(pool, weights, k=rng.randrange(1, 13))
        for i in range(1, len(line)):
            if rng.random() < 0.5:
                line[i] = pool[(pool.index(line[i - 1]) * 7 + 3) % words]
        sentences.append(line)
    return sentences


TRAIN, HELD_OUT = make_sentences(211), make_sentences(37, seed=6)
MODELS = [
    lambda n: AddK(n, 1.0),
    lambda n: AddK(n, 0.01),
    StupidBackoff,
    Katz,
    KneserNey,
    lambda n: KneserNey(n, modified=False),
    lambda n: KneserNey(n, discount=0.75),
]


# -- by hand ----------------------------------------------------------------------------------


def test_runs_of_neighbours():
    assert ngrams("abcd", 2) == [("a", "b"), ("b", "c"), ("c", "d")]
    assert ngrams("ab", 3) == []


def test_maximum_likelihood_of_the_textbook():
    # Jurafsky & Martin (3rd ed.), section 3.1: P(I|<s>) = 2/3, P(</s>|Sam) = 1/2, P(am|I) = 2/3
    model = AddK(2, k=0).fit(SAM)
    assert model.probability("I", [START]) == pytest.approx(2 / 3)
    assert model.probability(END, ["Sam"]) == pytest.approx(1 / 2)
    assert model.probability("am", ["I"]) == pytest.approx(2 / 3)
    assert model.probability("eggs", ["I"]) == 0.0
    assert model.perplexity([["I", "like", "Sam"]]) == math.inf


def test_add_one_by_hand():
    # V = 10 words + </s> + <unk> = 12; c(I am) = 2, c(I) = 3
    model = AddK(2).fit(SAM)
    assert len(model.vocabulary) == 12
    assert model.probability("am", ["I"]) == pytest.approx((2 + 1) / (3 + 12))
    assert model.probability("zebra", ["I"]) == pytest.approx(1 / 15)


@pytest.mark.parametrize("k", [0, 0.01, 1])
def test_the_distribution_of_add_k_holds_the_probability_of_every_word(k):
    # AddK fills its distribution in from the seen words; the base class asks word by word
    model = AddK(3, k).fit(TRAIN, choose_vocabulary(TRAIN, 2))
    for context in [(), ("w0",), ("w0", "w1"), (START, START), ("never", "seen"), ("w1",) * 7]:
        wanted = {word: model.probability(word, context) for word in model.vocabulary}
        assert model.distribution(context) == wanted
    assert set(AddK(2, k=0).fit(SAM).distribution(["zebra"]).values()) == {0.0}


def test_perplexity_in_bits_by_hand():
    # a uniform model over 4 words: 2 bits a word, perplexity 4
    model = AddK(1, k=1e9).fit([["a", "b"]])
    assert model.vocabulary == {"a", "b", END, UNKNOWN}
    assert model.cross_entropy([["a"], ["b", "b"]]) == pytest.approx(2.0, abs=1e-6)
    assert model.perplexity([["a"]]) == pytest.approx(4.0, abs=1e-5)
    assert len(model.bits(["a", "b"])) == 3  # the end mark counts


def test_entropy_by_hand():
    # after "I": am 2/3, do 1/3; V = 12 and k = 0, so nothing else
    model = AddK(2, k=0).fit(SAM)
    wanted = 2 / 3 * math.log2(3 / 2) + 1 / 3 * math.log2(3)
    assert model.entropy(["I"]) == pytest.approx(wanted)
    assert AddK(1, k=1e12).fit(SAM).entropy() == pytest.approx(math.log2(12), abs=1e-9)


def test_stupid_backoff_by_hand():
    model = StupidBackoff(2).fit(SAM)
    assert model.score("am", ["I"]) == pytest.approx(2 / 3)
    # "ham" never follows "I": 0.4 · c(ham) / N, N = 14 words and 3 end marks
    assert model.score("ham", ["I"]) == pytest.approx(0.4 * 1 / 17)
    scores = {word: model.score(word, ["I"]) for word in model.vocabulary}
    assert sum(scores.values()) == pytest.approx(model.score_sum(("I",)))
    assert sum(scores.values()) > 1.0


def test_kneser_ney_by_hand():
    # discount 0.75; "I" is followed by am (2) and do (1): share (2 - .75)/3, mass .75 · 2 / 3
    model = KneserNey(2, discount=0.75).fit(SAM)
    # "am" stands after one word (I): 1 of the 15 bigram types; 11 different words end them,
    # so .75 · 11 / 15 goes to the uniform 1 / 12
    types = {pair for line in SAM for pair in ngrams([START, *line, END], 2)}
    ends = {pair[1] for pair in types}
    assert (len(types), len(ends)) == (15, 11)
    lower = (1 - 0.75) / 15 + 0.75 * 11 / 15 / 12
    assert model.probability("am", []) == pytest.approx(lower)
    assert model.probability("am", ["I"]) == pytest.approx(1.25 / 3 + 0.5 * lower)


def test_words_of_one_context_are_not_expected_elsewhere():
    lines = [["san", "francisco"]] * 20 + [[a, "glasses"] for a in "abcdefgh"]
    model = KneserNey(2).fit(lines)
    assert Counter(w for line in lines for w in line)["francisco"] == 20
    assert model.probability("glasses", ["x"]) > 3 * model.probability("francisco", ["x"])
    backoff = StupidBackoff(2).fit(lines)
    assert backoff.probability("glasses", ["x"]) < backoff.probability("francisco", ["x"])


def test_discounts_by_hand():
    # n1 = 8, n2 = 4, n3 = 2, n4 = 1: Y = 1/2, D1 = 1 - 2·½·4/8, D2 = 2 - 3·½·2/4, D3 = 3 - 4·½·½
    counts = [1] * 8 + [2] * 4 + [3] * 2 + [4]
    table = {(): {f"w{i}": count for i, count in enumerate(counts)}}
    assert estimate_discounts(table) == pytest.approx((0.5, 1.25, 2.0))
    assert estimate_discounts(table, modified=False) == pytest.approx((0.5, 0.5, 0.5))
    assert estimate_discounts({(): {"a": 7}}) == (0.5, 1.0, 1.5)


def test_good_turing_by_hand():
    # limit 2: q = 3·n3/n1 = 6/12; d1 = (2·n2/n1 - q)/(1 - q) with n1 = 12, n2 = 4, n3 = 2
    counts = [1] * 12 + [2] * 4 + [3] * 2
    table = {(): {f"w{i}": count for i, count in enumerate(counts)}}
    assert good_turing_discounts(table, 2)[1] == pytest.approx((8 / 12 - 0.5) / 0.5)
    assert good_turing_discounts(table, 2)[2] == pytest.approx((6 / 4 / 2 - 0.5) / 0.5)


# -- invariants -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_every_conditional_distribution_sums_to_one(make, order):
    model = make(order).fit(TRAIN, choose_vocabulary(TRAIN, 2))
    contexts = [[], [START] * (order - 1), ["w0"], ["w3", "w1"], ["never", "seen"], ["w0"] * 9]
    contexts += [line[:5] for line in HELD_OUT[:11]]
    for context in contexts:
        values = model.distribution(context)
        assert set(values) == model.vocabulary
        assert math.fsum(values.values()) == pytest.approx(1.0, abs=1e-12)
        for word in ("w0", END, "zebra"):
            known = word if word in model.vocabulary else UNKNOWN
            assert values[known] == pytest.approx(model.probability(word, context), abs=1e-15)


@pytest.mark.parametrize("make", MODELS)
def test_only_the_last_words_of_a_context_count(make):
    model = make(3).fit(TRAIN)
    assert model.probability("w2", ["w9", "w0", "w1"]) == model.probability("w2", ["w0", "w1"])


def test_the_probabilities_of_all_sentences_sum_to_one():
    model = KneserNey(2).fit([["a"], ["a", "b"], ["b"]])
    finished, unfinished = 0.0, Counter({START: 1.0})  # probability by last word
    for _ in range(200):
        following: Counter[str] = Counter()
        for last, mass in unfinished.items():
            for word, p in model.distribution([last]).items():
                following[word] += mass * p
        finished += following.pop(END)
        unfinished = following
    assert finished == pytest.approx(1.0, abs=1e-9)
    assert 2.0 ** -sum(model.bits(["b"])) < 1.0


def test_smoothing_orders_as_in_chen_and_goodman():
    scores = {
        name: model.fit(TRAIN).perplexity(HELD_OUT)
        for name, model in {
            "add-one": AddK(3),
            "katz": Katz(3),
            "single": KneserNey(3, modified=False),
            "modified": KneserNey(3),
        }.items()
    }
    assert scores["add-one"] > 1.2 * scores["katz"]
    assert scores["modified"] < 1.05 * min(scores.values())


def test_samples_follow_the_model():
    model = KneserNey(2).fit(TRAIN)
    rng = random.Random(0)
    first = Counter((model.sample(rng, max_words=1) or [END])[0] for _ in range(3001))
    for word, p in model.distribution([START]).items():
        # four standard deviations of a binomial count
        assert abs(first[word] / 3001 - p) < 4 * math.sqrt(p / 3001) + 1e-9, word


def test_samples_repeat_with_the_seed_and_keep_the_prompt():
    model = KneserNey(3).fit(TRAIN)
    lines = [model.sample(random.Random(7), ["w1", "w0"], max_words=17) for _ in range(2)]
    assert lines[0] == lines[1]
    assert lines[0][:2] == ["w1", "w0"]
    assert len(lines[0]) <= 19


def test_unknown_words_share_one_entry():
    model = AddK(1).fit([["a", "a", "b"]], vocabulary={"a"})
    assert model.vocabulary == {"a", END, UNKNOWN}
    assert model.probability("b") == model.probability("zebra") == model.probability(UNKNOWN)


def test_token_ids_are_words_too():
    model = KneserNey(4).fit([list(b"abracadabra"), list(b"cadabra")], range(256))
    assert len(model.vocabulary) == 258
    assert model.probability(ord("b"), list(b"aca")) < model.probability(ord("b"), list(b"ada"))


def test_mistakes_are_named():
    with pytest.raises(TypeError, match="the cat"):
        AddK(2).fit(["the cat"])
    with pytest.raises(ValueError, match="no sentence"):
        AddK(2).fit([])
    with pytest.raises(ValueError, match="order"):
        KneserNey(0)
    with pytest.raises(ValueError, match="k must"):
        AddK(2, k=-1)
    with pytest.raises(ValueError, match="alpha"):
        StupidBackoff(2, alpha=0)
    with pytest.raises(ValueError, match="discount"):
        KneserNey(2, discount=1.0)
    with pytest.raises(ValueError, match="n must"):
        ngrams("abc", 0)
    with pytest.raises(ValueError, match="no sentence to score"):
        AddK(2).fit(SAM).cross_entropy([])
    with pytest.raises(NotImplementedError):
        NGramModel(2).fit(SAM).probability("I")


# -- oracles ----------------------------------------------------------------------------------


def nltk_model(model, order):
    from nltk.lm import Vocabulary
    from nltk.lm.preprocessing import padded_everygram_pipeline

    grams, words = padded_everygram_pipeline(order, TRAIN)
    model.vocab = Vocabulary(words, unk_cutoff=1)
    model.fit(grams)
    return model


@pytest.mark.parametrize("order", [2, 3])
def test_add_k_equals_nltks_lidstone(order):
    from nltk.lm import Lidstone

    theirs = nltk_model(Lidstone(0.1, order), order)
    # NLTK counts the start mark as a word to be predicted: give ours the same size
    ours = AddK(order, 0.1).fit(TRAIN, {w for line in TRAIN for w in line} | {START})
    assert len(ours.vocabulary) == len(theirs.vocab)
    for line in HELD_OUT[:13]:
        for gram in ngrams([START] * (order - 1) + line + [END], order):
            wanted = theirs.score(gram[-1], gram[:-1])
            assert ours.probability(gram[-1], gram[:-1]) == pytest.approx(wanted, rel=1e-12)


def test_stupid_backoff_equals_nltks():
    from nltk.lm import StupidBackoff as Theirs

    theirs = nltk_model(Theirs(alpha=0.3, order=3), 3)
    ours = StupidBackoff(3, alpha=0.3).fit(TRAIN)
    words, lines = sum(map(len, TRAIN)), len(TRAIN)
    # NLTK's unigram total holds two marks at each end of a sentence, ours one end mark
    correction = (words + 4 * lines) / (words + lines)
    pairs = {pair for line in TRAIN for pair in ngrams(line, 2)}
    for line in HELD_OUT[:13]:
        for gram in ngrams(line, 3):
            wanted = theirs.score(gram[-1], gram[:-1])
            wanted *= 1.0 if gram[1:] in pairs else correction
            assert ours.score(gram[-1], gram[:-1]) == pytest.approx(wanted, rel=1e-12)


def kneser_ney_again(order, sentences, vocabulary, discounts):
    """The formula once more, from lists of n-grams and without any shared code."""
    padded = [[START] * (order - 1) + line + [END] for line in sentences]
    raw = [
        Counter(tuple(p[i : i + n]) for p in padded for i in range(len(p) - n + 1))
        for n in range(1, order + 1)
    ]

    def adjusted(gram):
        if len(gram) == order or gram[0] == START:
            return raw[len(gram) - 1][gram]
        return len({g[0] for g in raw[len(gram)] if g[1:] == gram})

    def probability(word, context):
        n = len(context)
        lower = probability(word, context[1:]) if n else 1 / len(vocabulary)
        after = [w for w in vocabulary if raw[n][(*context, w)] > 0]
        total = sum(adjusted((*context, w)) for w in after)
        if not total:
            return lower
        taken = sum(discounts[n][min(adjusted((*context, w)), 3) - 1] for w in after)
        own = 0.0
        if word in after:
            count = adjusted((*context, word))
            own = count - discounts[n][min(count, 3) - 1]
        return (own + taken * lower) / total

    return probability


@pytest.mark.parametrize("modified", [True, False])
def test_kneser_ney_equals_the_formula_written_out_again(modified):
    lines = TRAIN[:61]
    ours = KneserNey(3, modified=modified).fit(lines)
    again = kneser_ney_again(3, lines, ours.vocabulary, ours.discounts)
    for context in [(START, START), (START, "w0"), ("w0", "w1"), ("w3", "w1"), ("zz", "w0")]:
        for word in ("w0", "w1", "w5", END, UNKNOWN):
            theirs = again(word, tuple(context))
            assert ours.probability(word, context) == pytest.approx(theirs, rel=1e-10)
