"""The colours in which pose estimators draw their skeletons.

ControlNet's annotators and OpenPose itself use the same 18 hues, 20 degrees apart, but give them to other
joints, and OpenPose draws a limb in the colour of its last joint. mmpose has a colour for each side.
"""

import dataclasses

import cv2
import numpy as np

from utils.pose_drawing import LIMBS, NUM_JOINTS

MIDDLE_HIP = NUM_JOINTS  # the one joint of BODY_25's trunk that the 18 do not have
LEFT_HUE, RIGHT_HUE, MIDDLE_HUE = 120, 30, 210
HUE_TOLERANCE = 10
SMALLEST_SATURATION = 110  # of 255; paper, shadows and what JPEG leaves between two colours have less
SMALLEST_VALUE = 0.4  # of the brightest colours
DIM_BELOW = 0.8  # of the brightest colours: between a dot's brightness and a dimmed limb's

Limb = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Palette:
    """How one tool colours a skeleton.

    Attributes:
        name: as people call it.
        joints: hue of each joint's dot in degrees.
        limbs: (first joint, last joint, hue in degrees), from the neck outwards.
        dimmed: limbs are darker than dots.
        swapped: red and blue are exchanged, as pictures of OpenCV are when they are saved as RGB.
        few_colors: the picture has too few colours for the dots, so joints are where limbs end.
    """

    name: str
    joints: tuple[int, ...]
    limbs: tuple[Limb, ...]
    dimmed: bool = False
    swapped: bool = False
    few_colors: bool = False

    @property
    def by_side(self) -> bool:
        """Whether joints of one side share a colour."""
        return len(set(self.joints)) < 4

    def with_swapped_colors(self) -> "Palette":
        """This palette with red and blue exchanged."""
        return dataclasses.replace(
            self,
            joints=tuple((240 - hue) % 360 for hue in self.joints),
            limbs=tuple((a, b, (240 - hue) % 360) for a, b, hue in self.limbs),
            swapped=not self.swapped,
        )


_OPENPOSE_COCO = (340, *range(0, 260, 20), 320, 280, 300, 260)
_BODY_25 = (340, 0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 220, 240, 320, 280, 300, 260, 0)
_BODY_25_LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, MIDDLE_HIP), (MIDDLE_HIP, 8), (8, 9), (9, 10),
    (MIDDLE_HIP, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
_SIDES = (
    *[MIDDLE_HUE] * 2, *[RIGHT_HUE] * 3, *[LEFT_HUE] * 3, *[RIGHT_HUE] * 3, *[LEFT_HUE] * 3, *[MIDDLE_HUE] * 4
)  # fmt: skip
_MMPOSE_LIMBS = (
    *((a, b, RIGHT_HUE) for a, b in ((2, 3), (3, 4), (8, 9), (9, 10))),
    *((a, b, LEFT_HUE) for a, b in ((5, 6), (6, 7), (11, 12), (12, 13))),
    *((a, b, MIDDLE_HUE) for a, b in ((2, 5), (8, 11), (2, 8), (5, 11))),
    *((a, b, MIDDLE_HUE) for a, b in ((0, 14), (0, 15), (14, 15), (14, 16), (15, 17), (16, 2), (17, 5))),
)

CONTROLNET = Palette(
    "ControlNet",
    tuple(range(0, 360, 20)),
    tuple((a, b, 20 * limb) for limb, (a, b) in enumerate(LIMBS)),
    dimmed=True,
)
OPENPOSE_BODY_25 = Palette(
    "OpenPose BODY_25", _BODY_25, tuple((a, b, _BODY_25[b]) for a, b in _BODY_25_LIMBS)
)
OPENPOSE_COCO = Palette("OpenPose COCO", _OPENPOSE_COCO, tuple((a, b, _OPENPOSE_COCO[b]) for a, b in LIMBS))
MMPOSE = Palette("mmpose", _SIDES, _MMPOSE_LIMBS)
PALETTES = (CONTROLNET, OPENPOSE_COCO, OPENPOSE_BODY_25, MMPOSE)


@dataclasses.dataclass(frozen=True)
class Labels:
    """A picture's colours.

    Attributes:
        hues: (H, W) int16 degrees in steps of 2, -1 where the picture has no colour to speak of.
        bright: (H, W) bool, coloured and at about full brightness.
        left: columns that were cut off on the left.
        top: rows that were cut off at the top.
    """

    hues: np.ndarray
    bright: np.ndarray
    left: int = 0
    top: int = 0

    def of_hue(self, hue: int, tolerance: int = HUE_TOLERANCE) -> np.ndarray:
        """(H, W) bool, where the picture has this hue to within a tolerance in degrees."""
        away = np.abs(self.hues - hue)
        return (self.hues >= 0) & (np.minimum(away, 360 - away) <= tolerance)


def label_colors(picture: np.ndarray) -> Labels | None:
    """Label what is coloured in a picture (H, W, 3) uint8 RGB on any black, white or grey ground.

    Returns:
        Labels of the part that holds colours, or None where nothing is coloured.
    """
    hue, saturation, value = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV))
    colored = saturation >= SMALLEST_SATURATION
    strong = value[colored & (value > 60)]
    if strong.size < 4:
        return None
    full = float(np.percentile(strong, 98))
    colored &= value >= SMALLEST_VALUE * full
    rows, columns = np.flatnonzero(colored.any(axis=1)), np.flatnonzero(colored.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    part = np.s_[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    hues = np.where(colored[part], hue[part].astype(np.int16) * 2, np.int16(-1))
    return Labels(hues, colored[part] & (value[part] > DIM_BELOW * full), left, top)
