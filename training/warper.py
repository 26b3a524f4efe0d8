"""Pairs of a photo and a frame of the same clip with what connects them, and the warper's loss."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset

from data.annotations import Segment, load_annotations
from data.frames import frame_paths
from data.masks import read_mask
from data.synthetic.mesh import PARTS
from data.synthetic.surface import read_surface
from diffusion.warped_photo import warp_conditions, warp_draft
from models.warper import STEM, Draft, Warp, WarpConditions
from utils.devices import Tensors
from utils.errors import UserError
from utils.image import image_size, read_image, to_signed
from utils.pose_drawing import FACE, JOINT, MIRRORED, NUM_JOINTS, joint_indices
from warping.body import read_body
from warping.joints import load_joints
from warping.warp import warp_by_rules

BODY_JOINTS = [i for i in range(NUM_JOINTS) if i not in joint_indices(FACE)]
PHOTO_ITSELF = 0.3
"""How often one of a photo's frames is the photo: there nothing has to move."""
SHIFTED = 0.5
"""How often the photo is moved sideways: who walks or is cropped otherwise leaves her place empty."""
FACES_SEEN = 0.3
"""How often all joints of the face are called seen, as some estimators do from behind."""
SWAPPED = 0.04
"""How often a frame's left and right are exchanged, as estimators do in turns."""
WHITE_GROUND = 0.3
"""How often the light is turned up, at most 2.55 times, until the ground is white as in a shop's photos."""
PALE_CLOTH = 0.3
"""How often clothes are made nearly as pale as the ground."""
CLOTH = [PARTS[name] for name in ("top", "lower", "dress", "jacket")]
JITTER = 0.03
"""Standard deviation of the joints' errors at most, in lengths from neck to hips."""


@dataclasses.dataclass(frozen=True)
class Pairs(Tensors):
    """Photos (p) and frames (n) of one clip or several.

    Attributes:
        photos: (p, 3, H, W) in [-1, 1].
        frames: (n, 3, H, W), the true ones.
        conditions: that lead from one to the other.
        draft: what the rules make of the photos.
        phase: (n, 2) int64, row and column in 0..3 where in each square of 4 x 4 the next two were looked up.
        flow: (n, 2, H / 4, W / 4) x, y in the photo, in heights of the picture.
        shown: (n, H / 4, W / 4) uint8: 0 hidden background, 1 background, 2 hidden person, 3 person that the
            photo shows.
        parts: (n, H, W) int64 indices of the parts, 0 for the background.
    """

    photos: torch.Tensor
    frames: torch.Tensor
    conditions: WarpConditions
    draft: Draft
    phase: torch.Tensor
    flow: torch.Tensor
    shown: torch.Tensor
    parts: torch.Tensor


