"""Every loader against its data card: counts, columns, splits, and the faults it admits."""

import collections
import re
import string

import pytest

from course_utils import corpora
from course_utils.corpora import CARDS

LOADERS = {
    "wikipedia": corpora.wikipedia,
    "wikipedia_bg": corpora.wikipedia_bg,
    "newsgroups": corpora.newsgroups,
    "reuters-r8": corpora.reuters,
    "reuters-r52": lambda: corpora.reuters("r52"),
    "reviews": corpora.reviews,
    "tweets": corpora.tweets,
    "lee_news": lambda: {s: corpora.lee_news(s) for s in ("background", "test")},
    "grimm": corpora.grimm,
    "wordsim353": corpora.word_similarity,
    "simlex999": lambda: corpora.word_similarity("simlex999"),
    "analogies": corpora.analogies,
    "headlines": corpora.headlines,
    "debates": corpora.debates,
    "web_counts": lambda: {f"words={n}": corpora.web_counts(n) for n in (1, 2)},
    "general_inquirer": corpora.general_inquirer,
}


@pytest.fixture(scope="module")
def load():
    """Each corpus once: name → {split: Dataset}."""
    loaded = {}

    def get(name):
        if name not in loaded:
            data = LOADERS[name]()
            loaded[name] = dict(data) if isinstance(data, dict) else {"all": data}
        return loaded[name]

    return get


def test_every_card_has_a_loader_and_every_loader_a_card():
    assert set(CARDS) == set(LOADERS)


@pytest.mark.parametrize("name", CARDS)
def test_rows_and_columns_are_what_the_card_says(load, name):
    card, splits = corpora.card(name), load(name)
    assert {split: len(data) for split, data in splits.items()} == card.rows
    for data in splits.values():
        assert tuple(data.column_names) == card.columns


@pytest.mark.parametrize("name", CARDS)
def test_first_column_is_never_empty(load, name):
    for data in load(name).values():
        assert all(str(value).strip() for value in data[:][data.column_names[0]])


