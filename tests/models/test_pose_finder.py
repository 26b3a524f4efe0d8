"""The pose finder: real weights on the clips that ship; tracks mended, smoothed and reported."""

import ast
import builtins
import concurrent.futures
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.pose_finder import SHIPPED_FINDER, WEIGHTS_NAME, WEIGHTS_SHA256, Pose, PoseFinder
from models.pose_tracking import (
    GROUPS,
    PoseTrack,
    find_jumps,
    find_swaps,
    follow,
    runs,
    seen_joints,
    smooth,
    swap_sides,
    torso_length,
)
from utils.checkpoint import file_sha256
from utils.errors import UserError
from utils.image import read_image
from utils.pose_drawing import JOINT, JOINT_NAMES, NUM_JOINTS
from utils.video import read_video

ROOT = Path(__file__).resolve().parents[2]
DATASET = ROOT / "fashion_dataset"
REAL = ROOT / "../shared/real_inputs"
needs_real_inputs = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"needs photos and clips in {REAL}; they do not ship"
)


@pytest.fixture(scope="module")
def finder() -> PoseFinder:
    return PoseFinder.from_pretrained()


def shipped_clip(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Frames (24, 512, 256, 3) and true joints (24, 18, 3) of a clip that ships."""
    frames = np.stack([read_image(path) for path in sorted((DATASET / "fashion_crop" / name).glob("*.jpg"))])
    truth = json.loads((DATASET / "fashion_poses" / f"{name}.json").read_text())["keypoints"]
    return frames, np.array(truth, np.float32)


def errors_in_percent(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distances of the shown joints in percent of the height from nose to ankles."""
    away = np.linalg.norm(found[..., :2] - truth[..., :2], axis=-1)
    return (away / np.ptp(truth[..., 1], axis=-1)[..., None] * 100)[truth[..., 2] > 0]


# One picture.


def test_a_person_is_found_in_a_shipped_frame(finder: PoseFinder) -> None:
    frames, truth = shipped_clip("test_00000")
    pose = finder.find(frames[0])
    assert isinstance(pose, Pose) and pose.found and pose.score > 0.9
    assert pose.keypoints.shape == (NUM_JOINTS, 3) and pose.confidence.shape == (NUM_JOINTS,)
    np.testing.assert_array_equal(pose.keypoints[:, 2], truth[0, :, 2])
    errors = errors_in_percent(pose.keypoints, truth[0])
    assert np.median(errors) < 2 and errors.max() < 8
    again = finder.find(frames[0])
    np.testing.assert_array_equal(again.keypoints, pose.keypoints)


def test_the_mask_is_the_person(finder: PoseFinder) -> None:
    frames, _ = shipped_clip("test_00000")
    true_mask = np.array(Image.open(DATASET / "fashion_masks/test_00000/000.png")) > 0
    mask = finder.find(frames[0]).mask
    assert mask is not None and mask.shape == frames.shape[1:3] and 0 <= mask.min() <= mask.max() <= 1
    ours = mask > 0.5
    assert (ours & true_mask).sum() / (ours | true_mask).sum() > 0.93
    assert finder.find(frames[0], with_mask=False).mask is None


@pytest.mark.parametrize("size", [(1800, 3200), (3000, 1500)])
def test_a_small_person_in_a_large_photo_is_found(finder: PoseFinder, size: tuple[int, int]) -> None:
    frames, _ = shipped_clip("test_00002")
    person = frames[0]
    alone = finder.find(person).keypoints
    photo = np.full((*size, 3), frames[0, 2, 2], np.uint8)
    top, left = int(size[0] * 0.6), int(size[1] * 0.7)
    photo[top : top + 512, left : left + 256] = person
    pose = finder.find(photo, with_mask=False)
    away = np.linalg.norm(pose.keypoints[:, :2] - [left, top] - alone[:, :2], axis=1)
    assert pose.found and np.median(away) < 0.015 * 512


@pytest.mark.parametrize("picture", ["grey", "noise", "smallest"])
def test_nobody_is_found_where_nobody_is(finder: PoseFinder, picture: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3)).astype(np.uint8)
    pixels = {"grey": np.full((300, 200, 3), 128, np.uint8), "noise": noise, "smallest": noise[:16, :16]}
    pose = finder.find(pixels[picture])
    assert not pose.found and pose.mask is None and not pose.keypoints.any()


