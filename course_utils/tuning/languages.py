"""Chapter 4 - Languages: which of five a short text is written in, by its small words.

Every sentence is full of words that carry no topic: "the", "nicht", "della". They differ between
languages, so a list of them tells languages apart without training. Words that two languages
share ("la") count half for each, and a few endings help where a text has no small word at all.
"""

from __future__ import annotations

import re
from collections import Counter

WORD = re.compile(r"[^\W\d_]+")
ENDING = 0.3  # what a telling ending is worth beside a small word's 1

SMALL_WORDS = {
    "en": """the of and to in is it that was for on are as with his her they be at this have from
    or had by not but what all were we when your can said there an each which their will if how
    about would has been who its did do does my you he she them then than into only other could
    so some our out up i me please hello good morning thank thanks yes today because where why""",
    "fr": """le la les un une des du de et est en que qui dans pour pas ne sur au aux avec ce cette
    ces il elle nous vous ils elles on mais ou où son sa ses leur leurs par plus sont était être
    avoir ont fait je tu me te se mon ma mes ton ta tes tout tous très bien bonjour merci oui non
    si comme sans sous entre donc aussi chez quand faut peut suis êtes sommes avez avons aime
    s'il plaît bonsoir bonne nuit demain aujourd hui après avant car deux trois""",
    "de": """der die das den dem des ein eine einen einem einer und ist nicht ich du er sie es wir
    ihr sich mit auf für von zu im am an in aus bei nach über unter vor auch als wie aber oder wenn
    dass war sind hat haben wird werden kann können nur noch schon sehr gut guten morgen tag danke
    bitte ja nein mein meine dein sein seine ihre kein keine um durch gegen ohne man hier dort heute
    abend nacht bin bist habe mir mich dir dich uns zum zur vom beim immer jetzt zwei drei wo
    was jeder jede alle etwas mehr heißt gibt""",
    "es": """el la los las un una unos unas de del y es en que no se por con para su sus al lo como
    más pero le les ya o este esta esto ese esa son era ser está están hay muy sin sobre también
    me mi mis tu tus yo él ella nosotros ellos ellas qué cuando donde dónde hasta desde todo todos
    hola gracias buenos buenas días noches sí tengo tiene tienen hace porque favor hoy mañana fue
    han ha he nos te estoy eres somos entre dos tres bien usted quiero puede antes después""",
    "it": """il lo la i gli le un uno una di del della dei degli delle dello da dal dalla in nel
    nella nei con su sul sulla per tra fra e è che non si sono ha hanno ho ma anche come più questo
    questa questi quello quella suo sua mio mia tuo io lui lei noi voi loro era essere molto bene
    buongiorno grazie ciao sì dove quando perché se ogni ai al alla alle buona buonasera notte oggi
    domani mi ti ci vi così prego favore siamo sei abbiamo fa può due tre prima dopo ne""",
}
ENDINGS = {
    "en": r"(?:ing|tion|ly|ould|ght)$",
    "fr": r"(?:eux|eau|ent|ois|oire|ée|ées|ique|ez|[çœêùû].*)$",
    "de": r"(?:ung|heit|keit|lich|sch|cht|isch|ern|eln|.*[ßäöü].*)$",
    "es": r"(?:ción|dad|ando|iendo|amos|os|as|.*ñ.*)$",
    "it": r"(?:zione|ità|iamo|mente|are|ere|ello|etto|.*[ìò].*)$",
}
_LISTS = {code: frozenset(words.split()) for code, words in SMALL_WORDS.items()}
_SHARED = Counter(word for words in _LISTS.values() for word in words)


def language_scores(text: str) -> dict[str, float]:
    """What speaks for each language: small words (1, or 1/n if n lists have it) and endings.

    >>> language_scores("der Hund und die Katze")["de"]
    3.0
    """
    words = WORD.findall(text.lower())
    scores = dict.fromkeys(SMALL_WORDS, 0.0)
    for word in words:
        for code, small in _LISTS.items():
            if word in small:
                scores[code] += 1 / _SHARED[word]
            elif word not in _SHARED and re.search(ENDINGS[code], word):
                scores[code] += ENDING
    return scores


def detect_language(text: str) -> str | None:
    """The language of a text: ``en``, ``fr``, ``de``, ``es`` or ``it``; None if nothing tells.

    Made for one sentence or more. A single word, a name or a sixth language gives None, or the
    neighbour that looks most like it.

    >>> detect_language("Il gatto dorme sul divano."), detect_language("42")
    ('it', None)
    """
    scores = language_scores(text)
    first, second = sorted(scores, key=lambda code: -scores[code])[:2]
    return first if scores[first] > scores[second] else None
