"""Draw a whole clip: who, what and how from a seed, then frames, skeletons, masks and what the JSON says."""

import dataclasses
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from data.synthetic.body import Body, sample_body
from data.synthetic.figure import DEPTH_SHEAR, SURFACE, Camera, Figure
from data.synthetic.garments import Outfit, sample_outfit, trunk_sections
from data.synthetic.motion import perform, sample_motions, sample_performance
from data.synthetic.raster import Cone, GBuffer, Loft, draw_cone, draw_loft
from data.synthetic.shading import PARTS, Painter, Studio, floor_shadow, sample_studio, shade
from data.synthetic.skeleton import SIDES, Skeleton, directions
from data.synthetic.wordings import sample_wording
from utils.pose_drawing import JOINT, NUM_JOINTS, draw_pose

SPLITS = ("train", "test")
OVERSAMPLING = 2
COVERING = frozenset(SURFACE[name] for name in ("trunk", "head", "hair"))
"""What hides an arm behind it."""
HIDING_DEPTH = 0.045
"""How far in front of a joint it is then, in body heights."""
AMPLITUDES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


@dataclasses.dataclass
class Clip:
    """All that is drawn at random for one clip, and the resulting joints."""

    name: str
    body: Body
    outfit: Outfit
    studio: Studio
    motions: list[str]
    text: str
    sections: np.ndarray
    skeleton: Skeleton
    camera: Camera
    height: int
    width: int

    @property
    def num_frames(self) -> int:
        """How many frames it has."""
        return len(self.skeleton.pelvis_yaw)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame: `picture` and `pose` (H, W, 3) uint8 RGB, `mask` (H, W) uint8, `keypoints` (18, 3)."""

    picture: np.ndarray
    pose: np.ndarray
    mask: np.ndarray
    keypoints: np.ndarray


def sample_clip(
    seed: int, split: str, index: int, num_frames: int, height: int, motions: list[str] | None = None
) -> Clip:
    """Draw a clip; what comes out depends on nothing but the arguments.

    Args:
        seed: of the dataset.
        split: "train" or "test"; their people are drawn from different streams.
        index: of the clip in its split.
        num_frames: of the clip; the whole motion fits in.
        height: of the picture in pixels; the width is half of it.
        motions: labels of `wordings.MOTIONS` to perform instead of drawn ones.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    drawn = sample_motions(rng)
    motions = drawn if motions is None else motions
    body = sample_body(rng)
    outfit = sample_outfit(rng, body)
    studio = sample_studio(rng)
    performance = sample_performance(rng, body, motions)
    text = sample_wording(motions, rng, split, body.gender)
    width = height // 2
    pixels = height * OVERSAMPLING
    camera = Camera(
        scale=float(rng.uniform(0.705, 0.755)) * pixels,
        center_x=width * OVERSAMPLING / 2,
        floor_y=float(rng.uniform(0.895, 0.912)) * pixels,
    )
    sections = trunk_sections(body, outfit)
    for amplitude in AMPLITUDES:
        skeleton = perform(performance, body, sections, num_frames, amplitude)
        if inside_frame(skeleton, camera, width * OVERSAMPLING, pixels):
            break
    return Clip(
        f"{split}_{index:05d}", body, outfit, studio, motions, text, sections, skeleton, camera, height, width
    )


def inside_frame(skeleton: Skeleton, camera: Camera, width: int, height: int) -> bool:
    """Whether hands, feet and head keep a small distance from the picture's border in all frames."""
    scales = camera.scales(skeleton)
    for name, points in skeleton.points.items():
        x, y, _ = camera.project(points, scales).T
        radius = scales * (0.085 if name == "head" else 0.032)
        if (
            min(
                (x - radius).min(),
                (width - x - radius).min(),
                (y - radius).min(),
                (height - y - radius).min(),
            )
            < 0
        ):
            return False
    return True


