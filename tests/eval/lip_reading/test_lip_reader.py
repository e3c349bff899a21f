import argparse
import enum
import json
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from multitalk.eval.lip_reading.lip_reader import LipReaderMissingError, load_lip_reader
from multitalk.eval.lip_reading.network.vocabulary import Vocabulary, VocabularyError
from multitalk.ground.untrusted.checkpoint_file import CheckpointError, read_checkpoint

PIECES = ["\u2581a", "b", "\u2581c", "d", "e", "\u2581f", "g", "h"]


@pytest.fixture
def fairseq_classes(monkeypatch):
    """Classes that pickle under the names of fairseq and omegaconf, gone again when the file is read."""
    dictionary = types.ModuleType("fairseq.data.dictionary")
    config = types.ModuleType("omegaconf.dictconfig")

    class Dictionary:
        def __init__(self):
            self.symbols, self.indices = ["<s>"], {"<s>": 0}

    class DictConfig:
        def __init__(self, content):
            self._content = content

        def __getstate__(self):
            return {"_content": self._content, "ref_type": dict}

    class Choice(enum.Enum):
        ONE = "one"

        def __reduce_ex__(self, protocol):  # as fairseq's Python writes it; 3.11.0 to 3.11.3 wrote getattr
            return type(self), (self.value,)

    for module, classes in ((dictionary, (Dictionary, Choice)), (config, (DictConfig,))):
        for cls in classes:
            cls.__module__, cls.__qualname__ = module.__name__, cls.__name__
            setattr(module, cls.__name__, cls)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for package in ("fairseq", "fairseq.data", "omegaconf"):
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    return types.SimpleNamespace(Dictionary=Dictionary, DictConfig=DictConfig, Choice=Choice)


def write_dictionary(folder: Path) -> None:
    (folder / "dict.en.txt").write_text("".join(f"{piece} {9 - k}\n" for k, piece in enumerate(PIECES)))


@pytest.fixture
def folder(tmp_path, encoder_tensors, decoder_tensors, fairseq_classes):
    """A recogniser's folder as MuAViC publishes it, small."""
    content = {
        "args": None,
        "cfg": fairseq_classes.DictConfig(
            {"model": {"decoder_attention_heads": 4, "choice": fairseq_classes.Choice.ONE}, "numbers": [1, 2]}
        ),
        "model": {**encoder_tensors, **decoder_tensors},
        "task_state": {"target_dictionary": fairseq_classes.Dictionary()},
        "extra_state": {"best": np.float64(1.5), "namespace": argparse.Namespace(x=1)},
    }
    torch.save(content, tmp_path / "checkpoint_best.pt")
    write_dictionary(tmp_path)
    return tmp_path


def test_a_fairseq_checkpoint_is_read_without_fairseq(folder, monkeypatch, encoder_tensors):
    for name in [name for name in sys.modules if name.startswith(("fairseq", "omegaconf"))]:
        monkeypatch.delitem(sys.modules, name)
    checkpoint = read_checkpoint(folder / "checkpoint_best.pt")
    assert checkpoint.number("decoder_attention_heads") == 4
    for name, tensor in encoder_tensors.items():
        assert torch.equal(checkpoint.tensors[name], tensor)
    assert not any(name.startswith("fairseq") for name in sys.modules)


# The small encoder has 32 channels; AV-HuBERT's 64 dimensions a head make that one head.
def test_a_reader_reads_from_lips_from_sound_and_from_both(folder):
    reader = load_lip_reader(folder)
    rng = np.random.default_rng(0)
    video_features = reader.encode_video(rng.normal(size=(6, 88, 88)))
    sound = rng.integers(-3000, 3000, 6 * 640).astype(np.int16)
    texts = [
        reader.read(sound, video_features),
        reader.read(None, video_features),
        reader.read(sound, None),
        reader.read(sound, video_features, beam=3),
    ]
    assert all(set(text.replace(" ", "")) <= set("abcdefgh") for text in texts)
    with pytest.raises(ValueError, match="either"):
        reader.read(None, None)


