import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from data.latents import LatentVideo, vae_sha256, write_latent_video
from utils.errors import UserError


def make_video(path, num_frames=40, references=(0, 3)):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "latents": torch.randn(num_frames, 4, 3, 2, generator=generator).half(),
        "reference_frames": torch.tensor(references),
        "warped_latents": torch.randn(len(references), num_frames, 4, 3, 2, generator=generator).half(),
        "warp_validity": torch.rand(len(references), num_frames, 1, 3, 2, generator=generator).half(),
    }
    write_latent_video(path, tensors, {"vae_sha256": "abc"})
    return tensors


def test_any_frames_are_read_in_any_order(tmp_path):
    tensors = make_video(tmp_path / "a.safetensors")
    video = LatentVideo(tmp_path / "a.safetensors")
    assert video.num_frames == 40 and video.reference_frames.tolist() == [0, 3]
    assert video.metadata == {"vae_sha256": "abc"}
    for frames in ([2, 3, 4], [6, 0, 3, 3], [39, 0], np.array([5]), range(40)):
        expected = torch.tensor(list(frames))
        assert torch.equal(video.latents(frames), tensors["latents"][expected].float())
        warped, validity = video.warp(1, frames)
        assert torch.equal(warped, tensors["warped_latents"][1, expected].float())
        assert torch.equal(validity, tensors["warp_validity"][1, expected].float())


def test_a_video_without_warps_says_so(tmp_path):
    write_latent_video(tmp_path / "a.safetensors", {"latents": torch.zeros(3, 4, 2, 2).half()}, {})
    assert LatentVideo(tmp_path / "a.safetensors").reference_frames.tolist() == []


def test_missing_and_damaged_files_are_named(tmp_path):
    make_video(tmp_path / "good.safetensors")
    data = (tmp_path / "good.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.safetensors").write_text("not latents")
    for name in ("cut", "text", "missing"):
        with pytest.raises(UserError, match=rf"{name}\.safetensors"):
            LatentVideo(tmp_path / f"{name}.safetensors")


def test_the_sum_of_a_vae_outlives_saving_and_notices_a_weight_and_a_setting(tmp_path):
    torch.manual_seed(0)
    vae = AutoencoderKL(block_out_channels=[8], norm_num_groups=4, scaling_factor=0.5)
    first = vae_sha256(vae)
    vae.save_pretrained(tmp_path / "one")
    again = AutoencoderKL.from_pretrained(tmp_path / "one")
    assert vae_sha256(again) == first
    again.register_to_config(scaling_factor=0.6)
    assert vae_sha256(again) != first
    next(vae.parameters()).data.view(-1)[0] += 1e-3
    assert vae_sha256(vae) != first
