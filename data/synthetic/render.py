"""A clip of the synthetic dataset: drawn at random, posed, dressed, lit, and rendered frame by frame."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from data.synthetic.checks import (
    check_cloth,
    check_joints,
    check_through,
    check_vertices,
    longest_edge,
    share_through,
)
from data.synthetic.layout import SPLITS
from data.synthetic.mesh import PARTS, Mesh, SkinnedMesh
from data.synthetic.motion import Motion, perform, sample_motions
from data.synthetic.outfit import Outfit, sample_outfit
from data.synthetic.person import Person, sample_person
from data.synthetic.raster import Picture, draw, in_front
from data.synthetic.rig import skin
from data.synthetic.studio import Camera, Studio, fit_camera, sample_studio
from data.synthetic.surface import SurfaceWriter
from data.synthetic.visibility import visible_joints
from data.synthetic.wordings import sample_wording
from utils.pose_drawing import NUM_JOINTS, draw_pose

FPS = 10.0
"""Frames a second of the clips; cloth and steps are timed by it."""
NUM_OUTLINE_POINTS = 400
AMPLITUDES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""How far a motion reaches; the first with which the person stays in the picture is taken."""
SPARE = 0.01
"""How near to the picture's border she may come, in picture heights."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticClip:
    """All that is drawn at random for one clip, and the motion that follows from it."""

    name: str
    person: Person
    outfit: Outfit
    studio: Studio
    camera: Camera
    motion: Motion
    motions: list[str]
    text: str
    height: int
    width: int
    draw: int
    """How many earlier draws of this clip failed a check."""

    @property
    def num_frames(self) -> int:
        """How many frames it has."""
        return len(self.motion.transforms)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame: `picture` and `pose` (H, W, 3) uint8 RGB, `mask` (H, W) uint8, `keypoints` (18, 3)."""

    picture: np.ndarray
    pose: np.ndarray
    mask: np.ndarray
    keypoints: np.ndarray


def sample_clip(
    seed: int,
    split: str,
    index: int,
    num_frames: int,
    height: int,
    motions: list[str] | None = None,
    draw: int = 0,
    among: Sequence[str] = (),
) -> SyntheticClip:
    """Draw a clip; what comes out depends on nothing but the arguments.

    Args:
        seed: of the dataset.
        split: "train" or "test"; their people are drawn from different streams.
        index: of the clip in its split.
        num_frames: of the clip; the whole motion fits in.
        height: of the picture in pixels; the width is half of it.
        motions: labels of `wordings.MOTIONS` to perform instead of drawn ones.
        draw: how often this clip was drawn before.
        among: labels to draw motions from; all if empty.
    """
    streams = np.random.SeedSequence([seed, SPLITS.index(split), index, draw]).spawn(7)
    of_motions, of_person, of_outfit, of_studio, of_camera, _, of_words = map(np.random.default_rng, streams)
    drawn = sample_motions(of_motions, among)
    motions = drawn if motions is None else motions
    person = sample_person(of_person)
    outfit = sample_outfit(of_outfit, person)
    width = height // 2

    def move(amplitude: float) -> Motion:
        return perform(
            np.random.default_rng(streams[5]),  # the same stance and timing every time
            person,
            motions,
            heel=outfit.heel,
            sole=outfit.sole,
            sections=outfit.sections,
            num_frames=num_frames,
            fps=FPS,
            amplitude=amplitude,
        )

    # The camera knows the first frame alone, so that the first picture does not tell what follows.
    camera = fit_camera(of_camera, _outline(person, move(1.0).transforms[:1]), height, width)
    for amplitude in AMPLITUDES:
        motion = move(amplitude)
        if _stays_inside(camera.project(_outline(person, motion.transforms)), height, width):
            break
    return SyntheticClip(
        name=f"{split}_{index:05d}",
        person=person,
        outfit=outfit,
        studio=sample_studio(of_studio),
        camera=camera,
        motion=motion,
        motions=motions,
        text=sample_wording(motions, of_words, split, person.gender),
        height=height,
        width=width,
        draw=draw,
    )


