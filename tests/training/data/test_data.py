"""From a dataset to batches."""

import contextlib
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multitalk.manifests import open_dataset
from multitalk.training.data.motion_data import BatchDataset, Samples, cache_features
from multitalk.training.data.packed import NoTrainingDataError, packed_motion
from multitalk.training.data.rounds import Rounds
from multitalk.training.data.sampling import BatchWindows, Sampler
from multitalk.training.model.audio_encoder import read_speech
from multitalk.training.run_settings import DataSettings, TrainingSettings
from multitalk.training.settings import AudioEncoderError


@pytest.fixture(scope="module")
def packed(toy_dataset, tmp_path_factory):
    return packed_motion(open_dataset(toy_dataset), tmp_path_factory.mktemp("cache"))


def test_packs_what_is_fitted_and_not_rejected(toy_dataset, packed):
    dataset = open_dataset(toy_dataset)
    assert len(packed.frames) == 36 - 2
    assert not {"french00000_0", "french00000_1"} & set(packed.clip_id.tolist())
    for clip in (0, 17, 33):
        stored = dataset.motion(str(packed.clip_id[clip]))
        expected = np.concatenate([stored["expression"], stored["jaw"]], 1)
        assert np.array_equal(packed.window(clip, 0, packed.frames[clip]), expected)
        assert np.array_equal(packed.window(clip, 3, 5), expected[3:8])


def test_clips_of_a_video_stay_on_one_side(packed):
    sides = {}
    for name, split in zip(packed.clip_id.tolist(), packed.split.tolist(), strict=True):
        sides.setdefault(name.rsplit("_")[0], set()).add(split)
    assert all(len(side) == 1 for side in sides.values())
    assert len(packed.of_split("train")) and len(packed.of_split("val"))


def test_is_packed_once_and_mapped(toy_dataset, packed):
    made = (packed.directory / "motion.npy").stat().st_mtime_ns
    again = packed_motion(open_dataset(toy_dataset), packed.directory.parent)
    assert (again.directory / "motion.npy").stat().st_mtime_ns == made
    assert isinstance(again.motion, np.memmap)
    assert [p.name for p in packed.directory.parent.iterdir()] == [packed.directory.name]


def test_an_empty_dataset_is_refused(tmp_path, head_model):
    from multitalk.manifests.store import commit_fragment

    row = {"clip_id": "v_0", "status": "failed", "error_code": "no_face"}
    commit_fragment(tmp_path, "thai", "v", [row], fingerprint="test")
    with pytest.raises(NoTrainingDataError, match="no accepted clip"):
        packed_motion(open_dataset(tmp_path), tmp_path / "cache")


def sampler(lengths, languages=None, seed=0, **changes):
    lengths = np.array(lengths)
    names = np.array(languages or ["french"] * len(lengths))
    data = DataSettings(**({"batch_size": 4, "max_frames": 1000, "language_balance": 0} | changes))
    return Sampler(np.arange(len(lengths)) + 100, lengths, names, data, seed)


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=60),
    batch=st.integers(1, 8),
    longest=st.integers(2, 50),
    cut=st.booleans(),
    epoch=st.integers(0, 5),
)
def test_every_epoch_has_every_clip_once_in_windows_that_fit(lengths, batch, longest, cut, epoch):
    planner = sampler(lengths, batch_size=batch, max_frames=longest, cut_leftovers=cut)
    batches = planner.epoch(epoch)
    assert sorted(clip for windows in batches for clip in windows.clips) == [
        100 + i for i in range(len(lengths))
    ]
    for windows in batches:
        own = [min(lengths[clip - 100], longest) for clip in windows.clips]
        assert windows.frames == min(own) and len(windows.clips) <= batch
        if not cut:
            assert set(own) == {windows.frames}
        for clip, begin in zip(windows.clips, windows.begins, strict=True):
            assert 0 <= begin <= lengths[clip - 100] - windows.frames
    assert batches == planner.epoch(epoch)


def test_clips_of_one_length_fill_batches_uncut():
    batches = sampler([30] * 9 + [50] * 8).epoch(0)
    assert Counter(windows.frames for windows in batches if len(windows.clips) == 4) == {30: 2, 50: 2}


def test_languages_in_balance():
    planner = sampler([30] * 100, ["french"] * 90 + ["thai"] * 10, language_balance=1.0)
    epochs = [[clip for windows in planner.epoch(e) for clip in windows.clips] for e in range(9)]
    for epoch in epochs:
        assert sum(clip < 190 for clip in epoch) == 50
    # Over nine epochs of 50 each French clip came exactly five times.
    counts = Counter(clip for epoch in epochs for clip in epoch)
    assert {counts[clip] for clip in range(100, 190)} == {5}


def test_epochs_differ_and_seeds_differ():
    a = sampler([30] * 40)
    assert a.epoch(0) != a.epoch(1) != sampler([30] * 40, seed=1).epoch(1)


def test_processes_share_a_batch(packed):
    windows = BatchWindows((3, 4, 5), (0, 1, 2), 10)
    parts = [BatchDataset(packed, [windows], {}, None, rank, 2)[0] for rank in range(2)]
    assert [p.motion.shape for p in parts] == [(2, 10, 6)] * 2
    assert torch.cat([p.weight for p in parts]).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert np.array_equal(parts[1].motion[0], packed.window(5, 2, 10))


