"""Tracks from sentences in pixels, and skeletons on disk."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from data.frames import read_poses
from diffusion.motion import load_text_to_poses, poses_from_text, write_poses
from models.text_to_poses import TextToPoses
from tests.toys import figure_joints, randomise
from utils.errors import UserError
from utils.pose_drawing import JOINT, draw_pose
from warping.joints import load_joints


@pytest.fixture(scope="module")
def model() -> TextToPoses:
    model = TextToPoses(cross_attention_dim=8, text_width=6, latent_dim=4, width=16, num_components=8)
    randomise(model)
    with torch.no_grad():
        model.components.weight.mul_(0.02)
        model.components.bias.zero_()
    return model.eval()


def sample(model: TextToPoses, pose: np.ndarray, seed: int = 0, width: int = 128, **sizes: int) -> np.ndarray:
    embeds = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(0))
    settings = {"height": 256, "num_frames": 6} | sizes
    generator = torch.Generator().manual_seed(seed)
    return poses_from_text(model, embeds, pose, width=width, generator=generator, **settings)


def test_it_begins_with_the_photos_pose_and_seeds_differ(model) -> None:
    pose = figure_joints(1, 256)[0]
    pose[JOINT["left_ear"]] = (3.25, 4.5, 0)
    joints, again, other = (sample(model, pose, seed) for seed in (0, 0, 1))
    assert joints.shape == (6, 18, 3) and joints.dtype == np.float32
    assert np.array_equal(joints[0], pose) and np.array_equal(joints, again)
    assert set(np.unique(joints[..., 2])) <= {0, 1}
    assert np.abs(joints - other)[1:, :, :2].max() > 0.5


@pytest.mark.parametrize(("hidden", "seen"), [("left_elbow", "left_wrist"), ("nose", "right_ear")])
def test_what_hangs_on_a_joint_without_a_place_stays_near_where_it_is(model, hidden: str, seen: str) -> None:
    pose = figure_joints(1, 256)[0]
    whole = sample(model, pose, width=1000)
    pose[JOINT[hidden]] = 0
    joints = sample(model, pose, width=1000)
    assert np.array_equal(joints[0], pose)
    assert np.abs(joints - whole)[:, JOINT[seen], :2].max() < 60


def test_place_and_size_of_the_person_do_not_matter(model) -> None:
    pose = figure_joints(1, 256)[0]
    moved = pose.copy()
    moved[:, :2] = pose[:, :2] * 2 + (300, 40)
    joints = sample(model, pose, width=10_000, height=10_000)
    doubled = sample(model, moved, width=10_000, height=10_000)
    np.testing.assert_allclose(doubled[..., :2], joints[..., :2] * 2 + (300, 40), atol=0.05)


def test_nobody_walks_out_of_the_side_of_the_picture(model) -> None:
    pose = figure_joints(1, 256)[0]
    aside = TextToPoses.from_config(model.config).eval()
    aside.load_state_dict(model.state_dict())
    with torch.no_grad():
        aside.components.weight.zero_()
        bias = aside.components.bias.view(18, -1)
        bias[:, -aside.config.num_visibility_cosines] = 5  # all joints are seen
        bias[JOINT["neck"], 0] = -1  # and go two torsos to the right of the picture
    wide, narrow = sample(aside, pose, width=1000), sample(aside, pose)
    assert wide[-1, 1, 0] - pose[1, 0] == pytest.approx(2 * 0.26 * 256, abs=1)
    assert 20 < narrow[-1, 1, 0] - pose[1, 0] < 30
    assert narrow[..., 0].max() < 127 and narrow[..., 2].all()
    np.testing.assert_allclose(np.ptp(narrow[..., 0], axis=1), np.ptp(pose[:, 0]), atol=1e-3)


def test_a_pose_without_trunk_is_refused(model) -> None:
    pose = figure_joints(1, 256)[0]
    without_neck, without_hips = pose.copy(), pose.copy()
    without_neck[JOINT["neck"], 2] = 0
    without_hips[[JOINT["left_hip"], JOINT["right_hip"]], 2] = 0
    for bad in (without_neck, without_hips):
        with pytest.raises(UserError, match="needs a neck and hips"):
            sample(model, bad)


def test_saved_in_half_precision_and_loaded(model, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no text-to-poses model"):
        load_text_to_poses(tmp_path)
    half = TextToPoses.from_config(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(tmp_path / "text_to_poses")
    loaded = load_text_to_poses(tmp_path, 8)
    assert loaded.dtype == torch.float32 and not loaded.training
    pose = figure_joints(1, 256)[0]
    np.testing.assert_allclose(sample(loaded, pose)[..., :2], sample(model, pose)[..., :2], atol=0.5)
    with pytest.raises(UserError, match="width 8, the text encoder writes 9"):
        load_text_to_poses(tmp_path, 9)
    weights = tmp_path / "text_to_poses" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot load the text-to-poses model"):
        load_text_to_poses(tmp_path)


def test_skeletons_are_written_with_their_joints(tmp_path: Path) -> None:
    joints = figure_joints(3, 64) + np.float32([0.123, 0.456, 0])
    write_poses(tmp_path / "a_poses", joints, 64, 32)
    pictures = read_poses(tmp_path / "a_poses")
    assert np.array_equal(pictures, [draw_pose(frame, 64, 32) for frame in joints])
    assert np.array_equal(load_joints(tmp_path / "a_poses", 3), joints)
    shutil.rmtree(tmp_path / "a_poses")
    write_poses(tmp_path / "a_poses", joints[:2], 64, 32)
    assert len(list((tmp_path / "a_poses").iterdir())) == 2
