"""huggingtweets' five models, the whole way: `python -m benchmarks.huggingtweets [MODEL …]`.

Made-up accounts with as many posts of each kind as those of the published cards come through the stand-in for X's API
and train the built-in base, for one epoch instead of three to keep it short. Prints, for each model, the table of its
card beside the published figures, the dollars that X would have taken, and the seconds. One run, nothing averaged.
Goal: every figure equal.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from benchmarks.journey import Journey, open_house, travel
from tests.fakes.five_models import MODELS, Row, add_accounts

ROWS = {"Posts downloaded": "downloaded", "Retweets": "retweets", "Short posts": "short", "Posts kept": "kept"}


async def main(names: Sequence[str]) -> None:
    async with open_house() as house:
        for name in names:
            add_accounts(house.x, name)
            journey = await travel(house, handles=[row.handle for row in MODELS[name]])
            show(name, journey, MODELS[name])


def show(name: str, journey: Journey, published: Sequence[Row]) -> None:
    """The model's card beside what huggingtweets published."""
    print(f"{name}: {' & '.join(row.name for row in published)}")
    equal = 0
    for label, field in ROWS.items():
        line = next(line for line in journey.card.splitlines() if line.startswith(f"| {label} |"))
        ours = [cell.strip() for cell in line.strip("|").split("|")][1:]
        theirs = [str(getattr(row, field)) for row in published]
        equal += ours == theirs
        print(
            f"  {label:17} {' '.join(ours):>15}   published {' '.join(theirs):>15}   {'=' if ours == theirs else '≠'}"
        )
    learned = sum(counts.learned for counts in journey.accounts)
    print(
        f"  {'all' if equal == len(ROWS) else f'{equal} of {len(ROWS)}'} equal; {learned:,} posts learned; "
        f"${journey.paid_usd:.2f} of at most ${journey.asked_usd:.2f}; {journey.requests} requests"
    )
    print(
        f"  {journey.collected_s:.1f} s to collect and clean, {journey.trained_s:.1f} s to the model, "
        f"{journey.said_s:.1f} s to the first /say: {journey.text}"
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or list(MODELS)))
