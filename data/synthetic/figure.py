"""The dressed figure as cones and lofts: from a skeleton in the world to primitives in the picture."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from data.synthetic.body import Body
from data.synthetic.garments import Outfit
from data.synthetic.raster import Cone, Loft
from data.synthetic.skeleton import SIDES, Skeleton, directions

SURFACES = (
    "background", "trunk", "head", "skin", "arm", "leg", "hair", "shoe",
    "left_sleeve", "right_sleeve", "left_trouser", "right_trouser",
)  # fmt: skip
SURFACE = {name: number for number, name in enumerate(SURFACES)}

DEPTH_SHEAR = (
    0.12  # how far what is nearer to the viewer sinks in the picture, as if seen from a little above
)
DISTANCE = 6.0  # of the camera, in body heights: who comes nearer grows


@dataclasses.dataclass(frozen=True)
class Camera:
    """Weak perspective: the whole figure has one scale, which grows as it comes nearer.

    Attributes:
        scale: pixels a body height at the starting place.
        center_x: the picture's column of world x = 0, pixels.
        floor_y: the picture's row of the floor at z = 0, pixels.
    """

    scale: float
    center_x: float
    floor_y: float

    def scales(self, skeleton: Skeleton) -> np.ndarray:
        """(F,): pixels a body height in each frame."""
        return self.scale / (1 - skeleton.points["pelvis"][:, 2] / DISTANCE)

    def project(self, points: np.ndarray, scales: np.ndarray) -> np.ndarray:
        """World points (F, 3) to pixels (F, 3): x, y downward, z toward the viewer."""
        x, y, z = points.T
        return np.stack(
            [self.center_x + scales * x, self.floor_y - scales * (y - DEPTH_SHEAR * z), scales * z], -1
        )


def _tube(
    joints: np.ndarray, radii: np.ndarray, shares: np.ndarray, start: float, stop: float
) -> Iterator[tuple[np.ndarray, np.ndarray, float, float, float, float]]:
    """Cut a chain of cones at two distances along it: (a, b, radius a, radius b, distances of a and b)."""
    for i in range(len(joints) - 1):
        low, high = max(start, shares[i]), min(stop, shares[i + 1])
        if low >= high - 1e-6:
            continue
        s, t = (
            (low - shares[i]) / (shares[i + 1] - shares[i]),
            (high - shares[i]) / (shares[i + 1] - shares[i]),
        )
        bone, growth = joints[i + 1] - joints[i], float(radii[i + 1] - radii[i])
        radius = float(radii[i])
        yield joints[i] + s * bone, joints[i] + t * bone, radius + s * growth, radius + t * growth, low, high


def in_pixels(direction: np.ndarray) -> np.ndarray:
    """A direction in the world as one in the picture, without the camera's shear."""
    return direction * np.array([1.0, -1.0, 1.0])


