"""Named sizes of the denoiser, as arguments of its constructor."""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "published": {},
    "small": {
        "latent_channels": 16,
        "block_out_channels": (40, 80, 160),
        "text_attention_heads": (1, 1, 2),
        "spatio_temporal_attention": (False, False, True),
        "temporal_downsample": (False, False, False),
        "attention_heads": 4,
        "attention_head_dim": 32,
        "cross_attention_dim": 128,
        "pose_channels": (16, 32, 48, 64),
        "prediction_type": "sample",
        "reference_input": True,
        "warp_input": True,
        "keep_unused_tensors": False,
    },
    "published_small": {
        "latent_channels": 16,
        "block_out_channels": (40, 80, 160),
        "text_attention_heads": (1, 1, 2),
        "spatio_temporal_attention": (False, False, True),
        "temporal_downsample": (False, False, True),
        "attention_heads": 4,
        "attention_head_dim": 32,
        "cross_attention_dim": 128,
        "pose_channels": (16, 32, 48, 64),
        "keep_unused_tensors": False,
    },
    "tiny": {
        "latent_channels": 8,
        "block_out_channels": (16, 32),
        "text_attention_heads": (1, 2),
        "spatio_temporal_attention": (False, True),
        "temporal_downsample": (False, False),
        "attention_heads": 2,
        "attention_head_dim": 8,
        "cross_attention_dim": 32,
        "pose_channels": (8, 8, 16, 16),
        "prediction_type": "sample",
        "reference_input": True,
        "warp_input": True,
        "keep_unused_tensors": False,
    },
}
"""published: the published model. small: the one that ships, for latents of 32 x 16. published_small: the
published design (noise prediction; the photo only through residuals on the skips; half the frames at the last
level) at the width and on the latents of small, to measure small against. tiny: for tests."""
