"""From controls to the rotations of MakeHuman's bones.

Feet stand where they are planted and legs and arms reach by inverse kinematics; bends of the trunk and the
neck and twists of the arms are shared over the bones that make them. A bone's rotation is about the world's
axes at rest, against its parent (see `rig`).
"""

import dataclasses
import math
from typing import Protocol

import numpy as np

from data.synthetic.rig import BONE, BONES
from data.synthetic.rotations import apply, compose, frame, inverse, rotation, shortest, twist_angle, unit
from data.synthetic.skeleton import SIDES, FootTrack, directions, smoothstep, two_bones

LETTER = {"left": "L", "right": "R"}
SPINE = ("spine05", "spine04", "spine03", "spine02", "spine01")
NECK = {"neck01": 0.2, "neck02": 0.2, "neck03": 0.2, "head": 0.4}
"""How much of the neck's bend each bone takes."""
LEG_REACH = 0.9975
"""How much of its length a standing leg may use: a knee is never quite straight."""
BODY_VERTICES = 13380
"""MakeHuman's base mesh begins with so many vertices of skin; helpers follow."""
HAND_THICKNESS = 0.36
FOREARM_POINTS = ((-1.2, 0.0, 0.40), (0.0, 0.0, 0.30), (0.8, 0.10, 0.25), (1.45, 0.35, 0.15))
"""What keeps clear of trunk and skirt: dm beyond the wrist along the forearm, dm inward, and thickness."""


class Rigged(Protocol):
    """What posing reads of a person: rest vertices (N, 3), and heads and tails of the bones (B, 3), in dm."""

    @property
    def vertices(self) -> np.ndarray:
        """Rest vertices, (N, 3)."""
        ...

    @property
    def heads(self) -> np.ndarray:
        """Heads of the bones, (B, 3)."""
        ...

    @property
    def tails(self) -> np.ndarray:
        """Their tails, (B, 3)."""
        ...


@dataclasses.dataclass
class Controls:
    """What a motion asks for, (F,) or (F, n) each; lengths in dm, angles in radians.

    Attributes:
        place: (F, 2) x and z of the middle between the hip joints.
        yaw: of the pelvis.
        roll: of the pelvis, positive with the left hip up.
        tilt: of the pelvis, positive forward.
        spine: (F, 3) rotation from the pelvis to the chest: forward, to the left, left side up.
        neck: (F, 3) rotation from the chest to the head, the same.
        feet: side -> the foot's track.
        wrists: side -> (F, 3) the wrist from the shoulder as (outward, up, forward) of the chest, in lengths
            of the arm.
        poles: side -> (F, 3) where the elbow points, in the same axes.
        on_hip: side -> 0..1, how much the hand lies on the hip.
        raised: side -> 0..1, how much the arm is up.
        curl: side -> how far the fingers close, about 1 for a relaxed hand.
    """

    place: np.ndarray
    yaw: np.ndarray
    roll: np.ndarray
    tilt: np.ndarray
    spine: np.ndarray
    neck: np.ndarray
    feet: dict[str, FootTrack]
    wrists: dict[str, np.ndarray]
    poles: dict[str, np.ndarray]
    on_hip: dict[str, np.ndarray]
    raised: dict[str, np.ndarray]
    curl: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Measures:
    """Lengths of a person's rest pose, in dm."""

    heads: np.ndarray
    floor: float
    """Height of the bare soles."""
    stature: float
    thigh: float
    shin: float
    upper_arm: float
    forearm: float

    @property
    def arm(self) -> float:
        """Length of a straight arm, to the wrist."""
        return self.upper_arm + self.forearm

    @property
    def hips(self) -> np.ndarray:
        """(3,) the middle between the hip joints."""
        return (self.head("upperleg01.L") + self.head("upperleg01.R")) / 2

    def head(self, bone: str) -> np.ndarray:
        """(3,) where a bone begins."""
        return self.heads[BONE[bone]]

    def ball(self, side: str) -> np.ndarray:
        """(3,) the ball of a foot."""
        letter = LETTER[side]
        return (self.head(f"toe1-1.{letter}") + self.head(f"toe3-1.{letter}")) / 2


