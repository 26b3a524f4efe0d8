"""What a caller may hand to the pipeline, brought into one form."""

import dataclasses
import math
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import torch
from torch.nn import functional

from utils.errors import UserError
from utils.image import Placement, fit_image, fit_size, pillow_rgb, to_signed, to_uint8

if TYPE_CHECKING:
    from diffusion.pipeline import X2FashionPipeline

OVERSHOOT = 0.1
"""How far resized floats may be out of their range."""

Pictures = PIL.Image.Image | np.ndarray | torch.Tensor | Sequence[Any]


@dataclasses.dataclass(frozen=True)
class View:
    """A further photo of the same person, such as of her back.

    Attributes:
        photo: (3, H, W) in [-1, 1].
        joints: (18, 3): x, y in pixels and visibility; None until they are found.
    """

    photo: torch.Tensor
    joints: np.ndarray | None = None

    def fitted(self, height: int, width: int) -> "View":
        """Photo and joints scaled to fit into `height` x `width`."""
        photo, place = fit_pictures(self.photo[None], height, width)
        return View(photo[0], None if self.joints is None else place.to_fitted(self.joints))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallInputs:
    """What one call is given, in the pipeline's form.

    One photo, clip of poses or sentence stands for as many as there are of the others.
    """

    photo: torch.Tensor
    """(b, 3, H, W) in [-1, 1]."""
    poses: torch.Tensor | None = None
    """(b, 3, F, H, W) in [-1, 1], or None: no poses."""
    prompts: list[str] | None = None
    """b sentences, or None: no sentence, or `prompt_embeds`."""
    prompt_embeds: torch.Tensor | None = None
    """(b, n, d), or None."""
    joints: np.ndarray | None = None
    """(F, 18, 3) or (b, F, 18, 3): x, y in pixels and visibility of the poses' joints."""
    image_joints: np.ndarray | None = None
    """(18, 3) or (b, 18, 3), the same of the photo."""
    num_frames: int | None = None
    """Frames of a clip; None takes all poses."""
    views: tuple[tuple[View, ...], ...] = ()
    """b times the further photos of a clip's person; () for none at all."""

    @classmethod
    def read(
        cls, image: Pictures, poses: Pictures | None, prompt: str | Sequence[str] | None, **others: Any
    ) -> "CallInputs":
        """Bring what a caller gave into the pipeline's form (UserError where it cannot be)."""
        if not isinstance(prompt, str | Sequence | None) or not all(isinstance(p, str) for p in prompt or ()):
            raise UserError(f"prompt is {prompt!r}; give a sentence, or a list with one for each clip")
        prompts = [prompt] if isinstance(prompt, str) else list(prompt or ())
        first, views = split_views(image)
        return cls(
            photo=photo_tensor(first),
            views=views,
            poses=None if poses is None else clip_tensor(poses),
            prompts=prompts if any(prompts) else None,
            **others,
        )

    def fitted(self, height: int, width: int) -> "CallInputs":
        """Photo and poses scaled to fit into `height` x `width`, and their joints with them."""
        given = [self.photo] if self.poses is None else [self.photo, self.poses]
        given += [view.photo for clip in self.views for view in clip]
        if all(pictures.shape[-2:] == (height, width) for pictures in given):
            return self
        photo, place = fit_pictures(self.photo, height, width)
        views = tuple(tuple(view.fitted(height, width) for view in clip) for clip in self.views)
        fitted: dict[str, Any] = {"photo": photo, "views": views}
        if self.image_joints is not None:
            fitted["image_joints"] = place.to_fitted(self.image_joints)
        if self.poses is not None:
            poses, place = fit_pictures(self.poses.transpose(1, 2), height, width)
            fitted["poses"] = poses.transpose(1, 2)
            if self.joints is not None:
                fitted["joints"] = place.to_fitted(self.joints)
        return dataclasses.replace(self, **fitted)

    def expanded(self, batch: int, num_frames: int) -> "CallInputs":
        """As many photos, poses and joints as clips, of as many frames."""
        poses, embeds = self.poses, self.prompt_embeds
        return dataclasses.replace(
            self,
            photo=self.photo.expand(batch, -1, -1, -1),
            poses=None if poses is None else poses[:, :, :num_frames].expand(batch, -1, -1, -1, -1),
            prompt_embeds=None if embeds is None else embeds.expand(batch, -1, -1),
            joints=joints_array(self.joints, (batch, num_frames), "joints"),
            image_joints=joints_array(self.image_joints, (batch,), "image_joints"),
            num_frames=num_frames,
            views=self.views * batch if len(self.views) == 1 else self.views,
        )


