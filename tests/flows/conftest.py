import json
import pickle
import shutil
import wave
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from multitalk.assets.fetch import require
from multitalk.fit_flame.heads.canonical import canonical_head_model
from multitalk.fit_flame.parameters.synthetic import speaking
from multitalk.flows.commands.main import main
from multitalk.manifests import paths
from multitalk.manifests.store import commit_fragment
from tests.prefect_server import prefect_server


@dataclass(frozen=True)
class SmallSource:
    annotations: Path
    url: str


@pytest.fixture(scope="session")
def prefect_environment(tmp_path_factory):
    """Environment of commands that run flows on one Prefect server."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as environment:
        yield environment


@pytest.fixture(scope="session")
def demo_source(tmp_path_factory, worker_id):
    """The demo's source videos, made once for all slow tests, whichever process runs them."""
    pytest.importorskip("espeakng_loader", reason="the extra `demo` is not installed")
    from multitalk.flows.demo.videos import make_demo_source

    own = tmp_path_factory.getbasetemp()
    place = (own if worker_id == "master" else own.parent) / "demo"
    with FileLock(f"{place}.lock"):
        made = place / "source.pickle"
        if not made.exists():
            made.write_bytes(pickle.dumps(make_demo_source(place)))
        return pickle.loads(made.read_bytes())


@pytest.fixture(scope="session")
def demo_url(demo_source):
    from multitalk.flows.demo.local_server import serve_folder

    with serve_folder(demo_source.videos) as base:
        yield base + "/{video_id}.mp4"


@pytest.fixture(scope="session")
def small_source(demo_source, demo_url, tmp_path_factory):
    """One clip that comes out well, one without a face, and one whose video is not there."""
    clips = {}
    for path in demo_source.annotations:
        clips |= json.loads(path.read_text())
    chosen = {clip_id: clips[clip_id] for clip_id in ("deSpeaker00_0", "enNoFace000_0", "esGone40400_0")}
    path = tmp_path_factory.mktemp("small") / "annotations.json"
    path.write_text(json.dumps(chosen))
    return SmallSource(path, demo_url)


@pytest.fixture(scope="session")
def talking_dataset(tmp_path_factory):
    """Twelve short clips in two languages, fitted with the bundled head model: noise, and a mouth that moves."""
    head, root = canonical_head_model(require("face_landmarker")), tmp_path_factory.mktemp("talking")
    random = np.random.default_rng(0)
    for number in range(12):
        language, frames = ("german", "japanese")[number % 2], 20 + number % 3
        video, motion = f"video{number:02}", asdict(speaking(head, frames))
        clip = f"{video}_0"
        sound = paths.audio_path(root, language, clip)
        sound.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(sound), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(random.normal(0, 2000, 640 * frames).astype("<i2").tobytes())
        row = {"clip_id": clip, "status": "ok", "frame_count": frames, "duration_sec": frames / 25}
        row |= {"head_model": head.key, "accepted": True, "transcript": "guten Tag"}
        moved = {"expression": motion["expression"] * random.uniform(0.5, 1.5)}
        commit_fragment(
            root, language, video, [row], motion_rows=[motion | moved | {"clip_id": clip}], fingerprint="f"
        )
    return root


@pytest.fixture
def released(talking_dataset, tmp_path):
    """A copy of the dataset with a release of all its clips."""
    root = shutil.copytree(talking_dataset, tmp_path / "data")
    policy = tmp_path / "words.yaml"
    policy.write_text(
        "name: words\ndescription: Clips with a transcript.\nrules:\n"
        "  - {name: words, metric: transcript, comparison: '!=', threshold: '', reason: Words are needed.}\n"
    )
    assert main(["release", "--root", str(root), "--name", "v1", "--policy", str(policy)]) == 0
    return root


SENTENCES = ("Guten Tag, wie geht es?", "Heute ist das Wetter schön.", "Wir gehen spazieren!")


