"""Words by which people end, resume and ask about messages."""

from __future__ import annotations

import pytest

from channels.base import Intent
from delivery import keywords

MEANT = [
    ("STOP", "STOP", Intent.OPT_OUT),
    (" stop. ", "STOP", Intent.OPT_OUT),
    ("Stop all!", "STOP ALL", Intent.OPT_OUT),
    ("opt-out", "OPT OUT", Intent.OPT_OUT),
    ("arrêt", "ARRET", Intent.OPT_OUT),
    ("İptal", "IPTAL", Intent.OPT_OUT),
    ("STOPP", "STOPP", Intent.OPT_OUT),
    ("«Baja»", "BAJA", Intent.OPT_OUT),
    ("Unstop", "UNSTOP", Intent.OPT_IN),
    ("başlat", "BASLAT", Intent.OPT_IN),
    ("help?", "HELP", Intent.HELP),
]


@pytest.mark.parametrize(("text", "word", "meaning"), MEANT)
def test_a_word_alone_is_understood(text: str, word: str, meaning: Intent) -> None:
    assert (keywords.keyword(text), keywords.intent(word)) == (word, meaning)


@pytest.mark.parametrize(
    "text", [None, "", "please stop", "stop it", "yes", "don't stop", "s t o p", "end of story", "x" * 1000]
)
def test_anything_else_is_a_message(text: str | None) -> None:
    assert keywords.keyword(text) is None


def test_no_word_means_two_things() -> None:
    sets = [
        {word for words in meaning.values() for word in words} for meaning in (keywords.STOP, keywords.START, keywords.HELP)
    ]
    assert sets[0] & sets[1] == sets[0] & sets[2] == sets[1] & sets[2] == set()
    assert all(keywords.keyword(word) == word for words in sets for word in words)
