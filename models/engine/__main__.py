"""`python -m models.engine BASE SETTINGS`: the generation process. SETTINGS is the [engine] table as JSON."""

from __future__ import annotations

import sys
import time

import msgspec

from models.child import Channel
from models.engine.settings import EngineSettings
from models.messages import Ready


def main() -> None:
    channel = Channel("engine")  # before torch: hello within milliseconds
    started = time.monotonic()
    try:
        base, settings = sys.argv[1], msgspec.json.decode(sys.argv[2], type=EngineSettings)
        from models.engine.device import choose
        from models.engine.server import Server
        from models.engine.voices import Voices

        placement = choose(settings.device, settings.precision, threads=settings.threads)
        voices = Voices(base, placement, budget_bytes=settings.cache_mb << 20)
    except Exception as exc:
        channel.fail(exc)
        raise SystemExit(1) from exc
    channel.send(
        Ready(
            base=base,
            device=str(placement.device),
            precision=placement.precision,
            parameters=voices.parameters,
            seconds=time.monotonic() - started,
        )
    )
    Server(voices, channel, placement.device).serve()


if __name__ == "__main__":
    main()
