"""AV-HuBERT's audio-visual encoder, for inference, in plain torch.

Shi et al., "Learning Audio-Visual Speech Representation by Masked Multimodal Cluster Prediction" (ICLR
2022). Legend: B clips, T frames at 25 Hz, D width. Modules bear the names of the original checkpoint's
tensors (after its prefix `encoder.w2v_model.`). Everything that only training needs is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from multitalk.eval.lip_reading.network.av_hubert_frontend import AudioFrontEnd, VideoFrontEnd


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Sizes of an encoder; all but the number of heads can be read off its tensors."""

    width: int
    """D."""
    layers: int
    heads: int
    feed_forward: int
    audio_features: int = 104
    """Log filterbank values a frame: 26 filters x 4 stacked frames."""
    position_kernel: int = 128
    position_groups: int = 16

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % self.position_groups:
            raise ValueError(
                f"width {self.width} is not divisible by {self.heads} heads and {self.position_groups} groups"
            )


class SelfAttention(nn.Module):
    """Multi-head self-attention over all frames."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        query, key, value = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.out_proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """Transformer layer with the norm before each half, and exact GELU."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.self_attn = SelfAttention(shape.width, shape.heads)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, shape.feed_forward)
        self.fc2 = nn.Linear(shape.feed_forward, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        return x + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(x))))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Convolutional positions, the layers, and the norm after the last one."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        kernel = shape.position_kernel
        # The checkpoint's weight norm is folded into a plain weight when it is loaded.
        self.pos_conv = nn.Sequential(
            nn.Conv1d(shape.width, shape.width, kernel, padding=kernel // 2, groups=shape.position_groups)
        )
        self.layers = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.layers))
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        # An even kernel padded on both sides gives one frame too many: the last is dropped.
        positions = self.pos_conv(x.transpose(1, 2))[..., : x.shape[1]]
        x = x + functional.gelu(positions).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x)  # type: ignore[no-any-return]


class AvHubertEncoder(nn.Module):
    """Audio and video of one clip, or one of the two, to the features that the decoder reads.

    Parameters
    ----------
    shape
        Sizes.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.feature_extractor_audio = AudioFrontEnd(shape.audio_features, shape.width)
        self.feature_extractor_video = VideoFrontEnd(shape.width)
        self.layer_norm = nn.LayerNorm(2 * shape.width)
        self.post_extract_proj = nn.Linear(2 * shape.width, shape.width)
        self.encoder = Transformer(shape)

    @torch.inference_mode()
    def video_features(self, video: Tensor) -> Tensor:
        """Run the video front end: the costly part, and the same whatever the sound.

        Parameters
        ----------
        video
            (B, 1, T, 88, 88) grey mouth pictures, normalised.

        Returns
        -------
        Tensor
            (B, T, D).
        """
        return self.feature_extractor_video(video)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def audio_features(self, audio: Tensor) -> Tensor:
        """Project log filterbanks (B, T, 104) to (B, T, D)."""
        return self.feature_extractor_audio(audio)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def forward(self, audio: Tensor | None, video: Tensor | None) -> Tensor:
        """Fuse and encode.

        Parameters
        ----------
        audio, video
            (B, T, D) features of each modality; None for one that is absent, which counts as zeros.

        Returns
        -------
        Tensor
            (B, T, D) after the final norm.

        Raises
        ------
        ValueError
            Both are absent, or their frames differ.
        """
        present = audio if audio is not None else video
        if present is None:
            raise ValueError("either audio or video features are needed")
        audio = torch.zeros_like(present) if audio is None else audio
        video = torch.zeros_like(present) if video is None else video
        if audio.shape != video.shape:
            raise ValueError(f"audio {tuple(audio.shape)} and video {tuple(video.shape)} differ in shape")
        fused = self.post_extract_proj(self.layer_norm(torch.cat([audio, video], dim=-1)))
        return self.encoder(fused)  # type: ignore[no-any-return]
