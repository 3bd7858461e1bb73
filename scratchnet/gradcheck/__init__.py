"""Gradient checks against central differences: for our layers (`python -m scratchnet.gradcheck`) and for your own.

from scratchnet.gradcheck import gradcheck
print(gradcheck(MyLayer(), x))
"""

from scratchnet.gradcheck.check import gradcheck
from scratchnet.gradcheck.report import GradcheckResult
from scratchnet.gradcheck.suite import main

__all__ = ["GradcheckResult", "gradcheck", "main"]
