"""Words by which people end, resume and ask about messages, by language. Only a message that is nothing but the word counts.

Every set is understood everywhere: a number's country does not say which language its owner writes. YES is in none: it resumes
only where a confirmation was asked for, which we never do. Sources: 47 CFR 64.1200(a)(10), the CTIA Messaging Principles and
the keyword pages of Twilio and AWS.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from channels.base import Intent

STOP: Mapping[str, tuple[str, ...]] = {
    "en": ("STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "OPT OUT", "REMOVE"),
    "fr": ("ARRET", "DESABONNER"),
    "de": ("STOPP", "ABMELDEN"),
    "es": ("BAJA", "PARAR", "CANCELAR", "ALTO"),
    "pt": ("PARAR", "SAIR", "CANCELAR"),
    "it": ("CANCELLA", "ANNULLA"),
    "nl": ("AFMELDEN",),
    "tr": ("IPTAL", "RET"),
    "pl": ("REZYGNUJE",),
    "sv": ("AVSLUTA",),
}
START: Mapping[str, tuple[str, ...]] = {
    "en": ("START", "UNSTOP", "SUBSCRIBE", "OPTIN", "OPT IN"),
    "fr": ("REPRENDRE",),
    "de": ("ANMELDEN",),
    "es": ("ALTA", "INICIAR"),
    "pt": ("INICIAR",),
    "it": ("INIZIA",),
    "nl": ("AANMELDEN",),
    "tr": ("BASLAT",),
}
HELP: Mapping[str, tuple[str, ...]] = {
    "en": ("HELP", "INFO"),
    "fr": ("AIDE",),
    "de": ("HILFE",),
    "es": ("AYUDA",),
    "pt": ("AJUDA",),
    "it": ("AIUTO",),
    "nl": ("HULP",),
}
LONGEST = 40
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_UNDECOMPOSED = str.maketrans({"ı": "i", "ł": "l", "ø": "o"})

_MEANINGS: Mapping[str, Intent] = {
    word: intent
    for intent, languages in ((Intent.HELP, HELP), (Intent.OPT_IN, START), (Intent.OPT_OUT, STOP))
    for words in languages.values()
    for word in words
}


def keyword(text: str | None) -> str | None:
    """The word a message consists of, as the sets spell it: without case, accents and punctuation. None for anything else."""
    if text is None or len(text) > LONGEST:
        return None
    bare = unicodedata.normalize("NFKD", text.casefold().translate(_UNDECOMPOSED))
    plain = "".join(character for character in bare if not unicodedata.combining(character))
    word = " ".join(_PUNCTUATION.sub(" ", plain).upper().split())
    return word if word in _MEANINGS else None


def intent(word: str | None) -> Intent | None:
    """What a keyword asks for."""
    return _MEANINGS.get(word or "")
