"""One request in flight: rows that share a prompt and go on token by token until each has ended."""

from __future__ import annotations

import time

import torch
from torch import Tensor
from transformers import DynamicCache

from models.engine.loading import token_ids
from models.engine.sampling import sample_next
from models.engine.screen import Draft, screen
from models.engine.voices import Voice
from models.messages import Completed, Delta, Generate

MAX_ROUNDS = 3  # of drafts, when the screen left too few


class Generation:
    """Drafts more candidates than asked for, screens them, and drafts again if too few are left."""

    def __init__(self, request: Generate, voice: Voice, device: torch.device) -> None:
        self.request = request
        self._voice = voice
        self._device = device
        self._prompt = request.prompt.rstrip()
        self._rng = torch.Generator().manual_seed(request.seed)
        self._started = time.perf_counter()
        self._tokens = 0
        self._round = 0
        self._drafts: list[Draft] = []
        self._end = voice.tokenizer.eos_token_id
        self._max_tokens = min(request.max_tokens, voice.context_tokens // 2)  # the prompt has the other half
        self._min_tokens = min(request.min_tokens, self._max_tokens)
        self._banned = [i for i in voice.tokenizer.all_special_ids if i != self._end]
        self._prompt_ids = self._encode()
        self._begin_round()

    def step(self) -> list[Delta]:
        """Run the model once and sample one token for each unfinished row; returns what to stream."""
        logits = self._voice.forward(self._next_ids, self._cache)
        if logits.shape[0] != len(self._rows):  # the prompt was run once for all rows
            self._cache.batch_repeat_interleave(len(self._rows))
            logits = logits.expand(len(self._rows), -1)
        ids = sample_next(
            logits.clone(),
            temperature=self.request.temperature,
            top_p=self.request.top_p,
            banned=self._banned if len(self._rows[0].ids) >= self._min_tokens else [*self._banned, self._end],
            generator=self._rng,
        )
        self._tokens += len(self._rows)
        deltas, alive = [], []
        for place, (row, token) in enumerate(zip(self._rows, ids.tolist(), strict=True)):
            row.ids.append(token)
            row.ended = token == self._end
            if not row.ended and len(row.ids) < self._max_tokens:
                alive.append(place)
            if self.request.stream and self._round == 1 and row.index < self.request.count and not row.ended:
                deltas += self._delta(row)
        self._settle_round(alive, ids)
        return deltas

    def result(self) -> Completed | None:
        """The answer, once there is one."""
        if self._rows:
            return None
        is_last = self._round == MAX_ROUNDS or self.request.temperature == 0
        texts, left_out = screen(self._drafts, prompt=self._prompt, count=self.request.count, accept_cut_off=is_last)
        if len(texts) < self.request.count and not is_last:
            self._begin_round()
            return None
        return Completed(
            id=self.request.id,
            texts=tuple(texts),
            tokens=self._tokens,
            seconds=time.perf_counter() - self._started,
            screened=left_out,
        )

    def _begin_round(self) -> None:
        self._round += 1
        spare = max(2, self.request.count // 2) if self.request.temperature > 0 else 0
        rows = self.request.count + spare if self.request.temperature > 0 else 1
        self._rows = [_Row(index) for index in range(rows)]
        self._all_rows = list(self._rows)
        self._cache = DynamicCache()
        self._next_ids = self._prompt_ids

    def _settle_round(self, alive: list[int], ids: Tensor) -> None:
        """Drop the rows that have ended from the batch; at the end of the round keep their drafts."""
        if alive and len(alive) < len(self._rows):
            self._cache.batch_select_indices(torch.tensor(alive, device=self._device))
        self._rows = [self._rows[i] for i in alive]
        self._next_ids = ids[alive].unsqueeze(1).to(self._device)
        if not self._rows:
            self._drafts += [Draft(text=self._decode(row), ended=row.ended) for row in self._all_rows]

    def _encode(self) -> Tensor:
        """The prompt as ids (1, P), led by end-of-text; a long context loses its beginning."""
        opening = self._voice.text_format.opening(self._prompt, self.request.answers)
        ids = token_ids(self._voice.tokenizer, opening)
        room = self._voice.context_tokens - self._max_tokens - 1
        return torch.tensor([[self._end, *ids[-room:]]], device=self._device)

    def _decode(self, row: _Row) -> str:
        return self._voice.tokenizer.decode(row.ids, skip_special_tokens=True)

    def _delta(self, row: _Row) -> list[Delta]:
        text = self._decode(row)
        if text.endswith("\ufffd") or len(text) <= row.sent:  # a character may take several tokens
            return []
        delta = Delta(id=self.request.id, index=row.index, text=text[row.sent :])
        row.sent = len(text)
        return [delta]


class _Row:
    """One candidate as it grows."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.ids: list[int] = []
        self.ended = False
        self.sent = 0  # characters already streamed