class Figure:
    """One person in one outfit, ready to be drawn in any frame of a clip."""

    def __init__(self, body: Body, outfit: Outfit, sections: np.ndarray, skeleton: Skeleton, camera: Camera):
        self.body, self.outfit, self.sections, self.skeleton = body, outfit, sections, skeleton
        self.scales = camera.scales(skeleton)
        self.pixels = {name: camera.project(p, self.scales) for name, p in skeleton.points.items()}

    def primitives(self, frame: int) -> list[Cone | Loft]:
        """Everything to draw in one frame, in pixels; parts overlap, so that no gap opens between them."""
        scale = float(self.scales[frame])
        at = {name: p[frame] for name, p in self.pixels.items()}
        head_yaw = float(self.skeleton.head_yaw[frame])
        parts: list[Cone | Loft] = [self._trunk(frame, at, scale)]
        for side in SIDES:
            parts += self._arm(frame, side, at, scale)
            parts += self._leg(frame, side, at, scale)
        parts += self._head(at, head_yaw, scale)
        parts += self._hair(frame, at, head_yaw, scale)
        return parts

    def _trunk(self, frame: int, at: dict[str, np.ndarray], scale: float) -> Loft:
        body, points, skeleton = self.body, self.skeleton.points, self.skeleton
        v, half_width, half_depth, forward = self.sections.T
        above = np.clip((v - body.hip_height) / (body.shoulder_height - body.hip_height), 0, None)
        pelvis, neck = at["pelvis"], at["neck"]
        x = pelvis[0] + above * (neck[0] - pelvis[0])
        z = pelvis[2] + above * (neck[2] - pelvis[2])
        below = np.minimum(v - body.hip_height, 0)
        y = pelvis[1] + above * (neck[1] - pelvis[1]) - below * scale
        turn = np.clip(above, 0, 1)
        pelvis_yaw, chest_yaw = skeleton.pelvis_yaw[frame], skeleton.chest_yaw[frame]
        yaw = pelvis_yaw + turn * turn * (3 - 2 * turn) * (chest_yaw - pelvis_yaw)
        a, b = half_width.copy(), half_depth.copy()
        if self.outfit.kind != "trousers":
            left, front = directions(np.array(pelvis_yaw))
            skirt = v < body.hip_height
            heights = points["pelvis"][frame, 1] + (v[skirt] - body.hip_height)
            across, ahead = [], []
            for side in SIDES:
                joints = np.stack([points[f"{side}_{j}"][frame] for j in ("ankle", "knee", "hip")])
                offset = joints - points["pelvis"][frame]
                across.append(np.interp(heights, joints[:, 1], offset @ left))
                ahead.append(np.interp(heights, joints[:, 1], offset @ front))
            thickness = 0.040 - 0.012 * np.clip((body.hip_height - v[skirt]) / body.hip_height, 0, 1)
            middle_across, middle_ahead = np.mean(across, 0), np.mean(ahead, 0)
            drop = np.clip((body.hip_height - v[skirt]) / 0.15, 0, 1)
            wide = 1.3 * np.abs(across[0] - middle_across) + thickness
            deep = 1.4 * np.abs(ahead[0] - middle_ahead) + thickness
            a[skirt] += drop * np.maximum(wide - a[skirt], 0)
            b[skirt] += drop * np.maximum(deep - b[skirt], 0)
            x[skirt] += scale * drop * (middle_across * left[0] + middle_ahead * front[0])
            z[skirt] += scale * drop * (middle_across * left[2] + middle_ahead * front[2])
        x = x + scale * forward * np.sin(yaw)
        z = z + scale * forward * np.cos(yaw)
        order = slice(None, None, -1)
        return Loft(
            y[order],
            x[order],
            z[order],
            scale * a[order],
            scale * b[order],
            yaw[order],
            v[order],
            SURFACE["trunk"],
        )

    def _arm(self, frame: int, side: str, at: dict[str, np.ndarray], scale: float) -> list[Cone]:
        body, outfit = self.body, self.outfit
        thick = body.arm_thickness
        radii = [scale * r * thick for r in (0.0245, 0.0210, 0.0148)]
        shoulder, elbow, wrist, fingers = (
            at[f"{side}_{j}"] for j in ("shoulder", "elbow", "wrist", "fingers")
        )
        _, front = directions(self.skeleton.chest_yaw[frame : frame + 1])
        front = in_pixels(front[0])
        parts = []
        lengths = (body.upper_arm, body.forearm)
        covered = (min(outfit.sleeve, 1.0), max(outfit.sleeve - 1.0, 0.0))
        ends = ((shoulder, elbow, radii[0], radii[1]), (elbow, wrist, radii[1], radii[2]))
        for i, (a, b, ra, rb) in enumerate(ends):
            if covered[i] < 1:
                parts.append(Cone(a, b, ra, rb, SURFACE["arm"]))
            if covered[i] > 0:
                end = a + covered[i] * (b - a)
                radius = ra + covered[i] * (rb - ra)
                ease = scale * outfit.sleeve_ease
                parts.append(
                    Cone(
                        a, end, ra + ease * (0.25 if i == 0 else 1.0), radius + ease,
                        SURFACE[f"{side}_sleeve"], front=front, cut_b=covered[i] < 1,
                        v_a=i * lengths[0], v_b=i * lengths[0] + covered[i] * lengths[i],
                    )
                )  # fmt: skip
        if covered[1] > 0 or outfit.sleeve > 1.9:
            parts.append(Cone(elbow, wrist, radii[1], radii[2], SURFACE["arm"]))
        palm = wrist + 0.5 * (fingers - wrist)
        parts.append(Cone(wrist, palm, radii[2] * 0.95, scale * 0.0165, SURFACE["arm"]))
        parts.append(Cone(palm, fingers, scale * 0.0165, scale * 0.0085, SURFACE["arm"]))
        thumb = wrist + 0.45 * (fingers - wrist) + scale * 0.020 * front
        parts.append(
            Cone(wrist + 0.15 * (fingers - wrist), thumb, scale * 0.009, scale * 0.0065, SURFACE["arm"])
        )
        return parts

    def _leg(self, frame: int, side: str, at: dict[str, np.ndarray], scale: float) -> list[Cone]:
        body, outfit = self.body, self.outfit
        hip, knee, ankle, toe = (at[f"{side}_{j}"] for j in ("hip", "knee", "ankle", "toe"))
        joints = np.stack([hip, knee, knee + 0.32 * (ankle - knee), ankle])
        radii = scale * body.leg_thickness * np.array([0.050, 0.0315, 0.0305, 0.0175])
        length = body.thigh + body.shin
        shares = np.array([0.0, body.thigh, body.thigh + 0.32 * body.shin, length])
        # How far down the leg something that hangs from the pelvis at this height reaches.
        rows = np.maximum.accumulate(joints[:, 1])
        pelvis = at["pelvis"][1] + scale * body.hip_height
        parts = self._foot(ankle, toe, scale)
        if outfit.kind == "trousers":
            front = in_pixels(directions(self.skeleton.pelvis_yaw[frame : frame + 1])[1][0])
            wide = radii + scale * outfit.flare * np.array([0.3, 0.8, 1.0, 1.5])
            # A top that hangs over the trousers is not pierced by the thighs.
            covered = np.interp(pelvis - scale * (outfit.top_end - 0.004), rows, shares)
            hem = length + body.ankle_height - outfit.hem
            for a, b, radius_a, radius_b, from_share, to_share in _tube(joints, wide, shares, covered, hem):
                parts.append(
                    Cone(
                        a, b, radius_a, radius_b, SURFACE[f"{side}_trouser"], -from_share, -to_share, front,
                        cut_a=from_share == covered > 0, cut_b=to_share == hem,
                    )
                )  # fmt: skip
            start = hem - 0.02
        else:
            # Nothing of the leg is drawn well above the hem, so that no knee comes through a skirt.
            start = np.interp(pelvis - scale * (outfit.hem + 0.015), rows, shares)
        for a, b, radius_a, radius_b, from_share, _ in _tube(joints, radii, shares, start, length):
            parts.append(Cone(a, b, radius_a, radius_b, SURFACE["leg"], cut_a=from_share == start))
        return parts

    def _foot(self, ankle: np.ndarray, toe: np.ndarray, scale: float) -> list[Cone]:
        heel_lift = scale * self.outfit.heel
        forward = toe - ankle
        forward = forward * np.array([1.0, 0.0, 1.0])
        heel = ankle - 0.18 * forward + np.array([0.0, scale * 0.026 - 0.5 * heel_lift, 0.0])
        ball = ankle + 0.68 * (toe - ankle)
        shoe = SURFACE["shoe"]
        parts = [
            Cone(
                ankle + np.array([0.0, scale * 0.012, 0.0]),
                ball,
                scale * 0.0165,
                scale * 0.0150,
                SURFACE["leg"],
            ),
            Cone(heel, ball + np.array([0.0, scale * 0.004, 0.0]), scale * 0.0175, scale * 0.0175, shoe),
            Cone(ball, toe, scale * 0.0180, scale * 0.0110, shoe),
        ]
        if self.outfit.heel < 0.01:
            parts.append(
                Cone(ankle + np.array([0.0, scale * 0.014, 0.0]), ball, scale * 0.0215, scale * 0.0165, shoe)
            )
        else:
            spike = heel + np.array([0.0, scale * 0.012, 0.0]) - 0.05 * forward
            parts.append(Cone(heel, spike, scale * 0.013, scale * 0.007, shoe))
        return parts

    def _head(self, at: dict[str, np.ndarray], yaw: float, scale: float) -> list[Cone | Loft]:
        body = self.body
        left, front = directions(np.array(yaw))
        left, front = in_pixels(left), in_pixels(front)
        head, chin, neck = at["head"], at["chin"], at["neck"]
        width, depth = body.head_half_width, 0.053 + 0.15 * (body.head_half_width - 0.045)
        v, shape_a, shape_b, forward = head_sections()
        parts: list[Cone | Loft] = [
            self._head_loft(
                head, yaw, scale, v, width * shape_a, depth * shape_b, 0.4 * depth * forward, SURFACE["head"]
            ),
            Cone(
                neck + scale * np.array([0.0, 0.005, 0.0]) - scale * 0.008 * front,
                chin - scale * (np.array([0.0, 0.030, 0.0]) + 0.016 * front),
                scale * 0.0265, scale * 0.0255, SURFACE["skin"],
            ),
        ]  # fmt: skip
        bridge = head + scale * ((depth - 0.006) * front + np.array([0.0, -0.008, 0.0]))
        tip = head + scale * ((depth + 0.004) * front + np.array([0.0, 0.013, 0.0]))
        parts.append(Cone(bridge, tip, scale * 0.0050, scale * 0.0075, SURFACE["skin"]))
        for side in SIDES.values():
            ear = head + scale * (side * (width - 0.001) * left - 0.006 * front + np.array([0.0, 0.002, 0.0]))
            lobe = ear + scale * np.array([0.0, 0.014, 0.0]) + scale * 0.003 * front
            parts.append(Cone(ear, lobe, scale * 0.0095, scale * 0.0065, SURFACE["skin"]))
        return parts

    def _head_loft(self, head, yaw, scale, v, a, b, forward, surface, open_front=None) -> Loft:
        """A loft around the head; `v` is 0 at the chin and 1 at the crown, falling from row to row."""
        y = head[1] + scale * self.body.head_length * (0.5 - v)
        yaws = np.broadcast_to(np.asarray(yaw, float), v.shape)
        x, z = head[0] + scale * forward * np.sin(yaws), head[2] + scale * forward * np.cos(yaws)
        return Loft(y, x, z, scale * a, scale * b, yaws, v, surface, open_front)

    def _hair(self, frame: int, at: dict[str, np.ndarray], yaw: float, scale: float) -> list[Cone | Loft]:
        body, head = self.body, at["head"]
        style = body.hair_style
        width, depth = body.head_half_width, 0.053 + 0.15 * (body.head_half_width - 0.045)
        lowest = {
            "crop": 0.22,
            "pixie": 0.10,
            "bun": 0.18,
            "ponytail": 0.18,
            "bob": -0.12,
            "shoulder": -0.55,
            "long": -1.35,
        }
        thin = {"crop": 0.0035, "pixie": 0.007, "bun": 0.004, "ponytail": 0.004}.get(style, 0.009)
        v = np.linspace(1 + thin / body.head_length, lowest[style], 80)
        shape_v, shape_a, shape_b, _ = head_sections()
        # The shell follows the skull above and hangs straight down below it.
        around = np.clip((v - 0.5) / (v[0] - 0.5), 0, 1) * 0.5 + 0.5
        a = width * np.interp(around, shape_v[::-1], shape_a[::-1]) + thin
        b = depth * np.interp(around, shape_v[::-1], shape_b[::-1]) + thin
        back = np.zeros_like(v)
        hang = np.clip(0.5 - v, 0, None)
        yaws = np.full_like(v, yaw)
        if lowest[style] < 0:
            spread = np.clip(hang / 0.8, 0, 1)
            tip = np.clip((v - lowest[style]) / 0.12, 0, 1) ** 0.5
            a = (a + 0.010 * spread) * (0.75 + 0.25 * tip)
            b = b * (1 - 0.42 * spread) * (0.7 + 0.3 * tip)
            back = -0.030 * spread - 0.012 * np.clip(hang - 0.8, 0, 1)
            chest = float(self.skeleton.chest_yaw[frame])
            yaws = yaw + np.clip(hang - 0.5, 0, 1) * (chest - yaw)
            face = np.where(v > 0.05, 1.12, 1.12 + 0.5 * np.clip((0.05 - v) / 0.3, 0, 1))
        else:
            # Short hair leaves the ears and ends in the nape.
            nape = np.clip(hang / 0.4, 0, 1)
            a = a * (1 - 0.25 * nape)
            b = b * (1 - 0.40 * nape * nape)
            back = -0.004 * nape
            face = np.where(v > 0.62, 1.05, 1.05 + 0.85 * np.clip((0.62 - v) / 0.2, 0, 1))
        fringe = 0.80 if style not in ("bob", "pixie") else 0.72
        open_front = np.where(v < fringe, face, face * np.clip(1 - ((v - fringe) / 0.08), 0, 1) ** 0.5)
        parts: list[Cone | Loft] = [
            self._head_loft(head, yaws, scale, v, a, b, back - 0.002, SURFACE["hair"], open_front)
        ]
        _, front = directions(np.array(yaw))
        front = in_pixels(front)
        up = np.array([0.0, -1.0, 0.0])
        hair = SURFACE["hair"]
        if style == "bun":
            centre = head + scale * (0.050 * up - 0.052 * front)
            parts.append(Cone(centre, centre - scale * 0.006 * front, scale * 0.026, scale * 0.024, hair))
        elif style == "ponytail":
            knot = head + scale * (0.030 * up - 0.060 * front)
            bend = knot + scale * (-0.030 * up - 0.022 * front)
            parts.append(Cone(knot, bend, scale * 0.015, scale * 0.021, hair))
            parts.append(
                Cone(bend, bend + scale * (-0.13 * up + 0.004 * front), scale * 0.021, scale * 0.009, hair)
            )
        return parts


def head_sections() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The head's outline from the crown down to the chin.

    Returns:
        Height (1 to 0), half-width and half-depth relative to the widest, how far the centre is forward;
        (64,) each.
    """
    v = np.linspace(1, 0, 64)
    dome = np.sqrt(np.clip(1 - ((v - 0.52) / 0.48) ** 2, 0, 1))
    jaw_v = np.array([0.0, 0.04, 0.14, 0.28, 0.42, 0.52])
    jaw_a = np.interp(v, jaw_v, [0.20, 0.38, 0.66, 0.86, 0.97, 1.0])
    jaw_b = np.interp(v, jaw_v, [0.25, 0.45, 0.66, 0.84, 0.97, 1.0])
    forward = np.interp(v, jaw_v, [1.25, 1.12, 0.80, 0.38, 0.08, 0.0])
    upper = v >= 0.52
    return v, np.where(upper, dome, jaw_a), np.where(upper, dome, jaw_b), forward
