"""Cards: the same content as HTML for notebooks and as plain text everywhere else.

Stored, untrusted notebook outputs lose ``<style>``, classes of the theme, roles and CSS
variables. So every element carries literal inline colours, background and text together, and
the verdict is said in words.
"""

from __future__ import annotations

import html
import re
import sys
import textwrap
from dataclasses import dataclass, field


def _two(css: str, light: str, dark: str) -> str:
    """A colour for either theme; a browser without ``light-dark`` keeps the first."""
    return f"{css}:{light};{css}:light-dark({light},{dark})"


# (on light paper, on dark paper): Okabe & Ito (2008), shifted until the contrast is 4.5 or more
_GREEN, _ORANGE, _BLUE = ("#00694d", "#4fd1a5"), ("#a83e00", "#ff9a5c"), ("#005a94", "#6db9f2")
_GREY, _PURPLE = ("#4a5560", "#b4bec8"), ("#8a1f5c", "#f08cc4")
_ACCENTS = {
    "passed": _GREEN,
    "failed": _ORANGE,
    "not attempted": _GREY,
    "error": _PURPLE,
    "hint": _BLUE,
    "solution": _BLUE,
    "progress": _BLUE,
    "quiz": _BLUE,
}
# a background and its text colour always come together; what is inside a card inherits both,
# except `pre` and `code`, for which themes have rules of their own
_BACK = _two("background", "#ffffff", "#1d2226")
PAPER = f"{_BACK};{_two('color', '#1f2328', '#e4e8eb')}"
_QUIET = f"{_BACK};{_two('color', *_GREY)}"
_CODE = (
    f"{_two('background', '#eef1f4', '#2d343a')};{_two('color', '#1f2328', '#e4e8eb')};"
    "font-family:monospace;font-size:0.92em"
)
_WIDTH = 88


def strong(text: str, look: str) -> str:
    """A word in the colour of a verdict, which it also says."""
    style = f"{_BACK};{_two('color', *_ACCENTS[look])}"
    return f'<strong style="{style}">{escape(text)}</strong>'


def bar(share: float) -> str:
    """A bar that is filled from the left; say the numbers beside it."""
    full = f"{_two('background', *_GREEN)};width:{round(100 * share)}%"
    empty = _two("background", "#d5dae0", "#3d464e")
    shape = "height:10px;border-radius:5px"
    return (
        f'<div style="{empty};{shape};max-width:24em;margin:3px 0">'
        f'<div style="{full};{shape}"></div></div>'
    )


def fold(label: str, inner: str, style: str = "margin:4px 0") -> str:
    """HTML that stays closed until it is asked for; both arguments are HTML."""
    summary = "cursor:pointer;margin-left:1.2em;list-style-position:outside"
    return f'<details style="{style}"><summary style="{summary}">{label}</summary>{inner}</details>'


@dataclass
class Card:
    """A heading and blocks of text; every adding method returns the card."""

    look: str
    verdict: str
    title: str = ""
    blocks: list[tuple[str, str, str]] = field(default_factory=list)

    def text(self, text: str) -> Card:
        """A sentence; words between backticks are code."""
        return self._add("text", "", text)

    def prose(self, text: str) -> Card:
        """Several lines, kept as they are laid out; fenced blocks are code."""
        return self._add("prose", "", text)

    def small(self, text: str) -> Card:
        """A quiet line at the end."""
        return self._add("small", "", text)

    def code(self, text: str) -> Card:
        """Lines of code."""
        return self._add("code", "", text)

    def table(self, rows: dict[str, str]) -> Card:
        """Short values under each other, so that they can be compared."""
        width = max(map(len, rows), default=0)
        return self._add("code", "", "\n".join(f"{k:<{width}}  {v}" for k, v in rows.items()))

    def fold(self, label: str, text: str) -> Card:
        """Output that stays closed until it is asked for."""
        return self._add("fold", label, text)

    def fold_prose(self, label: str, text: str) -> Card:
        """Prose that stays closed until it is asked for."""
        return self._add("fold_prose", label, text)

    def raw(self, as_html: str, as_text: str) -> Card:
        """Content that is laid out by the caller; the HTML must be escaped already."""
        return self._add("raw", as_text, as_html)

    def _add(self, block: str, label: str, text: str) -> Card:
        if text or (block == "raw" and label):
            self.blocks.append((block, label, text))
        return self

    def html(self) -> str:
        """The card as HTML that survives a sanitizer."""
        title = f" · {escape(self.title)}" if self.title else ""
        inner = "".join(_HTML[block](label, text) for block, label, text in self.blocks)
        edge = f"border-left-width:6px;{_two('border-left-color', *_ACCENTS[self.look])}"
        return (
            f'<div role="status" style="{PAPER};'
            f"border:1px solid #8a929b;{edge};border-radius:4px;"
            'padding:8px 14px;margin:2px 0;max-width:52em;line-height:1.45">'
            f'<div style="margin:0 0 4px 0">{strong(self.verdict, self.look)}{title}</div>'
            f"{inner}</div>"
        )

    def plain(self) -> str:
        """The same content as plain text."""
        head = f"[{self.verdict}] {self.title}".rstrip()
        return "\n".join(
            [head, *(_PLAIN[block](label, text) for block, label, text in self.blocks)]
        )


