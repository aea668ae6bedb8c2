"""``python -m hnas_kit.cli`` is the command ``hnas``."""

import sys

from hnas_kit.cli import main

sys.exit(main())