def test_who_is_mirrored_has_her_sides_exchanged(finder: PoseFinder) -> None:
    frames, _ = shipped_clip("test_00003")
    plain, mirrored = finder.find(frames[0]).keypoints, finder.find(frames[0, :, ::-1].copy()).keypoints
    mirrored[:, 0] = frames.shape[2] - 1 - mirrored[:, 0]
    back = swap_sides(mirrored[None], np.ones((1, len(GROUPS)), bool))[0]
    assert np.linalg.norm(back[:, :2] - plain[:, :2], axis=1).max() < 0.04 * frames.shape[1]


def test_the_face_is_seen_as_the_head_looks() -> None:
    points, confidence = np.full((4, NUM_JOINTS, 3), 50.0), np.ones((4, NUM_JOINTS))
    for frame, (x, depth) in enumerate(
        [(10, 0), (0, 10), (-10, 0), (0, -10)]
    ):  # front, her left, back, right
        points[frame, JOINT["left_ear"], [0, 2]] += x, depth
        points[frame, JOINT["right_ear"], [0, 2]] -= x, depth
    seen = seen_joints(points, confidence, (100, 100))
    face = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
    front, left, back, right = ({name for name in face if seen[i, JOINT[name]]} for i in range(4))
    assert front == set(face) and back == set()
    assert left == {"nose", "right_eye", "right_ear"} and right == {"nose", "left_eye", "left_ear"}
    confidence[:, JOINT["left_wrist"]] = 0.05
    points[0, JOINT["neck"], 0] = 100
    seen = seen_joints(points, confidence, (100, 100))
    assert not seen[:, JOINT["left_wrist"]].any() and not seen[0, JOINT["neck"]] and seen[1, JOINT["neck"]]


def test_a_doubtful_leg_at_the_lower_edge_is_cut_off_by_it() -> None:
    points, confidence = turning_body(1), np.full((1, NUM_JOINTS), 0.4)
    knee, ankle = JOINT["left_knee"], JOINT["left_ankle"]
    height = int(points[0, knee, 1]) + 10
    seen = seen_joints(points, confidence, (height, 600))
    assert not seen[0, knee] and not seen[0, ankle] and seen[0, JOINT["left_hip"]]
    assert seen_joints(points, confidence + 0.5, (height, 600))[0, knee]
    assert seen_joints(points, confidence, (800, 600))[0, [knee, ankle]].all()


# A clip.


def test_a_turn_around_is_followed(finder: PoseFinder) -> None:
    frames, truth = shipped_clip("test_00005")
    steps = []
    track = finder.find_track(iter(frames), fps=8, with_masks=True, progress=steps.append)
    assert isinstance(track, PoseTrack) and steps == [1] * len(frames)
    assert track.missing == [] and track.gaps == [] and track.keypoints.shape == truth.shape
    assert np.median(errors_in_percent(track.keypoints, truth)) < 2
    for part in ("shoulder", "hip"):
        ours, theirs = (
            (joints[:, JOINT[f"left_{part}"]] - joints[:, JOINT[f"right_{part}"]])[:, 0]
            for joints in (track.keypoints, truth)
        )
        clear = np.abs(theirs) > 4
        assert (np.sign(ours) == np.sign(theirs))[clear].all()
    assert (track.keypoints[..., 2] == truth[..., 2]).mean() > 0.97
    assert all(mask is not None and mask.shape == frames.shape[1:3] for mask in track.masks)


