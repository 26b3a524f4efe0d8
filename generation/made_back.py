"""Her back, once it is made, as a further photo for the windows of a long video that follow."""

import numpy as np
import torch

from diffusion.inputs import CallInputs, View
from diffusion.pipeline import X2FashionPipeline
from diffusion.warped_photo import WarpedPhoto
from warping.body import back_frame

NEARLY_BEHIND = -0.7
"""Of `warping.body.facing`: what shows less of her back is the middle of a turn, and no photo to go by."""


def make_back(
    pipeline: X2FashionPipeline,
    inputs: CallInputs,
    latents: torch.Tensor,
    warped: WarpedPhoto | None,
    joints: np.ndarray | None,
) -> View | None:
    """The frame that shows most of her back, as a photo.

    What the photo does not show is invented. Later windows that take it from here show the same.

    Args:
        pipeline: decodes.
        inputs: of the video, with the photos that there are.
        latents: (1, c, f, h, w) of frames that are done.
        warped: the photo moved to their poses.
        joints: (f, 18, 3) of these frames.

    Returns:
        None where no frame shows her from nearly behind or a photo shows her back, and for a model that moves
        no photos.
    """
    if warped is None or joints is None or inputs.image_joints is None:
        return None
    photo_joints = inputs.image_joints.reshape(-1, *inputs.image_joints.shape[-2:])[0]
    shown = [view.joints for view in inputs.views[0]] if inputs.views else []
    if any(pose is not None and back_frame(pose[None], photo_joints) is not None for pose in shown):
        return None
    number = back_frame(joints, photo_joints, NEARLY_BEHIND)
    if number is None:
        return None
    one = slice(number, number + 1)
    picture = pipeline.decode(latents[:, :, one], warped.frames(one), 1)[0, :, 0]
    return View(picture.float().clamp(-1, 1).cpu(), joints[number])
