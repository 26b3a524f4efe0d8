import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.keypoints import joint_errors
from models.keypoint_detector import (
    HEIGHT,
    WIDTH,
    KeypointDetector,
    detect_joints,
    expected_places,
    load_detector,
    save_detector,
)
from recipe import train_keypoint_detector
from recipe.train_keypoint_detector import (
    MIRRORED,
    Config,
    Examples,
    change_examples,
    choose_examples,
    read_examples,
)
from tests.toys import figure_joints
from utils.errors import UserError
from utils.files import read_json
from utils.pose_drawing import JOINT, JOINT_NAMES


def test_joint_errors() -> None:
    truth = figure_joints(3, 256)
    assert joint_errors(truth, truth, 256) == (0, 1)
    moved = truth + np.array([2.56, 0, 0])
    error, pck = joint_errors(moved, truth, 256)
    assert (error, pck) == (pytest.approx(1, abs=1e-4), 1)
    far = truth.copy()
    far[:, JOINT["left_wrist"], 0] += 100
    assert joint_errors(far, truth, 256)[1] == pytest.approx(17 / 18)


def test_joints_that_the_truth_hides_do_not_count_and_those_that_were_missed_do() -> None:
    truth = figure_joints(3, 256)
    truth[:, JOINT["left_ear"], 2] = 0
    found = truth.copy()
    found[:, JOINT["left_ear"], :2] = 0
    assert joint_errors(found, truth, 256) == (0, 1)
    found[:, JOINT["nose"], 2] = 0
    assert joint_errors(found, truth, 256) == (0, pytest.approx(16 / 17))
    assert np.isnan(joint_errors(found, np.zeros_like(truth), 256)).all()


def test_expected_places_are_in_input_pixels() -> None:
    heat = torch.full((1, 18, 32, 16), -30.0)
    heat[0, :, 10, 5] = 30
    assert torch.allclose(expected_places(heat)[0], torch.tensor([5 * 4 + 1.5, 10 * 4 + 1.5]).expand(18, 2))


def test_detected_joints_follow_the_frames_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_detector(tmp_path / "detector.safetensors", KeypointDetector())
    detector = load_detector(tmp_path / "detector.safetensors")
    frames = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
    small = detect_joints(detector, frames)
    large = detect_joints(detector, frames.repeat(2, axis=1).repeat(2, axis=2))
    assert small.shape == (2, 18, 3)
    np.testing.assert_allclose(large[..., :2], 2 * small[..., :2] + 0.5, atol=0.05)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="does not hold a keypoint detector"):
        load_detector(path)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    detector = KeypointDetector()
    joints = torch.from_numpy(figure_joints(2, HEIGHT))
    train_keypoint_detector.compute_loss(detector, torch.randn(2, 3, HEIGHT, WIDTH), joints).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in detector.parameters())


def test_mirroring_swaps_left_and_right() -> None:
    assert JOINT_NAMES[MIRRORED[JOINT["left_knee"]]] == "right_knee"
    assert MIRRORED[JOINT["nose"]] == JOINT["nose"]
    assert [MIRRORED[i] for i in MIRRORED] == list(range(18))


@pytest.mark.parametrize("seed", range(4))
def test_changed_examples_keep_joints_on_their_places(seed: int) -> None:
    joints = figure_joints(8, HEIGHT, shift=0)
    pictures = np.zeros((8, HEIGHT, WIDTH, 3), np.uint8)
    x, y = joints[0, JOINT["neck"], :2].round().astype(int)
    pictures[:, y - 2 : y + 3, x - 2 : x + 3] = 255
    examples = Examples(pictures=pictures, joints=joints, people=None)
    changed, moved = change_examples(examples, np.random.default_rng(seed))
    found = 0
    for picture, joint in zip(changed.astype(float), moved[:, JOINT["neck"]], strict=True):
        bright = np.argwhere(picture.sum(axis=2) > 0.7 * picture.sum(axis=2).max())
        compact = np.ptp(bright, axis=0).max() < 10  # else noise or a patch is as bright
        if joint[2] > 0 and compact:
            assert np.abs(bright.mean(axis=0)[::-1] - joint[:2]).max() < 2
            found += 1
    assert found >= 4