def escape(text: str) -> str:
    """Text made safe for HTML, quotes included."""
    return html.escape(str(text), quote=True)


def inline(text: str) -> str:
    """Escaped text in which `code`, **strong** and *emphasis* are marked up.

    Formulas between dollar signs are left to the page.
    """
    parts = re.split(r"(`[^`\n]+`|\$[^$\n]+\$)", str(text))  # odd positions: code, formulas
    return "".join(
        _span(part) if i % 2 else _emphasis(escape(part)) for i, part in enumerate(parts)
    )


def _span(part: str) -> str:
    if part.startswith("$"):
        return escape(part)
    return f'<code style="{_CODE};padding:0 3px">{escape(part[1:-1])}</code>'


def _emphasis(text: str) -> str:
    text = re.sub(r"\*\*(\S(?:.*?\S)?)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"(?<![\w*])\*(\S(?:[^*]*\S)?)\*(?![\w*])", r"<em>\1</em>", text)


def pre(text: str) -> str:
    """A block of code or of a value; long lines wrap."""
    return (
        f'<pre style="{_CODE};padding:4px 8px;margin:2px 0;white-space:pre-wrap;'
        f'overflow-wrap:anywhere">{escape(text)}</pre>'
    )


def _html_text(label: str, text: str) -> str:
    return f'<div style="margin:4px 0">{inline(text)}</div>'


def _html_small(label: str, text: str) -> str:
    return f'<div style="{_QUIET};margin:6px 0 0 0">{inline(text)}</div>'


def _html_prose(label: str, text: str) -> str:
    """Paragraphs and list items; fenced and indented blocks as code."""
    parts = re.split(r"```(?:\w*\n)?(.*?)```", textwrap.dedent(text).strip(), flags=re.S)
    pieces = []
    for i, part in enumerate(parts):
        blocks = re.split(r"\n\s*\n", part) if i % 2 == 0 else [part]
        for block in filter(str.strip, blocks):
            is_code = i % 2 == 1 or all(re.match("    ", x) for x in block.strip("\n").split("\n"))
            pieces.append(_pre_block(block) if is_code else _items(block))
    return "".join(pieces)


def _pre_block(block: str) -> str:
    return pre(textwrap.dedent(block.strip("\n")))


def _items(paragraph: str) -> str:
    """A paragraph; lines that begin with a list mark stand on their own."""
    lines = re.split(r"\n(?=\s*(?:\d+[.)]|[-*•])\s)", paragraph)
    return "".join(_html_text("", " ".join(line.split())) for line in lines)


def _wrap(text: str, indent: str = "  ") -> str:
    """Lines filled to the page width; code between backticks is not broken."""
    whole = re.sub(r"`[^`\n]+`", lambda code: code[0].replace(" ", "\0"), text.strip())
    filled = (
        textwrap.fill(
            line,
            _WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in whole.splitlines()
    )
    return "\n".join(filled).replace("\0", " ")


_HTML = {
    "text": _html_text,
    "prose": _html_prose,
    "small": _html_small,
    "code": lambda label, text: pre(text),
    "fold": lambda label, text: fold(escape(label), pre(text)),
    "fold_prose": lambda label, text: fold(escape(label), _html_prose("", text)),
    "raw": lambda label, text: text,
}
_PLAIN = {
    "text": lambda label, text: _wrap(text),
    "prose": lambda label, text: textwrap.indent(textwrap.dedent(text).strip(), "  "),
    "small": lambda label, text: _wrap(text),
    "code": lambda label, text: textwrap.indent(text.rstrip(), "    "),
    "fold": lambda label, text: f"  {label}:\n{textwrap.indent(text.rstrip(), '    ')}",
    "fold_prose": lambda label, text: f"  {label}:\n{textwrap.indent(text.strip(), '    ')}",
    "raw": lambda label, text: label,
}


def show(card: Card) -> None:
    """Display a card in a notebook, print it anywhere else; never raises."""
    show_bundle({"text/html": card.html(), "text/plain": card.plain()})


def show_bundle(bundle: dict) -> None:
    """Display a MIME bundle once; without IPython its plain text is printed."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from IPython.display import display

        display(bundle, raw=True)
        return
    text = bundle["text/plain"]
    try:
        print(text)
    except UnicodeEncodeError:  # a console with a narrow code page
        encoding = sys.stdout.encoding or "ascii"
        print(text.encode(encoding, errors="replace").decode(encoding))
