"""Beam search over a `SpeechDecoder`, by fairseq's rules; a beam of one is greedy decoding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multitalk.eval.lip_reading.network.speech_decoder import LayerCache, SpeechDecoder

BOS, PAD, EOS, UNKNOWN = 0, 1, 2, 3
"""Ids of fairseq's special tokens. Decoding starts from EOS."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A finished token sequence."""

    tokens: tuple[int, ...]
    """Without the end token."""
    score: float
    """Log-probability divided by (number of tokens with the end token) ** length_penalty."""


@torch.inference_mode()
def search(
    decoder: SpeechDecoder, memory: Tensor, beam: int = 1, max_length: int = 200, length_penalty: float = 1.0
) -> Hypothesis:
    """Find the best token sequence for a clip.

    At each step the 2 x beam best continuations are looked at: those among the first `beam` that end are
    set aside, the best `beam` that do not go on. The search ends when `beam` sequences are set aside; after
    `max_length` tokens all must end. An empty sequence is not allowed.

    Parameters
    ----------
    decoder
    memory
        (1, T, E) encoder output.
    beam
        Hypotheses kept.
    max_length
        Most tokens, the end not counted.
    length_penalty
        Above 1 favours long sequences, below 1 short ones.

    Raises
    ------
    ValueError
        `beam` or `max_length` is below 1, or memory is not of one clip.
    """
    if beam < 1 or max_length < 1 or memory.ndim != 3 or len(memory) != 1:
        raise ValueError(f"beam {beam} and max_length {max_length} must be >= 1, memory (1, T, E)")
    caches = decoder.start(memory)
    tokens = torch.full((1, 1), EOS, device=memory.device)
    scores = torch.zeros(1, device=memory.device)
    finished: list[Hypothesis] = []
    for step in range(max_length + 1):
        allowed = _mask(decoder.step(tokens[:, -1], step, caches), step, max_length)
        best, origins, following = _best_continuations(scores, allowed, 2 * beam)
        for rank in (following[:beam] == EOS).nonzero()[:, 0].tolist():
            if best[rank] > -torch.inf and len(finished) < beam:
                sequence = tuple(tokens[origins[rank], 1:].tolist())
                finished.append(Hypothesis(sequence, float(best[rank]) / (step + 1) ** length_penalty))
        going_on = (following != EOS).nonzero()[:, 0][:beam]
        if len(finished) >= beam or step == max_length or len(going_on) == 0:
            break
        scores, origins = best[going_on], origins[going_on]
        tokens = torch.cat([tokens[origins], following[going_on, None]], dim=1)
        _reorder(caches, origins)
    return max(finished, key=lambda hypothesis: hypothesis.score)


def _mask(log_probabilities: Tensor, step: int, max_length: int) -> Tensor:
    """Forbid padding, an empty sequence, and anything but the end at the length limit."""
    masked = log_probabilities.nan_to_num(nan=-torch.inf)
    masked[:, PAD] = -torch.inf
    if step == 0:
        masked[:, EOS] = -torch.inf
    if step == max_length:
        end = masked[:, EOS].clone()
        masked[:] = -torch.inf
        masked[:, EOS] = end
    return masked


def _best_continuations(scores: Tensor, allowed: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Total score, hypothesis and next token of the best `count` of all continuations, best first."""
    total = scores[:, None] + allowed
    best, index = total.flatten().topk(min(count, total.numel()))
    return best, index // total.shape[1], index % total.shape[1]


def _reorder(caches: list[LayerCache], origins: Tensor) -> None:
    for cache in caches:
        cache.reorder(origins)
