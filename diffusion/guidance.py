"""Separate guidance scales for the photo, the poses and the sentence."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from utils.errors import UserError


class Branch(NamedTuple):
    """One prediction that guidance needs: the conditions it keeps, and its weight in the sum."""

    image: bool
    poses: bool
    text: bool
    weight: float


def guidance_branches(
    image_scale: float, pose_scale: float, text_scale: float, *, has_poses: bool = True, has_text: bool = True
) -> list[Branch]:
    """Say which predictions to compute, and with which weights to add them up.

    Conditions are added one after another, each step scaled (Brooks et al., "InstructPix2Pix", 2023, equation
    3, with three conditions):

        e = e(none) + s_I [e(I) - e(none)] + s_P [e(I,P) - e(I)] + s_T [e(I,P,T) - e(I,P)]

    Sorted by prediction, the weight of a stage is its own scale minus the next one's. A stage whose weight is
    zero needs no computation, so with all scales at 1 only the prediction with every condition is left.

    Args:
        image_scale: s_I; 1 is neutral, more follows the photo more.
        pose_scale: s_P, the same for the poses; without poses it has no effect.
        text_scale: s_T, the same for the sentence; without one it has no effect.
        has_poses: whether poses are given.
        has_text: whether a sentence is given.

    Returns:
        At least one branch, from fewest conditions to most; the weights are not zero and add up to 1.

    Raises:
        UserError: a scale is not a finite number.
    """
    for name, scale in (("image", image_scale), ("pose", pose_scale), ("text", text_scale)):
        if not math.isfinite(scale):
            raise UserError(f"{name}_guidance_scale is {scale}; give a finite number, 1 is neutral")
    stages = [(1.0, (False, False, False)), (image_scale, (True, False, False))]
    if has_poses:
        stages.append((pose_scale, (True, True, False)))
    if has_text:
        stages.append((text_scale, (True, has_poses, True)))
    next_scales = [scale for scale, _ in stages[1:]] + [0.0]
    return [
        Branch(*kept, weight=scale - next_scale)
        for (scale, kept), next_scale in zip(stages, next_scales, strict=True)
        if scale != next_scale
    ]


def combine(predictions: torch.Tensor, branches: Sequence[Branch]) -> torch.Tensor:
    """Add up the branches' predictions.

    Args:
        predictions: (len(branches) * b, ...), all of the first branch, then all of the second, and so on.
        branches: what `guidance_branches` returned.

    Returns:
        (b, ...).
    """
    if len(branches) == 1:
        return predictions
    chunks = predictions.chunk(len(branches))
    weighted = [branch.weight * chunk for branch, chunk in zip(branches, chunks, strict=True)]
    return torch.stack(weighted).sum(0)