def face_points(clip: Clip) -> dict[str, np.ndarray]:
    """Nose, eyes and ears in the world, (F, 3) each."""
    left, front = directions(clip.skeleton.head_yaw)
    head, length = clip.skeleton.points["head"], clip.body.head_length
    up = np.array([0.0, 1.0, 0.0])
    width = clip.body.head_half_width
    points = {"nose": head + 0.058 * front - 0.010 * up}
    for name, side in SIDES.items():
        points[f"{name}_eye"] = head + 0.40 * side * width * left + 0.046 * front - 0.025 * length * up
        points[f"{name}_ear"] = head + side * width * left - 0.004 * front - 0.008 * up
    return points


def project_joints(clip: Clip) -> np.ndarray:
    """The 18 joints in the oversampled picture, (F, 18, 3): x, y, z in its pixels."""
    scales = clip.camera.scales(clip.skeleton)
    joints = np.empty((clip.num_frames, NUM_JOINTS, 3))
    points = clip.skeleton.points | face_points(clip)
    for name, index in JOINT.items():
        joints[:, index] = clip.camera.project(points[name], scales)
    return joints


def visibility(
    clip: Clip,
    frame: int,
    joints: np.ndarray,
    look: Callable[[int, int], tuple[int, float]],
    scale: float,
) -> np.ndarray:
    """Which of the 18 joints an estimator would find, (18,) of 0 and 1.

    Eyes, ears and nose vanish as the head turns away; wrists and elbows where the trunk or the head is well
    in front of them; shoulders, hips, knees and ankles are always found.

    Args:
        clip: whose joints.
        frame: of the clip.
        joints: (18, 3) of that frame in the oversampled picture.
        look: row and column of the oversampled picture to what is seen there: surface and depth.
        scale: pixels a body height.
    """
    visible = np.ones(NUM_JOINTS)
    yaw = clip.skeleton.head_yaw[frame]
    facing = np.cos(yaw)
    visible[JOINT["nose"]] = facing > -0.15
    for name, side in SIDES.items():
        toward = -side * np.sin(yaw)  # how far this side of the head is turned to the viewer
        visible[JOINT[f"{name}_eye"]] = facing > -0.10 and toward > -0.80
        visible[JOINT[f"{name}_ear"]] = facing > -0.45 and toward > -0.55
        for part in ("elbow", "wrist"):
            x, y, z = joints[JOINT[f"{name}_{part}"]]
            column = int(np.clip(x, 0, clip.width * OVERSAMPLING - 1))
            row = int(np.clip(y, 0, clip.height * OVERSAMPLING - 1))
            surface, depth = look(row, column)
            visible[JOINT[f"{name}_{part}"]] = not (surface in COVERING and depth - z > HIDING_DEPTH * scale)
    return visible


def floor_places(clip: Clip, figure: Figure, frame: int, scale: float) -> list[tuple[float, float]]:
    """Where the middle of each foot is on the floor, (x, y) in the final picture's pixels."""
    places = []
    for side in SIDES:
        ankle, toe = (clip.skeleton.points[f"{side}_{j}"][frame] for j in ("ankle", "toe"))
        x = 0.5 * (figure.pixels[f"{side}_ankle"][frame, 0] + figure.pixels[f"{side}_toe"][frame, 0])
        y = clip.camera.floor_y + scale * DEPTH_SHEAR * 0.5 * (ankle[2] + toe[2])
        places.append((x / OVERSAMPLING, y / OVERSAMPLING))
    return places


def draw(buffer: GBuffer, primitives: list[Cone | Loft]) -> None:
    """Ray-cast everything into a buffer."""
    for primitive in primitives:
        if isinstance(primitive, Cone):
            draw_cone(buffer, primitive)
        else:
            draw_loft(buffer, primitive)


def find_keypoints(
    clip: Clip,
    frame: int,
    joints: np.ndarray,
    look: Callable[[int, int], tuple[int, float]],
    scale: float,
) -> np.ndarray:
    """(18, 3): x, y in the final picture's pixels, to hundredths, and visibility; see `visibility`."""
    keypoints = np.empty((NUM_JOINTS, 3))
    keypoints[:, :2] = joints[:, :2] / OVERSAMPLING - 0.5
    keypoints[:, 2] = visibility(clip, frame, joints, look, scale)
    return np.round(keypoints, 2)


