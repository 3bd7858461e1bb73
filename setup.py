"""Packages `scratchnet`, with the top-level folder `kernels/` inside it as `scratchnet.kernels`.

The global name `kernels` belongs to another project, so the folder has no `__init__.py` and is never installed under
that name; `scratchnet/__init__.py` finds it beside the package where nothing is installed, or in editable mode. That
puts the checkout on Python's path, where a clone in the folder that one works in cannot pass for the package.
"""

import re
import sys
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
ABOUT = (HERE / "scratchnet" / "__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'^__version__ = "([^"]+)"', ABOUT, re.MULTILINE)[1]

KERNELS = "scratchnet.kernels"
kernel_packages = [KERNELS, *(f"{KERNELS}.{name}" for name in find_packages("kernels"))]
EDITABLE = "editable_wheel" in sys.argv

setup(
    name="scratchnet",
    version=VERSION,
    description="Sound classification from the raw waveform, every layer and gradient written by hand",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="scratchnet contributors",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=[*find_packages(include=["scratchnet", "scratchnet.*"]), *([] if EDITABLE else kernel_packages)],
    package_dir={"": "."} if EDITABLE else {KERNELS: "kernels"},
    package_data={
        "scratchnet": ["py.typed"],
        KERNELS: ["README.md", "**/README.md", "**/*.cu", "**/*.cuh", "**/*.h", "**/*.cpp"],
    },
    install_requires=[
        "numpy>=2.0",
        "scipy>=1.11",
        "numba>=0.61",
        "soundfile>=0.12",
        "soxr>=0.3.7",
        "matplotlib>=3.8",
        "tqdm>=4.66",
        "safetensors>=0.4",
        "threadpoolctl>=3.2",
    ],
    extras_require={
        "cuda": ["cupy-cuda13x[ctk]>=14"],
        "onnx": ["onnx>=1.16"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.8",
            "hypothesis>=6.100",
            "setuptools>=77",
            "nbclient>=0.10",  # these three run docs/demo.ipynb
            "nbformat>=5.10",
            "ipykernel>=6.29",
        ],
        # What tests and benchmarks compare with; nothing of scratchnet needs them.
        "oracles": ["torch==2.13.0", "librosa>=0.10.2", "onnx>=1.16", "onnxruntime>=1.18"],
        "docs": ["pdoc>=15"],
        "lint": ["ruff~=0.17.0", "mypy~=2.4"],
    },
    entry_points={"console_scripts": ["scratchnet = scratchnet.cli:main"]},
    classifiers=[
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
