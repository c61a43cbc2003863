"""The engine's loop: take requests, run a step for each that is active, send what came of it."""

from __future__ import annotations

import sys
import traceback
from collections import deque

import torch

from models.child import Channel
from models.engine.generation import Generation
from models.engine.voices import Voices
from models.errors import Unusable, UserError
from models.messages import Cancel, Completed, Generate, Refused, Stopped, Unload

MAX_ACTIVE = 4  # requests that take turns; more wait, in order


class Server:
    """Serves one parent until it is gone."""

    def __init__(self, voices: Voices, channel: Channel, device: torch.device) -> None:
        self._voices = voices
        self._channel = channel
        self._device = device
        self._waiting: deque[Generate] = deque()
        self._active: list[Generation] = []

    def serve(self) -> None:
        """Run for ever; the channel ends the process when the parent is gone."""
        with torch.inference_mode():
            while True:
                self._take_requests()
                self._schedule()
                for generation in list(self._active):
                    self._run(generation)

    def _take_requests(self) -> None:
        while message := self._channel.receive(wait=not self._active and not self._waiting):
            if isinstance(message, Generate):
                self._waiting.append(message)
            elif isinstance(message, Cancel):
                self._cancel(message.id)
            elif isinstance(message, Unload):
                self._unload(message.models)

    def _schedule(self) -> None:
        while self._waiting and len(self._active) < MAX_ACTIVE:
            request = self._waiting.popleft()
            try:
                voice = self._voices.get(request.model)
                self._active.append(Generation(request, voice, self._device))
                self._voices.trim(in_use={generation.request.model for generation in self._active})
            except Exception as exc:
                self._refuse(request.id, exc)

    def _run(self, generation: Generation) -> None:
        try:
            for delta in generation.step():
                self._channel.send(delta)
            answer: Completed | Refused | None = generation.result()
        except Exception as exc:
            self._refuse(generation.request.id, exc)
            self._active.remove(generation)
            return
        if answer:
            self._channel.send(answer)
            self._active.remove(generation)

    def _cancel(self, request_id: int) -> None:
        known = len(self._waiting) + len(self._active)
        self._waiting = deque(r for r in self._waiting if r.id != request_id)
        self._active = [g for g in self._active if g.request.id != request_id]
        if len(self._waiting) + len(self._active) < known:  # else it has been answered already
            self._channel.send(Stopped(id=request_id))

    def _unload(self, folders: tuple[str, ...]) -> None:
        """Drop voices from memory; what is being said in one of them is broken off."""
        for generation in [g for g in self._active if g.request.model in folders]:
            self._refuse(generation.request.id, Unusable("This model was deleted just now."))
            self._active.remove(generation)
        for folder in folders:
            self._voices.unload(folder)

    def _refuse(self, request_id: int, exc: Exception) -> None:
        """One request's trouble is its own: the others go on."""
        if isinstance(exc, UserError):
            text = str(exc)
        else:
            traceback.print_exc(file=sys.stderr)
            text = f"the engine failed on this request ({type(exc).__name__})"
        self._channel.send(Refused(id=request_id, text=text))
