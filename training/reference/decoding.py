"""Prediction with the reference's talker: the same codes and vertices for a quarter of the arithmetic.

What the reference computes again for every frame is computed once here. All of it is exact algebra:

- its decoder is causal and its positions do not move, so keys and values are kept (KV cache);
- a frame attends to its own two audio tokens only, so the scores are `x . (Wq' k)` with `Wq' k` made once
for
  all tokens, and the output is a blend of two vectors made once: no projection is left in the loop;
- the vertices fed back go through two linear maps, `vertice_map` after the prior's last one, which are one
  map;
- of the prior's decoder only the last frame is fed back: its last layer runs for that frame alone, and
there
  too the key and value maps move from all frames to the one query;
- in its convolution a new frame changes only the last three, by its products with the kernel.

What remains, five layers of the prior's decoder over all frames so far, can not be kept: InstanceNorm over
time changes every frame with each new one. Clips run in lock step, as at step i all have i frames.

Shapes: B clips, T frames, D hidden, H heads, C = D / H.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from multitalk.training.layers.packed_linear import packed_copy
from multitalk.training.reference.prior import LEAK, Attention, FeedForward, PreNorm, ReferencePrior, Residual
from multitalk.training.reference.talker import DecoderLayer, ReferenceTalker, pairs, slopes


class ReferenceDecoder:
    """Predicts motion for clips in lock step.

    Parameters
    ----------
    talker : ReferenceTalker
        In evaluation mode, float32.
    prior : ReferencePrior
        The prior that the talker was trained with.
    """

    def __init__(self, talker: ReferenceTalker, prior: ReferencePrior) -> None:
        self.talker, self.prior = talker.eval(), prior.eval()
        with torch.inference_mode():
            self.last_frame = _LastFrame(talker, prior)

    @torch.inference_mode()
    def predict(
        self, audio: Sequence[Tensor], styles: Tensor, frame_counts: Sequence[int] | None = None
    ) -> list[Tensor]:
        """Motion of each clip.

        Parameters
        ----------
        audio : sequence of Tensor
            (S,) normalised samples at 16 kHz of each clip.
        styles : Tensor
            (B, D) style of each clip, from `ReferenceTalker.style`.
        frame_counts : sequence of int, optional
            Frames of each clip; by default as many as the sound has pairs of tokens.

        Returns
        -------
        list of Tensor
            (T, N) vertex offsets from the template of each clip, metres.
        """
        memory = self.talker.memory(audio, frame_counts)
        return self.decode(self.latents(memory, styles, frame_counts or [len(m) // 2 for m in memory]))

    @torch.inference_mode()
    def latents(self, memory: Sequence[Tensor], styles: Tensor, frame_counts: Sequence[int]) -> list[Tensor]:
        """Quantised latents (T, D) of each clip, from its audio tokens (L, D) of `ReferenceTalker.memory`."""
        # Longest first, so that the clips still running are always the first rows.
        order = sorted(range(len(frame_counts)), key=lambda clip: -frame_counts[clip])
        frames = [frame_counts[clip] for clip in order]
        rows = self._in_lock_step([memory[clip] for clip in order], styles[order], frames)
        by_clip = dict(zip(order, rows, strict=True))
        return [by_clip[clip][:count] for clip, count in enumerate(frame_counts)]

    @torch.inference_mode()
    def decode(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """Vertex offsets (T, N) of each clip's latents (T, D)."""
        decoded = []
        for clip in latents:
            # A single frame can not be normalised over time: the reference decodes it twice over.
            frames = len(clip)
            decoded.append(self.prior.decode(clip.expand(max(frames, 2), -1)[None])[0, :frames])
        return decoded

    def _in_lock_step(self, memory: list[Tensor], styles: Tensor, frames: list[int]) -> Tensor:
        """Quantised latents (B, T, D) of clips in falling order of length."""
        talker, total = self.talker, frames[0]
        clips = nn.utils.rnn.pad_sequence([m[: 2 * n] for m, n in zip(memory, frames, strict=True)], True)
        layers = [_CachedLayer(layer, clips, talker) for layer in talker.transformer_decoder.layers]  # type: ignore[arg-type]
        latents = styles.new_zeros(len(frames), total, talker.settings.latent)
        positions = talker.PPE(torch.arange(total, device=styles.device))
        convolved = _Convolution(self.prior, len(frames), total)
        for time in range(total):
            running = sum(n > time for n in frames)
            x = styles[:running] + positions[time]
            if time > 0:
                x = x + self.last_frame(convolved.activations(running, time))
            for layer in layers:
                x = layer(x, time)
            latents[:running, time] = self.prior.quantize.lookup(
                self.prior.quantize.nearest(talker.feat_map(x))
            )
            convolved.append(latents[:running], time)
        return latents


