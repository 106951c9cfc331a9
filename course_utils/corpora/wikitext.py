"""From a Wikipedia dump to readable paragraphs.

Links become their text; templates become what they stand for or vanish; references, tables,
files, lists and headings vanish. A paragraph that still shows markup, or that lost a part which
cannot be known here (a displayed formula, a price in today's dollars), is left out whole.
"""

from __future__ import annotations

import bz2
import hashlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from course_utils.corpora import templates
from course_utils.corpora.templates import LOST, SPOKEN

if TYPE_CHECKING:
    from mwparserfromhell.wikicode import Wikicode

LEAD = "Introduction"  # section name of what stands above the first heading
DROP = "\x01"  # marks a line that is a list item or code
INDENT = "\x04"  # marks an indented line: a formula in an article, a reply in a discussion
MIN_CHARACTERS = 40

_SKIPPED = (
    "see also|references|notes|external links|further reading|bibliography|footnotes|citations|"
    "sources|works cited|notes and references|references and notes|primary sources|"
    "secondary sources|вижте също|външни препратки|източници|бележки|литература"
)
_MEDIA = "file|image|category|media|template|файл|картинка|категория|шаблон"
_DROPPED_TAGS = (
    "ref|references|table|gallery|timeline|source|syntaxhighlight|pre|hiero|score|imagemap|"
    "tr|td|th|ol|ul|includeonly|graph|chem"
)
_SISTERS = ("wikt", "wiktionary", "s", "wikisource")
_ORDINAL = re.compile(r"(st|nd|rd|th|er|e|o|a|ª|º|TM|™|®)\.?", re.IGNORECASE)
_MARKUP = re.compile(r"\[\[|\]\]|\{\{|\}\}|\{\||\|\}|\|\||''|</|<[a-z]|https?://|[|]\s*\w+\s*=|__")


@dataclass
class Counts:
    """What the cleaner kept and why it left paragraphs out."""

    kept: int = 0
    short: int = 0
    holes: int = 0
    markup: int = 0
    lists: int = field(default=0)


def version() -> str:
    """Hash of the code that decides what a paragraph looks like; part of the cache's key."""
    from importlib.metadata import version as installed

    code = [Path(file).read_bytes() for file in (__file__, templates.__file__)]
    return hashlib.sha256(b"".join(code)).hexdigest() + installed("mwparserfromhell")


def pages(dump: Path, spaces: tuple[str, ...] = ("0",)) -> Iterator[tuple[str, str]]:
    """Title and wikitext of the pages of a dump, in file order, without redirects.

    Args:
        dump: a MediaWiki export, compressed with bzip2.
        spaces: name spaces to read; "0" holds the articles.
    """
    with bz2.open(dump) as stream:
        for _, page in ElementTree.iterparse(stream):
            if not page.tag.endswith("}page"):
                continue
            space = page.tag.removesuffix("page")
            if page.findtext(f"{space}ns") in spaces and page.find(f"{space}redirect") is None:
                text = page.findtext(f"{space}revision/{space}text") or ""
                yield page.findtext(f"{space}title") or "", text
            page.clear()


def paragraphs(
    wikitext: str, counts: Counts | None = None, *, indented: bool = False
) -> Iterator[tuple[str, str]]:
    """Section and text of every readable paragraph of one article.

    Args:
        wikitext: the source of the article.
        counts: is added to.
        indented: keep indented lines too, each as a paragraph (the replies of a discussion).
    """
    import mwparserfromhell

    counts = counts if counts is not None else Counts()
    text = text_of(mwparserfromhell.parse(wikitext))
    text = re.sub(f"{INDENT}+", "\n\n" if indented else DROP, text)
    headings: list[tuple[int, str]] = []
    for title, body in _sections(text):
        if title is not None:
            headings = [*(h for h in headings if h[0] < title[0]), title]
        if not any(name.lower() in _SKIPPED.split("|") for _, name in headings):
            where = " / ".join(name for _, name in headings) or LEAD
            for paragraph in _split(body, counts):
                yield where, paragraph


def _sections(text: str) -> Iterator[tuple[tuple[int, str] | None, str]]:
    """(level, title) and text of each section; the title of the lead is None.

    Headings are found as lines: the parser takes one for text when a tag above it is not closed.
    """
    pieces = re.split(r"(?m)^(={2,6})[ \t]*(.+?)[ \t]*\1[ \t]*$", text)
    yield None, pieces[0]
    for marks, title, body in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        yield (len(marks), clean(title)), body


def text_of(code: Wikicode) -> str:
    """Wikitext as plain text, with the marks of this module where lines are to be dropped."""
    return "".join(_node(node) for node in code.nodes)