def measure(person: Rigged) -> Measures:
    """Read a person's lengths off the rig."""
    heads = np.asarray(person.heads, np.float64)
    skin = np.asarray(person.vertices)[:BODY_VERTICES, 1]

    def length(first: str, second: str) -> float:
        return float(np.linalg.norm(heads[BONE[second]] - heads[BONE[first]]))

    return Measures(
        heads,
        float(skin.min()),
        float(skin.max() - skin.min()),
        length("upperleg01.L", "lowerleg01.L"),
        length("lowerleg01.L", "foot.L"),
        length("upperarm01.L", "lowerarm01.L"),
        length("lowerarm01.L", "wrist.L"),
    )


def foot_pitch(measures: Measures, heel: float) -> float:
    """How far a shoe pitches the foot about its ball, in radians, if its heel is `heel` dm above the ball."""
    ankle, ball = measures.head("foot.L"), measures.ball("left")
    length = float(np.hypot(*(ball - ankle)[[0, 2]])) + 0.25
    return math.asin(min(0.85, max(0.0, heel) / length))


class Poser:
    """Turns controls into rotations, step by step; `pose` is what to call."""

    def __init__(
        self, measures: Measures, controls: Controls, pitch: float, sole: float, sections: np.ndarray
    ):
        self.m, self.c, self.pitch, self.sole, self.sections = measures, controls, pitch, sole, sections
        self.num_frames = len(controls.yaw)
        self.rotations = np.tile(np.eye(3), (self.num_frames, len(BONES), 1, 1))
        self.world: dict[str, np.ndarray] = {}
        """Bone -> its rotation (F, 3, 3) in the world, for those that others hang on."""

    def set(self, bone: str, local: np.ndarray) -> None:
        """Give a bone its rotation against its parent, (F, 3, 3) or (3, 3)."""
        self.rotations[:, BONE[bone]] = local

    def run(self) -> tuple[np.ndarray, np.ndarray]:
        """(rotations (F, B, 3, 3), root (F, 3))."""
        c, m = self.c, self.m
        zero = np.zeros(self.num_frames)
        pelvis = compose(
            rotation(np.stack([zero, c.yaw, zero], -1)),
            rotation(np.stack([zero, zero, c.roll], -1)),
            rotation(np.stack([c.tilt, zero, zero], -1)),
        )
        self.world["pelvis"] = pelvis
        self.set("root", pelvis)
        hips = self.stand()
        self.root = hips - m.head("root") - apply(pelvis, m.hips - m.head("root"))
        for bone in SPINE:
            self.set(bone, rotation(c.spine / len(SPINE)))
        chest = compose(pelvis, rotation(c.spine))
        self.world["chest"] = chest
        for bone, share in NECK.items():
            self.set(bone, rotation(c.neck * share))
        for side in SIDES:
            self.arm(side)
        return self.rotations, self.root

    def stand(self) -> np.ndarray:
        """Plant the feet, set the pelvis on the legs and bend them: (F, 3) the middle of the hips."""
        c, m, pelvis = self.c, self.m, self.world["pelvis"]
        feet = {side: self.foot(side) for side in SIDES}
        offsets = {side: apply(pelvis, m.head(f"upperleg01.{LETTER[side]}") - m.hips) for side in SIDES}
        longest = LEG_REACH * (m.thigh + m.shin)
        room = []
        for side in SIDES:
            ankle, offset = feet[side][0], offsets[side]
            flat = np.hypot(
                c.place[:, 0] + offset[:, 0] - ankle[:, 0], c.place[:, 1] + offset[:, 2] - ankle[:, 2]
            )
            rise = np.sqrt(np.maximum(longest**2 - flat**2, 0.3 * longest**2))
            room.append(ankle[:, 1] + rise - offset[:, 1])
        soft = 0.04
        height = -soft * np.logaddexp(-room[0] / soft, -room[1] / soft)
        hips = np.stack([c.place[:, 0], height, c.place[:, 1]], -1)
        _, front = directions(c.yaw)
        for side in SIDES:
            self.leg(side, hips + offsets[side], *feet[side], front)
        return hips

    def foot(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """(the ankle (F, 3), the foot's rotation in the world (F, 3, 3)); the toes are laid flat."""
        m, track, letter = self.m, self.c.feet[side], LETTER[side]
        ankle, ball = m.head(f"foot.{letter}"), m.ball(side)
        rest_yaw = math.atan2(ball[0] - ankle[0], ball[2] - ankle[2])
        zero = np.zeros(self.num_frames)
        pitch = self.pitch + track.pitch
        straight = rotation(np.array([0, -rest_yaw, 0]))
        turned = compose(
            rotation(np.stack([zero, track.yaw, zero], -1)),
            rotation(np.stack([pitch, zero, zero], -1)),
            straight,
        )
        height = self.sole + ball[1] - m.floor + track.lift
        place = np.stack([track.place[:, 0], height, track.place[:, 1]], -1)
        flat = np.where(track.planted, pitch, self.pitch + track.pitch * (1 - track.swing))
        axis = rotation(np.array([0, rest_yaw, 0])) @ np.array([1.0, 0, 0])
        for toe in range(1, 6):
            self.set(f"toe{toe}-1.{letter}", rotation(-flat[:, None] * axis))
        return place + apply(turned, ankle - ball), turned

    def leg(self, side: str, hip: np.ndarray, ankle: np.ndarray, foot: np.ndarray, front: np.ndarray) -> None:
        """Bend a leg between hip and ankle (F, 3 each), the knee between the front of body and foot."""
        m, letter, sign = self.m, LETTER[side], SIDES[side]
        _, toes = directions(self.c.feet[side].yaw)
        left, _ = directions(self.c.yaw)
        pole = 0.45 * front + 0.55 * toes + 0.03 * sign * left
        knee, end = two_bones(hip, ankle, m.thigh, m.shin, pole)
        rest = [m.head(f"{bone}.{letter}") for bone in ("upperleg01", "lowerleg01", "foot")]
        ahead = np.array([0.0, 0.0, 1.0])
        thigh = compose(frame(knee - hip, pole), frame(rest[1] - rest[0], ahead).T)
        shin = compose(frame(end - knee, pole), frame(rest[2] - rest[1], ahead).T)
        self.set(f"upperleg01.{letter}", compose(inverse(self.world["pelvis"]), thigh))
        self.set(f"lowerleg01.{letter}", compose(inverse(thigh), shin))
        self.set(f"foot.{letter}", compose(inverse(shin), foot))

    def shoulder(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Raise the shoulder with the arm: (its place (F, 3), the rotation (F, 3, 3) the arm hangs on)."""
        m, letter, sign, chest = self.m, LETTER[side], SIDES[side], self.world["chest"]
        wrist = unit(self.c.wrists[side])
        rise = smoothstep((wrist[:, 1] + 0.75) / 1.7)
        on_hip = self.c.on_hip[side]
        clavicle = sign * (-0.05 + 0.42 * rise + 0.05 * on_hip)
        scapula = sign * (-0.10 + 0.50 * rise + 0.06 * on_hip)
        zero = np.zeros(self.num_frames)
        first = rotation(np.stack([zero, zero, clavicle], -1))
        second = rotation(np.stack([zero, zero, scapula], -1))
        self.set(f"clavicle.{letter}", first)
        self.set(f"shoulder01.{letter}", second)
        place = self.trunk_point(m.head(f"clavicle.{letter}"))
        hang = compose(chest, first)
        place = place + apply(hang, m.head(f"shoulder01.{letter}") - m.head(f"clavicle.{letter}"))
        hang = compose(hang, second)
        place = place + apply(hang, m.head(f"upperarm01.{letter}") - m.head(f"shoulder01.{letter}"))
        return place, hang

    def trunk_point(self, point: np.ndarray) -> np.ndarray:
        """Where a point (3,) of the chest at rest is in the world, (F, 3)."""
        m = self.m
        turned = self.world["pelvis"]
        place = self.root + m.head("root") + apply(turned, m.head("spine05") - m.head("root"))
        share = rotation(self.c.spine / len(SPINE))
        for bone, following in zip(SPINE, (*SPINE[1:], None), strict=True):
            turned = compose(turned, share)
            end = point if following is None else m.head(following)
            place = place + apply(turned, end - m.head(bone))
        return place

    def arm(self, side: str) -> None:
        """Bring a hand where it belongs, and turn arm, hand and fingers."""
        m, c, letter, sign, chest = self.m, self.c, LETTER[side], SIDES[side], self.world["chest"]
        shoulder, hang = self.shoulder(side)
        axes = np.stack([sign * chest[..., 0], chest[..., 1], chest[..., 2]], -1)
        out, up, front = np.moveaxis(axes, -1, 0)
        on_hip, raised = c.on_hip[side][:, None], c.raised[side][:, None]
        hanging = shoulder + m.arm * apply(axes, c.wrists[side])
        poles = apply(axes, c.poles[side])
        resting = self.hip_point(side)
        bulge = on_hip * (1 - on_hip) * (2.2 * out + 1.0 * front)
        for _ in range(3):
            target = hanging + on_hip * (resting - hanging) + bulge
            elbow, wrist = two_bones(shoulder, target, m.upper_arm, m.forearm, poles)
            hanging = hanging + self.push_outside(side, elbow, wrist)
        target = hanging + on_hip * (resting - hanging) + bulge
        elbow, wrist = two_bones(shoulder, target, m.upper_arm, m.forearm, poles)
        upper, fore = elbow - shoulder, wrist - elbow
        bend = np.cross(upper, fore)
        rest = [m.head(f"{bone}.{letter}") for bone in ("upperarm01", "lowerarm01", "wrist")]
        rest_upper, rest_fore = rest[1] - rest[0], rest[2] - rest[1]
        rest_bend = np.cross(rest_upper, rest_fore)
        upper_turn = compose(frame(upper, bend), frame(rest_upper, rest_bend).T)
        fore_turn = compose(frame(fore, bend), frame(rest_fore, rest_bend).T)

        along = unit(fore)
        pelvis = self.world["pelvis"]
        hand = along + 0.12 * (1 - on_hip) * (1 - raised) * (0.5 * front - up)
        hand = unit(hand) + on_hip * (
            unit(0.80 * pelvis[..., 2] - 0.50 * pelvis[..., 1] + 0.14 * sign * pelvis[..., 0]) - unit(hand)
        )
        thumb = (1 - on_hip) * (
            (1 - raised) * (0.85 * front - 0.50 * out) - raised * (0.75 * out + 0.65 * front)
        ) + on_hip * (0.9 * up - 0.35 * front)
        hand_rest = m.head(f"finger3-1.{letter}") - m.head(f"wrist.{letter}")
        thumb_rest = m.head(f"finger2-1.{letter}") - m.head(f"finger5-1.{letter}")
        hand_turn = compose(frame(hand, thumb), frame(hand_rest, thumb_rest).T)
        self.twist(f"upperarm01.{letter}", f"upperarm02.{letter}", hang, upper_turn, rest_upper, 0.5)
        self.forearm(letter, upper_turn, fore_turn, hand_turn, rest_fore)
        for bone, turned in finger_turns(m, side, c.curl[side]).items():
            self.set(bone, turned)

    def twist(
        self, first: str, second: str, parent: np.ndarray, turned: np.ndarray, axis: np.ndarray, share: float
    ) -> None:
        """Share a rotation over two bones: the swing and a part of the twist first, the rest after."""
        local = compose(inverse(parent), turned)
        swing = shortest(unit(axis), apply(local, unit(axis)))
        angle = twist_angle(compose(inverse(swing), local), unit(axis))
        before = compose(swing, rotation(share * angle[:, None] * unit(axis)))
        self.set(first, before)
        self.set(second, compose(inverse(before), local))

    def forearm(
        self, letter: str, upper: np.ndarray, fore: np.ndarray, hand: np.ndarray, rest: np.ndarray
    ) -> None:
        """Turn the hand: the forearm's bones take most of the twist, the wrist what is left."""
        axis = unit(rest)
        local = compose(inverse(fore), hand)
        swing = shortest(axis, apply(local, axis))
        angle = twist_angle(compose(inverse(swing), local), axis)
        first, second = (rotation(share * angle[:, None] * axis) for share in (0.3, 0.75))
        self.set(f"lowerarm01.{letter}", compose(inverse(upper), fore, first))
        self.set(f"lowerarm02.{letter}", compose(inverse(first), second))
        self.set(f"wrist.{letter}", compose(inverse(second), local))

    def section(self, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Half width and half depth of the dressed trunk at heights of the rest pose."""
        s = self.sections
        return np.interp(heights, s[:, 0], s[:, 1]), np.interp(heights, s[:, 0], s[:, 2])

    def push_outside(self, side: str, elbow: np.ndarray, wrist: np.ndarray) -> np.ndarray:
        """How far (F, 3) to move a hanging hand sideways until it and the forearm clear trunk and skirt."""
        pelvis, m, sign = self.world["pelvis"], self.m, SIDES[side]
        along = unit(wrist - elbow)
        inward = -sign * pelvis[..., 0]
        needed = np.zeros(self.num_frames)
        for reach, aside, thickness in FOREARM_POINTS:
            point = wrist + reach * along + aside * inward
            local = apply(inverse(pelvis), point - self.root - m.head("root")) + m.head("root") - m.hips
            half_width, half_depth = self.section(local[:, 1] + m.hips[1])
            room = 1 - (local[:, 2] / (half_depth + thickness)) ** 2
            edge = (half_width + thickness) * np.sqrt(np.maximum(room, 0))
            # The edge gives way smoothly, so that a hand that swings past the front does not jump.
            needed = np.maximum(
                needed, np.where(room > 0, edge - sign * local[:, 0], 0) * smoothstep(4 * room)
            )
        hangs = smoothstep((-0.25 - self.c.wrists[side][:, 1]) / 0.3)
        return -(needed * hangs)[:, None] * inward

    def hip_point(self, side: str) -> np.ndarray:
        """(F, 3): the wrist of a hand that rests on the hip, beside and a little behind, on the surface."""
        pelvis, m, sign = self.world["pelvis"], self.m, SIDES[side]
        waist = 0.55 * m.head("spine04")[1] + 0.45 * m.head("spine03")[1]
        height = 0.55 * waist + 0.45 * m.hips[1] + 0.25
        half_width, half_depth = self.section(np.array(height))
        behind = 0.35
        point = np.array(
            [
                sign * (half_width + HAND_THICKNESS) * math.sqrt(1 - behind**2),
                height,
                m.hips[2] - (half_depth + HAND_THICKNESS) * behind,
            ]
        )
        return self.root + m.head("root") + apply(pelvis, point - m.head("root"))


def finger_turns(measures: Measures, side: str, curl: np.ndarray) -> dict[str, np.ndarray]:
    """Bend the fingers as a relaxed hand does: bone -> (F, 3, 3), for `curl` (F,)."""
    letter, m, curl = LETTER[side], measures, curl[:, None]
    knuckles = {i: m.head(f"finger{i}-1.{letter}") for i in range(1, 6)}
    hand = unit(knuckles[3] - m.head(f"wrist.{letter}"))
    across = unit(knuckles[2] - knuckles[5])
    palm = -SIDES[side] * unit(np.cross(across, hand))
    turns = {}
    for finger in range(2, 6):
        points = [m.head(f"finger{finger}-{i}.{letter}") for i in (1, 2, 3)]
        along = unit(points[1] - points[0])
        bend = unit(np.cross(along, palm))
        beside = along - palm * (along @ palm)
        aside = hand - palm * (hand @ palm)
        spread = math.atan2(np.cross(beside, aside) @ palm, beside @ aside)
        for joint, angle in ((1, 0.26), (2, 0.42), (3, 0.24)):
            more = 1 + 0.16 * (finger - 3)
            turned = rotation(curl * angle * more * bend)
            if joint == 1:
                turned = compose(rotation(0.75 * spread * palm), turned)
            turns[f"finger{finger}-{joint}.{letter}"] = turned
    thumb = unit(m.head(f"finger1-2.{letter}") - knuckles[1])
    close = unit(np.cross(thumb, hand))
    turns[f"finger1-1.{letter}"] = rotation(0.28 * curl * close)
    turns[f"finger1-2.{letter}"] = rotation(0.18 * curl * close)
    turns[f"finger1-3.{letter}"] = rotation(0.20 * curl * close)
    return turns


def pose(
    measures: Measures, controls: Controls, pitch: float, sole: float, sections: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn controls into rotations.

    Args:
        measures: of the person.
        controls: the motion.
        pitch: of the feet in their shoes, from `foot_pitch`.
        sole: thickness under the ball of the foot, in dm.
        sections: (n, 3) rest height, half width and half depth of the dressed trunk, heights rising; hands
            keep out of it.

    Returns:
        (rotations (F, B, 3, 3), root (F, 3)), see `rig.bone_transforms`.
    """
    return Poser(measures, controls, pitch, sole, sections).run()
