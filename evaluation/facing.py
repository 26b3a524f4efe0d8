"""Which frames of a clip show her turned away, for the measures of what the photo does not show."""

import dataclasses

import numpy as np

from evaluation.clips import MeasuredClip
from warping.body import Body, read_body

TURNED = 0.6
"""Turned: shoulders and hips less than this share as wide as in the photo, about 53 degrees, or her back."""
BACK = -0.4
"""From behind: left and right changed places, and shoulders and hips at least this share as wide."""


def facing(clip: MeasuredClip) -> np.ndarray:
    """(F,) width of shoulders and hips over the photo's: 1 faces us, 0 is a profile, -1 her back.

    NaN where the joints are too few, and for all frames without joints.
    """
    unknown = np.full(len(clip.frames), np.nan)
    if clip.joints is None or clip.photo_joints is None:
        return unknown
    photo = read_body(clip.photo_joints)
    if photo is None or photo.width <= 0:
        return unknown
    bodies: list[Body | None] = [read_body(pose) for pose in clip.joints]
    return np.array([np.nan if body is None else body.width / photo.width for body in bodies])


def back_frame(clip: MeasuredClip) -> int | None:
    """Position of the frame that shows most of her back; None if none does."""
    widths = facing(clip)
    widths[np.isnan(widths)] = np.inf
    return int(widths.argmin()) if widths.min() < BACK else None


def without_frame(clip: MeasuredClip, position: int) -> MeasuredClip:
    """The clip, with a frame left out where frames are compared with the truth."""
    return dataclasses.replace(clip, scored=clip.scored[clip.scored != position])