@pytest.fixture(scope="session")
def recognisers(tmp_path_factory):
    """The same small model as MuAViC publishes it (`de_avsr`), and as it is exported (`hub`)."""
    import torch
    from safetensors.torch import save_file

    from multitalk.eval.lip_reading.network.av_hubert import AvHubertEncoder, EncoderShape
    from multitalk.eval.lip_reading.network.speech_decoder import DecoderShape, SpeechDecoder

    torch.manual_seed(0)
    sizes = EncoderShape(width=32, layers=1, heads=4, feed_forward=48, position_kernel=8, position_groups=4)
    encoder = AvHubertEncoder(sizes).state_dict()
    folder = tmp_path_factory.mktemp("recognisers")
    pieces = sentencepiece_model(folder / "de_avsr")
    shape = DecoderShape(
        vocabulary=len(pieces), width=16, layers=1, heads=4, feed_forward=24, memory_width=32
    )
    decoder = SpeechDecoder(shape).state_dict()
    own = {f"encoder.w2v_model.{name}": t for name, t in encoder.items()}
    own |= {f"decoder.{name}": t for name, t in decoder.items()}
    torch.save(
        {"cfg": {"model": {"decoder_attention_heads": 4}}, "model": own},
        folder / "de_avsr" / "checkpoint_best.pt",
    )
    exported = {f"model.encoder.{name}": t.clone().contiguous() for name, t in encoder.items()}
    exported |= {f"model.decoder.{name}": t.clone().contiguous() for name, t in decoder.items()}
    (folder / "hub").mkdir()
    save_file(exported, folder / "hub" / "model.safetensors")
    (folder / "hub" / "config.json").write_text('{"decoder_attention_heads": 4, "scale_embedding": false}')
    lines = "".join(f"{piece} {k + 1}\n" for k, piece in enumerate(pieces[4:]))
    (folder / "hub" / "dict.de.txt").write_text(lines, "utf-8")
    return folder


def sentencepiece_model(folder: Path) -> list[str]:
    import sentencepiece

    folder.mkdir()
    (folder / "text").write_text("\n".join(SENTENCES * 20), "utf-8")
    ids = {"bos_id": 0, "pad_id": 1, "eos_id": 2, "unk_id": 3}
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=3,
        **ids,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    return [model.id_to_piece(k) for k in range(model.get_piece_size())]


@pytest.fixture
def release_of_talk(talking_dataset, tmp_path):
    """A copy of the talking dataset with all its clips in the test split of the release `v1`."""
    import pyarrow as pa

    from multitalk.manifests.releases.release import create_release

    root = shutil.copytree(talking_dataset, tmp_path / "dataset")

    def all_test(clips):
        return pa.array(["test"] * len(clips), pa.string())

    create_release(root, "v1", policy="", add_verdicts=lambda clips: clips, split=all_test)
    return root


@pytest.fixture
def talking_models(tmp_path):
    """Arguments that name a prior and a talker of random weights that belong together."""
    import torch

    from multitalk.flows.modelling.trained_models import open_audio_encoder
    from multitalk.training.model.model_files import (
        PriorFile,
        TalkerFile,
        save_prior,
        save_talker,
        weights_digest,
    )
    from multitalk.training.model.motion_prior import MotionPrior
    from multitalk.training.model.talker import Talker
    from multitalk.training.presets import PRIORS, TALKERS

    torch.manual_seed(0)
    head, encoder = canonical_head_model(require("face_landmarker")), open_audio_encoder(None)
    still = torch.zeros(head.expression_size + 3)
    prior = MotionPrior(PRIORS["tiny"].model, still, still + 1)
    talker = Talker(TALKERS["tiny"].model, encoder.width, prior.settings)
    save_prior(PriorFile(prior, head.key), tmp_path / "prior.pt")
    save_talker(TalkerFile(talker, weights_digest(prior), encoder.fingerprint), tmp_path / "talker.pt")
    return ["--prior", str(tmp_path / "prior.pt"), "--talker", str(tmp_path / "talker.pt")]
