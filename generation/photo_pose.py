"""The pose of the person in a photo, found."""

from pathlib import Path

import numpy as np

from models.pose_finder import PoseFinder
from utils.errors import UserError
from utils.image import fit_size, read_image


def find_photo_pose(finder: PoseFinder, path: Path, height: int, width: int) -> np.ndarray:
    """Find the person in the whole photo, before it is made smaller.

    Args:
        finder: of poses.
        path: of the photo, of any size.
        height: height in pixels of the frame that the photo is fitted into.
        width: width of this frame.

    Returns:
        (18, 3) float32: x, y in pixels of the fitted photo, visibility 0 or 1.

    Raises:
        UserError: nobody is found, or the photo cannot be read.
    """
    photo = read_image(path)
    pose = finder.find(photo, with_mask=False)
    if not pose.found:
        raise UserError(f"no person was found in {path}; give --image_joints or another photo")
    placement = fit_size(photo.shape[0], photo.shape[1], height, width)
    return placement.to_fitted(pose.keypoints)