@pytest.mark.parametrize("name", CARDS)
def test_card_prints_source_licence_and_faults(name):
    text = str(corpora.card(name))
    assert text.startswith(f"{name}: ")
    for word in ("rows: ", "columns: ", "source: ", "licence: ", "used by: ", "known faults"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 88


def test_unknown_card_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'tweet'\. Known: wikipedia, "):
        corpora.card("tweet")


@pytest.mark.parametrize("name", ["newsgroups", "reuters-r8", "reuters-r52"])
def test_topics_are_class_labels_with_the_same_names_in_both_splits(load, name):
    train, test = load(name)["train"], load(name)["test"]
    names = train.features["label"].names
    assert names == test.features["label"].names == sorted(names)
    assert set(train["label"]) == set(range(len(names)))
    letters = set(string.ascii_lowercase + " ")
    assert set("".join(test["text"])) <= letters  # the fault that the card admits


@pytest.mark.parametrize(
    ("name", "repeats", "shared"),
    [("newsgroups", 20, 7), ("reuters-r8", 62, 4), ("reuters-r52", 82, 6)],
)
def test_duplicates_are_what_the_card_says(load, name, repeats, shared):
    train, test = (load(name)[split]["text"] for split in ("train", "test"))
    assert len(train) - len(set(train)) == repeats
    assert len(set(train) & set(test)) == shared
    assert f"{repeats} texts of train stand twice; {shared} texts" in str(corpora.card(name))


def test_labels_belong_to_their_texts(load):
    """By reading: the first rows of the files."""
    train = load("reuters-r8")["train"]
    assert train.features["label"].int2str(train[0]["label"]) == "earn"
    assert train[0]["text"].startswith("champion products ch approves stock split")
    first = load("newsgroups")["train"]
    assert first.features["label"].int2str(first[0]["label"]) == "alt.atheism"


def test_reviews_are_balanced_as_the_card_says(load):
    data = load("reviews")["all"]
    assert collections.Counter(data["label"]) == {1: 7_403, 0: 5_405}
    assert data.features["label"].names == ["rotten", "fresh"]
    repeated = [text for text, n in collections.Counter(data["text"]).items() if n > 1]
    assert len(repeated) == 55
    labels = collections.defaultdict(set)
    for row in data:
        labels[row["text"]].add(row["label"])
    assert all(len(found) == 1 for found in labels.values())
    assert round(100 * 7_403 / 12_808, 1) == 57.8


def test_reviews_label_by_reading(load):
    data = load("reviews")["all"]
    label = dict(zip(data["text"], data["label"], strict=True))
    assert label["A three-hour cinema master class."] == 1
    assert label["Hollywood's answer to an air ball."] == 0


def test_tweets_are_raw(load):
    data = load("tweets")["all"]
    text = " ".join(data["text"])
    assert re.search(r"https://t\.co/\w+", text)
    assert re.search(r"#[A-Z]\w+", text)
    assert any(ord(c) > 0x1F000 for c in text)  # emoji
    assert max(map(len, data["text"])) == 148
    assert collections.Counter(data["author"])["realDonaldTrump"] == 3_218
    assert sum(data["is_retweet"]) == 722
    assert min(data["time"]) >= "2016-01-05"


def test_lee_news_reads_the_pound_sign_and_admits_repeats(load):
    assert any("£3,000" in text for text in load("lee_news")["test"]["text"])
    background = load("lee_news")["background"]["text"]
    assert len(background) - len(set(background)) == 7


def test_grimm_types(load):
    data = load("grimm")["all"]
    topics = collections.Counter(data["topic"])
    assert topics["Tales of Magic"] + topics["Animal Tales"] == 44
    assert "510A" in data["atu"]
    assert "410" in data["atu"]


def test_word_similarity_by_reading(load):
    data = load("wordsim353")["all"]
    assert data[0] == {"word1": "love", "word2": "sex", "score": 6.77}
    assert max(data["score"]) == 10.0
    pairs = [frozenset((row["word1"], row["word2"])) for row in data]
    twice = {pair for pair, n in collections.Counter(pairs).items() if n > 1}
    assert twice == {frozenset(("money", "cash")), frozenset(("money", "bank"))}
    assert load("simlex999")["all"][0] == {"word1": "old", "word2": "new", "score": 1.58}


def test_analogies_by_reading(load):
    data = load("analogies")["all"]
    first = {"a": "Athens", "b": "Greece", "c": "Baghdad", "d": "Iraq"}
    assert data[0] == {"category": "capital-common-countries"} | first
    counts = collections.Counter(data["category"])
    assert len(counts) == 14
    places = [n for c, n in counts.items() if c.startswith(("capital", "city"))]
    assert round(100 * sum(places) / len(data)) == 38


def test_counts_and_dates_are_in_order(load):
    for data in load("web_counts").values():
        counts = data[:]["count"]  # data["count"] is lazy: row by row, 20 s
        assert counts == sorted(counts, reverse=True)
    assert load("web_counts")["words=1"][0] == {"words": "the", "count": 23_135_851_162}
    dates = load("headlines")["all"]["date"]
    assert (dates[0], dates[-1]) == ("2020-07-18", "2020-01-02")
    assert dates == sorted(dates, reverse=True)


def test_general_inquirer_by_reading(load):
    sense = {row["entry"]: row for row in load("general_inquirer")["all"]}
    assert (sense["ABANDON"]["positive"], sense["ABANDON"]["negative"]) == (False, True)
    assert (sense["ABUNDANT"]["positive"], sense["ABUNDANT"]["negative"]) == (True, False)


def test_bulgarian_is_bulgarian(load):
    data = load("wikipedia_bg")["all"]
    text = "".join(data["text"])
    letters = [c for c in text if c.isalpha()]
    cyrillic = sum("а" <= c.lower() <= "я" for c in letters) / len(letters)
    assert cyrillic > 0.9
    assert len(text) == 38_629  # the card says so
    assert collections.Counter(data["title"]).most_common(1)[0][1] == 95


def test_wikipedia_numbers_of_the_card(load):
    data = load("wikipedia")["all"]
    titles = set(data["title"])
    assert len(titles) == 103
    assert sum(title.startswith("A") for title in titles) == 96
    assert sum(text.endswith(":") for text in data["text"]) == 194


def test_wikipedia_can_leave_short_paragraphs_out(load):
    long = corpora.wikipedia(200)
    assert len(long) == sum(len(text) >= 200 for text in load("wikipedia")["all"]["text"]) == 4_117
    assert min(map(len, long["text"])) >= 200


def test_order_is_the_same_each_time(load):
    assert corpora.wikipedia()["text"] == load("wikipedia")["all"]["text"]
    assert corpora.reviews()["text"] == load("reviews")["all"]["text"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: corpora.reuters("r90"),
        lambda: corpora.lee_news("train"),
        lambda: corpora.word_similarity("men"),
        lambda: corpora.web_counts(3),
    ],
)
def test_unknown_choices_are_refused(call):
    with pytest.raises(ValueError, match="must be"):
        call()


def test_loading_switches_progress_bars_off():
    import datasets

    datasets.enable_progress_bars()
    corpora.grimm()
    assert not datasets.is_progress_bar_enabled()
