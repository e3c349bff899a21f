"""From sound to motion with models on disk."""

import wave

import numpy as np
import pytest
import torch

from multitalk.ground.untrusted.checkpoint_file import CheckpointError
from multitalk.training.model.model_files import (
    PriorFile,
    TalkerFile,
    save_prior,
    save_talker,
    weights_digest,
)
from multitalk.training.model.motion_prior import MotionPrior
from multitalk.training.model.talker import Talker
from multitalk.training.settings import MotionPriorSettings, TalkerSettings
from multitalk.training.talk import TalkError, TalkSettings, parse_languages, read_audio, talk, write_spoken

FRENCH = TalkSettings(languages={"french": 1.0})


def sound(path, seconds, rate=16000, channels=1):
    samples = np.random.default_rng(0).normal(0, 0.1, (int(seconds * rate), channels))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).clip(-32767, 32767).astype("<i2").tobytes())
    return path


@pytest.fixture
def files(tmp_path, head_model, loudness):
    torch.manual_seed(0)
    sizes = MotionPriorSettings(hidden=8, blocks=1, codes_per_frame=2, codebook_size=4, code_dim=4)
    prior = MotionPrior(sizes, torch.zeros(6), torch.ones(6)).eval()
    settings = TalkerSettings(hidden=8, layers=1, heads=2, feed_forward=8, languages=("french", "thai"))
    talker = Talker(settings, loudness.width, sizes).eval()
    save_prior(PriorFile(prior, head_model.key), tmp_path / "prior.pt")
    save_talker(TalkerFile(talker, weights_digest(prior), "loudness"), tmp_path / "talker.pt")
    return tmp_path / "prior.pt", tmp_path / "talker.pt"


def test_speaks_files_of_any_length_together(files, head_model, loudness, tmp_path):
    sounds = [sound(tmp_path / f"{i}.wav", sec) for i, sec in enumerate((0.5, 1.7, 0.04))]
    together = list(talk(sounds, *files, head_model, FRENCH, loudness))
    assert [len(spoken.vertices) for spoken in together] == [12, 42, 1]
    for path, spoken in zip(sounds, together, strict=True):
        alone = next(talk([path], *files, head_model, FRENCH, loudness))
        np.testing.assert_allclose(alone.vertices, spoken.vertices, atol=1e-5)
        assert spoken.motion.frame_count == len(spoken.vertices)
        assert spoken.motion.head_model == head_model.key


def test_vertices_follow_from_the_motion(files, head_model, loudness, tmp_path):
    from multitalk.fit_flame.parameters.decode import ForwardModel

    spoken = next(talk([sound(tmp_path / "a.wav", 1)], *files, head_model, FRENCH, loudness))
    motion, full = spoken.motion, ForwardModel(head_model)
    vertices = full(torch.zeros(25, 2), torch.from_numpy(motion.expression), jaw=torch.from_numpy(motion.jaw))
    np.testing.assert_allclose(spoken.vertices, vertices.numpy(), atol=1e-5)


def test_written_files(files, head_model, loudness, tmp_path):
    spoken = next(talk([sound(tmp_path / "a.wav", 1)], *files, head_model, FRENCH, loudness))
    write_spoken(spoken, tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), spoken.vertices)
    write_spoken(spoken, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        assert np.array_equal(file["jaw"], spoken.motion.jaw) and str(file["head_model"]) == head_model.key
    with pytest.raises(TalkError, match=r"neither \.npy nor \.npz"):
        write_spoken(spoken, tmp_path / "a.txt")


def test_the_references_models_speak_through_the_same_door(files, pair, head_model, tmp_path):
    from dataclasses import replace

    head = replace(
        head_model,
        **{
            name: getattr(head_model, name)[:10]
            for name in ("v_template", "shapedirs", "expressiondirs", "posedirs", "skinning_weights")
        },
        joint_regressor=head_model.joint_regressor[:, :10],
    )
    talker = pair.talker.settings.model_copy(update={"period": 25})
    from multitalk.training.reference.talker import ReferenceTalker

    torch.manual_seed(0)
    save_prior(PriorFile(pair.prior, None), tmp_path / "p.pt")
    save_talker(TalkerFile(ReferenceTalker(talker), weights_digest(pair.prior), None), tmp_path / "t.pt")
    mix = TalkSettings(languages={"french": 0.3, "thai": 0.7})
    spoken = next(talk([sound(tmp_path / "a.wav", 0.5)], tmp_path / "p.pt", tmp_path / "t.pt", head, mix))
    assert spoken.vertices.shape == (12, 10, 3) and spoken.motion is None
    with pytest.raises(TalkError, match="10 vertices"):
        next(talk([], tmp_path / "p.pt", tmp_path / "t.pt", head_model, mix), None)
    drawn = mix.model_copy(update={"temperature": 1.0})
    with pytest.raises(TalkError, match="give no temperature"):
        next(talk([], tmp_path / "p.pt", tmp_path / "t.pt", head, drawn), None)
    with pytest.raises(CheckpointError, match="another kind of prior"):
        next(talk([], files[0], tmp_path / "t.pt", head_model, mix), None)


def test_what_does_not_go_together_is_refused(files, head_model, loudness, tmp_path):
    prior, talker = files
    with pytest.raises(TalkError, match="audio encoder loudness; given: none"):
        next(talk([sound(tmp_path / "a.wav", 1)], prior, talker, head_model, FRENCH))
    with pytest.raises(ValueError, match="no language 'dutch'"):
        next(talk([], prior, talker, head_model, TalkSettings(languages={"dutch": 1.0}), loudness), None)
    other = MotionPrior(
        MotionPriorSettings(hidden=8, blocks=1, codes_per_frame=2, codebook_size=4, code_dim=4),
        torch.zeros(6),
        torch.ones(6),
    )
    save_prior(PriorFile(other, head_model.key), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="was trained with prior"):
        next(talk([], tmp_path / "other.pt", talker, head_model, FRENCH, loudness), None)
    save_prior(PriorFile(other, "flame2020:0000"), tmp_path / "other.pt")
    with pytest.raises(TalkError, match="flame2020"):
        next(talk([], tmp_path / "other.pt", talker, head_model, FRENCH, loudness), None)


def test_any_sound_is_read_at_16_khz_mono(tmp_path):
    samples = read_audio(sound(tmp_path / "a.wav", 1.0, rate=44100, channels=2))
    assert abs(len(samples) - 16000) <= 32 and samples.dtype == np.float32
    assert samples.std() == pytest.approx(0.1 / np.sqrt(2) * np.sqrt(16000 / 44100), rel=0.1)


@pytest.mark.parametrize("content", [b"", b"no sound"])
def test_files_without_sound_are_named(content, tmp_path):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(TalkError, match=r"no readable sound: .*a\.wav"):
        read_audio(tmp_path / "a.wav")
    with pytest.raises(TalkError, match="less than a frame"):
        read_audio(sound(tmp_path / "b.wav", 0.01))


def test_language_styles():
    assert parse_languages("French") == {"french": 1.0}
    assert parse_languages("french:0.3, german:0.7") == {"french": 0.3, "german": 0.7}
    for wrong in ("french:x", "", "french,,german", "french:nan", "french:-inf"):
        with pytest.raises(TalkError):
            parse_languages(wrong)
    with pytest.raises(TalkError, match="names french twice"):
        parse_languages("french:0.3, French:0.7")