class _CachedLayer:
    """A decoder layer that has its past and what the audio can say to it ready."""

    def __init__(self, layer: DecoderLayer, memory: Tensor, talker: ReferenceTalker) -> None:
        self.layer = layer
        heads = layer.self_attn.heads
        dim = memory.shape[-1]
        self.keys = memory.new_empty(len(memory), heads, memory.shape[1] // 2, dim // heads)
        self.values = torch.empty_like(self.keys)
        self.slopes = slopes(heads, memory.device)[:, None]
        self.period = talker.settings.period
        self._prepare_audio(memory, heads)

    def _prepare_audio(self, memory: Tensor, heads: int) -> None:
        """Fold the query map into the keys and the output map into the values.

        A softmax over two is a sigmoid of the difference, so only the difference of each pair's keys is
        kept: `probe` (B, T, H, D) and `probe_bias` (B, T, H). `base` (B, T, D) is the output for the second
        token alone, `change` (B, T, H, D) what each head adds for the first.
        """
        attention = self.layer.multihead_attn
        dim = memory.shape[-1]
        keys, values = (pairs(p) for p in attention.project(memory, slice(1, 3)))
        query_map = attention.in_proj_weight[:dim].view(heads, -1, dim)
        query_bias = attention.in_proj_bias[:dim].view(heads, -1)
        difference = (keys[..., 0, :] - keys[..., 1, :]) * (dim // heads) ** -0.5
        self.probe = torch.einsum("bhtc,hcd->bthd", difference, query_map)
        self.probe_bias = torch.einsum("bhtc,hc->bth", difference, query_bias)
        out_map = attention.out_proj.weight.view(dim, heads, -1)
        self.base = torch.einsum("bhtc,dhc->btd", values[..., 1, :], out_map) + attention.out_proj.bias
        change = values[..., 0, :] - values[..., 1, :]
        self.change = torch.einsum("bhtc,dhc->bthd", change, out_map)

    def __call__(self, x: Tensor, time: int) -> Tensor:
        """Output (B, D) for the frame `time` with input x (B, D)."""
        layer, running = self.layer, len(x)
        q, k, v = layer.self_attn.project(x[:, None], slice(0, 3))
        self.keys[:running, :, time], self.values[:running, :, time] = k[:, :, 0], v[:, :, 0]
        past = slice(0, time + 1)
        age = torch.arange(time, -1, -1, device=x.device) // self.period
        scores = (self.keys[:running, :, past] @ q[..., 0, :, None])[..., 0] * q.shape[-1] ** -0.5
        weights = (scores - self.slopes * age).softmax(-1)
        heads = weights[:, :, None] @ self.values[:running, :, past]
        x = layer.norm1(x + layer.self_attn.merge(heads)[:, 0])
        return layer.transform(layer.norm2(x + self._attend_to_audio(x, time)))

    def _attend_to_audio(self, x: Tensor, time: int) -> Tensor:
        running = len(x)
        score = (self.probe[:running, time] @ x[..., None])[..., 0] + self.probe_bias[:running, time]
        change = (score.sigmoid()[:, None] @ self.change[:running, time])[:, 0]
        return self.base[:running, time] + change


class _Convolution:
    """The prior decoder's convolution over a growing clip, activated.

    A frame's five products with the kernel are made when it comes, and added where they belong: for good to the
    frames before it, and for the time being as the copies that stand behind the last frame.
    """

    def __init__(self, prior: ReferencePrior, clips: int, frames: int) -> None:
        block = prior.decoder.expander[0]
        assert isinstance(block, nn.Sequential)
        conv = block[0]
        assert isinstance(conv, nn.Conv1d) and conv.bias is not None
        self.width = conv.out_channels
        self.taps = conv.weight.permute(2, 0, 1).flatten(0, 1)  # (5 D, D), the tap of two frames later first
        self.sums = conv.bias.expand(clips, frames + 2, -1).clone()
        self.output = conv.weight.new_zeros(clips, frames, self.width)

    def append(self, latents: Tensor, time: int) -> None:
        """Take the latents (B, >= time + 1, D) of frame `time`."""
        running, sums = len(latents), self.sums
        products = functional.linear(latents[:, time], self.taps).view(running, 5, self.width)
        two_before, one_before, own, one_after, two_after = products.unbind(1)
        # `two_before` is what a frame adds two frames later: the tap that looks two frames back.
        sums[:running, time] += own
        sums[:running, time + 1] += one_before
        if time + 2 < sums.shape[1]:
            sums[:running, time + 2] += two_before
        if time == 0:  # frames -1 and -2 are copies of the first
            sums[:running, 0] += one_before + two_before
            sums[:running, 1] += two_before
        else:
            sums[:running, time - 1] += one_after
        if time > 1:
            sums[:running, time - 2] += two_after
        changed = slice(max(time - 2, 0), time + 1)
        current = sums[:running, changed].clone()
        current[:, -1] += one_after + two_after
        if time > 0:
            current[:, -2] += two_after
        self.output[:running, changed] = functional.leaky_relu(current, LEAK)

    def activations(self, running: int, time: int) -> Tensor:
        """(B, time, D) of the first clips; a single frame is doubled, as the reference does."""
        x = self.output[:running, :time]
        return x.expand(-1, 2, -1) if time == 1 else x


class _LastFrame:
    """What the talker is told of the last frame, from the activations of all frames so far."""

    def __init__(self, talker: ReferenceTalker, prior: ReferencePrior) -> None:
        decoder = prior.decoder
        blocks = list(decoder.decoder_transformer.net)
        self.early = packed_copy(nn.Sequential(*blocks[:-2]))
        attention, feed_forward = blocks[-2:]
        assert isinstance(attention, Residual) and isinstance(feed_forward, Residual)
        assert isinstance(attention.fn, PreNorm) and isinstance(attention.fn.fn, Attention)
        assert isinstance(feed_forward.fn, PreNorm) and isinstance(feed_forward.fn.fn, FeedForward)
        self.norm, self.attention, self.feed_forward = attention.fn.norm, attention.fn.fn, feed_forward
        self.embed = packed_copy(
            nn.Sequential(decoder.decoder_linear_embedding, decoder.decoder_pos_embedding)
        )
        last = decoder.vertice_map_reverse
        self.weight = talker.vertice_map.weight @ last.weight
        self.bias = talker.vertice_map.weight @ last.bias + talker.vertice_map.bias

    def __call__(self, activations: Tensor) -> Tensor:
        """Embedding (B, D) of the last frame, from activations (B, T, D), T at least 2."""
        x = functional.instance_norm(activations.transpose(1, 2)).transpose(1, 2)
        x = self.early(self.embed(x))
        last = x[:, -1] + self._attend(self.norm(x))
        return functional.linear(self.feed_forward(last), self.weight, self.bias)

    def _attend(self, x: Tensor) -> Tensor:
        """Attend from the last frame to all of x (B, T, D), without making keys and values: (B, D)."""
        heads, scale = self.attention.heads, self.attention.scale
        query_map, key_map, value_map = (
            w.view(heads, -1, w.shape[-1]) for w in self.attention.to_qkv.weight.chunk(3)
        )
        query = torch.einsum("bd,hcd->bhc", x[:, -1], query_map)
        probe = torch.einsum("bhc,hcd->bhd", query, key_map)
        weights = (probe @ x.transpose(1, 2) * scale).softmax(-1)
        mixed = torch.einsum("bhd,hcd->bhc", weights @ x, value_map)
        out: Tensor = self.attention.to_out(mixed.flatten(1))
        return out