def test_the_safetensors_export_reads_the_same(folder, tmp_path_factory, encoder_tensors, decoder_tensors):
    save_file = pytest.importorskip("safetensors.torch").save_file
    hub = tmp_path_factory.mktemp("hub")
    tensors = {n.replace("encoder.w2v_model.", "model.encoder."): t for n, t in encoder_tensors.items()}
    tensors |= {f"model.{n}": t.clone() for n, t in decoder_tensors.items()}
    save_file({n: t.contiguous() for n, t in tensors.items()}, hub / "model.safetensors")
    (hub / "config.json").write_text(json.dumps({"decoder_attention_heads": 4, "scale_embedding": False}))
    write_dictionary(hub)
    sound = np.random.default_rng(1).integers(-3000, 3000, 8000).astype(np.int16)
    assert load_lip_reader(hub).read(sound, None) == load_lip_reader(folder).read(sound, None)


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("owned"),))


def test_a_hostile_checkpoint_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "task_state": Hostile()}, tmp_path / "checkpoint_best.pt")
    with pytest.raises(CheckpointError, match="refused: the file asks for"):
        read_checkpoint(tmp_path / "checkpoint_best.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["eval", "exec", "getattr", "__import__", "open"])
def test_builtins_are_refused(tmp_path, name):
    pickled = f"cbuiltins\n{name}\n(S'1'\ntR.".encode()
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickled)
    with pytest.raises(CheckpointError, match=f"builtins.{name}"):
        read_checkpoint(tmp_path / "x.pt")


def test_a_tensor_can_not_reach_beyond_its_bytes(tmp_path):
    class Reach:
        def __reduce__(self):
            return (torch._utils._rebuild_tensor_v2, (storage, 0, (1000,), (1,), False, {}))

    storage = torch.zeros(4).untyped_storage()
    path = tmp_path / "x.pt"
    torch.save({"model": {"a": torch.zeros(4)}}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    longer = {n: d.replace(pickle.dumps(4, 2)[2:-1] + b"\x85", b"M\xe8\x03\x85") for n, d in entries.items()}
    assert longer != entries
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in longer.items():
            archive.writestr(name, data)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02}q\x00.", b"x" * 100])
def test_damaged_files_are_reported(tmp_path, content):
    path = tmp_path / "checkpoint_best.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint_best\.pt"):
        read_checkpoint(path)


def test_missing_weights_are_named_with_source_and_licence(tmp_path):
    with pytest.raises(
        LipReaderMissingError, match=r"checkpoint_best.pt is missing.*dl.fbaipublicfiles.*NC"
    ) as error:
        load_lip_reader(tmp_path)
    assert "assets fetch" in str(error.value)


def test_a_vocabulary_of_another_model_is_refused(folder):
    (folder / "dict.en.txt").write_text("\u2581a 1\n")
    with pytest.raises(VocabularyError, match="5 pieces, the checkpoint 12"):
        load_lip_reader(folder)


def test_pieces_join_to_words(tmp_path):
    write_dictionary(tmp_path)
    vocabulary = Vocabulary.from_dictionary(tmp_path / "dict.en.txt")
    assert vocabulary.text([0, 4, 5, 3, 6, 7, 8, 2]) == "ab cde"
    (tmp_path / "dict.en.txt").write_text("a 1\nb\n")
    with pytest.raises(VocabularyError, match="line 2"):
        Vocabulary.from_dictionary(tmp_path / "dict.en.txt")


def test_a_sentencepiece_model_numbers_pieces_as_the_dictionary(tmp_path):
    spm = pytest.importorskip("sentencepiece")
    corpus = [" ".join(words) for words in (["hello", "world"], ["good", "day"], ["hallo", "welt"])] * 20
    prefix = tmp_path / "tokenizer"
    ids = {"bos_id": 0, "pad_id": 1, "eos_id": 2, "unk_id": 3}
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_prefix=str(prefix), vocab_size=20, minloglevel=2, **ids
    )
    vocabulary = Vocabulary.from_sentencepiece(tmp_path / "tokenizer.model")
    model = spm.SentencePieceProcessor(model_file=f"{prefix}.model")
    assert vocabulary.text([*model.encode("good world"), 2]) == "good world"
    (tmp_path / "broken.model").write_bytes(b"nothing")
    with pytest.raises(VocabularyError, match=r"broken\.model"):
        Vocabulary.from_sentencepiece(tmp_path / "broken.model")
