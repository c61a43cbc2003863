"""The quick trainer, with moments where the real one gives servers seconds to come to their senses."""

import sys

from tests.fakes.children import quick_trainer
from trainer.sources import web, x_api


def main() -> int:
    web.RETRY_DELAYS_S = x_api.RETRY_DELAYS_S = (0.0, 0.0, 0.0)
    web.UNKNOWN_WAIT_S = 0.0
    x_api.HEARING_S = 0.2
    return quick_trainer.main()


if __name__ == "__main__":
    sys.exit(main())
