"""Faults to plant into clips that are in order: what is wrong with a third of what is on the web."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

SAMPLES_PER_FRAME = 640
RATE = 16_000


@dataclass(frozen=True)
class Shown:
    """A clip as it is seen and heard; faults return another."""

    frames: np.ndarray
    """(T, H, W, 3) RGB; empty where only the sound counts."""
    samples: np.ndarray
    """(N,) int16 at 16 kHz."""
    landmarks: np.ndarray
    """(T, 478, 3) of the clip in order, for what is drawn onto the face."""
    language: str
    """As annotated."""


@dataclass(frozen=True)
class Others:
    """What faults take from other videos."""

    samples: np.ndarray
    language: str
    frames: np.ndarray
    """(T, H, W, 3) of one of their clips; empty for faults of the sound."""


Planting = Callable[[Shown, Others], Shown]


@dataclass(frozen=True)
class Fault:
    """One fault."""

    name: str
    plant: Planting
    touches: str
    """`sound`, `voices` (what is said, too), `language` (the annotation's), `picture`, or `both`."""


def faults() -> list[Fault]:
    """Every fault in the order of the table."""
    shifts = [
        Fault(f"sound {abs(ms)} ms {'late' if ms > 0 else 'early'}", _shifted(ms), "sound")
        for size in (80, 200, 400, 600)
        for ms in (size, -size)
    ]
    return [
        *shifts,
        Fault("dub: another's sound, its language annotated", _dub, "sound"),
        Fault("wrong language annotated", _wrong_language, "language"),
        Fault("second voice as loud", _second_voice, "voices"),
        Fault("music as loud", _music, "voices"),
        Fault("still lips", _still_lips, "picture"),
        Fault("frozen picture", _frozen(0.0), "picture"),
        Fault("frozen from the middle on", _frozen(0.5), "picture"),
        Fault("picture backwards", _backwards, "picture"),
        Fault("hand over the mouth", _hand(1.0), "picture"),
        Fault("hand a third of the time", _hand(0.33), "picture"),
        Fault("black disc over the mouth", _disc, "picture"),
        Fault("sunglasses", _glasses, "picture"),
        Fault("motion blur of 31 px", _blur, "picture"),
        Fault("64 px enlarged", _enlarged, "picture"),
        Fault("text over the mouth", _text(0.0), "picture"),
        Fault("subtitle under the chin", _text(0.33), "picture"),
        Fault("cut to another person", _cut, "picture"),
        Fault("jump cut", _jump_cut, "both"),
    ]


def _shifted(milliseconds: int) -> Planting:
    def plant(shown: Shown, others: Others) -> Shown:
        shift = milliseconds * RATE // 1000
        silence = np.zeros(abs(shift), shown.samples.dtype)
        if shift > 0:
            moved = np.concatenate([silence, shown.samples[:-shift]])
        else:
            moved = np.concatenate([shown.samples[-shift:], silence])
        return replace(shown, samples=moved)

    return plant


def _dub(shown: Shown, others: Others) -> Shown:
    return replace(shown, samples=np.resize(others.samples, len(shown.samples)), language=others.language)


def _wrong_language(shown: Shown, others: Others) -> Shown:
    return replace(shown, language=others.language)


def _second_voice(shown: Shown, others: Others) -> Shown:
    return replace(shown, samples=_mixed(shown.samples, np.resize(others.samples, len(shown.samples))))


def _music(shown: Shown, others: Others) -> Shown:
    """Four chords of plucked strings over a beat of noise."""
    rng = np.random.default_rng(0)
    time = np.arange(len(shown.samples)) / RATE
    music = np.zeros(len(time))
    chords = ((220, 277, 330), (196, 247, 294), (175, 220, 262), (196, 247, 330))
    for beat, start in enumerate(np.arange(0, time[-1], 0.25)):
        since = np.maximum(time - start, 0)
        decay = (time >= start) * np.exp(-4 * since)
        for pitch in chords[beat // 4 % 4]:
            music += decay * sum(np.sin(2 * np.pi * pitch * k * since) / k for k in (1, 2, 3, 4))
        if beat % 2 == 0:
            music += 2 * (time >= start) * np.exp(-30 * since) * rng.normal(size=len(time))
    return replace(shown, samples=_mixed(shown.samples, music))


def _mixed(speech: np.ndarray, other: np.ndarray) -> np.ndarray:
    first, second = speech.astype(np.float64), other.astype(np.float64)
    both = first + second * np.sqrt((first**2).mean() / max((second**2).mean(), 1e-9))
    return np.clip(both, -32768, 32767).astype(np.int16)


def _frozen(start: float) -> Planting:
    def plant(shown: Shown, others: Others) -> Shown:
        frames = shown.frames.copy()
        first = int(start * len(frames))
        frames[first:] = frames[first]
        return replace(shown, frames=frames)

    return plant


def _still_lips(shown: Shown, others: Others) -> Shown:
    """One frame that sways, nears and flickers as a living head does."""
    rng = np.random.default_rng(0)
    height, width = shown.frames.shape[1:3]
    frames = np.empty_like(shown.frames)
    for number in range(len(frames)):
        t = number / 25
        turn = cv2.getRotationMatrix2D(
            (width / 2, height / 2), 2 * np.sin(1.3 * t), 1 + 0.02 * np.sin(0.7 * t)
        )
        turn[:, 2] += 6 * np.sin(0.9 * t), 4 * np.sin(1.7 * t)
        moved = cv2.warpAffine(shown.frames[0], turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        frames[number] = np.clip(moved + rng.normal(0, 3, moved.shape), 0, 255)
    return replace(shown, frames=frames)


def _backwards(shown: Shown, others: Others) -> Shown:
    return replace(shown, frames=shown.frames[::-1])


def _mouth(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle of the mouth and distance between the eyes."""
    return points[[13, 14], :2].mean(axis=0), float(np.linalg.norm(points[33, :2] - points[263, :2]))


def _hand(share: float) -> Planting:
    """Draw an ellipse and a forearm in the colours and the grain of the cheek."""

    def plant(shown: Shown, others: Others) -> Shown:
        frames = shown.frames.copy()
        first = int((1 - share) / 2 * len(frames))
        for number in range(first, first + round(share * len(frames))):
            frame, points = frames[number], shown.landmarks[number]
            if not np.isfinite(points).all():
                continue
            middle, eyes = _mouth(points)
            x, y = points[50, :2].astype(int)
            side = max(int(0.1 * eyes), 4)
            cheek = frame[max(y - side, 0) : y + side, max(x - side, 0) : x + side]
            if cheek.size == 0:
                continue
            patch = np.vstack([np.hstack([cheek, cheek[:, ::-1]]), np.hstack([cheek, cheek[:, ::-1]])[::-1]])
            times = [-(-size // edge) for size, edge in zip(frame.shape[:2], patch.shape[:2], strict=True)]
            skin = np.tile(patch, (*times, 1))[: frame.shape[0], : frame.shape[1]]
            mask = np.zeros(frame.shape[:2], np.uint8)
            at = tuple(int(value) for value in middle + np.array([0.05, 0.1]) * eyes)
            cv2.ellipse(mask, at, (int(0.55 * eyes), int(0.35 * eyes)), 20, 0, 360, 255, -1)
            cv2.line(mask, at, (at[0] + int(0.6 * eyes), frame.shape[0]), 255, int(0.45 * eyes))
            soft = cv2.GaussianBlur(mask, (0, 0), 2)[..., None] / 255
            frames[number] = frame * (1 - soft) + 0.9 * skin * soft
        return replace(shown, frames=frames)

    return plant


def _drawn(shown: Shown, draw: Callable[[np.ndarray, np.ndarray], None]) -> Shown:
    frames = shown.frames.copy()
    for frame, points in zip(frames, shown.landmarks, strict=True):
        if np.isfinite(points).all():
            draw(frame, points)
    return replace(shown, frames=frames)


def _disc(shown: Shown, others: Others) -> Shown:
    def draw(frame: np.ndarray, points: np.ndarray) -> None:
        middle, eyes = _mouth(points)
        cv2.circle(frame, tuple(int(value) for value in middle), int(0.4 * eyes), (20, 20, 20), -1)

    return _drawn(shown, draw)


def _glasses(shown: Shown, others: Others) -> Shown:
    def draw(frame: np.ndarray, points: np.ndarray) -> None:
        _, eyes = _mouth(points)
        middles = [points[pair, :2].mean(axis=0) for pair in ([33, 133], [263, 362])]
        ends = [tuple(int(value) for value in middle) for middle in middles]
        for end in ends:
            cv2.ellipse(frame, end, (int(0.28 * eyes), int(0.2 * eyes)), 0, 0, 360, (15, 15, 20), -1)
        cv2.line(frame, *ends, (15, 15, 20), max(int(0.05 * eyes), 2))

    return _drawn(shown, draw)


def _blur(shown: Shown, others: Others) -> Shown:
    return replace(shown, frames=np.stack([cv2.blur(frame, (31, 1)) for frame in shown.frames]))


def _enlarged(shown: Shown, others: Others) -> Shown:
    size = shown.frames.shape[2], shown.frames.shape[1]
    small = (cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA) for frame in shown.frames)
    return replace(shown, frames=np.stack([cv2.resize(frame, size) for frame in small]))


def _text(below: float) -> Planting:
    """Two lines of white text with a dark outline, so far below the mouth as a share of the picture's height."""

    def plant(shown: Shown, others: Others) -> Shown:
        frames = shown.frames.copy()
        height, width = frames.shape[1:3]
        seen = shown.landmarks[np.isfinite(shown.landmarks).all(axis=(1, 2))]
        mouth = float(np.median(seen[:, [13, 14], 1]))
        top = int(min(mouth + below * height, height - 40))
        for frame in frames:
            for line, text in enumerate(("and this is what she said", "before anybody came")):
                (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.9, 2)
                at = ((width - wide) // 2, top + 34 * line)
                for colour, thick in (((0, 0, 0), 6), ((255, 255, 255), 2)):
                    cv2.putText(frame, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.9, colour, thick, cv2.LINE_AA)
        return replace(shown, frames=frames)

    return plant


def _cut(shown: Shown, others: Others) -> Shown:
    frames = shown.frames.copy()
    middle = len(frames) // 2
    frames[middle:] = others.frames[np.arange(len(frames) - middle) % len(others.frames)]
    return replace(shown, frames=frames)


def _jump_cut(shown: Shown, others: Others) -> Shown:
    """Leave out a second and a half in the middle, sound and all."""
    first = max((len(shown.frames) - 38) // 2, 1)
    last = first + 38
    sound = shown.samples
    return replace(
        shown,
        frames=np.concatenate([shown.frames[:first], shown.frames[last:]]),
        samples=np.concatenate([sound[: first * SAMPLES_PER_FRAME], sound[last * SAMPLES_PER_FRAME :]]),
    )
