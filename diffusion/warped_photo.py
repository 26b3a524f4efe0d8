"""The photo moved to every frame's pose: for the denoiser as latents, for the decoder as pictures."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from diffusion.inputs import View
from diffusion.latents import encode_images, spatial_factor
from models.folder import load_part
from models.warper import Draft, WarpConditions, Warper, widened
from utils.image import to_signed, to_uint8
from warping.body import Body, read_body, with_head_like
from warping.joints import read_joints
from warping.limbs import limb_maps
from warping.warp import FILLED_VALIDITY, RuleWarp, warp_by_rules

SHARPNESS = 6
"""Power of the validity with which several photos are mixed."""
GRID = 32
"""Pixels of which a warper takes multiples."""
MAX_PHOTOS = 3
"""Photos of a person that training shows at most; a pipeline takes any number."""
FRAMES_AT_ONCE = 4
"""Frames that a warper moves the photo to at once."""


@dataclasses.dataclass(frozen=True)
class WarpedPhoto:
    """The photos of some clips, warped to the clips' poses.

    Attributes:
        pictures: (b, f, 3, H, W) float32 in [-1, 1].
        validity: (b, f, 1, H, W) float32 in 0..1, how far each pixel is right.
    """

    pictures: torch.Tensor
    validity: torch.Tensor

    def clip(self, number: int) -> "WarpedPhoto":
        """That of one clip, with b = 1."""
        return WarpedPhoto(self.pictures[number, None], self.validity[number, None])

    def frames(self, chosen: slice) -> "WarpedPhoto":
        """Those of some frames."""
        return WarpedPhoto(self.pictures[:, chosen], self.validity[:, chosen])


def load_warper(path: str | Path) -> Warper:
    """Load a warper from a folder of `recipe.train_warper`, in float32 and in eval mode.

    Raises:
        UserError: no such folder, another class, or weights that are damaged, missing, unknown or of another
            shape; the message names the folder.
    """
    return load_part(Path(path), "warper", {"Warper": Warper})


def warp_photo(
    photo: torch.Tensor,
    poses: torch.Tensor | None,
    joints: np.ndarray | None = None,
    image_joints: np.ndarray | None = None,
    warper: Warper | None = None,
    device: torch.device | None = None,
    views: Sequence[Sequence[View]] = (),
) -> WarpedPhoto:
    """Move the photo's pixels to each frame's pose.

    Args:
        photo: (b, 3, H, W) in [-1, 1].
        poses: (b, 3, f, H, W) in [-1, 1]; not needed where there are joints.
        joints: (b, f, 18, 3) x, y in pixels and visibility; read back from the pose pictures if None.
        image_joints: (b, 18, 3) of the photo; those of pose 0 if None, since a clip begins at its photo.
        warper: network that corrects what the rules of `warping.warp` make; None leaves all to the rules.
        device: where the network computes; where it is if None.
        views: further photos of each clip's person; each place is taken from the photo that shows it best.
    """
    if joints is None:
        assert poses is not None
        pictures = to_uint8(poses.transpose(1, 2))
        joints = np.stack([np.stack([read_joints(picture) for picture in clip]) for clip in pictures])
    if image_joints is None:
        image_joints = joints[:, 0]
    warped = _warp_photos(photo, image_joints, joints, warper, device)
    if not views:
        return warped
    clips = []
    for number, further in enumerate(views):
        own = [warped.clip(number)]
        for view in further:
            assert view.joints is not None
            moved = _warp_photos(view.photo[None], view.joints[None], joints[number][None], warper, device)
            own.append(moved)
        clips.append(best_shown(own))
    return WarpedPhoto(
        *(torch.cat([getattr(clip, f.name) for clip in clips]) for f in dataclasses.fields(WarpedPhoto))
    )


def best_shown(moved: list[WarpedPhoto]) -> WarpedPhoto:
    """Photos moved to the same poses as one: each pixel mostly of the photo that shows it best.

    Where none shows it, it is the first one's.
    """
    validity = torch.stack([part.validity for part in moved])
    weight = validity.pow(SHARPNESS)
    weight[0] += 1e-3
    weight /= weight.sum(0)
    pictures = torch.stack([part.pictures for part in moved])
    return WarpedPhoto((weight * pictures).sum(0), validity.amax(0))


def _warp_photos(
    photo: torch.Tensor,
    image_joints: np.ndarray,
    joints: np.ndarray,
    warper: Warper | None,
    device: torch.device | None,
) -> WarpedPhoto:
    """Each photo (b, 3, H, W) moved to its clip's poses."""
    moved = [warp_with(warper, *clip, device) for clip in zip(photo, image_joints, joints, strict=True)]
    return WarpedPhoto(*(torch.stack(parts) for parts in zip(*moved, strict=True)))


