"""A step of training of PiczakNet's rivals against PyTorch at its best:   python -m experiments.bench.rivals

SB-CNN and MiniVGG (hypothesis H1) behind spectrograms, random weights on noise; `step.py` has the paper's networks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments.bench import output
from experiments.bench.step import measure, table
from scratchnet.nets import RIVALS


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, measure, print and write."""
    parser = output.parser("rivals", __doc__, nets=tuple(RIVALS))
    parser.add_argument("--batch", nargs="+", type=output.positive, default=[50, 200], help=output.BATCH)
    parser.add_argument("--rounds", type=output.positive, help="default: 5, or 7 up to batch 200")
    return output.run(parser, argv, lambda a: measure(a.net, a.batch, a.rounds, warm=0), table)


if __name__ == "__main__":
    sys.exit(main())
