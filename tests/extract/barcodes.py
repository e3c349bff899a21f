"""Source videos whose frames carry their number and whose sound clicks at each whole second, and clips of them."""

import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from multitalk.extract.annotations import Annotation, BoundingBox
from multitalk.extract.probe import probe
from multitalk.extract.trim import TrimRequest, TrimResult, TrimSettings, trim_clips

WHOLE = BoundingBox(0, 1, 0, 1)
BITS = 12
QUICK = TrimSettings(preset="ultrafast")


def barcode(number: int, width: int, height: int) -> np.ndarray:
    """Grey stripes of which each is one bit."""
    stripes = np.array([220 if number >> bit & 1 else 40 for bit in range(BITS)], np.uint8)
    row = stripes[np.arange(width) * BITS // width]
    return np.repeat(np.broadcast_to(row, (height, width))[..., None], 3, axis=2)


def read_barcodes(path: Path) -> list[int]:
    numbers = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            grey = frame.to_ndarray(format="gray")
            row = grey[grey.shape[0] // 2, [int((bit + 0.5) * grey.shape[1] / BITS) for bit in range(BITS)]]
            numbers.append(sum(int(value > 128) << bit for bit, value in enumerate(row)))
    return numbers


def make_source(
    path: Path,
    times: Sequence[Fraction],
    *,
    side: int = 192,
    sound_rate: int = 48000,
    sound_sec: float | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames due at `times` (1/90000 s exact or rounded) and clicks of 1 ms at whole seconds."""
    seconds = float(times[-1]) + 0.04 if sound_sec is None else sound_sec
    base = Fraction(1, 90000)
    rate = round(1 / (times[1] - times[0]))
    with av.open(str(path), "w") as container:
        picture = container.add_stream(
            codec, rate=rate, options=options or {"preset": "ultrafast", "crf": "18"}
        )
        picture.width, picture.height, picture.pix_fmt = side, side, pix_fmt
        picture.codec_context.time_base = picture.time_base = base
        picture.codec_context.gop_size = 100
        sound = container.add_stream("pcm_s16le", rate=sound_rate, layout="mono") if seconds else None
        for number, due in enumerate(times):
            frame = av.VideoFrame.from_ndarray(barcode(number, side, side), format="rgb24")
            frame.pts, frame.time_base = round(due / base), base
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if sound is not None:
            clicks = np.zeros(int(seconds * sound_rate), np.int16)
            for second in range(int(seconds)):
                clicks[second * sound_rate : second * sound_rate + sound_rate // 1000] = 20000
            samples = av.AudioFrame.from_ndarray(clicks[None], format="s16", layout="mono")
            samples.sample_rate, samples.pts = sound_rate, 0
            container.mux(sound.encode(samples))
            container.mux(sound.encode())
    return path


def regular(rate: str, seconds: float) -> list[Fraction]:
    step = 1 / Fraction(rate)
    return [number * step for number in range(int(seconds / step))]


def annotation(
    start_frame: int, frame_count: int, bbox: BoundingBox = WHOLE, clip_id: str = "clip_0"
) -> Annotation:
    start, end = start_frame / 25, (start_frame + frame_count) / 25
    return Annotation(clip_id, "video", "german", start, end, start_frame, frame_count, bbox, "")


def trim(source: Path, folder: Path, *annotations: Annotation, settings: TrimSettings = QUICK):
    requests = [
        TrimRequest(clip, folder / f"{clip.clip_id}.mp4", folder / f"{clip.clip_id}.wav")
        for clip in annotations
    ]
    return trim_clips(source, probe(source), requests, settings)


def trim_one(source: Path, folder: Path, clip: Annotation, settings: TrimSettings = QUICK) -> TrimResult:
    (result,) = trim(source, folder, clip, settings=settings)
    assert isinstance(result, TrimResult), result
    return result


def read_wav(path: Path) -> np.ndarray:
    with wave.open(str(path)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (16000, 1, 2)
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16)


def clicks(samples: np.ndarray, rate: int = 16000) -> list[float]:
    """Seconds at which clicks begin: the middle of each burst less half its millisecond."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 8000)
    bursts = np.split(loud, np.flatnonzero(np.diff(loud) > rate // 10) + 1) if len(loud) else []
    return [(burst[0] + burst[-1] + 1) / 2 / rate - 0.0005 for burst in bursts]


def aac_samples(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return (np.concatenate(frames, axis=1).mean(axis=0) * 32767).astype(np.int16)


def check_sound(clip: Annotation, result: TrimResult, shift: float = 0.0) -> None:
    samples = read_wav(result.audio_path)
    assert len(samples) == clip.frame_count * 640
    first = int(np.ceil(clip.start_sec - shift - 1e-9))
    expected = [second + shift - clip.start_sec for second in range(first, 100)]
    expected = [time for time in expected if 0 <= time < clip.frame_count / 25 - 0.002]
    for found in (clicks(samples), clicks(aac_samples(result.clip_path), 48000)):
        assert found == pytest.approx(expected, abs=0.001)


def wanted(due: Sequence[float], clip: Annotation) -> list[int]:
    """Number of the frame to show at each 1/25 s, by the rule in words: never one from before the clip,
    else the last one due less than half a frame after."""
    times = np.array(due) + 1e-6
    first = int(np.flatnonzero(times >= clip.start_sec)[0])
    ends = [clip.start_sec + (index + 0.5) / 25 for index in range(clip.frame_count)]
    return [max(first, int(np.flatnonzero(times < end)[-1])) for end in ends]