@torch.no_grad()
def warp_with(
    warper: Warper | None,
    photo: torch.Tensor,
    source: np.ndarray,
    targets: np.ndarray,
    device: torch.device | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move one photo's pixels to several poses: by the rules of `warping.warp`, which a network corrects.

    The network sees the photo at the height it was trained on; what it finds is applied to the photo itself.

    Args:
        warper: the network; None leaves all to the rules.
        photo: (3, H, W) in [-1, 1].
        source: (18, 3) the photo's joints: x and y in pixels, visibility.
        targets: (f, 18, 3) the frames' joints.
        device: where the network computes; where it is if None.

    Returns:
        Pictures (f, 3, H, W) float32 in [-1, 1], and (f, 1, H, W) in 0..1 how far they are right; both on the
        CPU. A frame or a photo without a body gives the photo itself and 0.
    """
    rules = warp_by_rules(to_uint8(photo[None])[0], source, targets)
    pictures, validity = to_signed(rules.pictures), torch.from_numpy(rules.validity)[:, None].clone()
    body = read_body(np.asarray(source, np.float64))
    if warper is None or body is None:
        return pictures, validity
    bodies = {
        i: there for i, pose in enumerate(targets) if (there := read_body(np.asarray(pose, np.float64)))
    }
    height, width = photo.shape[-2:]
    side = warper.config.height
    size = side, -(-side * width // (height * GRID)) * GRID
    whole = max(width, round(size[1] * height / side))  # as wide as the network's grid
    device = warper.device if device is None else device
    large = widened(photo[None].float(), whole).to(device)
    small = functional.interpolate(large, size, mode="bilinear", antialias=True)
    frames = list(bodies)
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        chosen = frames[start : start + FRAMES_AT_ONCE]
        conditions = warp_conditions(body, [bodies[i] for i in chosen], height).to(device)
        draft = warp_draft(rules, chosen).widened(whole).to(device)
        warp = warper(small, conditions, draft.resized(size))
        picture, trust = (part[..., :width] for part in warp.apply(large, draft, conditions.photo_index))
        pictures[chosen], validity[chosen] = picture.clamp(-1, 1).to(pictures), trust.to(validity)
    return pictures, validity


def warp_draft(rules: RuleWarp, frames: list[int] | slice = slice(None)) -> Draft:
    """What a warper is told of the rules' warp of one photo, at some of its frames."""
    photo_person = torch.from_numpy(rules.photo_person)[None, None]
    return Draft(
        pictures=to_signed(rules.pictures[frames]),
        validity=torch.from_numpy(rules.validity[frames])[:, None],
        person=torch.from_numpy(rules.person[frames])[:, None],
        photo_person=photo_person,
        background=to_signed(rules.background[None]),
        background_validity=1 - (1 - FILLED_VALIDITY) * photo_person,
    )


def warp_conditions(source: Body, targets: list[Body], height: int) -> WarpConditions:
    """What a warper is told of one photo's pose and the frames' poses, in pixels of pictures of a height."""
    limbs = limb_maps(source, [with_head_like(target, source) for target in targets])
    scale = np.float32(1 / height)
    maps = limbs.maps * np.array((1, 1, scale), np.float32)
    lengths = torch.from_numpy(limbs.lengths * scale)
    return WarpConditions(
        maps=torch.from_numpy(maps),
        frame_lines=torch.from_numpy(limbs.frame_lines * scale),
        photo_lines=torch.from_numpy(limbs.photo_lines[None] * scale),
        frame_lengths=lengths[:-1],
        photo_lengths=lengths[-1:],
        state=torch.from_numpy(limbs.state),
        photo_index=torch.zeros(len(targets), dtype=torch.long),
    )


def encode_warped_photo(
    vae: AutoencoderKL, warped: WarpedPhoto, device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode warped photos as a denoiser with `warp_input` takes them.

    Args:
        vae: VAE of the model.
        warped: what `warp_photo` returned.
        device: where the VAE computes, and the results are; where it is if None.

    Returns:
        Latents (b, c, f, h, w), and their validity (b, 1, f, h, w): averaged over each latent's square.
    """
    sizes = warped.pictures.shape[:2]
    latents = encode_images(vae, warped.pictures.flatten(0, 1), device=device).unflatten(0, sizes)
    validity = functional.avg_pool2d(warped.validity.flatten(0, 1), spatial_factor(vae)).unflatten(0, sizes)
    return latents.transpose(1, 2), validity.transpose(1, 2).to(latents.device)