def test_who_leaves_the_picture_is_not_seen() -> None:
    joints = figure_joints(64, HEIGHT, shift=0)
    examples = Examples(pictures=np.zeros((64, HEIGHT, WIDTH, 3), np.uint8), joints=joints, people=None)
    _, moved = change_examples(examples, np.random.default_rng(0))
    inside = ((moved[..., :2] >= 0) & (moved[..., :2] <= [WIDTH - 1, HEIGHT - 1])).all(axis=-1)
    assert 0 < (~inside).sum() < inside.sum()
    assert ((moved[..., 2] > 0) == inside).all()


def test_another_background_leaves_the_person(rendered_dir: Path) -> None:
    examples = read_examples(rendered_dir, "train", 3)
    assert examples.people is not None
    assert 0.02 < (examples.people > 127).mean() < 0.5
    middle = examples.pictures[0].astype(float)
    person = examples.people[0] == 255
    assert middle[person].std() > middle[0].std()  # cloth and skin there, and a plain wall above


def test_training_learns_writes_and_repeats(rendered_dir: Path, tmp_path: Path) -> None:
    config = Config(
        dataset=rendered_dir,
        output_path=tmp_path / "a.safetensors",
        max_train_steps=12,
        train_batch_size=4,
        frames_per_clip=2,
        dtype="float32",
        device="cpu",
    )
    train_keypoint_detector.main(config)
    train_keypoint_detector.main(dataclasses.replace(config, output_path=tmp_path / "b.safetensors"))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    metrics = read_json(tmp_path / "a.json")
    assert metrics["settings"]["max_train_steps"] == 12
    assert 0 < metrics["test"]["joint_error"] < 40
    load_detector(tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()
    with pytest.raises(UserError, match="exists; give another --output_path"):
        train_keypoint_detector.main(config)
    assert (tmp_path / "a.safetensors").read_bytes() == before
    assert train_keypoint_detector.Config().output_path.parts[0] == "runs"


def test_examples_are_read_at_the_detectors_size(rendered_dir: Path) -> None:
    examples = read_examples(rendered_dir, "train", 3)
    assert examples.pictures.shape == (6, HEIGHT, WIDTH, 3)
    assert examples.joints.shape == (6, 18, 3)
    assert set(np.unique(examples.joints[..., 2])) <= {0, 1}
    assert examples.joints[..., 0].max() < WIDTH and examples.joints[..., 1].max() < HEIGHT
    chosen = examples.choose(np.array([4, 1]))
    assert np.array_equal(chosen.pictures[1], examples.pictures[1])
    assert chosen.people is not None and len(chosen.people) == 2


def test_a_dataset_without_masks_is_learnt_from_as_well(rendered_dir: Path, tmp_path: Path) -> None:
    for folder in ("fashion_crop", "fashion_poses", "train"):
        (tmp_path / folder).symlink_to(rendered_dir / folder)
    examples = read_examples(tmp_path, "train", 2)
    assert examples.people is None
    change_examples(examples, np.random.default_rng(0))


def test_turned_bodies_are_drawn_more_often() -> None:
    joints = np.repeat(figure_joints(1, HEIGHT), 100, axis=0)
    joints[:5, JOINT["left_shoulder"], 0] = joints[:5, JOINT["right_shoulder"], 0] - 3  # backs
    rng = np.random.default_rng(0)
    shares = [(choose_examples(joints, share, 2000, rng) < 5).mean() for share in (0.0, 0.4, 1.0)]
    assert shares[0] < 0.1 and shares[1] == pytest.approx(0.43, abs=0.05) and shares[2] == 1
    assert choose_examples(joints[5:], 1.0, 8, rng).max() < 95
