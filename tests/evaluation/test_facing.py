"""Frames that show her turned or from behind."""

import dataclasses

import numpy as np

from evaluation.clips import MeasuredClip
from evaluation.facing import back_frame, facing, without_frame
from warping.body import BACK


def test_a_turn_shows_her_back_and_a_raised_arm_does_not(rendered_clips: list[MeasuredClip]) -> None:
    turn, arm = rendered_clips[:2]
    widths = facing(turn)
    assert abs(widths[0] - 1) < 0.05 and widths.min() < BACK
    assert back_frame(turn) == widths.argmin()
    assert facing(arm).min() > 0.8 and back_frame(arm) is None


def test_without_joints_nothing_is_said(rendered_clips: list[MeasuredClip]) -> None:
    clip = dataclasses.replace(rendered_clips[0], joints=None)
    assert np.isnan(facing(clip)).all() and back_frame(clip) is None


def test_a_frame_is_left_out_of_the_comparison(rendered_clips: list[MeasuredClip]) -> None:
    clip = rendered_clips[0]
    back = back_frame(clip)
    assert back is not None and back in clip.scored
    assert set(clip.scored) - set(without_frame(clip, back).scored) == {back}
