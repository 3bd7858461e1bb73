"""Log-Mel-spectrograms against librosa and torch.stft:   python -m experiments.bench.frontend [--segments 1000]

librosa as its users call it, one segment after the other, and all segments in one call; torch.stft with a product for
the filter bank. The largest difference of their decibels stands in the table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.bench import output, workloads
from experiments.bench.timing import interleave
from scratchnet import backend
from scratchnet.sound import SoundSettings, segment_log_mel
from scratchnet.training.markdown import markdown

OURS, LOOP, CALL, TORCH = "scratchnet", "librosa, in a loop", "librosa, one call", "torch.stft"
N_FFT, HOP, MELS, FRAMES = 1024, 512, 60, 41


def librosa_log_mel(x: np.ndarray) -> np.ndarray:
    """The decibels of one segment, or of several: (…, 20992) → (…, 60, 41)."""
    import librosa

    mel = librosa.feature.melspectrogram(y=x, sr=22050, n_fft=N_FFT, hop_length=HOP, n_mels=MELS, pad_mode="reflect")
    db = librosa.power_to_db(mel[..., :FRAMES], top_db=None)  # its top_db is under the maximum of all segments given
    return np.maximum(db, db.max(axis=(-2, -1), keepdims=True) - 80)


def torch_log_mel() -> Callable[[np.ndarray], np.ndarray]:
    """The same by torch.stft, all segments at once."""
    import torch

    from scratchnet.sound import mel_filters

    bank, window = torch.from_numpy(mel_filters(22050, N_FFT, MELS)), torch.hann_window(N_FFT)

    @torch.inference_mode()
    def log_mel(x: np.ndarray) -> np.ndarray:
        spectrum = torch.stft(torch.from_numpy(x), N_FFT, HOP, window=window, return_complex=True)[..., :FRAMES]
        db = 10 * torch.log10(torch.clamp(bank @ (spectrum.real**2 + spectrum.imag**2), min=1e-10))
        return torch.maximum(db, db.amax(dim=(-2, -1), keepdim=True) - 80).numpy()

    return log_mel


def rivals() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Every way that is installed: waveforms (n, 20992) → decibels (n, 60, 41)."""
    settings = SoundSettings()
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        OURS: lambda x: segment_log_mel(x, settings, workers=backend.threads())
    }
    try:
        import librosa  # noqa: F401

        found[LOOP] = lambda x: np.stack([librosa_log_mel(segment) for segment in x])
        found[CALL] = librosa_log_mel
    except ImportError as error:
        output.say(f"without librosa: {error}")
    try:
        import torch

        torch.set_num_threads(backend.threads())
        found[TORCH] = torch_log_mel()
    except ImportError as error:
        output.say(f"without PyTorch: {error}")
    return found


def measure(count: int, rounds: int, data: str | None = None, noise: bool = False) -> dict[str, Any]:
    """Times of `count` segments of the data set (or of noise), and how far each is from our decibels."""
    if noise:
        x = 0.1 * workloads.noise("heurinet", count)[0][:, 0]
    else:
        x = workloads.open_sounds(data).batch("heurinet", count)[0][:, 0]
    x = np.ascontiguousarray(x)
    found = rivals()
    ours = found[OURS](x)
    differ = {name: float(np.abs(call(x) - ours).max()) for name, call in found.items() if name != OURS}
    times = interleave({name: lambda call=call: call(x) for name, call in found.items()}, rounds, slow=np.inf)
    rows = [
        {"name": name, "time": timing.to_dict(), "differs_db": differ.get(name, 0.0)} for name, timing in times.items()
    ]
    return {"segments": count, "rows": rows}


def table(result: dict[str, Any]) -> str:
    """Markdown: times, ratios to ours, and the largest difference in dB."""
    ours = next(row["time"]["seconds"] for row in result["rows"] if row["name"] == OURS)
    columns = [f"log-Mel of {result['segments']} segments", "time", "/ scratchnet", "largest difference, dB"]
    lines = [
        [r["name"], output.timed(r["time"]), f"{r['time']['seconds'] / ours:.1f}", f"{r['differs_db']:.1g}"]
        for r in result["rows"]
    ]
    return markdown(columns, lines, numbers=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, measure, print and write."""
    parser = output.parser("frontend", __doc__, nets=(), data=True)
    parser.add_argument("--segments", type=output.positive, default=1000, help="how many (default 1000)")
    parser.add_argument("--rounds", type=output.positive, default=5, help=output.ROUNDS)
    parser.add_argument("--noise", action="store_true", help="noise instead of the data set's sounds")
    return output.run(parser, argv, lambda a: measure(a.segments, a.rounds, a.data, a.noise), table)


if __name__ == "__main__":
    sys.exit(main())
