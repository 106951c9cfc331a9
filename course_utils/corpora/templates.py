"""The wikitext templates that stand for text, and the text each stands for.

A Wikipedia article calls a few hundred templates. Most are boxes, notes and footnotes, which
vanish. Some hundred names carry a piece of the sentence (a measure, a foreign word, a dash):
dropping them would leave holes, so they are rendered here much as Wikipedia does.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LOST = "\x02"  # text that cannot be known here, such as a price in today's dollars
SPOKEN = "\x03"  # a pronunciation, dropped together with the words that announce it

Render = Callable[[list[str], dict[str, str]], str]  # of positional and named arguments

_UNITS = {
    "mi": ("mile", "miles"),
    "ft": ("foot", "feet"),
    "in": ("inch", "inches"),
    "yd": ("yard", "yards"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "acre": ("acre", "acres"),
    "ha": ("hectare", "hectares"),
    "nmi": ("nautical-mile", "nautical miles"),
    "sqmi": ("square-mile", "square miles"),
    "mi2": ("square-mile", "square miles"),
    "sqft": ("square-foot", "square feet"),
    "sqkm": ("km²", "km²"),
    "km2": ("km²", "km²"),
    "m2": ("m²", "m²"),
    "km3": ("km³", "km³"),
    "m3": ("m³", "m³"),
    "cumi": ("cubic-mile", "cubic miles"),
    "cuft": ("cubic-foot", "cubic feet"),
    "C": ("°C", "°C"),
    "F": ("°F", "°F"),
    "K": ("K", "K"),
    "C-change": ("°C", "°C"),
    "F-change": ("°F", "°F"),
    "L": ("litre", "litres"),
    "t": ("tonne", "tonnes"),
    "ST": ("short-ton", "short tons"),
    "LT": ("long-ton", "long tons"),
    "MT": ("tonne", "tonnes"),
    "oilbbl": ("barrel", "barrels"),
    "oilbbl/d": ("barrels per day", "barrels per day"),
    "USgal": ("US gallon", "US gallons"),
    "carat": ("carat", "carats"),
}
_SHORT = {
    "sqmi": "sq mi",
    "mi2": "sq mi",
    "sqft": "sq ft",
    "cumi": "cu mi",
    "cuft": "cu ft",
    "ST": "short tons",
    "LT": "long tons",
    "oilbbl": "barrels",
    "oilbbl/d": "barrels per day",
    "USgal": "US gallons",
}
_SCALES = {
    "e3": "thousand ",
    "e6": "million ",
    "e9": "billion ",
    "k": "thousand ",
    "M": "million ",
    "G": "billion ",
    "T": "trillion ",
}
_RANGES = {
    "and(-)": " and ",
    "-": "–",
    "–": "–",
    "to": " to ",
    "and": " and ",
    "or": " or ",
    "x": " × ",
    "by": " by ",
}
_MONTHS = "January February March April May June July August September October November December"


def _first(positional: list[str], named: dict[str, str]) -> str:
    return positional[0].strip() if positional else named.get("1", "")


def _last(positional: list[str], named: dict[str, str]) -> str:
    del named
    return positional[-1].strip() if positional else ""


def _second(positional: list[str], named: dict[str, str]) -> str:
    return positional[1].strip() if len(positional) > 1 else named.get("2", "")


def _join(positional: list[str], named: dict[str, str]) -> str:
    del named
    return "".join(part.strip() for part in positional)


def _nothing(positional: list[str], named: dict[str, str]) -> str:
    del positional, named
    return ""


def _fixed(text: str) -> Render:
    return lambda positional, named: text


def _convert(positional: list[str], named: dict[str, str]) -> str:
    """A measure in its first unit; the conversion is left out.

    >>> _convert(["1300", "mi", "km"], {}), _convert(["5", "to", "7", "ft"], {"adj": "on"})
    ('1,300 miles', '5 to 7-foot')
    >>> _convert(["6", "ft", "4", "in", "cm"], {})
    '6 feet 4 inches'
    """
    text, index = "", 0
    while index + 1 < len(positional):
        number, word = positional[index].strip(), positional[index + 1].strip()
        text += f"{int(number):,}" if re.fullmatch(r"\d{4,}", number) else number
        if word not in _RANGES:
            text += _unit(word, text == "1", named)
            smaller = positional[index + 3 : index + 4]
            if (word, *smaller) not in (("ft", "in"), ("lb", "oz")):
                return text
            text, index = text + " ", index + 2
            continue
        text, index = text + _RANGES[word], index + 2
    return LOST


def _unit(word: str, one: bool, named: dict[str, str]) -> str:
    """A unit with the space or hyphen before it.

    >>> _unit("mi", False, {}), _unit("ft", False, {"adj": "on"}), _unit("e6acre", False, {})
    (' miles', '-foot', ' million acres')
    """
    match = re.fullmatch(r"(e[369]|[kMGT](?=oilbbl|USgal|cuft))?(.+)", word)
    scale, base = _SCALES.get(match[1], ""), match[2]
    singular, plural = _UNITS.get(base, (base, base))
    adjective = "on" in (named.get("adj"), named.get("sing")) or named.get("adj") == "mid"
    if adjective and singular.isascii() and singular != plural:
        return f"-{scale.replace(' ', '-')}{singular}"
    if named.get("abbr") == "on" and plural.isascii() and not scale:
        return f" {_SHORT.get(base, base)}"
    return f" {scale}{singular if one else plural}"


def _nihongo(positional: list[str], named: dict[str, str]) -> str:
    del named
    english, *japanese = [part.strip() for part in positional[:3]]
    inside = ", ".join(part for part in japanese if part)
    return f"{english} ({inside})" if english and inside else english or inside


def _as_of(positional: list[str], named: dict[str, str]) -> str:
    year, month, day = [*positional, "", "", ""][:3]
    if month.isdigit():
        month = _MONTHS.split()[int(month) - 1]
    date = " ".join(part for part in (day, month, year) if part)
    return ("as of " if named.get("lc") else "As of ") + date


def _fraction(positional: list[str], named: dict[str, str]) -> str:
    del named
    parts = [part.strip() for part in positional]
    if len(parts) == 1:
        return f"1/{parts[0]}"
    return " ".join([*parts[:-2], f"{parts[-2]}/{parts[-1]}"]) if parts else LOST


def _value(positional: list[str], named: dict[str, str]) -> str:
    power = f"×10^{named['e']}" if "e" in named else ""
    unit = named.get("u", named.get("ul", ""))
    return f"{_first(positional, named)}{power} {unit}".strip()


def _coordinates(positional: list[str], named: dict[str, str]) -> str:
    del named
    text, signs = "", iter("°′″")
    for part in positional:
        if part in ("N", "S", "E", "W"):
            text, signs = f"{text}{part} ", iter("°′″")
        elif re.fullmatch(r"[\d.]+", part):
            text += part + next(signs, "")
    return text.strip() or LOST


def _ship(positional: list[str], named: dict[str, str]) -> str:
    return f"USS {_first(positional, named)}"


def _quote(positional: list[str], named: dict[str, str]) -> str:
    """A block quotation: a paragraph of its own."""
    text = named.get("text") or named.get("quote") or _first(positional, named)
    return f"\n\n{text.strip()}\n\n"


def _nuclide(positional: list[str], named: dict[str, str]) -> str:
    del named
    return "-".join(part.strip() for part in positional[:2])


def _power(positional: list[str], named: dict[str, str]) -> str:
    return "^".join(part.strip() for part in positional) or _first(positional, named)


def _upper(positional: list[str], named: dict[str, str]) -> str:
    return _first(positional, named).upper()


def _letter(positional: list[str], named: dict[str, str]) -> str:
    return f"⟨{_first(positional, named)}⟩"


def _space_join(positional: list[str], named: dict[str, str]) -> str:
    del named
    return " ".join(part.strip() for part in positional[:2])


def _exponent(positional: list[str], named: dict[str, str]) -> str:
    return f"×10^{_first(positional, named)}"


def _music(positional: list[str], named: dict[str, str]) -> str:
    return {"flat": "♭", "sharp": "♯", "natural": "♮"}.get(_first(positional, named), "")


_GROUPS: dict[Render, str] = {
    _first: "nowrap|small|smaller|big|large|larger|midsize|resize|nobold|abbr|tooltip|linktext|"
    "keypress|nts|dts|flag|vanchor|visible anchor|ipa|ipaslink|nastaliq|formatnum|smallcaps|"
    "code|mono|math|mvar|var|su|sub|unicode|native name|nobr|railgauge|nq|abbrlink|"
    "ill|not a typo|sic|okina|lang-zh|nuclide|flagu|flagcountry",
    _second: "lang|script",
    _last: "transl",
    _join: "chem|chem2",
    _convert: "convert|cvt",
    _nihongo: "nihongo",
    _as_of: "as of",
    _fraction: "frac|sfrac",
    _value: "val",
    _coordinates: "coord",
    _ship: "uss",
    _quote: "quote|blockquote|cquote|quotation",
    _nuclide: "nuclide2|simplenuclide2|simplenuclide",
    _power: "pow",
    _upper: "sc|sc2",
    _letter: "angbr|vr|angle bracket",
    _space_join: "bibleref|bibleverse|gaps|oldstyledate",
    _music: "music",
    _exponent: "e",
    _fixed(LOST): "inflation|format price|currentyear|age|formatprice|inflation-year|"
    "death date and age|birth date and age|dentalformula|#expr",
    _fixed(" – "): "snd|spaced ndash|spndash|dash",
    _fixed("–"): "ndash|endash",
    _fixed("—"): "mdash|mdashb|emdash",
    _fixed(" "): "nbsp|spaces|thinsp|space|thin space|zwsp",
    _fixed(" · "): "·|dot|middot|•|bull",
    _fixed("⇌"): "eqm",
    _fixed("'s"): "'s",
    _fixed("'"): "'|`",
    _fixed("'\""): "' \"",
    _fixed("\"'"): "\" '",
    _fixed('"'): '-"',
    _fixed("="): "=",
    _fixed("|"): "!|pipe",
    _fixed("C"): "carbon",
    _fixed("H"): "hydrogen",
    _fixed(SPOKEN): "respell|ipac-en|pron-en|audio|listen|pronunciation|ipac-pl",
}
_TABLE = {name: render for render, names in _GROUPS.items() for name in names.split("|")}
_TABLE["|"] = _fixed("|")


def render(name: str, positional: list[str], named: dict[str, str]) -> str:
    """The text that a template call stands for; empty for boxes, notes and unknown ones.

    >>> render("Convert", ["160", "km", "mi"], {}), render("citation needed", [], {})
    ('160 km', '')
    """
    key = " ".join(name.replace("_", " ").split()).lower()
    if key in _TABLE:
        return _TABLE[key](positional, named)
    if key.startswith(("ipa-", "ipac-")):
        return SPOKEN
    if key.startswith("lang-"):
        return _first(positional, named)
    if ":" in key:  # {{formatnum: 3003}}
        function, _, argument = key.partition(":")
        return argument.strip() if function == "formatnum" else ""
    return ""
