"""Measures by networks of others, from the user's own files: LPIPS, FID, FVD and the CLIP score."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from utils.errors import UserError
from utils.image import to_signed

FLAGS = {
    "lpips": "--lpips_weights FILE (TorchScript: two pictures (n, 3, H, W) in [-1, 1] -> n distances)",
    "fid": "--inception_weights FILE (TorchScript: uint8 pictures (n, 3, H, W) -> features)",
    "fvd": "--i3d_weights FILE (TorchScript: videos (n, 3, F, 224, 224) in [-1, 1] -> features)",
    "clip_score": "--clip_model DIR (a CLIP model with its tokenizer, in transformers' layout)",
}
NOT_COMPUTED = {name: f"no weights; give {flag}" for name, flag in FLAGS.items()}
I3D_SIZE = 224
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class LearnedMetrics:
    """Holds the networks that the user gave files for.

    Args:
        lpips: TorchScript file, Zhang et al., 2018.
        inception: TorchScript file, for the distance of Heusel et al., 2017.
        i3d: TorchScript file, for the distance of Unterthiner et al., 2018.
        clip: folder, for the score of Hessel et al., 2021.
        device: where the networks run.

    Raises:
        UserError: a file is missing or holds something else.
    """

    def __init__(
        self,
        lpips: Path | None = None,
        inception: Path | None = None,
        i3d: Path | None = None,
        clip: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.lpips, self.inception, self.i3d = (self._load_script(path) for path in (lpips, inception, i3d))
        self.clip = None if clip is None else _load_clip(clip)
        if self.clip is not None:
            self.clip[0].to(self.device)

    def _load_script(self, path: Path | None) -> torch.jit.ScriptModule | None:
        if path is None:
            return None
        try:
            return torch.jit.load(str(path), map_location=self.device).eval()
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:120]
            raise UserError(
                f"{path} is not a TorchScript file ({reason}); save one with torch.jit.save"
            ) from error

    @torch.no_grad()
    def measure(self, video: np.ndarray, truth: np.ndarray, text: str) -> dict[str, float | str]:
        """LPIPS against the truth and the CLIP score with the sentence, for one clip (F, H, W, 3) uint8."""
        values: dict[str, float | str] = {name: NOT_COMPUTED[name] for name in ("lpips", "clip_score")}
        if self.lpips is not None:
            pairs = zip(to_signed(video).split(8), to_signed(truth).split(8), strict=True)
            distances = [self.lpips(a.to(self.device), b.to(self.device)).flatten() for a, b in pairs]
            values["lpips"] = float(torch.cat(distances).mean())
        if self.clip is not None:
            values["clip_score"] = self._clip_score(video, text)
        return values

    def _clip_score(self, video: np.ndarray, text: str) -> float:
        """100 max(cosine of picture and sentence, 0), the mean over frames."""
        assert self.clip is not None
        model, tokenizer = self.clip
        size = model.config.vision_config.image_size
        pixels = functional.interpolate(
            (to_signed(video) + 1) / 2, (size, size), mode="bicubic", antialias=True
        )
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
        pixels = (pixels.clamp(0, 1) - mean) / std
        tokens = tokenizer([text], truncation=True, return_tensors="pt").to(self.device)
        outputs = model(pixel_values=pixels.to(self.device), **tokens)
        cosines = (
            functional.normalize(outputs.image_embeds, dim=-1)
            @ functional.normalize(outputs.text_embeds, dim=-1).T
        )
        return float(100 * cosines.clamp_min(0).mean())

    @torch.no_grad()
    def features(self, video: np.ndarray) -> dict[str, np.ndarray]:
        """What FID and FVD compare, of one clip (F, H, W, 3) uint8, where weights are given.

        Returns:
            "fid" (F, d) and "fvd" (1, d), float64.
        """
        found = {}
        if self.inception is not None:
            pictures = torch.from_numpy(video).permute(0, 3, 1, 2).contiguous()
            chunks = [_features(self.inception, chunk.to(self.device)) for chunk in pictures.split(8)]
            found["fid"] = torch.cat(chunks).double().cpu().numpy()
        if self.i3d is not None:
            small = np.stack(
                [cv2.resize(frame, (I3D_SIZE, I3D_SIZE), interpolation=cv2.INTER_AREA) for frame in video]
            )
            clip = to_signed(small).transpose(0, 1)[None].contiguous()
            found["fvd"] = _features(self.i3d, clip.to(self.device)).double().cpu().numpy()
        return found


def _features(network: torch.jit.ScriptModule, inputs: torch.Tensor) -> torch.Tensor:
    """Call a network; the usual files want to be told that features, not logits, are meant."""
    schema: Any = network.forward  # a script method, which knows its arguments
    known = {argument.name for argument in schema.schema.arguments}
    wanted = {"return_features": True, "rescale": False, "resize": False}
    return (
        network(inputs, **{name: value for name, value in wanted.items() if name in known}).flatten(1).float()
    )


def _load_clip(path: Path) -> tuple[CLIPModel, CLIPTokenizer]:
    if not (path / "config.json").is_file():
        raise UserError(
            f"--clip_model {path} holds no config.json; give a CLIP model's folder in transformers' layout"
        )
    try:
        model = CLIPModel.from_pretrained(path, local_files_only=True)
        tokenizer = CLIPTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot load the CLIP model in {path}: {' '.join(str(error).split())[:200]}"
        ) from error
    return model.eval().requires_grad_(False), tokenizer


def frechet_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Frechet distance of two Gaussians fitted to features (n, d) and (m, d), n and m at least 2.

    |mu1 - mu2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). With centred features A and B, C1 = A'A / (n - 1), and the
    last trace is the sum of the singular values of A B' / sqrt((n - 1) (m - 1)): no root of a d x d matrix is
    needed.
    """
    means = ours.mean(axis=0), theirs.mean(axis=0)
    a = (ours - means[0]) / np.sqrt(len(ours) - 1)
    b = (theirs - means[1]) / np.sqrt(len(theirs) - 1)
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    distance = np.square(means[0] - means[1]).sum() + np.square(a).sum() + np.square(b).sum() - 2 * root
    return float(max(distance, 0.0))
