"""A sentence moves the person: joints over time from a text-to-poses model, and skeletons of them."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor

from diffusion.denoising import Generators
from diffusion.inputs import CallInputs, View
from models.folder import load_part
from models.pose_finder import SHIPPED_FINDER, PoseFinder
from models.text_to_poses import TextToPoses
from utils.errors import UserError
from utils.files import atomic_folder, write_json
from utils.image import to_signed, to_uint8, write_png
from utils.pose_drawing import HIPS, JOINT, draw_pose, joint_indices
from warping.body import read_body

if TYPE_CHECKING:
    from diffusion.pipeline import X2FashionPipeline

FOLDER = "text_to_poses"
"""Of the text-to-poses model in a pipeline's folder."""
MARGIN = 0.02
"""How near to the picture's sides a motion may bring a joint, as a part of its width."""


def load_text_to_poses(path: str | Path, text_width: int | None = None) -> TextToPoses:
    """Load a text-to-poses model in float32 and eval mode.

    Args:
        path: its folder, or the folder of a pipeline that has one in `text_to_poses`.
        text_width: width of the text encoder's hidden state, which it must fit; None does not check it.

    Raises:
        UserError: there is none, it is damaged, or was made for another text encoder; the message names it.
    """
    path = Path(path)
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{path} holds no text-to-poses model (there is no {FOLDER}/config.json); make one with "
            "python -m recipe.train_text_to_poses, or give poses"
        )
    model = load_part(folder, "text-to-poses model", {"TextToPoses": TextToPoses})
    if text_width not in (None, model.config.cross_attention_dim):
        raise UserError(
            f"the text-to-poses model in {folder} reads embeddings of width "
            f"{model.config.cross_attention_dim}, the text encoder writes {text_width}; give a "
            "text_to_poses of the same text encoder, or poses"
        )
    return model


def body_frame(pose: np.ndarray) -> tuple[np.ndarray, float]:
    """Where a pose is and how large: the middle of the hips (2,), and the torso's length to the neck.

    Args:
        pose: (18, 3) x, y, visibility; neck and a hip are seen.

    Raises:
        UserError: they are not.
    """
    hips = pose[joint_indices(HIPS)]
    neck = pose[JOINT["neck"]]
    seen = hips[:, 2] > 0
    middle = hips[seen, :2].mean(axis=0) if seen.any() else neck[:2]
    torso = float(np.linalg.norm(neck[:2] - middle))
    if neck[2] <= 0 or torso < 1:
        raise UserError(
            "the photo's pose needs a neck and hips to move; give a photo of the whole person, or her joints "
            "as image_joints"
        )
    return middle, torso


