"""Poses of every form that people bring come back as they were; damage ends in one line."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from data.pose_formats import find_series, read_pose_track
from data.pose_json import BODY_25_JOINTS, read_pose_json
from data.pose_track import PoseTrack
from tests.toys import write_openpose_json
from utils.errors import UserError
from utils.pose_drawing import LIMBS, NUM_JOINTS, draw_pose
from utils.video import write_gif, write_video
from warping.palettes import CONTROLNET, MIDDLE_HIP, PALETTES, Palette
from warping.skeletons import find_palette, read_people

STANDING = np.array(
    [
        (0, -0.42), (0, 0), (-0.35, 0.03), (-0.55, 0.5), (-0.6, 0.95),
        (0.35, 0.03), (0.55, 0.5), (0.6, 0.95),
        (-0.2, 1), (-0.28, 1.8), (-0.3, 2.6), (0.2, 1), (0.28, 1.8), (0.3, 2.6),
        (-0.12, -0.55), (0.12, -0.55), (-0.26, -0.45), (0.26, -0.45),
    ]
)  # fmt: skip
SIDE_COLORS = {30: (255, 128, 0), 120: (0, 255, 0), 210: (51, 153, 255)}
HEIGHT, WIDTH = 512, 256


def pose(seed: int = 0, spread: float = 0.0, height: int = HEIGHT) -> np.ndarray:
    joints = np.ones((NUM_JOINTS, 3), np.float32)
    places = STANDING + np.random.default_rng(seed).uniform(-spread, spread, STANDING.shape)
    joints[:, :2] = np.rint(places * height / 4.6 + (height / 4, height * 0.22))
    return joints


def clip(frames: int = 6) -> np.ndarray:
    return np.stack([pose() + np.array([2 * i, i, 0], np.float32) for i in range(frames)])


def color(hue: int, palette: Palette) -> tuple[int, int, int]:
    if palette.by_side:
        return SIDE_COLORS[hue]
    red, green, blue = cv2.cvtColor(np.uint8([[[hue // 2, 255, 255]]]), cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def draw(joints: np.ndarray, palette: Palette, dot: int, height: int = HEIGHT) -> np.ndarray:
    """A skeleton as the palette's tool draws it."""
    picture = np.zeros((height, height // 2, 3), np.uint8)
    points = np.append(joints, joints[[8, 11]].mean(axis=0, keepdims=True), axis=0)
    places = [tuple(np.rint(point[:2]).astype(int).tolist()) for point in points]
    thickness = {"ControlNet": 2 * dot, "mmpose": max(1, dot // 2)}.get(palette.name, round(1.5 * dot))
    for a, b, hue in palette.limbs:
        shade = [int(c * (0.6 if palette.dimmed else 1)) for c in color(hue, palette)]
        cv2.line(picture, places[a], places[b], shade, thickness, cv2.LINE_AA)
    for joint, hue in enumerate(palette.joints):
        if not (palette.by_side and joint == 1) and (joint < NUM_JOINTS or joint == MIDDLE_HIP):
            cv2.circle(picture, places[joint], dot, color(hue, palette), -1, cv2.LINE_AA)
    return picture


def uncovered(joints: np.ndarray, dot: int) -> np.ndarray:
    """(18,) bool, joints whose dot touches no other dot and lies on no other's limb."""
    free = np.ones(NUM_JOINTS, bool)
    for joint in range(NUM_JOINTS):
        others = np.delete(joints, joint, axis=0)
        free[joint] = np.hypot(*(others - joints[joint])[:, :2].T).min() > 3 * dot
        for a, b in (*LIMBS, (2, 5), (8, 11), (2, 8), (5, 11)):
            if joint not in (a, b):
                line = joints[b, :2] - joints[a, :2]
                along = np.clip((joints[joint, :2] - joints[a, :2]) @ line / (line @ line + 1e-9), 0, 1)
                free[joint] &= np.hypot(*(joints[a, :2] + along * line - joints[joint, :2])) > 2.5 * dot
    return free


@settings(max_examples=25, deadline=None)
@given(
    palette=st.sampled_from(PALETTES),
    dot=st.integers(3, 7),
    seed=st.integers(0, 2**16),
    swapped=st.booleans(),
    white=st.booleans(),
)
def test_joints_of_every_palette_and_thickness_come_back(palette, dot, seed, swapped, white):
    joints = pose(seed, 0.08)
    picture = draw(joints, palette, dot)
    if swapped:
        picture = np.ascontiguousarray(picture[..., ::-1])
    if white:
        picture = np.where(picture.max(axis=2, keepdims=True) > 0, picture, 255).astype(np.uint8)
    found = find_palette([picture])
    assert found is not None and (found.name, found.swapped) == (palette.name, swapped)
    people = read_people(picture, found)
    assert len(people) == 1
    if palette.by_side:
        joints[1] = joints[[2, 5]].mean(axis=0)
    sure = uncovered(joints, dot) | (np.arange(NUM_JOINTS) == 1)
    if palette.by_side:  # a face in one colour, drawn a few pixels wide, is not always told apart
        sure[[0, 14, 15, 16, 17]] = False
    read = people[0].joints
    assert read[sure, 2].all(), np.flatnonzero(sure & (read[:, 2] == 0))
    off = np.hypot(*(read - joints)[sure, :2].T)
    assert off.max() <= 1.5, (off.max(), np.flatnonzero(sure)[off.argmax()])


def as_openpose(joints: np.ndarray, count: int) -> np.ndarray:
    if count == NUM_JOINTS:
        return joints
    body = np.zeros((count, 3))
    body[list(BODY_25_JOINTS)] = joints
    return body


def test_a_size_of_one_pixel_says_that_coordinates_are_relative(tmp_path: Path) -> None:
    path = tmp_path / "poses.json"

    def read(scale: float, size: dict[str, object], canvas: tuple[int, int] | None = None) -> PoseTrack:
        points = [[scale * x, scale * y, 1] for x in (0.25, 0.5, 0.75) for y in np.linspace(0.1, 0.9, 6)]
        path.write_text(json.dumps([{"people": [{"pose_keypoints_2d": points}], **size}]))
        return read_pose_json(path, canvas=canvas)

    one = {"canvas_width": 1, "canvas_height": 1}
    with pytest.raises(UserError, match=r"relative coordinates .* no canvas size"):
        read(1, one)
    with pytest.raises(UserError, match="its pictures are 1 x 1 pixels; give their size"):
        read(200, one)
    for size in (one, {}):
        track = read(1, size, canvas=(200, 100))
        assert (track.height, track.width) == (200, 100)
        np.testing.assert_allclose(track.keypoints[0, 0, :2], (24.5, 19.5), atol=1e-4)
    for wrong in (-5, "wide", None):
        with pytest.raises(UserError, match=r'"canvas_width".*give pixels'):
            read(200, {"canvas_width": wrong, "canvas_height": 100})


@pytest.mark.parametrize("count", [18, 25])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("folder", [False, True])
def test_openpose_json_of_every_form_is_read(tmp_path, count, nested, relative, folder):
    joints = clip()
    documents = []
    for frame in joints:
        body = as_openpose(frame, count).astype(float)
        if relative:
            body[:, :2] = np.where(body[:, 2:] > 0, (body[:, :2] + 0.5) / (WIDTH, HEIGHT), 0)
        numbers = body.tolist() if nested else body.ravel().tolist()
        people = [{"pose_keypoints_2d": numbers, "face_keypoints_2d": None}]
        documents.append({"people": people, "canvas_width": WIDTH, "canvas_height": HEIGHT})
    path = tmp_path / "poses"
    if folder:
        path.mkdir()
        for number, document in enumerate(documents):
            (path / f"clip_{number:012d}_keypoints.json").write_text(json.dumps(document))
    else:
        path = tmp_path / "poses.json"
        path.write_text(json.dumps(documents))
    track = read_pose_track(path)
    assert track.medium == "exact" and (track.height, track.width) == (HEIGHT, WIDTH)
    np.testing.assert_allclose(track.keypoints, joints, atol=1e-3)


def test_our_own_json_and_what_is_written_come_back(tmp_path):
    joints = clip()
    joints[2, 4] = 0
    own = {"height": HEIGHT, "width": WIDTH, "keypoints": joints.tolist()}
    (tmp_path / "own.json").write_text(json.dumps(own))
    write_openpose_json(tmp_path / "openpose.json", joints, HEIGHT, WIDTH)
    for name in ("own.json", "openpose.json"):
        track = read_pose_track(tmp_path / name)
        np.testing.assert_allclose(track.keypoints, joints, atol=2e-3)
    assert (
        json.loads((tmp_path / "openpose.json").read_text())[0]["people"][0]["pose_keypoints_2d"][0] == 128.0
    )


def test_of_several_people_the_nearest_or_the_largest_is_followed(tmp_path):
    one, small = clip(), clip()
    small[..., :2] = small[..., :2] * 0.5 + (300, 200)
    frames = [
        {"people": [{"pose_keypoints_2d": each.ravel().tolist()} for each in ((a, b) if i % 2 else (b, a))]}
        for i, (a, b) in enumerate(zip(one, small, strict=True))
    ]
    (tmp_path / "two.json").write_text(json.dumps(frames))
    np.testing.assert_allclose(read_pose_json(tmp_path / "two.json").keypoints, one, atol=1e-3)
    track = read_pose_json(tmp_path / "two.json", near=small[0])
    np.testing.assert_allclose(track.keypoints, small, atol=1e-3)
    assert (track.people == 2).all()


@pytest.mark.parametrize(
    "pattern", ["{:03d}.png", "frame_{:04d}.png", "{:d}.jpg", "pose-{:02d}.webp", "{}_a.PNG"]
)
@pytest.mark.parametrize("start", [0, 1, 98])
def test_one_numbered_series_of_any_name_is_read(tmp_path, pattern, start):
    for number, joints in enumerate(clip()):
        Image.fromarray(draw_pose(joints, HEIGHT, WIDTH)).save(tmp_path / pattern.format(number + start))
    (tmp_path / "notes.txt").write_text("mine")
    assert len(find_series(tmp_path)) == 6
    track = read_pose_track(tmp_path)
    assert track.palette == "ControlNet" and len(track) == 6
    seen = track.seen
    assert seen.mean() > 0.9
    assert np.median(np.hypot(*np.moveaxis((track.keypoints - clip())[seen][:, :2], -1, 0))) < 1.5


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_videos_are_read_with_their_times(tmp_path, suffix):
    frames = [draw_pose(joints, HEIGHT, WIDTH) for joints in clip()]
    write = write_video if suffix == ".mp4" else write_gif
    write(tmp_path / f"a{suffix}", frames, 10)
    track = read_pose_track(tmp_path / f"a{suffix}")
    assert len(track) == 6 and abs(track.fps - 10) < 0.2
    np.testing.assert_allclose(track.times, np.arange(6) / 10, atol=0.02)
    assert track.seen.mean() > 0.8


def test_transparent_and_two_skeletons(tmp_path):
    picture = draw_pose(pose(), HEIGHT, WIDTH)
    alpha = (picture.max(axis=2) > 0).astype(np.uint8) * 255
    Image.fromarray(np.dstack([picture, alpha])).save(tmp_path / "0.png")
    track = read_pose_track(tmp_path / "0.png")
    assert track.ground == "black" and np.abs(track.keypoints[0] - pose())[track.seen[0]].max() <= 1.5
    wide = np.concatenate([picture, draw_pose(pose(3, 0.05), HEIGHT, WIDTH)], axis=1)
    assert len(read_people(wide, CONTROLNET)) == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0.png", "2.png"], "no frame 1"),
        (["1.png", "01.png"], "twice"),
        (["a_1.png", "b_1.png"], "2 series"),
        (["pose.png"], "no numbered"),
        ([], "no numbered"),
    ],
)
def test_a_folder_that_is_no_series_is_named(tmp_path, names, message):
    for name in names:
        Image.fromarray(draw_pose(pose(), HEIGHT, WIDTH)).save(tmp_path / name)
    with pytest.raises(UserError, match=message):
        read_pose_track(tmp_path)


def test_a_folder_of_openpose_files_has_no_gap(tmp_path: Path) -> None:
    write_openpose_json(tmp_path / "one.json", clip(1), HEIGHT, WIDTH)
    (tmp_path / "poses").mkdir()
    for number in (5, 6, 9):
        content = (tmp_path / "one.json").read_bytes()
        (tmp_path / "poses" / f"walk_{number:012d}_keypoints.json").write_bytes(content)
    with pytest.raises(UserError, match=r"no frame 7 \(walk_0+9_keypoints\.json follows walk_0+6_keypoints"):
        read_pose_track(tmp_path / "poses")
    (tmp_path / "poses" / "walk_000000000009_keypoints.json").unlink()
    assert len(read_pose_track(tmp_path / "poses")) == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["people", "pose_keypoints_2d", "keypoints", "height", "1"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_values)
def test_any_json_is_read_or_refused_in_a_line(tmp_path, value):
    path = tmp_path / "any.json"
    path.write_text(json.dumps(value))
    try:
        track = read_pose_track(path)
        assert np.isfinite(track.keypoints).all()
    except UserError as error:
        assert "\n" not in str(error) and "any.json" in str(error)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["a.mp4", "a.gif", "0.png", "0.jpg", "0.webp", "a.json"]),
    cut=st.floats(0, 1),
    noise=st.binary(max_size=40),
)
@example(name="a.mp4", cut=0.25, noise=b"")
def test_a_damaged_file_is_read_or_refused_in_a_line(tmp_path, name, cut, noise):
    whole: Path = tmp_path / name
    frames = [draw_pose(joints, 64, 32) for joints in clip(3)]
    if name == "a.json":
        write_openpose_json(whole, clip(2), HEIGHT, WIDTH)
    elif name.startswith("a"):
        (write_video if name == "a.mp4" else write_gif)(whole, frames, 8)
    else:
        Image.fromarray(frames[0]).save(whole)
    content = whole.read_bytes()
    place = int(cut * len(content))
    whole.write_bytes(content[:place] + noise + content[place + len(noise) + 7 :])
    try:
        read_pose_track(whole)
    except UserError as error:
        assert "\n" not in str(error)
