"""How each limb would carry a frame's pixels back to the photo: the candidates a learned warp chooses from.

Siarohin et al., "First Order Motion Model for Image Animation", 2019, move regions by local affine maps and
let a network choose among them; here the maps follow from two poses.
"""

import dataclasses

import numpy as np

from warping.body import SIDES, Body, front_width_of, yaw_of

LIMBS = (
    "background", "trunk", "turned trunk", "skirt", "turned skirt", "hem", "head", "turned head",
    *(f"{side} {part}" for side in SIDES for part in ("upper arm", "forearm", "thigh", "shin", "foot")),
)  # fmt: skip
"""The candidates. "Turned" ones are squeezed or mirrored across the body as its turn says."""
NUM_LIMBS = len(LIMBS)
STATE_SIZE = 2 * (18 + 8)
"""Numbers that tell how two poses are turned, see `pose_state`."""
MAX_STRETCH = 2.5
"""Largest factor by which a limb is stretched along or across itself."""
HAND = 1.35
"""Where fingers end, in lengths of the forearm from the elbow."""


@dataclasses.dataclass(frozen=True)
class LimbMaps:
    """The candidates between one photo and several frames.

    Attributes:
        maps: (F, NUM_LIMBS, 2, 3) float32, affine maps from the frame's pixels to the photo's.
        frame_lines: (F, NUM_LIMBS, 2, 2) float32, ends of each limb's line in the frame, pixels.
        photo_lines: (NUM_LIMBS, 2, 2) float32, the same in the photo.
        lengths: (F + 1,) float32, pixels from neck to hips, of the frames and last of the photo.
        state: (F, STATE_SIZE) float32, see `pose_state`.
    """

    maps: np.ndarray
    frame_lines: np.ndarray
    photo_lines: np.ndarray
    lengths: np.ndarray
    state: np.ndarray


def limb_maps(source: Body, targets: list[Body]) -> LimbMaps:
    """Candidates that carry each of the frames' pixels to the photo.

    Args:
        source: pose of the photo.
        targets: poses of the frames.
    """
    maps = np.stack([_maps(source, target) for target in targets])
    return LimbMaps(
        maps.astype(np.float32),
        np.stack([_lines(target) for target in targets]).astype(np.float32),
        _lines(source).astype(np.float32),
        np.array([*(target.length for target in targets), source.length], np.float32),
        np.stack([pose_state(source, target) for target in targets]),
    )


def pose_state(source: Body, target: Body) -> np.ndarray:
    """(STATE_SIZE,) float32: of photo and frame which joints are seen, signed width, face and turn."""
    front_width = front_width_of(source, target)
    numbers: list[float] = []
    for body in (source, target):
        yaw = yaw_of(body, front_width)
        face = body.face_turn
        numbers += [*body.seen.astype(float), body.width, body.width / front_width, np.sin(yaw), np.cos(yaw)]
        numbers += [0.0 if face is None else 1.0, face or 0.0]
        # The head's height over the neck and the feet's distance, which tell child from adult and a step.
        numbers += [float(np.hypot(*(body.head - body.point("neck")))) / body.length]
        ankles = body.point("left_ankle") - body.point("right_ankle")
        numbers += [float(ankles[0]) / body.length]
    return np.clip(np.array(numbers, np.float32), -3, 3)


def _lines(body: Body) -> np.ndarray:
    """(NUM_LIMBS, 2, 2) pixels: both ends of each limb's line; the background's is far away."""
    _, neck, hip, knee, ankle = body.trunk()
    crown = body.head + 0.7 * (body.head - neck)
    lines = [np.full((2, 2), 1e4), *[np.stack([neck, hip])] * 2, *[np.stack([hip, knee])] * 2]
    lines += [np.stack([knee, ankle]), *[np.stack([crown, body.head + 0.5 * (neck - body.head)])] * 2]
    for side in SIDES:
        shoulder, elbow, wrist = (body.point(f"{side}_{joint}") for joint in ("shoulder", "elbow", "wrist"))
        top, bend, end = (body.point(f"{side}_{joint}") for joint in ("hip", "knee", "ankle"))
        sole = np.add(end, (0.0, 0.14 * body.length))
        lines += [np.stack([shoulder, elbow]), np.stack([elbow, elbow + HAND * (wrist - elbow)])]
        lines += [np.stack([top, bend]), np.stack([bend, end]), np.stack([end, sole])]
    return np.stack(lines)


def _maps(source: Body, target: Body) -> np.ndarray:
    """(NUM_LIMBS, 2, 3) float64."""
    scale = source.length / target.length
    front_width = front_width_of(source, target)
    turn = yaw_of(target, front_width) - yaw_of(source, front_width)
    mirrored = -1.0 if np.cos(turn) < 0 else 1.0
    # What is narrower in the frame than in the photo was turned away.
    narrow = max(abs(target.width), 0.25 * front_width)
    across = mirrored * float(np.clip(abs(source.width) / narrow, 1 / MAX_STRETCH, MAX_STRETCH))
    ours, theirs = _lines(target), _lines(source)
    maps = [np.array([[1.0, 0, 0], [0, 1.0, 0]])]
    for name, here, there in list(zip(LIMBS, ours, theirs, strict=True))[1:]:
        if name in ("head", "turned head", "left foot", "right foot"):
            along = scale
        else:
            length, other = np.hypot(*(here[1] - here[0])), np.hypot(*(there[1] - there[0]))
            along = float(np.clip(other / max(length, 1e-3), scale / MAX_STRETCH, scale * MAX_STRETCH))
        if name.startswith("turned"):
            sideways = scale * (mirrored if name == "turned head" else across)
        elif name.startswith(SIDES):
            sideways = scale * mirrored
        else:
            sideways = scale
        maps.append(_similarity(here, there, along, sideways, upright=name.endswith("foot")))
    return np.stack(maps)


def _similarity(
    here: np.ndarray, there: np.ndarray, along: float, across: float, upright: bool
) -> np.ndarray:
    """(2, 3): takes one line to another, stretched along and across it; `upright` ones do not turn."""
    down, other = ((np.array([0.0, 1.0]),) * 2) if upright else (_unit(here), _unit(there))
    basis = np.stack([down, (-down[1], down[0])])  # rows: along, across
    image = np.stack([along * other, across * np.array((-other[1], other[0]))], axis=1)
    linear = image @ basis
    return np.concatenate([linear, (there[0] - linear @ here[0])[:, None]], axis=1)


def _unit(line: np.ndarray) -> np.ndarray:
    vector = line[1] - line[0]
    length = float(np.hypot(*vector))
    return vector / length if length > 1e-6 else np.array([0.0, 1.0])