class PairDataset(Dataset[Pairs]):
    """A random photo and random frames of each clip of a split.

    Args:
        dataset_dirs: rendered with --surface, with pictures of one size.
        split: train or test.
        frames_per_clip: to a photo.
        seed: of what is drawn and varied; None takes the first frame as photo, later ones spread over the
            clip, and varies nothing.

    Attributes:
        size: height and width of the pictures.

    Raises:
        UserError: no clip has a surface, or the datasets' pictures have different sizes.
    """

    def __init__(
        self, dataset_dirs: Sequence[Path], split: str, frames_per_clip: int, seed: int | None
    ) -> None:
        self.count, self.seed = frames_per_clip, seed
        self.segments = [
            (root, segment)
            for root in dataset_dirs
            if split == "train" or any((root / split).glob("*.txt"))
            for segment in load_annotations(root, split)
            if (root / "fashion_surface" / f"{segment.name}.npz").is_file()
            and segment.end - segment.start > frames_per_clip
        ]
        if not self.segments:
            raise UserError(
                f"{', '.join(map(str, dataset_dirs))} has no {split} clip of more than {frames_per_clip} "
                "frames with a surface; render it with python -m data.synthetic --surface"
            )

        firsts: dict[Path, Segment] = {}
        for root, segment in self.segments:
            firsts.setdefault(root, segment)
        sizes = {
            root: image_size(frame_paths(root / "fashion_crop" / segment.name)[0])
            for root, segment in firsts.items()
        }
        self.size = next(iter(sizes.values()))
        if len(set(sizes.values())) > 1:
            named = ", ".join(f"{root} {height} x {width}" for root, (height, width) in sizes.items())
            raise UserError(f"the datasets' pictures have different sizes: {named}; give those of one size")

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, index: int) -> Pairs:
        root, segment = self.segments[index % len(self.segments)]
        numbers = np.arange(segment.start, segment.end)
        if self.seed is None:
            later = np.unique(np.linspace(segment.start + 1, segment.end - 1, self.count).astype(int))
            return self.pairs(root, segment, segment.start, later, None)
        rng = np.random.default_rng([self.seed, index])
        photo = segment.start if rng.random() < 0.6 else int(rng.choice(numbers))
        others = numbers[numbers != photo]
        chosen = rng.choice(others, self.count, replace=False)
        near = others[np.abs(others - photo) == 1]  # one of them near the photo's own pose
        if len(near) and not np.isin(near, chosen).any():
            chosen[0] = rng.choice(near)
        if rng.random() < PHOTO_ITSELF:
            chosen[-1] = photo
        return self.pairs(root, segment, photo, np.sort(chosen), rng)

    def pairs(
        self, root: Path, segment: Segment, photo: int, chosen: np.ndarray, rng: np.random.Generator | None
    ) -> Pairs:
        """A photo and frames of a dataset's segment, varied if there is an rng."""
        paths = frame_paths(root / "fashion_crop" / segment.name)
        masks = frame_paths(root / "fashion_masks" / segment.name)
        surface = read_surface(root / "fashion_surface" / f"{segment.name}.npz")
        joints = load_joints(root / "fashion_poses" / segment.name, segment.end)
        if joints is None:
            raise UserError(f"{root / 'fashion_poses' / segment.name} shows no joints")
        height, width = surface.height, surface.width
        pictures = np.stack([read_image(paths[i]) for i in (photo, *chosen)])
        parts = np.stack([read_mask(masks[i], (height, width)) for i in (photo, *chosen)])
        shift = 0
        if rng is not None and photo not in chosen and rng.random() < SHIFTED:
            shift = _random_shift(parts[0] > 0, rng)
            pictures[0], parts[0] = (_shifted(image, shift) for image in (pictures[0], parts[0]))
        phases, flows, shown = [], [], []
        around = cv2.dilate((parts[0] > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
        for frame in chosen:
            phase = (STEM // 2, STEM // 2) if rng is None else tuple(rng.integers(STEM, size=2))
            rows, columns = slice(phase[0], None, STEM), slice(phase[1], None, STEM)
            place, visible, person = surface.correspondence(int(frame), photo, (rows, columns))
            y, x = np.mgrid[:height, :width][:, rows, columns] + 0.5
            flow = np.where(person[..., None], place + np.array((shift, 0)), np.stack([x, y], -1))
            seen = np.where(person, visible, around[rows, columns] == 0)
            phases.append(phase)
            flows.append(flow.transpose(2, 0, 1))
            shown.append(2 * person + seen)
        poses, pictures, parts, flow, shown_, phase_ = self._varied(
            np.concatenate([joints[[photo]] + np.array((shift, 0, 0)), joints[chosen]]),
            pictures,
            parts,
            np.stack(flows),
            np.stack(shown).astype(np.uint8),
            np.array(phases),
            rng,
        )
        pictures = np.ascontiguousarray(np.round(pictures), np.uint8)
        images = to_signed(pictures)
        poses = np.stack([_whole(pose) for pose in poses])
        body, *bodies = [there for pose in poses if (there := read_body(pose)) is not None]
        assert len(bodies) == len(chosen)
        return Pairs(
            images[:1],
            images[1:],
            warp_conditions(body, bodies, height),
            warp_draft(warp_by_rules(pictures[0], poses[0], poses[1:])),
            torch.from_numpy(phase_),
            torch.from_numpy(np.ascontiguousarray(flow)).float() / height,
            torch.from_numpy(np.ascontiguousarray(shown_)),
            torch.from_numpy(np.ascontiguousarray(parts[1:])).long(),
        )

    def _varied(
        self,
        joints: np.ndarray,
        pictures: np.ndarray,
        parts: np.ndarray,
        flow: np.ndarray,
        shown: np.ndarray,
        phase: np.ndarray,
        rng: np.random.Generator | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """In training mirrored, recoloured, paler, and with the errors estimators make."""
        width = pictures.shape[2]
        if rng is None:
            return joints, pictures, parts, flow, shown, phase
        is_photo = (joints == joints[0]).all((1, 2))
        if rng.random() < 0.5:
            pictures, parts = pictures[:, :, ::-1], parts[:, :, ::-1]
            flow, shown = flow[..., ::-1] * np.array((-1, 1))[:, None, None], shown[..., ::-1]
            flow = flow + np.array((width, 0))[:, None, None]
            phase = np.stack([phase[:, 0], STEM - 1 - phase[:, 1]], axis=1)
            joints = joints[:, MIRRORED] * np.array((-1, 1, 1)) + np.array((width - 1, 0, 0))
        if rng.random() < 0.4:
            scale = rng.uniform(0.7, 1.05, 3)
            pictures = np.clip(pictures[..., rng.permutation(3)] * scale, 0, 255)
        if (parts[0] == 0).any():
            ground = np.median(pictures[0][parts[0] == 0], axis=0)
            if rng.random() < WHITE_GROUND:
                scale = 255 / np.maximum(ground, 100)
                pictures, ground = np.clip(pictures * scale, 0, 255), np.minimum(ground * scale, 255)
            if rng.random() < PALE_CLOTH:
                share = rng.uniform(0.3, 0.85) * np.isin(parts, CLOTH)[..., None]
                pictures = pictures + share * (ground - pictures)
        poses: list[np.ndarray] = []
        faces = rng.random() < FACES_SEEN
        jitter = rng.uniform(0, JITTER)
        for number, pose in enumerate(joints):
            pose = pose.copy()
            if faces:
                pose[joint_indices(FACE), 2] = 1
            if number and rng.random() < SWAPPED:
                pose[BODY_JOINTS] = pose[MIRRORED][BODY_JOINTS]
            length = np.hypot(
                *(pose[[JOINT["right_hip"], JOINT["left_hip"]], :2].mean(0) - pose[JOINT["neck"], :2])
            )
            pose[:, :2] += rng.normal(0, jitter * length, (NUM_JOINTS, 2))
            poses.append(poses[0] if number and is_photo[number] else pose)
        return np.stack(poses), pictures, parts, flow, shown, phase


def _random_shift(person: np.ndarray, rng: np.random.Generator) -> int:
    """Pixels to the right, negative to the left, by which a mask (H, W) can be moved within its picture."""
    columns = np.flatnonzero(person.any(axis=0))
    if not len(columns):
        return 0
    return int(rng.integers(-columns[0], person.shape[1] - columns[-1]))


def _shifted(image: np.ndarray, shift: int) -> np.ndarray:
    """(H, W, ...) moved to the right by `shift` pixels; what comes in repeats the picture's edge."""
    columns = np.clip(np.arange(image.shape[1]) - shift, 0, image.shape[1] - 1)
    return image[:, columns]


def _whole(pose: np.ndarray) -> np.ndarray:
    """The pose, with all joints called visible where no body can be read without."""
    if read_body(pose) is None:
        pose = pose.copy()
        pose[:, 2] = 1
    return pose


def collate_pairs(clips: list[Pairs]) -> Pairs:
    """All photos and frames of several clips."""
    own = {
        f.name: torch.cat([getattr(clip, f.name) for clip in clips])
        for f in dataclasses.fields(Pairs)
        if f.name not in ("conditions", "draft")
    }
    draft = {
        f.name: torch.cat([getattr(clip.draft, f.name) for clip in clips]) for f in dataclasses.fields(Draft)
    }
    conditions = {
        f.name: torch.cat([getattr(clip.conditions, f.name) for clip in clips])
        for f in dataclasses.fields(WarpConditions)
    }
    counts = torch.tensor([len(clip.frames) for clip in clips])
    conditions["photo_index"] = torch.arange(len(clips)).repeat_interleave(counts)
    return Pairs(conditions=WarpConditions(**conditions), draft=Draft(**draft), **own)


def warp_loss(warp: Warp, pairs: Pairs) -> torch.Tensor:
    """Where it comes from, what the photo shows, who is where, and the picture that results."""
    # The flow, where it was looked up.
    rows, columns = (
        (
            pairs.phase[:, axis, None]
            + STEM * torch.arange(pairs.flow.shape[2 + axis], device=pairs.flow.device)
        )
        for axis in range(2)
    )
    batch = torch.arange(len(rows), device=rows.device)[:, None, None]
    places = batch, slice(None), rows[:, :, None], columns[:, None, :]
    flow = warp.flow[places].permute(0, 3, 1, 2)
    weight = pairs.flow.new_tensor([0.0, 0.1, 0.15, 1.0])[pairs.shown.long()]
    distance = (100 * (flow - pairs.flow)).square().sum(1).add(1e-4).sqrt()
    distance = torch.where(distance > 4, 4 * (1 + (distance.clamp(min=4) / 4).log()), distance)
    flow_loss = (distance * weight).mean() / weight.mean().clamp(min=0.05)

    # What the photo shows, and the person.
    shown = (pairs.shown % 2).float()
    visible = warp.visible[places][..., 0]
    visible_loss = functional.binary_cross_entropy_with_logits(visible, shown)
    person = (pairs.parts > 0).float()
    person_loss = functional.binary_cross_entropy_with_logits(warp.person[:, 0], person)
    middle = STEM // 2
    part_loss = functional.cross_entropy(warp.parts, pairs.parts[:, middle::STEM, middle::STEM])

    # The picture.
    moved, frames = warp.moved[places], pairs.frames[places]
    moved_loss = ((moved - frames).abs().mean(-1) * weight).mean() / weight.mean().clamp(min=0.05)
    on_person = 1 + 3 * functional.max_pool2d(person[:, None], 5, 1, 2)
    on_person = on_person / on_person.mean()
    difference = (warp.picture - pairs.frames).abs()
    # Squares too: where it is not sure of one source, a mixture is nearer to the truth.
    picture_loss = ((difference + difference.square()) * on_person).mean()
    small = functional.avg_pool2d(pairs.frames, STEM)
    hidden = functional.avg_pool2d(on_person, STEM) * torch.where(
        functional.interpolate(warp.visible.detach(), scale_factor=1 / STEM, mode="area") < 0, 3.0, 0.3
    )
    paint_loss = ((warp.paint - small).abs() * hidden).mean()
    return (
        0.3 * flow_loss
        + 0.3 * visible_loss
        + 0.3 * person_loss
        + 0.2 * part_loss
        + 2 * moved_loss
        + 2 * picture_loss
        + paint_loss
    )
