"""The talker of new models: speech to the prior's latents, one frame after the other.

Against the reference's: each frame, the first too, hears its sound; what is fed back is the last latent, so
that no prefix is ever decoded again; attention is causal over a window of the cache with rotary positions
(Su et al. 2021), so that keys and values are kept and length has no limit; and the language table belongs
to the checkpoint.

Each of a frame's codes is predicted as a distribution over the codebook, and its mean is decoded and fed
back: told to minimise an error, that is the best answer; drawing codes instead gives one of many likely
motions.

In training a share of the frames is told what a first pass predicted rather than the truth (Mihaylova and
Martins 2019), because in use there is no truth: told the truth alone, a talker learns to repeat the last
frame.

Shapes: B clips, T frames, A audio features (two rows a frame), D width, H heads, G codes a frame, K
codebook entries, L = G * C latent values a frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from multitalk.ground.nearest import did_you_mean
from multitalk.training.model.motion_prior import MotionPrior
from multitalk.training.model.tuning import TunedEncoder
from multitalk.training.reference.talker import UnknownLanguageError, split_heads
from multitalk.training.settings import MotionPriorSettings, TalkerSettings


@dataclass(slots=True)
class KeyValueCache:
    """Keys and values (B, H, n, D / H) of the frames in the window, in one layer."""

    keys: Tensor | None = None
    values: Tensor | None = None
    time: int = 0
    """Frames seen so far."""

    def extend(self, keys: Tensor, values: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """Append one frame of the clips still running, the first rows; returns what is in the window now."""
        if self.keys is not None and self.values is not None:
            keys = torch.cat([self.keys[: len(keys), :, 1 - window :], keys], 2)
            values = torch.cat([self.values[: len(values), :, 1 - window :], values], 2)
        self.keys, self.values = keys[:, :, -window:], values[:, :, -window:]
        self.time += 1
        return self.keys, self.values


class Block(nn.Module):
    """Causal attention over a window, then feed-forward; both pre-norm."""

    def __init__(self, settings: TalkerSettings) -> None:
        super().__init__()
        width = settings.hidden
        self.heads, self.window = settings.heads, settings.window
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.to_out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.widen, self.narrow = (
            nn.Linear(width, settings.feed_forward),
            nn.Linear(settings.feed_forward, width),
        )
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """All T frames of (B, T, D) at once, or with `cache` one more frame (B, 1, D)."""
        q, k, v = (split_heads(p, self.heads) for p in self.to_qkv(self.attention_norm(x)).chunk(3, -1))
        time = torch.arange(x.shape[1], device=x.device) + (cache.time if cache else 0)
        q, k = rotate(q, time), rotate(k, time)
        mask = None
        if cache is not None:
            k, v = cache.extend(k, v, self.window)
        else:
            age = time[:, None] - time
            mask = (age >= 0) & (age < self.window)
        dropout = self.dropout.p if self.training else 0.0
        heads = functional.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout)
        x = x + self.dropout(self.to_out(heads.transpose(1, 2).flatten(2)))
        hidden = functional.gelu(self.widen(self.feed_forward_norm(x)))
        out: Tensor = x + self.dropout(self.narrow(hidden))
        return out


class Talker(nn.Module):
    """Speech and language style to the prior's latents.

    Parameters
    ----------
    settings : TalkerSettings
        Sizes and languages.
    audio_width : int
        A, width of the audio encoder's features.
    prior : MotionPriorSettings
        Sizes of the prior that it speaks the codes of.
    tuned_encoder : TunedEncoder, optional
        The part of the audio encoder that is trained along; then `encode_audio` takes what its lower part gives.
    """

    def __init__(
        self,
        settings: TalkerSettings,
        audio_width: int,
        prior: MotionPriorSettings,
        tuned_encoder: TunedEncoder | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.tuned_encoder = settings, tuned_encoder
        self.codes_per_frame = prior.codes_per_frame
        width = settings.hidden
        self.audio_norm = nn.LayerNorm(audio_width)
        self.audio_map = nn.Conv1d(2 * audio_width, width, 5, padding=2)
        self.feedback_map = nn.Linear(prior.latent, width)
        self.begin = nn.Parameter(torch.zeros(width))
        self.languages = nn.Embedding(len(settings.languages), width)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(width)
        self.code_map = nn.Linear(width, prior.codes_per_frame * prior.codebook_size)
        nn.init.normal_(self.languages.weight, std=0.02)

    def style(self, weights: Mapping[str, float]) -> Tensor:
        """Style vector (D,): the table's rows of the named languages, weighted.

        Raises
        ------
        UnknownLanguageError
            When a language has no row; the message lists those that have.
        """
        rows = [weight * self.languages.weight[self.language_row(name)] for name, weight in weights.items()]
        return torch.stack(rows).sum(0)

    def language_row(self, language: str) -> int:
        """Row of a language in the table.

        Raises
        ------
        UnknownLanguageError
            When it has none.
        """
        names = self.settings.languages
        if language not in names:
            raise UnknownLanguageError(
                f"no language {language!r} in this talker; it has {', '.join(names)}"
                + did_you_mean(language, names)
            )
        return names.index(language)

    def encode_audio(self, features: Tensor) -> Tensor:
        """Map audio features (B, 2 T, A) to what a frame hears, (B, T, D): its sound, two frames around."""
        if self.tuned_encoder is not None:
            features = self.tuned_encoder(features)
        frames = self.audio_norm(features).unflatten(1, (-1, 2)).flatten(2)
        encoded_audio: Tensor = self.audio_map(frames.transpose(1, 2)).transpose(1, 2)
        return encoded_audio

    def forward(self, prior: MotionPrior, encoded_audio: Tensor, styles: Tensor, truth: Tensor) -> Tensor:
        """Logits (B, T, G, K) of the codes, all frames at once, for training.

        Parameters
        ----------
        prior : MotionPrior
            Its codebook is what the logits speak of.
        encoded_audio : Tensor
            (B, T, D) from `encode_audio`.
        styles : Tensor
            (B, D) from `style`, or rows of the language table.
        truth : Tensor
            (B, T, L) the prior's latents of the true motion.
        """
        previous = truth
        if self.training and self.settings.own_feedback > 0:
            with torch.no_grad():
                own = mean_latents(self._all_frames(encoded_audio, styles, truth), prior)
            replaced = torch.rand(truth.shape[:2], device=truth.device) < self.settings.own_feedback
            previous = torch.where(replaced[..., None], own, truth)
        return self._all_frames(encoded_audio, styles, previous)

    def _all_frames(self, encoded_audio: Tensor, styles: Tensor, previous: Tensor) -> Tensor:
        begin = self.begin.expand(len(previous), 1, -1)
        feedback = torch.cat([begin, self.feedback_map(previous[:, :-1]).to(begin.dtype)], 1)
        x = encoded_audio + styles[:, None] + feedback
        for block in self.blocks:
            x = block(x)
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.code_map(self.norm(x))
        return logits.view(*x.shape[:-1], self.codes_per_frame, -1)

    @torch.inference_mode()
    def generate(
        self, prior: MotionPrior, features: Sequence[Tensor], styles: Tensor, temperature: float = 0.0
    ) -> list[Tensor]:
        """Motion of several clips in lock step, free-running.

        Parameters
        ----------
        prior : MotionPrior
            The prior that the talker was trained with.
        features : sequence of Tensor
            (2 T, A) audio features of each clip.
        styles : Tensor
            (B, D) style of each clip.
        temperature : float
            0 for the mean; above, codes are drawn, the more boldly the higher.

        Returns
        -------
        list of Tensor
            (T, F) motion of each clip.
        """
        frames = [len(f) // 2 for f in features]
        # Longest first, so that the clips still running are always the first rows.
        order = sorted(range(len(frames)), key=lambda clip: -frames[clip])
        encoded_audio = [self.encode_audio(features[clip][None])[0] for clip in order]
        inputs = nn.utils.rnn.pad_sequence(encoded_audio, batch_first=True) + styles[order][:, None]
        latents = inputs.new_zeros(*inputs.shape[:2], self.feedback_map.in_features)
        caches = [KeyValueCache() for _ in self.blocks]
        feedback = self.begin.expand(len(order), -1)
        for time in range(inputs.shape[1]):
            running = sum(count > time for count in frames)
            x = (inputs[:running, time] + feedback[:running])[:, None]
            for block, cache in zip(self.blocks, caches, strict=True):
                x = block(x, cache)
            latents[:running, time] = chosen_latents(self._logits(x[:, 0]), prior, temperature)
            feedback = self.feedback_map(latents[:running, time])
        by_clip = dict(zip(order, latents, strict=True))
        return [prior.decode(by_clip[clip][None, : frames[clip]])[0] for clip in range(len(frames))]


def mean_latents(logits: Tensor, prior: MotionPrior) -> Tensor:
    """Latents (..., L) that codes with logits (..., G, K) have on average."""
    return (logits.float().softmax(-1) @ prior.quantise_latents.embedding.weight).flatten(-2)


def chosen_latents(logits: Tensor, prior: MotionPrior, temperature: float) -> Tensor:
    """Latents (B, L) for logits (B, G, K): their mean, or of drawn codes when the temperature is above 0."""
    if temperature <= 0:
        return mean_latents(logits, prior)
    chances = (logits.float() / temperature).softmax(-1)
    codes = torch.multinomial(chances.flatten(0, 1), 1).view(logits.shape[:-1])
    return prior.quantise_latents.lookup(codes)


def rotate(x: Tensor, time: Tensor) -> Tensor:
    """Rotary positions: pairs of x (B, H, T, C) turn with `time` (T,), the first the fastest."""
    half = x.shape[-1] // 2
    frequency = 10000.0 ** (-torch.arange(half, device=x.device) / half)
    angle = time[:, None] * frequency
    cosine, sine = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], -1)


def with_language(talker: Talker, language: str, prior: MotionPriorSettings) -> Talker:
    """Make a copy that also has `language`; its row begins as the mean of all others, to be trained."""
    settings = talker.settings.model_copy(update={"languages": (*talker.settings.languages, language)})
    audio_width = talker.audio_norm.normalized_shape[0]
    wider = Talker(settings, audio_width, prior, talker.tuned_encoder)
    state = talker.state_dict()
    table = state["languages.weight"]
    wider.load_state_dict(state | {"languages.weight": torch.cat([table, table.mean(0, keepdim=True)])})
    return wider
