"""Train and test by identity: clips that show the same person in the same clothes stay on one side."""

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from utils.pose_drawing import JOINT_NAMES
from warping.warp import warp_to_poses

LOOK_HEIGHT, LOOK_WIDTH = 64, 32
WARP_SCALE = 4
"""The warp works on pictures so many times as large as a look."""
SAME_LOOK = 10.0
"""Distance of two looks below which they are taken for one person and outfit. Of 90 rendered people, one and
the same in other light is nearer in 98 of 100 cases, and two are in 2 of 1000."""
LEAST_SHARED = 0.5
"""Share of the smaller look that both must know, to be compared."""
LIGHTNESS_WEIGHT = 0.6
"""Cameras differ in exposure more than in colour."""
BLOCK = 4096
LIMBS = {("shoulder", "elbow", "wrist"): 2.4, ("hip", "knee"): 3.1, ("knee", "ankle"): 2.4}
"""Joints of a limb, and how wide it is in pixels of a look."""
HEAD_RADIUS = 2.5

STANDING = {
    "nose": (0.50, 0.115), "neck": (0.50, 0.205),
    "right_shoulder": (0.33, 0.21), "right_elbow": (0.25, 0.345), "right_wrist": (0.19, 0.47),
    "left_shoulder": (0.67, 0.21), "left_elbow": (0.75, 0.345), "left_wrist": (0.81, 0.47),
    "right_hip": (0.41, 0.49), "right_knee": (0.40, 0.69), "right_ankle": (0.39, 0.89),
    "left_hip": (0.59, 0.49), "left_knee": (0.60, 0.69), "left_ankle": (0.61, 0.89),
    "right_eye": (0.465, 0.10), "left_eye": (0.535, 0.10),
    "right_ear": (0.42, 0.11), "left_ear": (0.58, 0.11),
}  # fmt: skip
"""A person who stands with her front to the viewer, in shares of a look's width and height."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Which clips go where, and why.

    Attributes:
        sides: clip -> "train" or "test".
        report: what splits.json says.
    """

    sides: dict[str, str]
    report: dict[str, Any]


