"""What benchmarks.base does with a base: bits per byte, drafts as the engine makes them, fine-tuning by the service."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import torch
from transformers import PreTrainedTokenizerBase

from bot.config import BotSettings, Config
from bot.datadir import DataDir
from bot.records import CONSOLE, JobState
from bot.sampling import Creativity, Length, temperature, token_range
from bot.service import Service, open_service
from models.engine.device import Placement
from models.engine.generation import Generation
from models.engine.loading import load_weights, token_ids
from models.engine.screen import Draft
from models.engine.settings import EngineSettings
from models.engine.voices import Voice
from models.errors import UserError
from models.files import read_json
from models.messages import Generate
from models.records import DatasetRow, Metrics, TrainingSettings
from models.text import DEFAULT_FORMAT
from trainer.dataset import encode
from trainer.evaluate import bits_per_byte
from trainer.step import Step

TEXT_TOKENS = 240  # of a line; what is over them with any of the bases is read with none
ROOM_TOKENS = 8  # a line that another tokenizer has cut may be a little longer with this one
CPU = Placement(device=torch.device("cpu"), dtype=torch.float32)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished fine-tuning of one account; the seconds count from the command."""

    metrics: Metrics
    model_s: float
    say_s: float  # to the first post
    folder: Path


class TrainingFailed(Exception):
    """A training ended without a model; `str()` is the reason that the service gives."""


class Drafting(Generation):
    """The engine's own generation, but with just as many rows as asked for, in one round, and nothing screened."""

    def _begin_round(self) -> None:
        super()._begin_round()
        self._rows = self._all_rows = self._rows[: self.request.count]

    def drafts(self) -> list[Draft]:
        """Run to the end."""
        with torch.inference_mode():
            while self._rows:
                self.step()
        return self._drafts


def usual(**wishes: object) -> Generate:
    """A request with the service's defaults; `wishes` change some."""
    settings = EngineSettings()
    fewest, most = token_range(settings, Length.USUAL)
    request = Generate(
        id=0,
        model=None,
        temperature=temperature(settings, Creativity.USUAL),
        top_p=settings.top_p,
        min_tokens=fewest,
        max_tokens=most,
        seed=1,
    )
    return msgspec.structs.replace(request, **wishes)


def reply(voice: Voice, question: str, *, seed: int, device: torch.device) -> str:
    """One answer to a question, screened, as a mention of the bot is answered; nothing if nothing was fit."""
    generation = Generation(usual(answers=(question,), seed=seed), voice, device)
    with torch.inference_mode():
        while not (answer := generation.result()):
            generation.step()
    return answer.texts[0] if answer.texts else ""


def rows_per_second(voice: Voice, prompt: str, *, rows: int, tokens: int, device: torch.device) -> float:
    """Tokens a second of all rows together, from equal prompts, prefill included: the median of 3 after a warm-up."""
    rates = []
    for _ in range(4):
        drafting = Drafting(usual(prompt=prompt, count=rows, min_tokens=tokens, max_tokens=tokens), voice, device)
        started = time.perf_counter()
        drafting.drafts()
        rates.append(rows * tokens / (time.perf_counter() - started))
    return sorted(rates[1:])[1]


def fitted(lines: Sequence[str], tokenizers: Sequence[PreTrainedTokenizerBase]) -> list[tuple[str, bool]]:
    """The lines cut so that each has at most TEXT_TOKENS with every tokenizer, and whether the line is whole."""
    found = []
    for line in lines:
        text = line
        for tokenizer in tokenizers:
            ids = token_ids(tokenizer, text)
            if len(ids) > TEXT_TOKENS:
                text = tokenizer.decode(ids[:TEXT_TOKENS]).rstrip("\ufffd")
        found.append((text, text == line))
    return found


class Reader:
    """A base in float32, to be tried on texts."""

    def __init__(self, location: str, tokenizer: PreTrainedTokenizerBase) -> None:
        self._step = Step(load_weights(location, CPU), CPU.dtype)
        self._tokenizer = tokenizer

    def bits_per_byte(self, texts: Sequence[tuple[str, bool]]) -> float:
        """Bits per UTF-8 byte, each text on its own; the end of a whole one counts among the bits."""
        rows = [DatasetRow(handle="text", id="", text=text) for text, _ in texts]
        examples = [
            example if is_whole else replace(example, ids=example.ids[:-1])
            for example, (_, is_whole) in zip(
                encode(rows, self._tokenizer, DEFAULT_FORMAT, max_tokens=TEXT_TOKENS + ROOM_TOKENS), texts, strict=True
            )
        ]
        return bits_per_byte(self._step, examples, pad_id=self._tokenizer.pad_token_id, device=CPU.device)


async def train_accounts(base: str, files: Sequence[Path], data_dir: Path) -> dict[str, Trained]:
    """Each account fine-tuned on the base, one after the other; one that fails is printed with its reason."""
    config = Config(bot=BotSettings(data_dir=str(data_dir)), training=TrainingSettings(base=base))
    trained = {}
    async with open_service(config, DataDir(config.data_dir), "benchmark") as service:
        await service.engine.wait_ready()
        for file in files:
            try:
                trained[file.stem] = await _train(service, file)
            except (UserError, TrainingFailed) as exc:
                print(f"@{file.stem} on {base} failed: {exc}\n")
    return trained


async def _train(service: Service, file: Path) -> Trained:
    started = time.monotonic()
    plan = await service.plan(CONSOLE, handles=[file.stem], files=[file], ground="public_domain")
    job = await service.start(CONSOLE, plan)
    async for view in service.watch(job.id):
        job = view.job
    if job.state != JobState.DONE:
        raise TrainingFailed(job.error or job.state)
    model_s = time.monotonic() - started
    model = next(model for model in service.library.visible(CONSOLE) if model.job_id == job.id)
    await service.say(CONSOLE, model=model, seed=1)
    say_s = time.monotonic() - started
    folder = service.data.models / model.folder
    metrics = read_json(folder / "metrics.json", Metrics)
    return Trained(metrics=metrics, model_s=model_s, say_s=say_s, folder=folder)
