"""The built-in base, measured: `python -m benchmarks.base [--bases DIR …] [--corpus DIR] [--accounts DIR] [--only …]`.

Prints Markdown tables with a column for each base, those after the first with their change from it. The sections:

- text: bits per byte of the corpora's held-out lines, and of each language's among them. The first version read the
  held-out lines of dialogues all the same, as what the next lines answer; "no dialogue" are those that it did not.
- languages: how many tokens the tokenizer makes of a byte and of a character.
- speed: tokens a second that the engine's own generation makes of equal prompts, in this process.
- unprompted: 1,000 drafts without a prompt: slurs and obscene words, broken characters, empty ones, cut-off ones.
- accounts: through the service, fine-tuning on each JSONL file of the folder (its name is the handle): bits per byte
  of held-out posts before and after, seconds from the command to the first `/say`, tokens a second.
- samples: unedited drafts and answers to questions, before and after fine-tuning on @NASA (if it is in the folder).

Sampling is with the service's default settings; seeds are fixed. One run, nothing averaged but speed. Held-out lines
are the same for every base (whose context has at least 256 tokens): those of over 240 tokens with any of the tokenizers
are cut there for all.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from benchmarks.base_runs import Drafting, Reader, Trained, fitted, reply, rows_per_second, train_accounts, usual
from benchmarks.base_texts import (
    BEGINNINGS,
    EMOJI,
    QUESTIONS,
    bad_words,
    by_language,
    read_held_out,
    thinned,
)
from models.engine.device import Placement, choose
from models.engine.loading import base_location, load_tokenizer, token_ids
from models.engine.screen import Draft
from models.engine.voices import Voice, Voices
from models.errors import Unusable
from trainer.pretrain.corpus import is_wanted

SECTIONS = ("text", "languages", "speed", "unprompted", "accounts", "samples")
THREADS = 2
ROWS = (1, 5, 16)
SPEED_TOKENS = 64  # of each row
UNPROMPTED, TOGETHER = 1_000, 50  # drafts, and how many of them are rows of one batch
EXAMPLE = "NASA"  # the account whose voice is shown
KEPT_MB = 1024  # of fine-tuned voices


class Base:
    """One base of the command line; the name is what was typed."""

    def __init__(self, name: str, placement: Placement) -> None:
        self.name = name
        self.setting = str(Path(name).resolve()) if Path(name).is_dir() else name  # as [training] base has it
        self.location = base_location(self.setting)
        self.tokenizer = load_tokenizer(self.location)
        self.placement = placement

    @cached_property
    def voices(self) -> Voices:
        return Voices(self.setting, self.placement, budget_bytes=KEPT_MB << 20)

    def drafts(self, voice: Voice, *, prompt: str = "", count: int, seed: int) -> list[Draft]:
        """Drafts as the service's defaults give them, before any screening."""
        request = usual(prompt=prompt, count=count, seed=seed)
        return Drafting(request, voice, self.placement.device).drafts()


def main() -> None:
    parser = argparse.ArgumentParser(description="The built-in base, measured.")
    parser.add_argument("--bases", nargs="+", default=["builtin"], metavar="DIR", help="the first is compared with")
    parser.add_argument("--corpus", type=Path, help="the folder of the pre-training corpora")
    parser.add_argument("--accounts", type=Path, help="a folder of JSONL files, one an account")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION")
    parser.add_argument("--samples", type=Path, help="a file to write the unprompted drafts to")
    args = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    placement = choose("auto", "auto", threads=THREADS)
    try:
        bases = [Base(name, placement) for name in args.bases]
    except Unusable as exc:
        raise SystemExit(str(exc)) from exc
    show_bases(bases)
    held_out = read_held_out(args.corpus) if args.corpus and {"text", "languages"} & {*args.only} else {}
    files = sorted(args.accounts.glob("*.jsonl")) if args.accounts else []
    if "text" in args.only:
        show_text(bases, held_out)
    if "languages" in args.only:
        show_tokens(bases, held_out)
    if "speed" in args.only:
        show_speed(bases)
    if "unprompted" in args.only:
        show_unprompted(bases, args.samples)
    if "accounts" not in args.only:
        files = [file for file in files if file.stem == EXAMPLE and "samples" in args.only]
    with tempfile.TemporaryDirectory() as folder:
        trained = [
            asyncio.run(train_accounts(base.setting, files, Path(folder, str(number)))) if files else {}
            for number, base in enumerate(bases)
        ]
        if "accounts" in args.only:
            show_accounts(bases, [file.stem for file in files], trained)
        if "samples" in args.only:
            for base, found in zip(bases, trained, strict=True):
                show_samples(base, found.get(EXAMPLE))


