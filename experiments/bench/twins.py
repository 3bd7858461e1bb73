"""The networks a second time, in PyTorch, written from the papers' tables. Parameters have the same names."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from scratchnet.kernels import reference
from scratchnet.layers import Dropout


class Dropping(nn.Module):
    """`masks(i, shape)` says what the i-th dropout keeps, so that both networks drop the same."""

    masks = None

    def drop(self, i, x):
        return x if self.masks is None else x * torch.from_numpy(self.masks(i, tuple(x.shape))) / 0.5


class Twin(Dropping):
    """PiczakNet, and what stands behind every front end."""

    def __init__(self, n_classes=10, in_channels=1):
        super().__init__()
        p = self.piczak = nn.Module()
        p.conv1, p.conv2 = nn.Conv2d(in_channels, 80, (57, 6)), nn.Conv2d(80, 80, (1, 3))
        p.dense1, p.dense2, p.output = nn.Linear(240, 5000), nn.Linear(5000, 5000), nn.Linear(5000, n_classes)
        self.double()

    def forward(self, x):
        x = self.front(x)
        p = self.piczak
        x = self.drop(0, F.max_pool2d(F.relu(p.conv1(x)), (4, 3), (1, 3)))
        x = F.max_pool2d(F.relu(p.conv2(x)), (1, 3), (1, 3)).flatten(1)
        x = self.drop(1, F.relu(p.dense1(x)))
        x = self.drop(2, F.relu(p.dense2(x)))
        return p.output(x)

    def front(self, x):
        return x


class HeuriNet(Twin):
    """Table 1."""

    def __init__(self, n_classes=10):
        super().__init__(n_classes)
        d = self.deepfourier = nn.Module()
        d.conv1, d.conv2 = nn.Conv1d(1, 80, 155, stride=10), nn.Conv1d(80, 60, 15, stride=4)
        self.double()

    def front(self, x):
        d = self.deepfourier
        x = F.max_pool1d(F.relu(d.conv1(x)), 9, 3)
        return F.max_pool1d(F.relu(d.conv2(x)), 9, 4)[:, None]


class MSTNet(Twin):
    """Table 2."""

    def __init__(self, n_classes=10, mean=0.0, std=1.0):
        super().__init__(n_classes)
        self.mean, self.std = mean, std
        d = self.deepfourier = nn.Module()
        d.conv1 = nn.Conv1d(1, 512, 1024, stride=512, padding=256)
        d.conv2, d.conv3 = nn.Conv1d(512, 256, 3, padding="same"), nn.Conv1d(256, 60, 3, padding="same")
        self.double()

    def front(self, x):
        d = self.deepfourier
        tanh = torch.tanh(d.conv3(F.relu(d.conv2(F.relu(d.conv1(x))))))
        return ((tanh - self.mean) / self.std)[:, None]


class MelNet(Twin):
    """The Mel transform as layers (eq. 1, 2)."""

    def __init__(self, n_classes=10, mean=0.0, std=1.0):
        super().__init__(n_classes)
        self.mean, self.std = mean, std
        d = self.deepfourier = nn.Module()
        d.conv1, d.conv2 = nn.Conv1d(1, 1026, 1024, stride=512), nn.Conv1d(513, 60, 1)
        self.double()

    def front(self, x):
        d = self.deepfourier
        real, imaginary = d.conv1(F.pad(x, (512, 0), mode="reflect")).chunk(2, dim=1)
        mel = d.conv2(real**2 + imaginary**2) / 2.0**15  # the triangles are counted in 2⁻¹⁵
        db = 10 * torch.log10(torch.clamp(mel, min=1e-10))
        return ((torch.maximum(db, db.amax(dim=(1, 2), keepdim=True) - 80) - self.mean) / self.std)[:, None]


class SBCNN(Dropping):
    """Salamon and Bello's network."""

    def __init__(self, n_classes=10):
        super().__init__()
        s = self.sbcnn = nn.Module()
        s.conv1, s.conv2, s.conv3 = (nn.Conv2d(i, o, 5, padding=2) for i, o in ((1, 24), (24, 48), (48, 48)))
        s.dense1, s.output = nn.Linear(48 * 15 * 2, 64), nn.Linear(64, n_classes)
        self.double()

    def forward(self, x):
        s = self.sbcnn
        x = F.max_pool2d(F.relu(s.conv1(x)), (2, 4))
        x = F.max_pool2d(F.relu(s.conv2(x)), (2, 4))
        x = self.drop(0, F.relu(s.conv3(x)).flatten(1))
        return s.output(self.drop(1, F.relu(s.dense1(x))))


class MiniVGG(Dropping):
    """A small VGG with batch normalisation."""

    def __init__(self, n_classes=10):
        super().__init__()
        m, channels = nn.Module(), (1, 32, 32, 64, 64, 128, 128)
        for i in range(1, 7):
            setattr(m, f"conv{i}", nn.Conv2d(channels[i - 1], channels[i], 3, padding=1, bias=False))
            setattr(m, f"norm{i}", nn.BatchNorm2d(channels[i]))
        m.output = nn.Linear(128, n_classes)
        self.minivgg = m
        self.double()

    def forward(self, x):
        m = self.minivgg
        for i in range(1, 7):
            x = F.relu(getattr(m, f"norm{i}")(getattr(m, f"conv{i}")(x)))
            x = F.max_pool2d(x, 2) if i in (2, 4) else x
        return m.output(self.drop(0, x.mean(dim=(2, 3))))


TWINS = {
    "piczaknet": Twin, "heurinet": HeuriNet, "mstnet": MSTNet, "melnet": MelNet, "sbcnn": SBCNN, "minivgg": MiniVGG
}  # fmt: skip


def twin(net, name):
    """The PyTorch network of that name with the parameters of ours."""
    standardisation = {key: net.spec[key] for key in ("mean", "std") if key in net.spec}
    other = TWINS[name](net.spec["n_classes"], **standardisation)
    other.load_state_dict({key: torch.from_numpy(value) for key, value in net.state_dict().items()})
    return other


def state_of(other):
    """Its parameters and buffers, without PyTorch's count of batches, which only a norm without a momentum needs."""
    return {key: value for key, value in other.state_dict().items() if not key.endswith("num_batches_tracked")}


def masks_of(net, step):
    """What the dropouts keep in the coming forward pass of step `step`, from the seeds that `net.reseed` gave them."""
    seeds = [layer.seed for layer in net.layers.values() if isinstance(layer, Dropout)]
    return lambda i, shape: np.asarray(reference.dropout_mask(shape, 0.5, seeds[i], step), np.float64)