def fit_inputs(
    pipeline: "X2FashionPipeline", inputs: CallInputs, height: int | None, width: int | None
) -> CallInputs:
    """Fit photo, poses and joints to the size asked for, or to the one that the model was made for.

    Where nobody has said what it was made for, pictures of a size that it takes stay as they are.

    Raises:
        UserError: a size that is none.
    """
    check_count("height", height)
    check_count("width", width)
    size, multiple = inputs.photo.shape[-2:], pipeline.size_multiple
    fits = not any(side % multiple for side in size)
    others = [view.photo for clip in inputs.views for view in clip]
    others += [] if inputs.poses is None else [inputs.poses]
    alike = all(pictures.shape[-2:] == size for pictures in others)
    if height is None and width is None and pipeline.denoiser.picture_size is None and fits and alike:
        return inputs
    height = pipeline.config.height if height is None else height
    width = pipeline.config.width if width is None else width
    return inputs.fitted(height, width)


def split_views(image: Pictures) -> tuple[Pictures, tuple[tuple[View, ...], ...]]:
    """Part each clip's first photo from the further ones.

    Args:
        image: as in `photo_tensor`, or a list with a list of photos for each clip, the further ones as
            pictures or as `View`.

    Raises:
        UserError: a clip without a photo, or a mixture.
    """
    if not isinstance(image, list | tuple) or not any(isinstance(clip, list | tuple) for clip in image):
        return image, ()
    if not all(isinstance(clip, list | tuple) and len(clip) > 0 for clip in image):
        raise UserError(
            "image has lists and pictures side by side, or an empty list; for several photos of one person "
            "give a list for each clip: [[front, back]]"
        )
    views = tuple(
        tuple(photo if isinstance(photo, View) else View(photo_tensor(photo)[0]) for photo in clip[1:])
        for clip in image
    )
    return [clip[0] for clip in image], views if any(views) else ()


def photo_tensor(image: Pictures) -> torch.Tensor:
    """Bring one photo or a batch of them into the pipeline's form.

    Floats are read as diffusers' `VaeImageProcessor` does: in [-1, 1] where any is negative, else in [0, 1].

    Args:
        image: a Pillow picture; an array (H, W, 3) or (b, H, W, 3) of uint8 or floats; a float tensor
            (3, H, W) or (b, 3, H, W); or a list of pictures of these kinds.

    Returns:
        (b, 3, H, W) float32 in [-1, 1].

    Raises:
        UserError: another kind, shape or range, or pictures of different sizes.
    """
    pixels = _signed_pixels(image, "image")
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    if pixels.ndim != 4:
        raise UserError(
            f"image has {pixels.ndim} dimensions; give one picture (H, W, 3) or a batch (b, H, W, 3), or a "
            "tensor (3, H, W) or (b, 3, H, W)"
        )
    return pixels


def clip_tensor(poses: Pictures) -> torch.Tensor:
    """Bring the pose pictures of one clip or of a batch of clips into the pipeline's form.

    Floats are read as by `photo_tensor`.

    Args:
        poses: a list of pictures; an array (F, H, W, 3) or (b, F, H, W, 3) of uint8 or floats; a float tensor
            (3, F, H, W), (b, 3, F, H, W), or with the frames before the channels, as the pipeline returns
            them (where both axes are 3 long, the channels come first); or a list of clips.

    Returns:
        (b, 3, F, H, W) float32 in [-1, 1].

    Raises:
        UserError: another kind, shape or range, or pictures of different sizes.
    """
    if isinstance(poses, torch.Tensor) and poses.ndim in (4, 5) and poses.shape[-4] == 3:
        poses = poses.transpose(-4, -3)
    pixels = _signed_pixels(poses, "poses")
    pixels = pixels[None] if pixels.ndim == 4 else pixels
    if pixels.ndim != 5:
        raise UserError(
            f"poses have {pixels.ndim} dimensions; give a clip (F, H, W, 3) or a batch (b, F, H, W, 3), or a "
            "tensor (3, F, H, W) or (b, 3, F, H, W)"
        )
    return pixels.transpose(1, 2)


def fit_pictures(pixels: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, Placement]:
    """Scale pictures to fit into `height` x `width` without distortion; see `utils.image.fit_image`.

    Args:
        pixels: (..., 3, H, W) in [-1, 1]; of the size already, they are returned as they are.
        height: height in pixels to fill.
        width: width in pixels to fill.

    Returns:
        (..., 3, height, width) in [-1, 1], and where the pictures lie in it.

    Raises:
        UserError: the pictures are so long or so wide that a side would have under 16 pixels.
    """
    source_height, source_width = pixels.shape[-2:]
    place = fit_size(source_height, source_width, height, width)
    if pixels.shape[-2:] == (height, width):
        return pixels, place
    pictures = to_uint8(pixels.flatten(0, -4) if pixels.ndim > 4 else pixels)
    fitted = to_signed(np.stack([fit_image(picture, height, width)[0] for picture in pictures]))
    return fitted.reshape(*pixels.shape[:-2], height, width), place


def joints_array(joints: np.ndarray | None, leading: tuple[int, ...], name: str) -> np.ndarray | None:
    """Bring joints to (*leading, 18, 3) float32: a missing batch axis is added, extra frames are cut off."""
    if joints is None:
        return None
    joints = np.asarray(joints, np.float32)
    joints = joints[None] if joints.ndim == len(leading) + 1 else joints
    if len(leading) == 2 and joints.ndim == 4:
        joints = joints[:, : leading[1]]
    if (
        joints.ndim != len(leading) + 2
        or len(joints) not in (1, leading[0])
        or joints.shape[1:] != (*leading[1:], 18, 3)
    ):
        raise UserError(
            f"{name} have shape {joints.shape}; give {(*leading, 18, 3)}: x, y in pixels, visibility"
        )
    return np.broadcast_to(joints, (*leading, 18, 3))