def show_bases(bases: Sequence[Base]) -> None:
    """What each base is: nothing measured."""
    print(_heading(["base", "parameters", "vocabulary", "context, tokens", "precision here"]))
    for base in bases:
        sizes = (f"{n:,}" for n in (base.voices.parameters, len(base.tokenizer), base.voices.get(None).context_tokens))
        print(_row([base.name, *sizes, base.placement.precision]))
    print()


def show_text(bases: Sequence[Base], held_out: dict[str, list[str]]) -> None:
    print("## Held-out bits per byte\n")
    if not held_out:
        print("Left out: it needs --corpus.\n")
        return
    readers = [Reader(base.location, base.tokenizer) for base in bases]
    rows = []
    for name, lines in _texts(held_out).items():
        texts = fitted(lines, [base.tokenizer for base in bases])
        size = sum(len(text.encode()) for text, _ in texts)
        rows.append(([name, f"{len(lines)}", f"{size:,}"], [reader.bits_per_byte(texts) for reader in readers]))
    show_table(["text", "lines", "bytes"], bases, rows)


def show_tokens(bases: Sequence[Base], held_out: dict[str, list[str]]) -> None:
    """The yardstick is a tokenizer that makes a token of each byte."""
    print("## Tokens\n")
    texts = _texts(held_out) | {"common emoji": [EMOJI]}
    if not held_out:
        print("The emoji only: the rest needs --corpus.\n")
    counted = []
    for name, lines in texts.items():
        size, characters = sum(len(line.encode()) for line in lines), sum(map(len, lines))
        counted.append((name, size, characters, [_count_tokens(base, lines) for base in bases]))
    print("Tokens per byte (of a byte tokenizer: 1)\n")
    show_table(["text"], bases, [([name], [n / size for n in tokens]) for name, size, _, tokens in counted])
    print("Bytes per token (of a byte tokenizer: 1)\n")
    show_table(["text"], bases, [([name], [size / n for n in tokens]) for name, size, _, tokens in counted])
    print("Tokens per character\n")
    rows = [([name, f"{size / chars:.3f}"], [n / chars for n in tokens]) for name, size, chars, tokens in counted]
    show_table(["text", "byte tokenizer"], bases, rows)


def show_speed(bases: Sequence[Base]) -> None:
    print(f"## Generation, tokens a second\n\n{SPEED_TOKENS} tokens a row, {THREADS} threads, the engine's own code.\n")
    rows = []
    for count in ROWS:
        rates: list[float | None] = [
            rows_per_second(
                base.voices.get(None),
                BEGINNINGS[0],
                rows=count,
                tokens=SPEED_TOKENS,
                device=base.placement.device,
            )
            for base in bases
        ]
        rows.append(([f"{count}"], rates))
    show_table(["rows"], bases, rows)


