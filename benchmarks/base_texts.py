"""What the base is asked and read by in benchmarks.base: beginnings, questions, held-out lines, a word list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import py3langid
import regex
from glin_profanity import Filter

from trainer.pretrain.config import CONFIG, PretrainConfig
from trainer.pretrain.corpus import held_out, is_held_out, read_lines

LINES = 400  # of each corpus and language
MIN_LINES = 20  # of a language, else it has no row

BEGINNINGS = (
    "My dream is",
    "I think that",
    "Today we",
    "The best thing about",
    "I can't believe",
    "When I was young",
    "Nobody told me",
    "Good morning",
    "If you ask me",
    "What is the difference between",
)
QUESTIONS = (
    "What did you have for breakfast?",
    "Do you like cats or dogs?",
    "How was your weekend?",
    "What is your favourite film?",
    "Where do you live?",
)
EMOJI = "😂❤️🤣👍😭🙏😘🥰😍😊🎉😁💕🥺😅🔥☺️🤦♥️🤷🙄😆🤗😉🎂🤔👏🙂😳🥳😎👌💜😔💪✨💖👀😋😏😢👉💗😩💯🌹💞🎈💙🚀"

# The package's lists hold few forms of a word, and these not at all.
_MORE_ENGLISH = (
    "chink", "coolie", "cripple", "dyke", "fag", "gook", "honky", "injun", "jap", "kaffir", "pickaninny", "sambo",
    "spastic", "trannies", "whore",
)  # fmt: skip
_ENDINGS = r"(?:s|(?<=[shx])es|d|ed|in|ing)?"
_NO_SPACES = ("chinese", "japanese", "thai")
_LANGUAGES = {
    "ar": "arabic", "cs": "czech", "da": "danish", "de": "german", "en": "english", "eo": "esperanto",
    "es": "spanish", "fa": "persian", "fi": "finnish", "fr": "french", "hi": "hindi", "hu": "hungarian",
    "it": "italian", "ja": "japanese", "ko": "korean", "nl": "dutch", "no": "norwegian", "pl": "polish",
    "pt": "portuguese", "ru": "russian", "sv": "swedish", "th": "thai", "tr": "turkish", "zh": "chinese",
}  # fmt: skip


def read_held_out(folder: Path) -> dict[str, list[str]]:
    """All held-out lines of each corpus of the config; one that is not in the folder is left out with a word.

    The first version of the base read the held-out lines of dialogues as what the lines after them answer. So a corpus
    with dialogue comes a second time, without the lines that stand in any dialogue: nothing has read those.
    """
    config = PretrainConfig.read(CONFIG)
    found: dict[str, list[str]] = {}
    for corpus in config.corpus:
        try:
            lines = read_lines(corpus, folder)
        except (OSError, ValueError) as exc:
            print(f"{corpus.name} is left out: {exc}\n")
            continue
        found[corpus.name] = held_out(lines, limit=len(lines))
        dialogues = [
            part.lines or (0, len(lines)) for part in config.part if part.corpus == corpus.name and part.dialogue
        ]
        if dialogues:
            quoted = {line.strip() for start, stop in dialogues for line in lines[start:stop] if is_held_out(line)}
            found[f"{corpus.name}, no dialogue"] = [line for line in found[corpus.name] if line not in quoted]
    return found


def by_language(lines: Sequence[str]) -> dict[str, list[str]]:
    """The lines by language, as py3langid judges each; those of the languages that have enough, most first."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        found[py3langid.classify(line)[0]].append(line)
    return {code: own for code, own in sorted(found.items(), key=lambda item: -len(item[1])) if len(own) >= MIN_LINES}


def thinned(lines: Sequence[str]) -> list[str]:
    """At most LINES of the lines, from all over them."""
    return list(lines[:: max(1, len(lines) // LINES)][:LINES])


def bad_words(text: str) -> list[str]:
    """Slurs and obscene words in the text: of the English list and of that for the language that it seems to be in."""
    languages = {"english", _LANGUAGES.get(py3langid.classify(text)[0], "english")}
    return sorted({match.group().lower() for name in languages for match in _pattern(name).finditer(text)})


@cache
def _pattern(language: str) -> regex.Pattern[str]:
    """The package's list as whole words, in English with common endings; where no spaces are written, anywhere."""
    words = sorted(
        Filter({"languages": [language], "normalize_unicode": False}).words, key=lambda word: (-len(word), word)
    )
    if language == "english":
        words += _MORE_ENGLISH
    anywhere = [regex.escape(word) for word in words if language in _NO_SPACES and not word.isascii()]
    whole = [regex.escape(word) for word in words if language not in _NO_SPACES or word.isascii()]
    endings = _ENDINGS if language == "english" else ""
    return regex.compile("|".join([*anywhere, rf"(?<!\w)(?:{'|'.join(whole)}){endings}(?!\w)"]), regex.IGNORECASE)