def check_count(name: str, number: int | None, least: int = 1) -> None:
    """Refuse an argument that is no whole number, or below `least`; None is fine (UserError)."""
    if number is not None and (not isinstance(number, numbers.Integral) or number < least):
        raise UserError(f"{name} is {number!r}; give a whole number, {least} or more, or leave it out")


def check_multiple(what: str, number: int, multiple: int) -> None:
    """Refuse a size that the model cannot take, and name the nearest ones that it can.

    Args:
        what: the thing that is counted, as the message begins: "16 frames" has `what` "frames".
        number: the size given.
        multiple: it must divide by this, and be positive.

    Raises:
        UserError: it does not.
    """
    if number >= 1 and number % multiple == 0:
        return
    above = max(math.ceil(number / multiple), 1) * multiple
    nearest = f"{above}" if above == multiple else f"{above - multiple} or {above}"
    raise UserError(
        f"{number} {what} cannot be made: this model needs a multiple of {multiple}; take {nearest}"
    )


def _signed_pixels(pictures: Any, name: str) -> torch.Tensor:
    """Pictures of any kind as (..., 3, H, W) float32 in [-1, 1]."""
    if not _has_floats(pictures):
        return to_signed(_uint8_array(pictures, name))
    pixels = _float_tensor(pictures, name)
    low, high = (float(value) for value in pixels.aminmax())
    if not -1 - OVERSHOOT <= low <= high <= 1 + OVERSHOOT:
        raise UserError(f"{name} has floats from {low:g} to {high:g}; give them in [0, 1] or in [-1, 1]")
    return pixels if low < 0 else 2 * pixels - 1


def _has_floats(pictures: Any) -> bool:
    if isinstance(pictures, torch.Tensor):
        return True
    if isinstance(pictures, np.ndarray):
        return bool(np.issubdtype(pictures.dtype, np.floating))
    return isinstance(pictures, list | tuple) and any(_has_floats(picture) for picture in pictures)


def _float_tensor(pictures: Any, name: str) -> torch.Tensor:
    """Float tensors and arrays, and lists of them, as (..., 3, H, W) float32."""
    if isinstance(pictures, torch.Tensor):
        if pictures.ndim < 3 or pictures.shape[-3] != 3 or not pictures.is_floating_point():
            raise UserError(
                f"{name} is a {pictures.dtype} tensor {tuple(pictures.shape)}; give floats in [0, 1] or "
                "[-1, 1], shape (..., 3, H, W)"
            )
        return pictures.float()
    if isinstance(pictures, np.ndarray):
        if pictures.shape[-1] != 3 or not _has_floats(pictures):
            raise UserError(
                f"{name} has a {pictures.dtype} array {pictures.shape} among floats; give floats with the "
                "channels last"
            )
        return torch.from_numpy(np.asarray(pictures, np.float32)).movedim(-1, -3)
    if not isinstance(pictures, list | tuple):
        raise UserError(f"{name} mixes floats and {type(pictures).__name__}; give pictures of one kind")
    tensors = [_float_tensor(picture, name) for picture in pictures]
    _check_one_size([tuple(tensor.shape) for tensor in tensors], name)
    return torch.stack(tensors)


def _check_one_size(shapes: list[tuple[int, ...]], name: str) -> None:
    if len(set(shapes)) > 1:
        named = ", ".join(sorted({str(shape) for shape in shapes}))
        raise UserError(f"{name} has pictures of different sizes: {named}; fit them to one size first")


def _uint8_array(pictures: Any, name: str) -> np.ndarray:
    if isinstance(pictures, PIL.Image.Image):
        return pillow_rgb(pictures)
    if isinstance(pictures, np.ndarray):
        if pictures.dtype != np.uint8 or pictures.shape[-1] != 3:
            raise UserError(
                f"{name} is a {pictures.dtype} array {pictures.shape}; give uint8 or float RGB, channels last"
            )
        return pictures
    if isinstance(pictures, Sequence) and not isinstance(pictures, str | bytes) and len(pictures) > 0:
        arrays = [_uint8_array(picture, name) for picture in pictures]
        _check_one_size([array.shape for array in arrays], name)
        return np.stack(arrays)
    raise UserError(f"{name} is {type(pictures).__name__}; give Pillow pictures, arrays or float tensors")


def resize_clip(pictures: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Pictures (b, 3, f, H, W) at another size, antialiased; unchanged where they have it."""
    if pictures.shape[-2:] == (height, width):
        return pictures
    frames = pictures.transpose(1, 2).flatten(0, 1)
    resized = functional.interpolate(frames, (height, width), mode="bilinear", antialias=True)
    return resized.unflatten(0, (len(pictures), -1)).transpose(1, 2)