def _outline(person: Person, transforms: np.ndarray) -> np.ndarray:
    """Points all over the body in every frame, (F, N, 3)."""
    body = person.meshes[0]
    step = max(1, len(body.rest) // NUM_OUTLINE_POINTS)
    rest, bones, weights = body.rest[::step], body.bones[::step], body.weights[::step]
    return np.stack([skin(rest, bones, weights, of_frame) for of_frame in transforms])


def _stays_inside(points: np.ndarray, height: int, width: int) -> bool:
    """Whether points (F, N, >= 2) in pixels keep inside the picture, or as in the first frame."""
    low, high = points[..., :2].min(axis=1), points[..., :2].max(axis=1)
    spare = SPARE * height
    return bool(
        (low >= np.minimum(spare, low[0])).all()
        and (high <= np.maximum(np.array([width, height]) - spare, high[0])).all()
    )


def track_clip(clip: SyntheticClip) -> list[np.ndarray]:
    """The keypoints that `render_clip` gives, (18, 3) a frame, without drawing anything."""
    return [_find_keypoints(clip, transforms) for transforms in clip.motion.transforms]


def _find_keypoints(clip: SyntheticClip, transforms: np.ndarray) -> np.ndarray:
    """(18, 3): x, y in the picture's pixels, to hundredths, and visibility."""
    joints = clip.person.joints(transforms)
    keypoints = np.empty((NUM_JOINTS, 3))
    keypoints[:, :2] = clip.camera.project(joints)[:, :2] - 0.5
    keypoints[:, 2] = visible_joints(transforms, joints, clip.outfit.sections, clip.camera)
    x, y = keypoints[:, 0], keypoints[:, 1]
    keypoints[:, 2] *= (x > -0.5) & (x < clip.width - 0.5) & (y > -0.5) & (y < clip.height - 0.5)
    return np.round(keypoints, 2)


class Scene:
    """The surfaces of a clip, and where they are in each frame."""

    def __init__(self, clip: SyntheticClip):
        self.clip = clip
        body = clip.person.meshes[0]
        drawn = ~clip.outfit.hidden
        self.hidden = body.triangles[clip.outfit.hidden]
        self.skinned: list[SkinnedMesh] = [
            dataclasses.replace(
                body,
                rest=clip.outfit.body_rest,
                triangles=body.triangles[drawn],
                uv=body.uv[drawn],
                parts=body.parts[drawn],
            ),
            *clip.person.meshes[1:],
            *clip.outfit.meshes,
        ]
        self.skirts = clip.outfit.skirts
        self.meshes: list[Mesh] = [*self.skinned, *(skirt.mesh for skirt in self.skirts)]
        self.covered = clip.outfit.covered[drawn]
        self.first_edges: list[float] = []

    def vertices(self, frame: int) -> list[np.ndarray]:
        """Where the surfaces are in a frame, (V, 3) each; frames come in order, for the cloth moves on."""
        transforms = self.clip.motion.transforms[frame]
        places = [skin(m.rest, m.bones, m.weights, transforms) for m in self.skinned]
        for skirt in self.skirts:
            places.append(skirt.settle(transforms) if frame == 0 else skirt.step(transforms, 1 / FPS))
        for mesh, place in zip(self.meshes, places, strict=True):
            check_vertices(mesh, place, frame)
        cloth = list(zip(self.meshes, places, strict=True))[len(self.skinned) :]
        if frame == 0:
            self.first_edges = [longest_edge(mesh, place) for mesh, place in cloth]
        for (mesh, place), edge in zip(cloth, self.first_edges, strict=True):
            check_cloth(mesh, place, edge, frame)
        return places

    def skin_through(self, places: list[np.ndarray], picture: Picture) -> np.ndarray:
        """(H, W) bool: where skin lies in front of the cloth over it, though most of it is never drawn."""
        shown = picture.surface
        seen = (shown.mesh == 0) & self.covered[np.where(shown.mesh == 0, shown.triangle, 0)]
        return seen | in_front(picture, places[0], self.hidden, self.clip.camera)


def render_clip(clip: SyntheticClip, surface: SurfaceWriter | None = None) -> Iterator[Frame]:
    """Draw the frames of a clip one after another.

    Args:
        clip: what to draw.
        surface: takes down which point of which surface every pixel shows.

    Raises:
        RejectedError: cloth, joints or body are not where they belong.
    """
    scene = Scene(clip)
    for number in range(clip.num_frames):
        places = scene.vertices(number)
        picture = draw(scene.meshes, places, clip.camera, clip.studio)
        if surface is not None:
            surface.add(scene.meshes, places, clip.camera, picture)
        keypoints = _find_keypoints(clip, clip.motion.transforms[number])
        check_joints(keypoints, picture.parts, number)
        check_through(share_through(scene.skin_through(places, picture), picture.parts), number)
        yield Frame(picture.picture, draw_pose(keypoints, clip.height, clip.width), picture.parts, keypoints)


def describe(clip: SyntheticClip, keypoints: list[np.ndarray]) -> dict[str, Any]:
    """The clip's JSON."""
    return {
        "height": clip.height,
        "width": clip.width,
        "fps": FPS,
        "keypoints": [np.round(k, 2).tolist() for k in keypoints],
        "motion": "_then_".join(clip.motions),
        "motions": clip.motions,
        "text": clip.text,
        "identity": {"id": clip.name, **clip.person.description()},
        "garments": clip.outfit.description(),
        "parts": PARTS,
        "draw": clip.draw,
    }