def track_clip(clip: Clip) -> list[np.ndarray]:
    """The keypoints that `render_clip` gives, (18, 3) a frame; only pixels on elbows and wrists are drawn."""
    figure = Figure(clip.body, clip.outfit, clip.sections, clip.skeleton, clip.camera)
    joints, scales = project_joints(clip), clip.camera.scales(clip.skeleton)
    keypoints = []
    for frame in range(clip.num_frames):
        primitives = figure.primitives(frame)

        def look(row: int, column: int, primitives: list[Cone | Loft] = primitives) -> tuple[int, float]:
            pixel = GBuffer(1, 1, top=row, left=column)
            draw(pixel, primitives)
            return int(pixel.surface[0, 0]), float(pixel.z[0, 0])

        keypoints.append(find_keypoints(clip, frame, joints[frame], look, float(scales[frame])))
    return keypoints


def render_clip(clip: Clip) -> Iterator[Frame]:
    """Draw the frames of a clip one after another."""
    buffer = GBuffer(clip.height * OVERSAMPLING, clip.width * OVERSAMPLING)
    figure = Figure(clip.body, clip.outfit, clip.sections, clip.skeleton, clip.camera)
    painter = Painter(clip.body, clip.outfit, clip.studio)
    background = clip.studio.background(clip.height, clip.width)
    joints = project_joints(clip)
    scales = clip.camera.scales(clip.skeleton)

    def look(row: int, column: int) -> tuple[int, float]:
        return int(buffer.surface[row, column]), float(buffer.z[row, column])

    for frame in range(clip.num_frames):
        scale = float(scales[frame])
        buffer.clear()
        draw(buffer, figure.primitives(frame))
        picture, parts = shade(
            buffer,
            painter,
            scale,
            (figure.pixels["pelvis"][frame, 0], figure.pixels["pelvis"][frame, 1] + 0.04 * scale),
        )
        picture = cv2.resize(picture, (clip.width, clip.height), interpolation=cv2.INTER_AREA)
        feet = floor_places(clip, figure, frame, scale)
        middle = (float(np.mean([f[0] for f in feet])), float(np.mean([f[1] for f in feet])))
        floor = floor_shadow(background, feet, middle, scale / OVERSAMPLING)
        floor *= 1 - picture[:, :, 3:]
        floor += picture[:, :, :3]
        keypoints = find_keypoints(clip, frame, joints[frame], look, scale)
        mask = most_common_part(parts)
        yield Frame(
            np.rint(floor).astype(np.uint8), draw_pose(keypoints, clip.height, clip.width), mask, keypoints
        )


def describe(clip: Clip, keypoints: list[np.ndarray]) -> dict:
    """The clip's JSON."""
    identity = dataclasses.asdict(clip.body)
    return {
        "height": clip.height,
        "width": clip.width,
        "keypoints": [np.round(k, 2).tolist() for k in keypoints],
        "motion": "_then_".join(clip.motions),
        "motions": clip.motions,
        "text": clip.text,
        "identity": {"id": clip.name, **identity},
        "garments": clip.outfit.description(),
        "parts": PARTS,
    }


def most_common_part(parts: np.ndarray) -> np.ndarray:
    """Reduce part numbers (H * OVERSAMPLING, W * OVERSAMPLING) to (H, W): the commonest of a pixel's samples.

    Where as many samples are background as are any one part, the part wins.
    """
    height, width = parts.shape[0] // OVERSAMPLING, parts.shape[1] // OVERSAMPLING
    samples = (
        parts.reshape(height, OVERSAMPLING, width, OVERSAMPLING).swapaxes(1, 2).reshape(height, width, -1)
    )
    votes = (samples[..., :, None] == samples[..., None, :]).sum(-1) + 0.5 * (samples > 0)
    return np.take_along_axis(samples, votes.argmax(-1)[..., None], axis=-1)[..., 0]