def test_frames_without_a_person_are_reported(finder: PoseFinder) -> None:
    frames, _ = shipped_clip("test_00001")
    frames = frames.copy()
    frames[8:10] = 200
    frames[20:] = 200
    track = finder.find_track(frames, fps=8)
    assert track.missing == [8, 9, 20, 21, 22, 23]
    assert track.gaps == [(20, 24)]
    assert track.keypoints[8:10, JOINT["neck"], 2].all() and not track.confidence[8:10].any()
    assert not track.keypoints[20:, :, 2].any() and track.masks == [None] * 24
    neck = track.keypoints[:, JOINT["neck"], 0]
    assert min(neck[7], neck[10]) - 1 <= neck[8] <= max(neck[7], neck[10]) + 1


def test_who_jumps_to_another_place_is_found_again(finder: PoseFinder) -> None:
    frames, truth = shipped_clip("test_00000")
    wide = np.full((12, 512, 1024, 3), frames[0, 2, 2], np.uint8)
    wide[:6, :, :256], wide[6:, :, 768:] = frames[:6], frames[6:12]
    track = finder.find_track(wide, fps=8)
    moved = truth[:12].copy()
    moved[6:, :, 0] += 768
    assert track.missing == [] and np.median(errors_in_percent(track.keypoints, moved)) < 2


def test_a_video_without_frames_or_people_is_an_empty_track(finder: PoseFinder) -> None:
    track = finder.find_track([])
    assert track.keypoints.shape == (0, NUM_JOINTS, 3) and track.missing == [] and track.gaps == []
    track = finder.find_track(np.full((3, 64, 64, 3), 128, np.uint8))
    assert track.missing == [0, 1, 2] and track.gaps == [(0, 3)] and not track.keypoints[..., 2].any()


# Tracks without pictures.


def turning_body(num_frames: int = 90, fps: float = 30.0) -> np.ndarray:
    """(F, 18, 3) x, y, depth of somebody who turns once around, steadily, while an arm swings."""
    # How far each joint is to the left of her axis, how far in front of it, how high; in torsos.
    half = {"shoulder": (0.33, 0, 1), "elbow": (0.4, 0, 0.45), "wrist": (0.42, 0.1, 0), "hip": (0.2, 0, 0)}
    half |= {
        "knee": (0.18, 0, -0.9),
        "ankle": (0.16, -0.05, -1.8),
        "eye": (0.05, 0.16, 1.4),
        "ear": (0.13, 0, 1.4),
    }
    body = {"nose": (0, 0.22, 1.35), "neck": (0, 0, 1)}
    for part, (left, front, up) in half.items():
        body |= {f"left_{part}": (left, front, up), f"right_{part}": (-left, front, up)}
    places = np.array([body[name] for name in JOINT_NAMES])
    angle = 2 * np.pi * np.arange(num_frames)[:, None] / num_frames
    left, front, up = places.T[:, None] + np.zeros((3, num_frames, 1))
    front[:, JOINT["left_wrist"]] += 0.3 * np.sin(2 * np.pi * np.arange(num_frames) / fps)
    x = left * np.cos(angle) + front * np.sin(angle)
    depth = left * np.sin(angle) - front * np.cos(angle)
    return np.stack([300 + 100 * x, 300 - 100 * up, 100 * depth], axis=2)


@pytest.mark.parametrize("depth_known", [True, False])
def test_a_steady_turn_is_left_alone(depth_known: bool) -> None:
    points = turning_body()
    points[..., 2] *= depth_known
    assert not find_swaps(points).any() and not find_jumps(points, 30).any()
    still = np.repeat(points[:1], 5, axis=0)
    assert not find_swaps(still).any() and not find_swaps(points[:1]).any()


