from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from data.latents import LatentVideo, projection_command, write_latent_video
from data.pose_cache import encode_picture, pack_pictures, resize_pictures
from models.loading import model_sha256
from utils.errors import UserError
from utils.files import write_json


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


def test_a_video_without_warps_poses_and_person_says_so(tmp_path):
    write_latent_video(tmp_path / "a.safetensors", {"latents": torch.zeros(3, 4, 2, 2).half()}, {})
    video = LatentVideo(tmp_path / "a.safetensors")
    assert video.reference_frames.tolist() == []
    assert not video.has_poses and not video.has_person


def make_poses(path, num_frames=40):
    """Pictures of noise, of which nothing may be lost, and random places of a person."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (num_frames, 24, 16, 3), dtype=np.uint8)
    pictures[::2] *= generator.random((num_frames // 2, 24, 16, 1)) < 0.1
    data, offsets = pack_pictures([encode_picture(picture) for picture in pictures])
    person = torch.from_numpy(generator.random((num_frames, 3, 2)) < 0.5)
    tensors = {"latents": torch.zeros(num_frames, 4, 3, 2).half(), "person": person}
    write_latent_video(path, tensors | {"pose_bytes": data, "pose_offsets": offsets}, {})
    return pictures, person


def test_poses_and_the_person_are_read_bit_by_bit_in_any_order(tmp_path):
    pictures, person = make_poses(tmp_path / "a.safetensors")
    video = LatentVideo(tmp_path / "a.safetensors")
    for frames in ([2, 3, 4], [6, 0, 3, 3], [39, 0], np.array([5]), range(40)):
        expected = torch.from_numpy(pictures[list(frames)]).permute(0, 3, 1, 2).float() / 127.5 - 1
        poses = video.poses(frames)
        assert torch.equal(poses, expected) and poses.is_contiguous()
        assert torch.equal(video.person(frames), person[list(frames)])


def test_a_damaged_pose_is_named(tmp_path):
    make_poses(tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(content.replace(b"RIFF", b"ruff", 1))
    video = LatentVideo(tmp_path / "a.safetensors")
    assert len(video.poses([1, 2])) == 2
    with pytest.raises(UserError, match=r"a\.safetensors holds a damaged pose"):
        video.poses([0, 1])


def test_pictures_of_another_size_are_antialiased_and_rounded():
    pictures = np.zeros((2, 8, 8, 3), np.uint8)
    pictures[1, :2, :2] = (255, 100, 3)
    assert resize_pictures(pictures, 8, 8) is pictures
    small = resize_pictures(pictures, 2, 2)
    assert small.shape == (2, 2, 2, 3) and small.dtype == np.uint8 and not small[0].any()
    planes = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    exact = functional.interpolate(planes, (2, 2), mode="bilinear", antialias=True)
    assert np.abs(small.transpose(0, 3, 1, 2) - exact.numpy()).max() <= 0.5


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
    first = model_sha256(vae)
    vae.save_pretrained(tmp_path / "one")
    again = AutoencoderKL.from_pretrained(tmp_path / "one")
    assert model_sha256(again) == first
    again.register_to_config(scaling_factor=0.6)
    assert model_sha256(again) != first
    next(vae.parameters()).data.view(-1)[0] += 1e-3
    assert model_sha256(vae) != first


def test_the_command_to_project_has_the_settings_of_what_is_there(tmp_path: Path) -> None:
    plain = f"python project_latent_space.py --dataset data --output_dir {tmp_path}"
    assert projection_command("data", tmp_path) == plain
    settings = {"vae": "my vae", "warper": None, "num_photos": 3, "height": None, "batch_size": 4}
    write_json(tmp_path / "config.json", settings)
    assert projection_command("data", tmp_path) == f"{plain} --vae 'my vae' --warper None --num_photos 3"
