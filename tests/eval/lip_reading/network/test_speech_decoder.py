import itertools

import pytest
import torch

from multitalk.eval.lip_reading.network.av_hubert_weights import WeightsError, decoder_from_tensors
from multitalk.eval.lip_reading.network.beam_search import BOS, EOS, PAD, search
from multitalk.eval.lip_reading.network.speech_decoder import sinusoid

HEADS = 4


@pytest.fixture(scope="module")
def decoder(decoder_tensors):
    return decoder_from_tensors(decoder_tensors, HEADS)


@pytest.fixture(scope="module")
def memory():
    return torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(0))


def next_log_probabilities(decoder, memory, sequence) -> torch.Tensor:
    caches = decoder.start(memory)
    for position, token in enumerate(sequence):
        out = decoder.step(torch.tensor([token]), position, caches)
    return out[0]


def sequence_score(decoder, memory, tokens) -> float:
    """Log-probability of a whole sequence with its end, divided by its length."""
    caches, total = decoder.start(memory), 0.0
    for position, (token, following) in enumerate(itertools.pairwise([EOS, *tokens, EOS])):
        total += float(decoder.step(torch.tensor([token]), position, caches)[0, following])
    return total / (len(tokens) + 1)


def test_log_probabilities_are_normalised(decoder, memory):
    out = next_log_probabilities(decoder, memory, [EOS, 5, 7])
    assert out.shape == (12,)
    assert float(out.exp().sum()) == pytest.approx(1, abs=1e-5)


def test_reordered_hypotheses_go_on_from_their_own_past(decoder, memory):
    caches = decoder.start(memory)
    decoder.step(torch.tensor([EOS]), 0, caches)
    for cache in caches:
        cache.reorder(torch.tensor([0, 0]))
    decoder.step(torch.tensor([5, 9]), 1, caches)
    for cache in caches:
        cache.reorder(torch.tensor([1, 0, 1]))
    out = decoder.step(torch.tensor([4, 4, 6]), 2, caches)
    for row, sequence in zip(out, ([EOS, 9, 4], [EOS, 5, 4], [EOS, 9, 6]), strict=True):
        assert torch.allclose(row, next_log_probabilities(decoder, memory, sequence), atol=1e-5)


def test_positions_are_fairseqs():
    # fairseq counts the first token as position 2; the last frequency is 1 / 10000
    assert sinusoid(0, 8)[[0, 4]].tolist() == pytest.approx([0.9092974, -0.4161468], abs=1e-6)
    assert float(sinusoid(3, 8)[3]) == pytest.approx(5e-4, rel=1e-4)


def test_a_beam_of_one_takes_the_best_token_each_time(decoder, memory):
    tokens = [EOS]
    for step in range(6):
        out = next_log_probabilities(decoder, memory, tokens).clone()
        out[PAD] = -torch.inf
        if step == 0:
            out[EOS] = -torch.inf
        tokens.append(int(out.argmax()))
        if tokens[-1] == EOS:
            break
    expected = tuple(token for token in tokens if token != EOS)
    assert search(decoder, memory, beam=1, max_length=6).tokens == expected


def test_a_wide_beam_finds_the_best_of_all_sequences(decoder, memory):
    found = search(decoder, memory, beam=200, max_length=2)
    tokens = [token for token in range(12) if token not in (EOS, PAD)]
    every = [(t,) for t in tokens] + list(itertools.product(tokens, repeat=2))
    best = max(every, key=lambda sequence: sequence_score(decoder, memory, sequence))
    assert found.tokens == best
    assert found.score == pytest.approx(sequence_score(decoder, memory, best), abs=1e-4)


def test_a_wider_beam_never_pads_and_ends_at_the_limit(decoder, memory):
    for beam in (1, 3, 5):
        found = search(decoder, memory, beam=beam, max_length=4)
        assert 1 <= len(found.tokens) <= 4
        assert not {PAD, EOS} & set(found.tokens)
        assert found.score == pytest.approx(sequence_score(decoder, memory, found.tokens), abs=1e-4)


def test_search_refuses_nonsense(decoder, memory):
    with pytest.raises(ValueError, match="beam 0"):
        search(decoder, memory, beam=0)
    with pytest.raises(ValueError, match="memory"):
        search(decoder, memory.expand(2, -1, -1))


def test_an_untied_output_layer_is_used(decoder_tensors, memory):
    free = decoder_tensors | {"decoder.embed_out": torch.zeros(12, 16)}
    out = next_log_probabilities(decoder_from_tensors(free, HEADS), memory, [EOS])
    assert torch.allclose(out, torch.full((12,), 1 / 12).log(), atol=1e-5)


def test_heads_of_an_unknown_width_must_be_given(decoder_tensors):
    with pytest.raises(WeightsError, match="width 16"):
        decoder_from_tensors(decoder_tensors)
    with pytest.raises(WeightsError, match=r"1 missing \(layers.0.fc2.bias\)"):
        decoder_from_tensors(
            {n: t for n, t in decoder_tensors.items() if n != "decoder.layers.0.fc2.bias"}, HEADS
        )


@pytest.mark.slow  # importing transformers takes seconds
@pytest.mark.parametrize("scale", [False, True])
def test_decoder_is_speech_to_texts(decoder_tensors, memory, scale):
    module = pytest.importorskip("transformers.models.speech_to_text.modeling_speech_to_text")
    config = pytest.importorskip("transformers").Speech2TextConfig(
        vocab_size=12,
        d_model=16,
        decoder_layers=2,
        decoder_attention_heads=HEADS,
        decoder_ffn_dim=24,
        scale_embedding=scale,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    oracle = module.Speech2TextDecoder(config).eval()
    # theirs takes an encoder as wide as the decoder: 16 of the 32
    tensors = {n: t[:, :16] if t.ndim == 2 else t for n, t in decoder_tensors.items() if "fc2" not in n}
    tensors |= {n: t for n, t in decoder_tensors.items() if "fc2" in n}
    decoder = decoder_from_tensors(tensors, HEADS, scale_embedding=scale)
    named = {n.removeprefix("decoder."): t for n, t in tensors.items() if "embed_positions" not in n}
    missing = oracle.load_state_dict(named, strict=False)
    assert not missing.unexpected_keys
    tokens = torch.tensor([[EOS, 5, 9, 4, 4]])
    with torch.inference_mode():
        hidden = oracle(tokens, encoder_hidden_states=memory[..., :16]).last_hidden_state
        theirs = torch.log_softmax(hidden @ decoder.embed_tokens.weight.T, -1)[0]
    for length in range(1, 6):
        ours = next_log_probabilities(decoder, memory[..., :16], tokens[0, :length].tolist())
        assert torch.allclose(ours, theirs[length - 1], atol=1e-5)