def normalise_joints(joints: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Joints (..., 18, 3) in pixels as torso lengths from the middle of the hips of `pose` (18, 3)."""
    origin, torso = body_frame(pose)
    normalised = np.array(joints, np.float32)
    normalised[..., :2] = (normalised[..., :2] - origin) / torso
    return normalised


def poses_from_text(
    model: TextToPoses,
    prompt_embeds: torch.Tensor,
    image_joints: np.ndarray,
    height: int,
    width: int,
    num_frames: int,
    generator: torch.Generator | None,
) -> np.ndarray:
    """Draw one track of joints that does what a sentence says.

    Args:
        model: trained.
        prompt_embeds: (1, n, d), the text encoder's last hidden state.
        image_joints: (18, 3): x, y in pixels, visibility; the photo's pose, where the track begins.
        height: height of the picture in pixels. Joints that leave the picture are not seen.
        width: width of the picture. Somebody who would walk out of its side walks less far.
        num_frames: F, at least 1; the whole motion takes place in them.
        generator: another state gives another way of doing it.

    Returns:
        (F, 18, 3) float32: x, y in pixels, visibility 0 or 1; frame 0 is `image_joints`.

    Raises:
        UserError: neck or hips are not seen.
    """
    pose = np.array(image_joints, np.float32)
    origin, torso = body_frame(pose)
    first = normalise_joints(_with_places(pose), pose)
    first[:, 2] = first[:, 2] > 0
    device = model.device if generator is None else generator.device
    latents = randn_tensor((1, model.config.latent_dim), generator, device)
    inputs = (prompt_embeds, torch.from_numpy(first)[None], latents)
    with torch.no_grad():
        places, logits = model(*(value.to(model.device, model.dtype) for value in inputs), num_frames)
    joints = np.empty((num_frames, *pose.shape), np.float32)
    joints[..., :2] = places[0].float().cpu().numpy() * torso + origin
    joints[..., 2] = logits[0].float().cpu().numpy() > 0
    joints[0] = pose
    joints = _stay_inside(joints, width)
    inside = (joints[1:, :, :2] > -0.5) & (joints[1:, :, :2] < np.array([width, height]) - 0.5)
    joints[1:, :, 2] *= inside.all(axis=2)
    return joints


def _with_places(pose: np.ndarray) -> np.ndarray:
    """A pose (18, 3) whose hidden joints, on which others hang, have likely places where they have none."""
    whole, body = pose.copy(), read_body(pose.astype(np.float64))
    if body is not None:
        unplaced = (pose[:, 2] <= 0) & ~pose[:, :2].any(axis=1)
        inferred = unplaced & body.known
        whole[inferred, :2] = body.points[inferred]
        if unplaced[JOINT["nose"]]:
            whole[JOINT["nose"], :2] = body.head
    return whole


def _stay_inside(joints: np.ndarray, width: int) -> np.ndarray:
    """Shorten the way to the side of a track (F, 18, 3) until its joints are inside the picture."""
    hips = joints[:, joint_indices(HIPS), 0].mean(axis=1)
    seen = joints[..., 2] > 0
    edge = MARGIN * width

    def shortened(share: float) -> np.ndarray:
        return joints[..., 0] - (1 - share) * (hips - hips[0])[:, None]

    def overflow(x: np.ndarray) -> float:
        return float(np.maximum(edge - x, x - (width - 1 - edge))[seen].max(initial=0))

    at_least = overflow(shortened(0)) + 1e-3
    share = next(s for s in np.linspace(1, 0, 21) if s == 0 or overflow(shortened(float(s))) <= at_least)
    moved = joints.copy()
    moved[1:, :, 0] = shortened(float(share))[1:]
    return moved


def moves_by_sentence(inputs: CallInputs) -> bool:
    """Whether poses are to be made from a sentence: there is one, and there are no poses."""
    has_text = inputs.prompts is not None or inputs.prompt_embeds is not None
    return has_text and inputs.poses is None


def find_photo_joints(pipeline: "X2FashionPipeline", inputs: CallInputs) -> CallInputs:
    """Find the photos' joints with the pipeline's pose finder, where they are not given.

    Where the pipeline has no finder, the one that ships is loaded, and kept.

    Raises:
        UserError: nobody is found, or there is no finder, or no text-to-poses model to move anybody.
    """
    if pipeline.text_to_poses is None:
        raise UserError(
            "this pipeline has no text_to_poses, which makes poses from a sentence; give poses, or load a "
            "model with one"
        )
    if inputs.image_joints is not None:
        return inputs
    photos = [find_joints(pipeline, photo, f"photo {i}") for i, photo in enumerate(inputs.photo)]
    return dataclasses.replace(inputs, image_joints=np.stack(photos))


def find_view_joints(pipeline: "X2FashionPipeline", inputs: CallInputs) -> CallInputs:
    """Find the joints of further photos, where they are not given.

    Raises:
        UserError: nobody is found, or there is no finder.
    """
    views = tuple(
        tuple(
            view
            if view.joints is not None
            else View(view.photo, find_joints(pipeline, view.photo, f"further photo {number}"))
            for number, view in enumerate(clip)
        )
        for clip in inputs.views
    )
    return dataclasses.replace(inputs, views=views)


def find_joints(pipeline: "X2FashionPipeline", photo: torch.Tensor, name: str) -> np.ndarray:
    """Joints (18, 3) in a photo (3, H, W), by the pipeline's finder or the one that ships.

    Where the code is installed without the models, that is the one beside the loaded model.

    Raises:
        UserError: nobody is found, or there is no finder.
    """
    if pipeline.pose_finder is None:
        beside = Path(pipeline.config.get("_name_or_path") or ".").parent / SHIPPED_FINDER.name
        folder = beside if beside.is_dir() and not SHIPPED_FINDER.is_dir() else SHIPPED_FINDER
        pipeline.register_modules(pose_finder=PoseFinder.from_pretrained(folder))
    pose = pipeline.pose_finder.find(to_uint8(photo[None])[0], with_mask=False)
    if not pose.found:
        raise UserError(
            f"no person was found in {name}; give image_joints (for a further photo, a View with its "
            "joints), or another photo"
        )
    return pose.keypoints


def move_by_sentences(
    model: TextToPoses, prompt_embeds: torch.Tensor | None, inputs: CallInputs, generator: Generators
) -> CallInputs:
    """Give clips the poses that do what their sentences say.

    Args:
        model: trained.
        prompt_embeds: (b, n, d).
        inputs: of b clips, with `image_joints` and `num_frames`.
        generator: see `poses_from_text`.

    Returns:
        The inputs with poses and joints.
    """
    assert prompt_embeds is not None and inputs.image_joints is not None and inputs.num_frames is not None
    height, width = inputs.photo.shape[-2:]
    generators = generator if isinstance(generator, list) else [generator] * len(inputs.photo)
    clips = zip(prompt_embeds.split(1), inputs.image_joints, generators, strict=True)
    joints = np.stack(
        [poses_from_text(model, *clip[:2], height, width, inputs.num_frames, clip[2]) for clip in clips]
    )
    pictures = np.stack([[draw_pose(frame, height, width) for frame in clip] for clip in joints])
    return dataclasses.replace(inputs, joints=joints, poses=to_signed(pictures).transpose(1, 2))


def write_poses(
    folder: str | Path, joints: np.ndarray, height: int, width: int, fps: float | None = None
) -> None:
    """Write joints (F, 18, 3) in pixels as skeletons FOLDER/000.png ... and, beside it, as FOLDER.json.

    inference.py takes the folder as --poses, and then reads exact joints and frames a second from the
    JSON. To edit the pictures instead, delete the JSON: the joints are then read from their colours.
    """
    folder = Path(folder)
    description = {"height": height, "width": width, "keypoints": joints.astype(float).tolist()}
    description |= {} if fps is None else {"fps": fps}
    with atomic_folder(folder) as new:
        for index, frame in enumerate(joints):
            write_png(new / f"{index:03d}.png", draw_pose(frame, height, width))
    write_json(folder.with_name(f"{folder.name}.json"), description)