def _node(node: object) -> str:
    from mwparserfromhell import nodes

    if isinstance(node, nodes.Text):
        return re.sub(r"\n (?=\S| )", "\n" + DROP, node.value)  # an indented line is code
    if isinstance(node, nodes.Template):
        return _template(node)
    if isinstance(node, nodes.Wikilink):
        return _link(node)
    if isinstance(node, nodes.Tag):
        return _tag(node)
    if isinstance(node, nodes.ExternalLink):
        return text_of(node.title) if node.title is not None else ""
    if isinstance(node, nodes.Heading):
        marks = "=" * node.level
        return f"{marks} {text_of(node.title).strip()} {marks}"
    if isinstance(node, nodes.HTMLEntity):
        return node.normalize()
    return ""  # comments, template arguments


def _template(node: object) -> str:
    positional, named = [], {}
    for parameter in node.params:
        value = text_of(parameter.value)
        if parameter.showkey:
            named[str(parameter.name).strip().lower()] = value.strip()
        else:
            positional.append(value)
    return templates.render(str(node.name), positional, named)


def _link(node: object) -> str:
    target = html.unescape(str(node.title)).strip()
    space = target.split(":", 1)[0].strip().lower()
    if space in _MEDIA.split("|"):
        return ""
    if node.text is not None:
        return text_of(node.text)
    if ":" in target and space in _SISTERS:
        return target.split(":", 1)[1]
    if ":" in target and re.fullmatch("[a-z]{2,3}", space):
        return ""  # the same article in another language
    return target.lstrip(":").replace("_", " ")


def _tag(node: object) -> str:
    name = str(node.tag).strip().lower()
    if name in ("li", "dd", "dt") and node.wiki_markup:
        return INDENT if name == "dd" else DROP
    if name in _DROPPED_TAGS.split("|"):
        return ""
    inside = text_of(node.contents) if node.contents is not None else ""
    if name == "math":
        return inside.replace("{", "").replace("}", "") if _plain_math(inside) else LOST
    if name == "sup":
        plain = not inside or _ORDINAL.fullmatch(inside.strip())
        return inside if plain else f"^{inside.strip()}"
    if name in ("blockquote", "poem", "div", "center", "p"):
        return f"\n\n{inside}\n\n"
    if name in ("br", "hr"):
        return " " if name == "br" else "\n\n"
    return inside


def _plain_math(source: str) -> bool:
    return re.fullmatch(r"[\w\s{}+\-=<>.,()]*", source) is not None and "_" not in source


def _split(text: str, counts: Counts) -> Iterator[str]:
    """Paragraphs of rendered text: runs of lines between empty or dropped ones."""
    run: list[str] = []
    for line in [*text.split("\n"), ""]:
        if DROP in line or not line.strip():
            counts.lists += DROP in line
            paragraph = clean(" ".join(run))
            run = []
            if _readable(paragraph, counts):
                yield paragraph
        else:
            run.append(line)


def _readable(text: str, counts: Counts) -> bool:
    if not text:
        return False
    if LOST in text:
        counts.holes += 1
    elif _MARKUP.search(text) or text[0] in "|!{}*#":
        counts.markup += 1
    elif len(text) < MIN_CHARACTERS or not re.search(r"[.!?:…]['\"”’)\]]*$", text):
        counts.short += 1  # captions, table remains, titles
    else:
        counts.kept += 1
        return True
    return False


_STEPS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[\s\u00a0\u2009\u202f]+", " "),
        (r"[\u200b\u200e\u200f\ufeff\u00ad]", ""),
        # "(pronounced <spoken>; ...)": what announces a pronunciation goes with it
        (
            r"(?i)(?:\b(?:pronounced(?: as)?|pronunciation:?|named|occasionally|locally|UK|US|or|"
            r"also)\b[\s,:;]*)*" + SPOKEN,
            SPOKEN,
        ),
        (rf"{SPOKEN}(?:[\s,;:/]*(?:or\s*)?{SPOKEN})*", SPOKEN),
        (rf"\(\s*{SPOKEN}\s*[,;:]?\s*", "("),
        (rf"\s*[,;:]?\s*{SPOKEN}", ""),
        (rf"\([^()]*{LOST}[^()]*\)", ""),  # an aside with a hole can be spared
        (r"\([\s;,:/–-]*\)", ""),
        (r"\[\s*\]", ""),
        (r"([(\[])[\s;,:]+", r"\1"),
        (r"[\s;,:]+([)\]])", r"\1"),
        (r"([,;])(?:\s*[,;])+", r"\1"),
        (r"\s+([,.;:!?])(?=[\s)\"”'’]|$)", r"\1"),
        (r",\.(?=\s|$)", "."),
        (r"(?<![\w)\]^])\^(\d+)(?=[A-Z])", r"\1"),  # the mass number of an isotope
        (r"\s{2,}", " "),
    )
)


def clean(text: str) -> str:
    """Mend what dropped templates leave behind: empty brackets, doubled commas and spaces.

    >>> clean("Albedo ( ; , ) is , in short , reflection .")
    'Albedo is, in short, reflection.'
    """
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    return text.strip()
