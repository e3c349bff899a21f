"""Annotation files of MultiTalk's size: its own where they are, else made-up ones of the same shape."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "annotations"
"""Where three of MultiTalk's own annotation files lie beside a checkout, on machines that have them."""

VIDEOS, CLIPS = 9_900, 293_812
"""MultiTalk's size."""
LANGUAGES = (
    *("arabic", "catalan", "croatian", "czech", "dutch", "english", "french", "german", "greek", "hindi"),
    *("italian", "japanese", "mandarin", "polish", "portuguese", "russian", "spanish", "thai", "turkish"),
    "ukrainian",
)

SHAPES = {"arabic": (211, 9_048), "english": (368, 11_082), "japanese": (198, 5_990)}
"""Source videos and clips of the published files."""
_WORDS = ("so", "exciting", "people", "here", "you", "guys", "thank", "yes", "because", "the", "of", "time")

Clip = dict[str, Any]
Video = list[Clip]


def annotation_files(folder: Path | None, into: Path) -> list[Path]:
    """Return MultiTalk's three published files from `folder`, or made-up ones of their shape, written to `into`."""
    folder = PUBLISHED if folder is None else folder
    if (found := sorted(folder.glob("*.json"))) != []:
        return found
    return [write_annotations(into / f"{name}.json", made_up(name)) for name in SHAPES]


def made_up(language: str) -> list[Video]:
    """Make up the clips of one language, as many and as unevenly spread as in its published file."""
    chance = random.Random(language)  # a text seeds it the same way everywhere
    videos, clips = SHAPES[language]
    weights = [chance.expovariate(1.0) for _ in range(videos)]
    counts = _spread(clips, weights)
    return [
        [_clip(chance, f"{language[:2]}{number:04}-Vid", k, language) for k in range(count)]
        for number, count in enumerate(counts)
    ]


def enlarged(files: Iterable[Path], videos: int = VIDEOS) -> dict[str, list[Video]]:
    """Make so many source videos in 20 languages out of those of `files`, with MultiTalk's clips a video.

    Each is a source video of the files under another id, without its last clips.
    """
    models = [video for path in files for video in _read(path)]
    chosen = [models[n % len(models)] for n in range(videos)]
    kept = _spread(round(CLIPS * videos / VIDEOS), [len(video) - 1 for video in chosen])
    made: dict[str, list[Video]] = {}
    for number, (video, count) in enumerate(zip(chosen, kept, strict=True)):
        language, name = LANGUAGES[number % len(LANGUAGES)], f"v{number:05}-Copy"
        renamed = [clip | {"youtube_id": name, "language": language} for clip in video[:count]]
        made.setdefault(language, []).append(renamed)
    return made


def write_annotations(place: Path, videos: Iterable[Video]) -> Path:
    """Write source videos as MultiTalk publishes them."""
    content = {f"{clip['youtube_id']}_{k}": clip for video in videos for k, clip in enumerate(video)}
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    return place


def _read(path: Path) -> list[Video]:
    videos: dict[str, Video] = {}
    for clip in json.loads(path.read_text("utf-8")).values():
        videos.setdefault(clip["youtube_id"], []).append(clip)
    return list(videos.values())


def _spread(total: int, weights: list[float]) -> list[int]:
    """Divide a number of clips among videos by weight, at least one each."""
    rest, whole, summed, before = total - len(weights), sum(weights), 0.0, 0
    counts = []
    for weight in weights:
        summed += weight
        upto = round(rest * summed / whole)
        counts.append(1 + upto - before)
        before = upto
    return counts


def _clip(chance: random.Random, video: str, number: int, language: str) -> Clip:
    start, frames = number * 250 + chance.randrange(100), chance.randint(30, 140)
    top, left = chance.uniform(0, 0.4), chance.uniform(0, 0.6)
    return {
        "youtube_id": video,
        "duration": {"start_sec": round(start / 25, 2), "end_sec": round((start + frames) / 25, 2)},
        "bbox": {
            "top": round(top, 4),
            "bottom": round(top + 0.5, 4),
            "left": round(left, 4),
            "right": round(left + 0.3, 4),
        },
        "language": language,
        "transcript": " ".join(chance.choices(_WORDS, k=frames // 9)),
    }
