"""`python -m scratchnet.gradcheck`."""

import sys

from scratchnet.gradcheck import main

sys.exit(main())