def test_sound_follows_the_window(toy_dataset, packed, loudness, tmp_path):
    samples = Samples(toy_dataset, packed)
    whole = read_speech(samples.wav(2))
    assert np.array_equal(samples(2, 3, 5), whole[3 * 640 : 8 * 640])
    done = []
    features = cache_features(samples, loudness, tmp_path, [2, 4], lambda *told: done.append(told))
    assert done == [(1, 2), (2, 2)]
    frames = int(packed.frames[2])
    expected = loudness.features(whole, frames)[6:16]
    assert np.allclose(features(2, 3, 5), expected, atol=2e-3)

    class Deaf:
        width, fingerprint = loudness.width, loudness.fingerprint

        def features(self, *_):
            raise AssertionError("was cached")

    cache_features(samples, Deaf(), tmp_path, [2, 4])


def test_each_process_begins_to_encode_elsewhere(toy_dataset, packed, loudness, tmp_path, monkeypatch):
    def encoded_by(rank, stop):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        order = []

        class Cut:
            width, fingerprint = loudness.width, loudness.fingerprint

            def features(self, sound, frames):
                if len(order) == stop:
                    raise InterruptedError
                order.append(frames)
                return loudness.features(sound, frames)

        with contextlib.suppress(InterruptedError):
            cache_features(Samples(toy_dataset, packed), Cut(), tmp_path, [0, 1, 2, 3, 4], None)
        return order

    frames = [int(n) for n in packed.frames[:5]]
    assert encoded_by(1, 2) == frames[2:4]
    assert encoded_by(0, 9) == [frames[0], frames[1], frames[4]]


def test_other_wav_formats_are_refused(tmp_path):
    import wave

    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(b"\0" * 400)
    with pytest.raises(AudioEncoderError, match="not 16 kHz mono"):
        read_speech(tmp_path / "a.wav")
    with pytest.raises(AudioEncoderError, match=r"b\.wav"):
        read_speech(tmp_path / "b.wav")


def test_rounds_go_on_through_the_epochs(packed):
    run = TrainingSettings(data=DataSettings(batch_size=4), steps=25, round_steps=7)
    rounds = Rounds(packed, {}, None, run)
    epochs = [windows for epoch in range(9) for windows in rounds.sampler.epoch(epoch)]
    assert rounds.count == 4
    taken = [rounds.batches(number) for number in range(4)]
    assert [len(batches) for batches in taken] == [7, 7, 7, 4]
    assert [windows for batches in taken for windows in batches] == epochs[:25]
    later = Rounds(packed, {}, None, run)
    second = Rounds(packed, {}, None, run)
    second.batches(1)
    later.load_state_dict(second.state_dict())
    assert later.batches(1) == taken[1] and later.batches(2) == taken[2]


def test_validation_is_the_same_every_time_and_takes_each_language(packed):
    rounds = Rounds(packed, {}, None, TrainingSettings(data=DataSettings(batch_size=4), validation_clips=4))
    batches = rounds.validation_batches()
    assert batches == rounds.validation_batches()
    clips = [clip for windows in batches for clip in windows.clips]
    assert len(clips) == 4 and {str(packed.language[clip]) for clip in clips} == {"french", "thai"}
    assert set(clips) <= set(packed.of_split("val").tolist())


def test_validation_cuts_no_clip_to_its_neighbour(packed):
    data = DataSettings(batch_size=32, max_frames=26)
    rounds = Rounds(packed, {}, None, TrainingSettings(data=data, validation_clips=64))
    frames = {clip: windows.frames for windows in rounds.validation_batches() for clip in windows.clips}
    assert len(set(frames.values())) > 1
    assert frames == {clip: min(int(packed.frames[clip]), 26) for clip in frames}


def test_an_epoch_has_as_many_batches_as_it_says():
    uncut = sampler(range(40, 72), batch_size=8, cut_leftovers=False)
    assert uncut.batches_per_epoch == len(uncut.epoch(0)) == 32
    assert sampler(range(40, 72), batch_size=8).batches_per_epoch == 4


def test_a_release_says_what_is_trained_on_and_what_validates(toy_dataset, tmp_path):
    import pyarrow.compute as pc

    from multitalk.manifests.releases.release import create_release, read_release

    root = shutil.copytree(toy_dataset, tmp_path / "data")

    def add_verdicts(clips):
        """Accept French clips of more than 20 frames, those that the manifest says were rejected too."""
        verdict = pc.and_(pc.equal(clips["language"], "french"), pc.greater(clips["frame_count"], 20))
        accepted = pc.and_(pc.fill_null(verdict, False), pc.equal(clips["status"], "ok"))
        place = clips.schema.get_field_index("accepted")
        return clips.set_column(place, clips.schema.field(place), accepted)

    create_release(root, "long", policy="", add_verdicts=add_verdicts)
    released = read_release(root, "long")
    sides = dict(zip(released["clip_id"].to_pylist(), released["split"].to_pylist(), strict=True))
    packed = packed_motion(open_dataset(root), tmp_path / "cache", "long")
    clips = [str(clip) for clip in packed.clip_id]
    assert {
        clip: ("train", "val", "test")[side] for clip, side in zip(clips, packed.split, strict=True)
    } == sides
    assert len(set(sides.values())) == 3 and len(sides) < 24
    rounds = Rounds(packed, {}, None, TrainingSettings(data=DataSettings(batch_size=4), steps=20))
    trained = {clips[clip] for windows in rounds.batches(0) for clip in windows.clips}
    assert trained == {clip for clip, side in sides.items() if side == "train"}
    validated = {clips[clip] for windows in rounds.validation_batches() for clip in windows.clips}
    assert validated == {clip for clip, side in sides.items() if side == "val"}