def look_of(picture: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Move a person into one standing pose, so that clips can be compared.

    Args:
        picture: (H, W, 3) uint8 RGB, H = 2 W, that shows her from the front.
        joints: (18, 3) in its pixels.

    Returns:
        (64, 32, 4) uint8: RGB, and 255 where a pixel is known.
    """
    height, width = LOOK_HEIGHT * WARP_SCALE, LOOK_WIDTH * WARP_SCALE
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    source = np.array(joints, np.float32)
    source[:, :2] = (source[:, :2] + 0.5) * (width / picture.shape[1], height / picture.shape[0]) - 0.5
    target = np.array([[*STANDING[name], 1] for name in JOINT_NAMES], np.float32)
    target[:, :2] *= (width, height)
    warped, validity = warp_to_poses(small, source, target[None])
    weight = (validity[0] > 0.5).astype(np.float32)
    size = LOOK_WIDTH, LOOK_HEIGHT
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    colors = cv2.resize(warped[0] * weight[..., None], size, interpolation=cv2.INTER_AREA)
    colors = colors / np.maximum(share, 1e-6)[..., None]
    known = np.where(share > 0.5, 255, 0)
    return np.dstack([np.where(known[..., None] > 0, colors, 0), known]).round().astype(np.uint8)


def distances(looks: Sequence[np.ndarray]) -> np.ndarray:
    """Compare looks where both are known: (n, n) mean of their CIE L*a*b* differences over the body.

    What is around her does not count: a studio is the same for all who are filmed in it. Lightness counts
    less than colour. Two that have too little in common get infinity.

    Args:
        looks: (64, 32, 4) uint8, see `look_of`.
    """
    body = _body()
    known = np.stack([look[body][:, 3] > 0 for look in looks]).astype(np.float32)
    lab = np.stack(
        [cv2.cvtColor(look[..., :3].astype(np.float32) / 255, cv2.COLOR_RGB2Lab) for look in looks]
    )
    lab = lab[:, body] * (LIGHTNESS_WEIGHT, 1, 1)
    result = np.zeros((len(looks), len(looks)), np.float32)
    areas = known.sum(axis=1)
    for row, others in itertools.product(range(len(looks)), range(0, len(looks), BLOCK)):
        columns = slice(max(others, row), others + BLOCK)  # the other half is the same
        shared = known[row] * known[columns]
        area = shared.sum(axis=1)
        total = (np.linalg.norm(lab[row] - lab[columns], axis=2) * shared).sum(axis=1)
        enough = area >= LEAST_SHARED * np.minimum(areas[row], areas[columns]).clip(1)
        result[row, columns] = np.where(enough, total / np.maximum(area, 1), np.inf)
    return np.maximum(result, result.T)


def _body() -> np.ndarray:
    """(64, 32) bool: where the standing pose's trunk, limbs and head are, without what is around them."""
    scale = 8
    picture = np.zeros((LOOK_HEIGHT * scale, LOOK_WIDTH * scale), np.float32)
    place = {
        name: (round(x * picture.shape[1]), round(y * picture.shape[0])) for name, (x, y) in STANDING.items()
    }
    for side, (limb, width) in itertools.product(("left", "right"), LIMBS.items()):
        for start, end in itertools.pairwise(limb):
            cv2.line(picture, place[f"{side}_{start}"], place[f"{side}_{end}"], 1.0, round(width * scale))
    corners = [place[name] for name in ("left_shoulder", "right_shoulder", "right_hip", "left_hip")]
    cv2.fillPoly(picture, [np.array(corners)], 1.0)
    cv2.circle(picture, place["nose"], round(HEAD_RADIUS * scale), 1.0, -1)
    return cv2.resize(picture, (LOOK_WIDTH, LOOK_HEIGHT), interpolation=cv2.INTER_AREA) > 0.5


def divide(
    looks: Mapping[str, np.ndarray],
    videos: Mapping[str, str],
    share: float,
    seed: int,
    given: Mapping[str, str] | None = None,
) -> Split:
    """Divide clips into train and test.

    Clips of one video stay together, and so do clips that look alike. Which groups are for test follows from
    the seed and their names alone, so most stay where they are when videos are added.

    Args:
        looks: clip -> its look.
        videos: clip -> the video that it is from.
        share: of the clips that are for test; where any are, at least one group is, and never all.
        seed: of the choice.
        given: video -> its side, where it was decided before; videos that it lacks are for training.
    """
    names = sorted(looks)
    away = distances([looks[name] for name in names]) if names else np.zeros((0, 0))
    links, group = _groups(names, videos, away)
    members: dict[int, list[str]] = {}
    for name, number in zip(names, group, strict=True):
        members.setdefault(number, []).append(name)
    rule = (
        "clips of one video, and clips whose looks are closer than the limit, are one group; "
        "a group is on one side"
    )
    tests = _choose(list(members.values()), share, seed)
    sides = {name: "test" if name in tests else "train" for name in names}
    if given:
        rule = (
            "as the lists that came with the videos say; groups are clips that look alike or are of one video"
        )
        sides = {name: given.get(videos[name], "train") for name in names}
    report = {
        "seed": seed,
        "test_share": share,
        "rule": rule,
        "limit": SAME_LOOK,
        "nearest_across": _nearest_across(names, sides, away),
        "groups": [
            {
                "split": "both" if len({sides[clip] for clip in clips}) > 1 else sides[clips[0]],
                "clips": clips,
                "links": [link for link in links if link["clips"][0] in clips],
            }
            for clips in members.values()
        ],
    }
    return Split(sides, report)


def _groups(
    names: list[str], videos: Mapping[str, str], away: np.ndarray
) -> tuple[list[dict[str, Any]], list[int]]:
    """Pairs that belong together and why, and the number of each clip's group."""
    group, links = list(range(len(names))), []
    first_of: dict[str, int] = {}
    same = [(first_of.setdefault(videos[name], i), i) for i, name in enumerate(names)]
    alike = [(int(a), int(b)) for a, b in np.argwhere(np.triu(away < SAME_LOOK, 1))]
    for a, b in [pair for pair in same if pair[0] != pair[1]] + alike:
        link: dict[str, Any] = {"clips": [names[a], names[b]]}
        reason = {"reason": "one video"} if videos[names[a]] == videos[names[b]] else {"reason": "alike"}
        if np.isfinite(away[a, b]):
            reason["distance"] = round(float(away[a, b]), 2)  # type: ignore[assignment]
        if group[a] != group[b]:
            old, new = max(group[a], group[b]), min(group[a], group[b])
            group = [new if number == old else number for number in group]
            links.append(link | reason)
    return links, group


def _choose(groups: list[list[str]], share: float, seed: int) -> set[str]:
    """Clips for test: groups in an order that the seed gives, as long as they fit into the share."""
    count = sum(map(len, groups))
    smallest = min(groups, key=len, default=[])
    wanted = min(math.ceil(share * count), count - len(smallest))  # some stay for training
    if wanted == 0 or len(groups) < 2:
        return set()
    ranked = sorted(groups, key=lambda clips: hashlib.sha256(f"{seed} {clips[0]}".encode()).hexdigest())
    chosen: set[str] = set()
    for clips in ranked:
        if len(chosen) + len(clips) <= wanted:
            chosen.update(clips)
    return chosen or set(smallest)


def _nearest_across(names: list[str], sides: Mapping[str, str], away: np.ndarray) -> dict[str, Any] | None:
    """The two clips of different sides that look most alike, to judge the limit by."""
    pairs = [
        (float(away[a, b]), names[a], names[b])
        for a, b in itertools.combinations(range(len(names)), 2)
        if sides[names[a]] != sides[names[b]] and np.isfinite(away[a, b])
    ]
    if not pairs:
        return None
    distance, a, b = min(pairs)
    return {"clips": [a, b], "distance": round(distance, 2)}
