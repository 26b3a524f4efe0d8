"""Frames that show her turned or from behind."""

import dataclasses

import numpy as np

from evaluation.clips import MeasuredClip
from evaluation.facing import TURNED, back_frame, facing, without_frame
from evaluation.learned import LearnedMetrics
from evaluation.measure import measure_video
from models.pose_finder import PoseFinder
from warping import body
from warping.body import BACK


def test_a_turn_shows_her_back_and_a_raised_arm_does_not(rendered_clips: list[MeasuredClip]) -> None:
    turn, arm = rendered_clips[:2]
    widths = facing(turn)
    assert abs(widths[0] - 1) < 0.05 and widths.min() < BACK
    assert back_frame(turn) == widths.argmin()
    assert facing(arm).min() > 0.8 and back_frame(arm) is None


def test_a_photo_in_profile_says_nothing(rendered_clips: list[MeasuredClip]) -> None:
    turn = rendered_clips[0]
    assert turn.joints is not None
    widths = body.facing(turn.joints, turn.joints[0])
    profile = turn.joints[np.argmin(np.where(widths > 0, widths, np.inf))]
    assert np.isnan(body.facing(turn.joints, profile)).all()
    assert body.back_frame(turn.joints, profile) is None


def test_without_joints_nothing_is_said(rendered_clips: list[MeasuredClip]) -> None:
    clip = dataclasses.replace(rendered_clips[0], joints=None)
    assert np.isnan(facing(clip)).all() and back_frame(clip) is None


def test_a_frame_is_left_out_of_the_comparison(rendered_clips: list[MeasuredClip]) -> None:
    clip = rendered_clips[0]
    back = back_frame(clip)
    assert back is not None and back in clip.scored
    assert set(clip.scored) - set(without_frame(clip, back).scored) == {back}


def test_empty_masks_of_turned_frames_are_said(rendered_clips: list[MeasuredClip]) -> None:
    clip = rendered_clips[0]
    assert clip.masks is not None
    masks = np.where((facing(clip) < TURNED)[:, None, None], 0, clip.masks)
    empty = dataclasses.replace(clip, masks=masks)
    values = measure_video(empty, clip.frames, PoseFinder.from_pretrained(), LearnedMetrics())
    assert values["turned_psnr"] == values["back_psnr"] == "the masks are empty"
    assert isinstance(values["silhouette_psnr"], float)
