"""Moves the pixels of a photo to where another pose would have them."""

from warping.joints import load_joints, read_joints, scale_joints
from warping.retarget import retarget
from warping.warp import warp_to_poses

__all__ = ["load_joints", "read_joints", "retarget", "scale_joints", "warp_to_poses"]