def show_unprompted(bases: Sequence[Base], file: Path | None) -> None:
    """Counts of the drafts, and each draft in which a word of the list stands, with the word."""
    print(f"## {UNPROMPTED:,} unprompted drafts\n\n{_sampling()}\n")
    drafts = [
        [
            draft
            for seed in range(UNPROMPTED // TOGETHER)
            for draft in base.drafts(base.voices.get(None), count=TOGETHER, seed=seed)
        ]
        for base in bases
    ]
    hits = [[(found, draft) for draft in own if (found := bad_words(draft.text))] for own in drafts]
    counts: dict[str, list[float | None]] = {
        "with slurs or obscene words (list below)": [len(own) for own in hits],
        "that pre-training would have left out": [
            _count(own, lambda d: bool(d.text.strip()) and not is_wanted(d.text)) for own in drafts
        ],
        "with a broken character": [_count(own, lambda d: "\ufffd" in d.text) for own in drafts],
        "that begin with somebody else's words (`> …`)": [
            _count(own, lambda d: d.text.startswith(">")) for own in drafts
        ],
        "empty": [_count(own, lambda d: not d.text.strip()) for own in drafts],
        "cut off": [_count(own, lambda d: not d.ended) for own in drafts],
        "different": [len({draft.text for draft in own}) for own in drafts],
        "characters, mean": [sum(len(draft.text) for draft in own) / len(own) for own in drafts],
    }
    show_table(["drafts"], bases, [([name], figures) for name, figures in counts.items()])
    for base, own in zip(bases, hits, strict=True):
        for found, draft in own:
            print(f"- {base.name}: **{', '.join(found)}**: {_shown(draft)}")
    print()
    if file:
        with file.open("w", encoding="utf-8") as out:
            for base, own_drafts in zip(bases, drafts, strict=True):
                out.write(f"# {base.name}\n\n{_sampling()}\n\n")
                out.writelines(f"{number}. {_shown(draft)}\n" for number, draft in enumerate(own_drafts, 1))
                out.write("\n")


def show_accounts(bases: Sequence[Base], handles: Sequence[str], trained: Sequence[dict[str, Trained]]) -> None:
    print("## Fine-tuning, by account\n")
    if not handles:
        print("Left out: it needs --accounts.\n")
        return
    measures: dict[str, Callable[[Trained], float]] = {
        "held-out bits per byte before": lambda t: t.metrics.bits_per_byte_before,
        "held-out bits per byte after": lambda t: t.metrics.bits_per_byte_after,
        "seconds to the model": lambda t: t.model_s,
        "seconds to the first /say": lambda t: t.say_s,
        "tokens a second in training": lambda t: t.metrics.tokens_per_s,
    }
    rows = []
    for name, measure in measures.items():
        for handle in handles:
            found = [own.get(handle) for own in trained]
            posts = next((f"{one.metrics.posts:,}" for one in found if one), "")
            rows.append(([name, f"@{handle}", posts], [measure(one) if one else None for one in found]))
    show_table(["", "account", "posts trained on"], bases, rows)


def show_samples(base: Base, trained: Trained | None) -> None:
    """Ten that go on from a beginning and ten from nothing, of the base and of the account's voice; then answers."""
    voices = {"the base": base.voices.get(None)}
    if trained:
        voices[f"after @{EXAMPLE}"] = base.voices.get(str(trained.folder))
    for who, voice in voices.items():
        print(f"## Samples of {base.name}, {who}\n\n{_sampling()}\n")
        for number, prompt in enumerate([*BEGINNINGS, *[""] * len(BEGINNINGS)], 1):
            [draft] = base.drafts(voice, prompt=prompt, count=1, seed=number)
            print(f"{number}. {'**' * bool(prompt)}{prompt}{'**' * bool(prompt)}{_shown(draft)}")
        print()
    print(f"## Answers of {base.name}\n\nScreened, as a mention of the bot is answered.\n")
    print(_heading(["question", *voices]))
    for seed, question in enumerate(QUESTIONS, 1):
        answers = [reply(voice, question, seed=seed, device=base.placement.device) for voice in voices.values()]
        print(_row([question, *(_one_line(answer).replace("|", r"\|") for answer in answers)]))
    print()
    if not trained:
        print(f"Nothing after @{EXAMPLE}: it needs --accounts with {EXAMPLE}.jsonl, and a training that succeeds.\n")


def show_table(
    leads: Sequence[str],
    bases: Sequence[Base],
    rows: Iterable[tuple[Sequence[str], Sequence[float | None]]],
) -> None:
    """A row's own cells, then its figure with each base; from the second on, each with its change from the first."""
    heads = [base.name for base in bases]
    print(_heading([*leads, heads[0], *(cell for name in heads[1:] for cell in (name, "change"))]))
    for cells, figures in rows:
        first = figures[0]
        shown = [_figure(first)]
        for figure in figures[1:]:
            shown += [_figure(figure), f"{figure / first - 1:+.1%}" if figure is not None and first else "–"]
        print(_row([*cells, *shown]))
    print()


def _texts(held_out: dict[str, list[str]]) -> dict[str, list[str]]:
    """Up to LINES held-out lines of each corpus, and of each language."""
    languages = by_language(held_out.get("languages", []))
    return {
        name: thinned(lines)
        for name, lines in (*held_out.items(), *((f"languages: {k}", v) for k, v in languages.items()))
    }


def _count_tokens(base: Base, lines: Sequence[str]) -> int:
    return sum(len(token_ids(base.tokenizer, line)) for line in lines)


def _count(drafts: Sequence[Draft], holds: Callable[[Draft], bool]) -> int:
    return sum(map(holds, drafts))


def _sampling() -> str:
    request = usual()
    return (
        f"Temperature {request.temperature:g}, top-p {request.top_p:g}, at most {request.max_tokens} tokens, nothing "
        "screened. ⏎ is a line break, ✂ where the tokens ran out."
    )


def _shown(draft: Draft) -> str:
    return _one_line(draft.text) + ("" if draft.ended else " ✂")


def _one_line(text: str) -> str:
    return text.replace("\n", " ⏎ ")


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.{0 if value >= 1000 or value == int(value) else 1 if value >= 20 else 3}f}"


def _heading(heads: Sequence[str]) -> str:
    return f"{_row(heads)}\n|{'---|' * len(heads)}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
