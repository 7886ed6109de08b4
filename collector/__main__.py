"""`python -m collector` is `stopline-collector`."""

import sys

from collector.cli import main

sys.exit(main())