@pytest.mark.parametrize(
    ("groups", "depth"),
    [
        *itertools.product([(0, 1, 2), (0,), (1,), (2,), (1, 2)], ["exchanged too", "unknown"]),
        ((0, 1, 2), "mirrored"),
    ],
)
def test_exchanged_sides_are_put_right(groups: tuple[int, ...], depth: str) -> None:
    points = turning_body()
    swapped = np.zeros((len(points), len(GROUPS)), bool)
    for start, stop in ((5, 6), (30, 42), (60, 66)):  # in front, from behind, at three quarters
        swapped[start:stop, groups] = True
    wrong = swap_sides(points, swapped)
    if depth == "mirrored":  # a network that takes a front for a back also exchanges near and far
        wrong[swapped.any(axis=1)] *= [1, 1, -1]
    elif depth == "unknown":
        wrong[..., 2] = 0
    found = find_swaps(wrong)
    np.testing.assert_array_equal(found, swapped)
    np.testing.assert_array_equal(swap_sides(wrong, found)[..., :2], points[..., :2])


def test_a_jump_is_filled_from_around_and_a_swing_is_kept() -> None:
    points = turning_body()
    wrong = points.copy()
    wrong[40, JOINT["right_knee"], 0] += 60
    wrong[50, JOINT["left_wrist"], 1] -= 90
    jumps = find_jumps(wrong, 30)
    assert sorted(map(tuple, np.argwhere(jumps))) == [(40, JOINT["right_knee"]), (50, JOINT["left_wrist"])]
    mended, weights, swaps, dropped = follow(wrong, np.ones(wrong.shape[:2]), np.ones(len(wrong), bool), 30)
    assert dropped == 2 and swaps == [] and weights[40, JOINT["right_knee"]] == 0
    assert np.abs(mended - points)[..., :2].max() < 3


def test_smoothing_takes_noise_and_leaves_motion_without_lag() -> None:
    points = turning_body()
    noisy = points + np.random.default_rng(0).normal(0, 2, points.shape)
    calm = smooth(noisy, np.ones(points.shape[:2]), 30)
    assert np.abs(calm - points).mean() < 0.6 * np.abs(noisy - points).mean()
    clean = smooth(points, np.ones(points.shape[:2]), 30)
    assert np.abs(clean - points)[..., :2].max() < 1.5
    backwards = smooth(noisy[::-1], np.ones(points.shape[:2]), 30)[::-1]
    np.testing.assert_allclose(backwards, calm, atol=1e-6)
    # At a low rate a frame says nothing of the next one.
    assert np.abs(smooth(noisy, np.ones(points.shape[:2]), 5) - noisy).max() == 0


def test_gaps_are_bridged_on_a_line() -> None:
    points, found = turning_body(), np.ones(90, bool)
    found[20:24] = False
    lost = np.where(found[:, None, None], points, np.nan)
    mended, weights, _, _ = follow(lost, np.ones(points.shape[:2]), found, 30)
    assert np.isfinite(mended).all() and not weights[20:24].any()
    assert np.abs(mended - points)[20:24, :, :2].max() < 0.12 * torso_length(points)


def test_runs() -> None:
    assert runs(np.array([True, False, True, True])) == [(0, 1), (2, 4)]
    assert runs(np.zeros(3, bool)) == [] and runs(np.zeros(0, bool)) == []


# What cannot be used.


def test_the_weights_that_ship_are_the_published_ones() -> None:
    path = SHIPPED_FINDER / WEIGHTS_NAME
    assert file_sha256(path) == WEIGHTS_SHA256
    assert WEIGHTS_SHA256 in (SHIPPED_FINDER / "README.md").read_text()
    assert "Apache License" in (SHIPPED_FINDER / "LICENSE").read_text()


