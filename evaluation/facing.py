"""Which frames of a clip show her turned away, for the measures of what the photo does not show."""

import dataclasses

import numpy as np

from evaluation.clips import MeasuredClip
from warping import body

TURNED = 0.6
"""Turned: shoulders and hips less than this share as wide as in the photo, about 53 degrees, or her back."""


def facing(clip: MeasuredClip) -> np.ndarray:
    """(F,) `warping.body.facing` of the clip's frames; NaN without joints."""
    if clip.joints is None or clip.photo_joints is None:
        return np.full(len(clip.frames), np.nan)
    return body.facing(clip.joints, clip.photo_joints)


def back_frame(clip: MeasuredClip) -> int | None:
    """Position of the frame that shows most of her back; None if none does."""
    if clip.joints is None or clip.photo_joints is None:
        return None
    return body.back_frame(clip.joints, clip.photo_joints)


def without_frame(clip: MeasuredClip, position: int) -> MeasuredClip:
    """The clip, with a frame left out where frames are compared with the truth."""
    return dataclasses.replace(clip, scored=clip.scored[clip.scored != position])
