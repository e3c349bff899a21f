"""Persons told apart over 10,000 source videos: how long it takes, and how right it comes out.

Faces and voices are drawn about centres of their persons with the spreads that descriptors of real clips have, so the
truth is known. Times are of one core. With --quick a tenth of the videos. With --root, the same is asked of the clips
of a built dataset: how far the faces and voices of one video's clips are apart, and those of different persons.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `python benchmarks/persons.py`, too

import numpy as np
import pyarrow.compute as pc

from multitalk.filters.persons.cluster import Clips, tell_persons
from multitalk.filters.persons.face import DESCRIPTOR_SIZE
from multitalk.filters.persons.repeats import find_repeats
from multitalk.filters.persons.voice import VOICE_SIZE
from multitalk.manifests.storage.persons import descriptors, read_persons
from multitalk.manifests.store import read_manifest

VIDEOS, CLIPS, FRAMES = 10_000, 30, 154
VIDEOS_A_PERSON = 2.5  # geometric: most have one or two
SECOND_PERSON = 0.2  # share of videos with two
REPEATED = 0.02  # share of videos that were uploaded twice
# Of 25 real clips: distances of faces within a video 0.13 to 0.30, between persons 0.57 to 1.06 (median 0.78);
# products of voices within a video 0.79 to 0.98, between persons 0.30 to 0.78 (median 0.56).
FACE_BETWEEN, FACE_OF_VIDEO, FACE_OF_CLIP = 0.55, 0.36, 0.15  # other days and cameras part a person's videos
FACE_DIMENSIONS = 30  # that persons differ in: their distances have a deviation of 0.1
VOICE_OF_VIDEO, VOICE_OF_CLIP = 0.5, 0.45


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the videos")
    parser.add_argument("--root", type=Path, help="a built dataset, whose clips are compared as well")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    figures = measure(VIDEOS // 10 if arguments.quick else VIDEOS)
    if arguments.root:
        figures |= measure_dataset(arguments.root)
    for name, value in figures.items():
        print(f"{name:45} {value:12.4f}" if isinstance(value, float) else f"{name:45} {value:12,}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


def measure(videos: int) -> dict[str, float | int]:
    """Make videos, tell their persons, and compare with the truth."""
    rng = np.random.default_rng(0)
    clips, truth = made(videos, rng)
    began = time.process_time()
    told = tell_persons(clips)
    figures: dict[str, float | int] = {
        "source videos": videos,
        "clips": len(truth),
        "persons": len(np.unique(truth)),
        "persons told": len(np.unique(told.person)),
        "processor seconds to tell persons": time.process_time() - began,
    }
    figures |= {
        f"persons: {name}": value for name, value in agreement(truth, told.person, clips.video).items()
    }
    prints, repeated = printed(clips.video, rng)
    began = time.process_time()
    found = find_repeats(prints, clips.video)
    figures["processor seconds to find repeats"] = time.process_time() - began
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    figures["repeated clips"] = len(repeated)
    figures["repeats: recall"] = len(pairs & repeated) / max(len(repeated), 1)
    figures["repeats: precision"] = len(pairs & repeated) / max(len(pairs), 1)
    return figures


def measure_dataset(root: Path) -> dict[str, float | int]:
    """Compare clips of one person in one video with clips of different persons, two clips at a time."""
    rows = read_manifest(root, ["language", "video_id", "clip_id", "person_id"])
    rows = rows.filter(pc.is_valid(rows["person_id"])).to_pylist()
    person = {(row["video_id"], row["clip_id"]): row["person_id"] for row in rows}
    found = read_persons(root, sorted({(row["language"], row["video_id"]) for row in rows}))
    keys = list(zip(found["video_id"].to_pylist(), found["clip_id"].to_pylist(), strict=True))
    told = np.array([key in person for key in keys])
    keys = [key for key in keys if key in person]
    who, video = (np.array(names) for names in zip(*((person[key], key[0]) for key in keys), strict=True))
    faces, voices = (
        descriptors(found[n], s)[told] for n, s in (("face", DESCRIPTOR_SIZE), ("voice", VOICE_SIZE))
    )
    pair = np.triu(np.ones((len(keys), len(keys)), bool), 1)
    same = pair & (video[:, None] == video) & (who[:, None] == who)
    other = pair & (who[:, None] != who)
    figures: dict[str, float | int] = {
        "clips of the dataset": len(keys),
        "persons of the dataset": len(set(who)),
    }
    apart = np.linalg.norm(faces[:, None] - faces, axis=2)
    alike = voices @ voices.T
    for name, likeness in (("face", -apart), ("voice", alike)):
        near, far = (likeness[which & np.isfinite(likeness)] for which in (same, other))
        figures |= {
            f"{name}: pairs of one person": len(near),
            f"{name}: pairs of two persons": len(far),
            f"{name}: area under the curve": float(
                (near[:, None] > far).mean() + 0.5 * (near[:, None] == far).mean()
            ),
            f"{name}: least alike of one person": abs(float(near.min(initial=9))),
            f"{name}: most alike of two persons": abs(float(far.max(initial=-9))),
        }
    return figures


def made(videos: int, rng: np.random.Generator) -> tuple[Clips, np.ndarray]:
    """Draw descriptions of the clips of many videos, and who is in them."""
    persons = int(videos / VIDEOS_A_PERSON)
    owners = rng.integers(0, persons, (videos, 2))
    second = rng.random(videos) < SECOND_PERSON
    video = np.repeat(np.arange(videos), CLIPS)
    which = (rng.random(len(video)) < 0.3) & second[video]
    truth = owners[video, which.astype(int)]
    size = 128
    centres = np.zeros((persons, size))
    centres[:, :FACE_DIMENSIONS] = rng.standard_normal((persons, FACE_DIMENSIONS)) * FACE_BETWEEN
    centres /= np.sqrt(FACE_DIMENSIONS)
    of_video = rng.standard_normal((videos, 2, size)) * FACE_OF_VIDEO / np.sqrt(2 * size)
    face = centres[truth] + of_video[video, which.astype(int)]
    face += rng.standard_normal((len(video), size)) * FACE_OF_CLIP / np.sqrt(2 * size)
    size = 256
    common = np.abs(rng.standard_normal(size)) / np.sqrt(size)
    voices = common + 0.8 * rng.standard_normal((persons, size)) / np.sqrt(size)
    noise = rng.standard_normal((videos, 2, size)) * VOICE_OF_VIDEO / np.sqrt(size)
    voice = voices[truth] + noise[video, which.astype(int)]
    voice += rng.standard_normal((len(video), size)) * VOICE_OF_CLIP / np.sqrt(size)
    voice /= np.linalg.norm(voice, axis=1, keepdims=True)
    return Clips(
        video, face.astype(np.float32), voice.astype(np.float32), np.full(len(video), 4.0, np.float32)
    ), truth


def agreement(truth: np.ndarray, told: np.ndarray, video: np.ndarray) -> dict[str, float]:
    """Precision and recall of pairs of clips, of different videos and of one person."""

    def pairs(*labels: np.ndarray) -> float:
        counts = np.unique(np.stack(labels, axis=1), axis=0, return_counts=True)[1].astype(float)
        return float((counts * (counts - 1) / 2).sum())

    both = pairs(truth, told) - pairs(truth, told, video)
    return {
        "precision of pairs over videos": both / max(pairs(told) - pairs(told, video), 1),
        "recall of pairs over videos": both / max(pairs(truth) - pairs(truth, video), 1),
    }


def printed(video: np.ndarray, rng: np.random.Generator) -> tuple[list[np.ndarray], set[tuple[int, int]]]:
    """Draw prints of sounds; some videos come again, cut some frames later and with a tenth of the bits wrong."""
    prints = list(rng.integers(1, 2**32, (len(video), FRAMES), np.uint32))
    repeated = set()
    last = int(video[-1])
    for n in range(int(REPEATED * (last + 1) / 2)):
        for clip in range(CLIPS):
            a, b = n * CLIPS + clip, (last - n) * CLIPS + clip
            wrong = np.packbits(rng.random((FRAMES, 32)) < 0.1, axis=1).view(np.uint32)[:, 0]
            prints[b] = np.concatenate([(prints[a] ^ wrong)[7:], prints[b][:7]])
            repeated.add((a, b))
    return prints, repeated


if __name__ == "__main__":
    main()
