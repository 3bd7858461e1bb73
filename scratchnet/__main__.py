"""`python -m scratchnet COMMAND …` is `scratchnet COMMAND …`."""

import sys

from scratchnet.cli import main

sys.exit(main())