@pytest.mark.parametrize("damage", ["missing", "cut off", "one bit", "text", "folder"])
def test_weights_that_cannot_be_used_are_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS_NAME
    if damage == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif damage == "folder":
        path.mkdir()
    elif damage != "missing":
        shutil.copy(SHIPPED_FINDER / WEIGHTS_NAME, path)
        content = bytearray(path.read_bytes())
        content[3_000_000] ^= 1
        path.write_bytes(content[:1000] if damage == "cut off" else content)
    with pytest.raises(UserError, match="says how to get") as caught:
        PoseFinder.from_pretrained(tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plain_import = builtins.__import__

    def without_litert(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("ai_edge_litert"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return plain_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_litert)
    with pytest.raises(UserError, match="pip install ai-edge-litert=="):
        PoseFinder.from_pretrained()


def test_the_package_is_imported_late_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    module = ast.parse((ROOT / "models/pose_finder.py").read_text())
    imports = [ast.unparse(node) for node in module.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert imports and not any("ai_edge_litert" in line for line in imports)
    PoseFinder.from_pretrained()
    assert capfd.readouterr() == ("", "")


def test_the_requirement_is_the_named_one() -> None:
    from models.pose_finder import PACKAGE

    assert PACKAGE in (ROOT / "requirements.txt").read_text().split()


# Real people.


@needs_real_inputs
@pytest.mark.parametrize("name", ["blue.jpg", "silver.jpg", "portrait.png"])
def test_photos_of_real_people_are_seen_whole_and_from_the_front(finder: PoseFinder, name: str) -> None:
    pose = finder.find(read_image(REAL / name))
    assert pose.found and pose.keypoints[:, 2].all()
    for part in ("shoulder", "hip", "eye", "ear"):
        assert pose.keypoints[JOINT[f"left_{part}"], 0] > pose.keypoints[JOINT[f"right_{part}"], 0]


@needs_real_inputs
@pytest.mark.parametrize("name", ["blue.jpg", "silver.jpg", "portrait.png"])
def test_what_a_photo_cuts_off_is_not_seen(finder: PoseFinder, name: str) -> None:
    photo = read_image(REAL / name)
    upper = finder.find(photo[: int(photo.shape[0] * 0.55)]).keypoints[:, 2]
    legs = [JOINT[f"{side}_{part}"] for side in ("left", "right") for part in ("knee", "ankle")]
    assert not upper[legs].any() and upper[[JOINT["left_hip"], JOINT["right_hip"], JOINT["nose"]]].all()


@needs_real_inputs
def test_a_real_turn_is_followed(finder: PoseFinder) -> None:
    frames, fps = read_video(REAL / "fashion_clip.mp4")
    entries = json.loads((REAL / "fashion_clip_poses.json").read_text())
    truth = np.array([entry["people"][0]["pose_keypoints_2d"] for entry in entries]).reshape(
        -1, NUM_JOINTS, 3
    )
    frames, truth = frames[::6], truth[::6]
    track = finder.find_track(frames, fps / 6)
    hips = (truth[:, JOINT["left_hip"], :2] + truth[:, JOINT["right_hip"], :2]) / 2
    torso = np.linalg.norm(truth[:, JOINT["neck"], :2] - hips, axis=1)
    away = np.linalg.norm(track.keypoints[..., :2] - truth[..., :2], axis=-1)[:, 1:14]
    assert track.missing == [] and (away < 0.2 * torso[:, None]).mean() > 0.97
    for part in ("shoulder", "hip"):
        left, right = JOINT[f"left_{part}"], JOINT[f"right_{part}"]
        ours, theirs = ((joints[:, left] - joints[:, right])[:, 0] for joints in (track.keypoints, truth))
        assert (np.sign(ours) == np.sign(theirs))[np.abs(theirs) > 25].all()
    back = slice(26, 33)  # frames 156 to 192, her back to the viewer, checked by eye
    assert (
        not track.keypoints[back, JOINT["nose"], 2].any() and track.keypoints[[0, 45], JOINT["nose"], 2].all()
    )


def test_several_threads_find_the_same_as_one() -> None:
    finder = PoseFinder.from_pretrained()
    pictures = [read_image(DATASET / "fashion_crop" / f"test_0000{i}" / "000.jpg") for i in range(2)]
    alone = [finder.find(picture).keypoints for picture in pictures]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = [pose.keypoints for pose in pool.map(finder.find, pictures * 6)]
    for index, keypoints in enumerate(together):
        np.testing.assert_array_equal(keypoints, alone[index % 2])
