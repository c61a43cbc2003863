"""The model card: `README.md` of a version, rendered from its manifest."""

from __future__ import annotations

import json
import re

from models.records import Counts, Manifest

PICTURE = "training.png"  # beside the card
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&])")
_CARD = """---
{languages}tags:
- mockingbird
- text-generation
library_name: {library}
base_model: {base_quoted}
pipeline_tag: text-generation
widget:
- text: "My dream is"
---

# {title}

**{kind}**, made by Mockingbird. What it writes is made up by a machine: none of it was said by {who}.

## How it was made

A language model was fine-tuned on posts of {who}.

| | {header} |
|---|{rule}
| Posts downloaded | {downloaded} |
| Retweets | {retweets} |
| Short posts | {short} |
| Posts kept | {kept} |

{went}

## Training

![Held-out bits per byte and training loss by step]({picture})

- Base: `{base}`, fine-tuned with method `{method}`, learning rate {learning_rate:g}, seed {seed}
- {posts:,} posts for training, {held_out_posts:,} held out; {tokens:,} tokens an epoch
- Held-out bits per byte: {before:.3f} before, **{after:.3f}** after (best of {steps} steps at step {best_step})
- {seconds:.0f} s on {hardware}, {precision}, {tokens_per_s:,.0f} tokens/s, at most {peak_memory_mb:,} MB of memory
- {libraries}
- Text format `{text_format}`, job #{job_id}, {created_at}

## Limits and bias

It imitates style, knows nothing, and makes facts up. It can repeat what its training posts or its base's training text
hold: errors, bias, offence, phrases word for word. Use it for fun, labelled as AI, never to deceive or to speak in
someone's name. If it imitates you and you want it gone, ask the operator of the bot.
"""


def render_card(manifest: Manifest) -> str:
    """The card as Markdown with front matter."""
    accounts, metrics = manifest.accounts, manifest.metrics

    def row(values: list[object]) -> str:
        return " | ".join(str(value) for value in values)

    languages = dict.fromkeys(language for account in accounts for language in account.languages)
    return _CARD.format(
        languages="".join(["language:\n", *(f"- {json.dumps(code)}\n" for code in languages)]) if languages else "",
        library="transformers" if manifest.method == "full" else "peft",
        base=manifest.base,
        base_quoted=json.dumps(manifest.base, ensure_ascii=False),
        title=" & ".join(_plain(account.name) for account in accounts),
        kind="AI BOT" if len(accounts) == 1 else "AI CYBORG",
        who=" & ".join(f"@{_plain(account.handle)}" for account in accounts),
        header=row([f"@{_plain(account.handle)}" for account in accounts]),
        rule="---|" * len(accounts),
        downloaded=row([account.downloaded for account in accounts]),
        retweets=row([account.retweets for account in accounts]),
        short=row([account.short for account in accounts]),
        kept=row([account.kept for account in accounts]),
        went="\n".join(f"- {_plain(where_posts_went(account))}" for account in accounts),
        method=manifest.method,
        learning_rate=manifest.training.learning_rate,
        seed=manifest.training.seed,
        posts=metrics.posts,
        held_out_posts=metrics.held_out_posts,
        tokens=metrics.tokens,
        before=metrics.bits_per_byte_before,
        after=metrics.bits_per_byte_after,
        steps=metrics.steps,
        best_step=metrics.best_step,
        seconds=metrics.seconds,
        hardware=metrics.hardware,
        precision=metrics.precision,
        tokens_per_s=metrics.tokens_per_s,
        peak_memory_mb=metrics.peak_memory_mb,
        libraries=", ".join(f"{name} {version}" for name, version in metrics.libraries.items()),
        picture=PICTURE,
        text_format=manifest.text_format,
        job_id=manifest.job_id,
        created_at=manifest.created_at.strftime("%Y-%m-%d %H:%M UTC"),
    )


def where_posts_went(counts: Counts) -> str:
    """What became of an account's posts, in one line."""
    left = [
        f"{number:,} {reason}"
        for reason, number in {"retweets": counts.retweets, "too short": counts.short, **counts.left_out}.items()
        if number
    ]
    went = f" ({', '.join(left)} left out)" if left else ""
    return f"@{counts.handle}: {counts.downloaded:,} posts, of which {counts.learned:,} are learned{went}."


def _plain(name: str) -> str:
    """A display name as literal Markdown text on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(name.split())).replace("\\<", "&lt;")
