"""The layers: one file each, the equation, the shapes, forward, backward."""

from scratchnet.layers.abs import Abs
from scratchnet.layers.batchnorm import BatchNorm1D, BatchNorm2D
from scratchnet.layers.conv1d import Conv1D
from scratchnet.layers.conv2d import Conv2D
from scratchnet.layers.decibel import Decibel
from scratchnet.layers.dense import Dense
from scratchnet.layers.dropout import Dropout
from scratchnet.layers.flatten import Flatten
from scratchnet.layers.global_avgpool import GlobalAveragePool2D
from scratchnet.layers.image import Image
from scratchnet.layers.layer import Layer
from scratchnet.layers.maxpool1d import MaxPool1D
from scratchnet.layers.maxpool2d import MaxPool2D
from scratchnet.layers.modulus import Modulus
from scratchnet.layers.reflect import ReflectPad1D
from scratchnet.layers.relu import ReLU
from scratchnet.layers.standardize import Standardize
from scratchnet.layers.tanh import Tanh

__all__ = [
    "Abs",
    "BatchNorm1D",
    "BatchNorm2D",
    "Conv1D",
    "Conv2D",
    "Decibel",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool2D",
    "Image",
    "Layer",
    "MaxPool1D",
    "MaxPool2D",
    "Modulus",
    "ReLU",
    "ReflectPad1D",
    "Standardize",
    "Tanh",
]
