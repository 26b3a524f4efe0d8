"""Timelines: what is read and refused, and tracks that join without a jump and do what they say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diffusion.motion import load_text_to_poses, poses_from_text
from diffusion.text import encode_prompts, load_text_encoder
from evaluation.timeline import measure_seams, read_segments
from generation.timeline import (
    exchange_sides,
    face_other_way,
    poses_from_timeline,
    read_timeline,
    sentence_of_frames,
    shows_back,
)
from tests.toys import figure_joints
from utils.errors import UserError
from utils.files import read_json
from utils.paths import SHIPPED_DATASET, SHIPPED_MODEL


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is empty"),
        (" ; \n", "is empty"),
        ("missing.txt", "no timeline file missing.txt"),
        ("0-2 She stands: now", "segment 1 of the timeline is '0-2 She stands: now'"),
        ("0-2:   ", "segment 1 of the timeline (0-2) has no sentence"),
        ("1-2: She stands", "the first one must start at 0"),
        ("0-2: She stands; 3-4: She turns", "segment 2 of the timeline (3-4) leaves a gap after 2 s"),
        ("0-2: She stands; 1.5-4: She turns", "overlaps the one before it; start it at 2"),
        ("0-2: She stands; 2-1: She turns", "ends before it starts"),
        ("0-0: She stands", "ends before it starts"),
        ("0-2: She stands; 2-2.2: She turns", "has 2 frames at 12 frames a second; give it at least 0.33"),
        ("0-121: She stands", "ends after 120 s"),
        ("0-" + "9" * 400 + ": She stands", "ends after 120 s"),
        (";".join(f"{i}-{i + 1}: a" for i in range(101)), "101 segments; give at most 100"),
    ],
)
def test_a_timeline_that_cannot_be_followed_is_refused_in_one_line(text: str, part: str) -> None:
    with pytest.raises(UserError) as error:
        read_timeline(text, 12)
    assert part in str(error.value) and "\n" not in str(error.value)


def test_files_that_hold_no_timeline_are_refused(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(b"a" * 200_000)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x01")
    for name, part in (("long.txt", "more than"), ("binary.txt", "not text in UTF-8")):
        with pytest.raises(UserError, match=part):
            read_timeline(tmp_path / name, 12)
    (tmp_path / "timeless.txt").write_text("She stands\n")
    with pytest.raises(
        UserError, match=r"timeless.txt is 'She stands', which has no times and no \":\"; write"
    ):
        read_timeline(tmp_path / "timeless.txt", 12)


def test_a_file_and_a_text_give_the_same_timeline(tmp_path: Path) -> None:
    (tmp_path / "line.txt").write_text("\ufeff0-2 : She  stands\n2 to 5.5s: She turns: slowly\n\n", "utf-8")
    timeline = read_timeline(tmp_path / "line.txt", 10)
    assert timeline == read_timeline("0s–2s: She stands; 2-5.5: She turns: slowly", 10)
    assert str(timeline) == "0-2: She stands; 2-5.5: She turns: slowly"
    assert read_timeline(str(timeline), 10) == timeline
    assert timeline.frames == [range(0, 20), range(20, 55)] and timeline.num_frames == 55
    assert timeline.sentences == ["She stands"] * 20 + ["She turns: slowly"] * 35


def test_frames_that_are_sampled_together_get_their_sentences_in_order() -> None:
    assert sentence_of_frames(["She stands", "She stands"]) == "She stands"
    assert sentence_of_frames(["She stands", "She turns!", "She stands"]) == "She stands. She turns!"


def test_left_and_right_are_exchanged_and_back() -> None:
    sentence = "Left: her RIGHT arm, her left leg; bright leftovers"
    assert exchange_sides(sentence) == "Right: her LEFT arm, her right leg; bright leftovers"
    assert exchange_sides(exchange_sides(sentence)) == sentence


def test_an_outline_faces_the_other_way() -> None:
    front = figure_joints(1)[0]
    back = face_other_way(front)
    assert not shows_back(front) and shows_back(back)
    assert (back[[0, 14, 15, 16, 17], 2] == 0).all() and (back[1:14, 2] == 1).all()
    assert np.array_equal(face_other_way(back), front)


@pytest.fixture(scope="module")
def shipped():
    model = load_text_to_poses(SHIPPED_MODEL)
    tokenizer, encoder = load_text_encoder(SHIPPED_MODEL / "text_encoder", SHIPPED_MODEL / "tokenizer")
    clip = read_json(SHIPPED_DATASET / "fashion_poses" / "test_00000.json")
    pose = np.array(clip["keypoints"][0], np.float32)
    size = clip["height"], clip["width"]
    return model, lambda text: encode_prompts(tokenizer, encoder, [text]), pose, size


def test_segments_do_what_their_sentences_say_and_join_without_a_jump(shipped) -> None:
    model, encode, pose, size = shipped
    timeline = read_timeline(
        "0-2: She stands; 2-5: She turns around; 5-7.5: She raises her left arm; 7.5-10: She turns around; "
        "10-12: She turns to her right",
        12,
    )
    joints = poses_from_timeline(model, encode, timeline, pose, *size, torch.Generator().manual_seed(0))
    assert joints.shape == (144, 18, 3) and np.array_equal(joints[0], pose)
    assert read_segments(joints, timeline) == [
        ("stand_sway",), ("turn_around",), ("raise_left_arm",), ("turn_around",), ("turn_right",)
    ]  # fmt: skip
    assert [shows_back(joints[end - 1]) for end in timeline.ends] == [False, True, True, False, False]
    seams = measure_seams(joints, timeline)
    assert seams.at < 0.03 < seams.inside


def test_the_measures_see_a_jump_and_a_wrong_motion(shipped) -> None:
    model, encode, pose, size = shipped
    timeline = read_timeline("0-2: She stands; 2-4: She raises her right arm", 12)
    joints = poses_from_timeline(model, encode, timeline, pose, *size, torch.Generator().manual_seed(1))
    swapped = np.concatenate([joints[24:], joints[:24]])
    assert read_segments(swapped, timeline)[0] == ("raise_right_arm",)
    assert measure_seams(swapped, timeline).at > 10 * measure_seams(joints, timeline).at


def test_one_segment_is_the_sentence_by_itself_and_later_ones_do_not_change_it(shipped) -> None:
    model, encode, pose, size = shipped

    def track(text: str) -> np.ndarray:
        generator = torch.Generator().manual_seed(3)
        return poses_from_timeline(model, encode, read_timeline(text, 12), pose, *size, generator)

    alone = track("0-2: She turns to her left.")
    generator = torch.Generator().manual_seed(3)
    text = encode("She turns to her left.")
    assert np.array_equal(alone, poses_from_text(model, text, pose, *size, 24, generator))
    assert np.array_equal(track("0-2: She turns to her left.; 2-3: She stands")[:24], alone)
