"""One pose as the warp needs it: missing joints inferred, its facing, its limbs as chains of points."""

import dataclasses

import numpy as np

from utils.pose_drawing import FACE, JOINT, joint_indices

SIDES = ("right", "left")
ELBOW_SHARE = 0.5  # of the way from the shoulder to the wrist, where only those two are known
THIGH_LENGTH = 0.85  # in torso lengths, where a knee has to be guessed
HEAD_LENGTH = 0.42  # from the neck to between the ears, in torso lengths
HEAD_RADIUS = 0.19  # how far the nose is in front of the middle of the head, in torso lengths
HAND_LENGTH = 0.26  # from the wrist to the finger tips, in torso lengths
FOOT_LENGTH = 0.12  # from the ankle down to the sole, in torso lengths
NOSE_BESIDE_EARS = 0.85  # `Body.face_turn` from which the nose is hardly between the ears
FRONT_OF_FACE = joint_indices(("nose", "right_eye", "left_eye"))
BACK = -0.4
"""From behind: shoulders and hips change places, and are seen at least this wide, over the photo's."""
FRONT_WIDTH = 0.92  # shoulder width + hip width seen from the front, in torso lengths, where no pose tells


@dataclasses.dataclass(frozen=True)
class Body:
    """A pose made whole.

    Attributes:
        points: (18, 2) float64 pixels; inferred where the pose had none.
        seen: (18,) bool, the joints the pose had.
        known: (18,) bool, the joints seen or inferred.
        length: pixels from the neck to the middle of the hips, at least 1.
        width: signed sum of shoulder and hip width across the spine in torso lengths; negative from behind.
        head_seen: whether the pose has any joint of the head.
        face_turn: how far the nose is off the middle of the head, in head radii: -1 to 1, + to the viewer's
            right; None where no face joint is seen.
        head: (2,) pixels, between the ears.
    """

    points: np.ndarray
    seen: np.ndarray
    known: np.ndarray
    length: float
    width: float
    head_seen: bool
    face_turn: float | None
    head: np.ndarray

    def point(self, name: str) -> np.ndarray:
        """(2,) pixels of the joint called `name`."""
        return self.points[JOINT[name]]

    def has(self, *names: str) -> bool:
        """Whether all these joints are seen or inferred."""
        return all(self.known[JOINT[name]] for name in names)

    @property
    def middle_hip(self) -> np.ndarray:
        """(2,) pixels."""
        return (self.point("right_hip") + self.point("left_hip")) / 2

    def trunk(self) -> np.ndarray:
        """(5, 2): above the neck, neck, middle of the hips, of the knees, straight on to about the ankles."""
        neck, hip = self.point("neck"), self.middle_hip
        knee = (self.point("right_knee") + self.point("left_knee")) / 2
        return np.stack([neck + 0.4 * (self.head - neck), neck, hip, knee, 2 * knee - hip])

    def head_axis(self) -> np.ndarray:
        """(3, 2): crown, middle of the head, neck."""
        neck = self.point("neck")
        return np.stack([self.head + 0.7 * (self.head - neck), self.head, neck])

    def arm(self, side: str) -> np.ndarray:
        """(4, 2) shoulder, elbow, wrist, finger tips."""
        shoulder, elbow, wrist = (self.point(f"{side}_{joint}") for joint in ("shoulder", "elbow", "wrist"))
        return np.stack(
            [shoulder, elbow, wrist, wrist + HAND_LENGTH * self.length * direction_of(wrist - elbow)]
        )

    def leg(self, side: str) -> np.ndarray:
        """(4, 2) hip, knee, ankle, sole below it: feet stay flat, they do not turn with the shin."""
        hip, knee, ankle = (self.point(f"{side}_{joint}") for joint in ("hip", "knee", "ankle"))
        return np.stack([hip, knee, ankle, np.add(ankle, (0, FOOT_LENGTH * self.length))])


def read_body(keypoints: np.ndarray) -> Body | None:
    """Make one pose whole.

    Args:
        keypoints: (18, 3) x px, y px, visibility.

    Returns:
        None where there is too little to stand a body on (neither neck nor shoulders).
    """
    seen = (keypoints[:, 2] > 0) & np.isfinite(keypoints).all(axis=1)
    points = np.where(seen[:, None], keypoints[:, :2], 0).astype(np.float64)
    known = seen.copy()
    if not _infer_trunk(points, known):
        return None
    neck = points[JOINT["neck"]]
    spine = (points[JOINT["right_hip"]] + points[JOINT["left_hip"]]) / 2 - neck
    length = max(1.0, float(np.hypot(*spine)))
    _infer_limbs(points, known, length)
    down = direction_of(spine)
    across = np.array([down[1], -down[0]])
    shoulders = points[JOINT["left_shoulder"]] - points[JOINT["right_shoulder"]]
    hips = points[JOINT["left_hip"]] - points[JOINT["right_hip"]]
    width = float((shoulders + hips) @ across) / length
    if _is_face_behind(points, seen, width):
        seen[FRONT_OF_FACE] = known[FRONT_OF_FACE] = False
    head, face_turn = _read_head(points, seen, neck, length, width, across)
    head_seen = bool(seen[joint_indices(FACE)].any())
    return Body(points, seen, known, length, width, head_seen, face_turn, head)


def _is_face_behind(points: np.ndarray, seen: np.ndarray, width: float) -> bool:
    """Whether nose and eyes are named although her head hides them: estimators do so from behind.

    A head that looks over the shoulder has its nose beside the ears.
    """
    ears = [JOINT[f"{side}_ear"] for side in SIDES]
    if width > BACK * FRONT_WIDTH or not (seen[ears].all() and seen[JOINT["nose"]]):
        return False
    nose, right, left = points[[JOINT["nose"], *ears], 0]
    return bool(min(right, left) < nose < max(right, left))


def faces_behind(joints: np.ndarray) -> np.ndarray:
    """(F,) bool: frames of (F, 18, 3) that show her back and name nose and eyes all the same."""
    named = (joints[:, FRONT_OF_FACE, 2] > 0).any(axis=1)
    bodies = [read_body(pose) for pose in joints]
    hidden = [body is not None and not body.seen[FRONT_OF_FACE].any() for body in bodies]
    return named & np.array(hidden, bool)


def facing(joints: np.ndarray, photo_joints: np.ndarray) -> np.ndarray:
    """How wide shoulders and hips are seen in each frame, over the photo's: 1 as there, -1 from behind.

    Args:
        joints: (F, 18, 3) x px, y px, visibility.
        photo_joints: (18, 3) of a photo that shows her front.

    Returns:
        (F,); NaN where there is too little of a body, and everywhere if the photo does not show her front:
        of a profile's width, the joints' errors would be many times.
    """
    photo = read_body(photo_joints)
    if photo is None or photo.width < 0.5 * FRONT_WIDTH:
        return np.full(len(joints), np.nan)
    bodies = [read_body(pose) for pose in joints]
    return np.array([np.nan if body is None else body.width / photo.width for body in bodies])


def back_frame(joints: np.ndarray, photo_joints: np.ndarray, limit: float = BACK) -> int | None:
    """Number of the frame that shows most of her back, None if none is below the limit of `facing`.

    The other arguments are as for `facing`.
    """
    widths = np.nan_to_num(facing(joints, photo_joints), nan=np.inf)
    return int(widths.argmin()) if widths.min(initial=np.inf) < limit else None


def with_head_like(body: Body, other: Body) -> Body:
    """The body with its head, where its own is not seen, as far above the neck as another pose has it."""
    if body.head_seen or not other.head_seen:
        return body
    height = float(np.hypot(*(other.head - other.point("neck")))) / other.length
    neck = body.point("neck")
    return dataclasses.replace(body, head=neck + height * body.length * direction_of(body.head - neck))


def front_width_of(source: Body, target: Body) -> float:
    """Shoulder width + hip width that this person has seen from the front, in torso lengths.

    The photo tells where it shows her face, else the frame; its face says how much narrower than that she is
    seen.
    """
    widest = max(abs(source.width), abs(target.width))
    for body in (source, target):
        if body.face_turn is not None and body.width > 0 and abs(body.face_turn) < NOSE_BESIDE_EARS:
            return max(widest, body.width / np.sqrt(1 - body.face_turn**2))
    return max(widest, FRONT_WIDTH)


def yaw_of(body: Body, front_width: float) -> float:
    """Angle by which the body is turned about the vertical: 0 faces us, + turns to the viewer's right.

    The projected width says how far, the face says to which side and settles small angles, where the width
    hardly changes.

    Args:
        body: the pose.
        front_width: `width` of this person seen from the front.
    """
    angle = float(np.arccos(np.clip(body.width / front_width, -1, 1)))
    if body.face_turn is not None and body.width > 0:
        return angle * float(np.clip(body.face_turn / (0.5 * np.sin(angle) + 1e-3), -1, 1))
    return angle * _nearer_side(body)


def head_yaw_of(body: Body, yaw: float) -> float:
    """Like `yaw_of` for the head: the nose tells, else the head is taken to turn with the body.

    A nose beside the ears fits two turns, one seen from the front and one from behind. Of the two, the one on
    the body's side is taken.
    """
    if body.face_turn is None:
        return yaw
    turn = float(np.arcsin(np.clip(body.face_turn, -1, 1)))
    if np.cos(yaw) < 0 and abs(body.face_turn) > NOSE_BESIDE_EARS:
        return float(np.copysign(np.pi, turn)) - turn
    return turn


def _nearer_side(body: Body) -> int:
    """+1 where only the right ear is seen (she faces the viewer's right), -1 for the left; +1 in doubt."""
    right, left = body.seen[JOINT["right_ear"]], body.seen[JOINT["left_ear"]]
    if body.face_turn is not None and right == left:
        return 1 if body.face_turn >= 0 else -1
    return -1 if left and not right else 1


def direction_of(vector: np.ndarray) -> np.ndarray:
    """(2,) of length 1; down where the vector has no length."""
    length = float(np.hypot(*vector))
    return vector / length if length > 1e-6 else np.array([0.0, 1.0])


def _infer_trunk(points: np.ndarray, known: np.ndarray) -> bool:
    """Fill in neck, shoulders and hips in place; False where that cannot be done."""
    neck, right, left = JOINT["neck"], JOINT["right_shoulder"], JOINT["left_shoulder"]
    if not known[neck] and not (known[right] and known[left]):
        return False
    if not known[neck]:
        points[neck] = (points[right] + points[left]) / 2
    for missing, other in ((right, left), (left, right)):
        if not known[missing] and known[other]:
            points[missing] = 2 * points[neck] - points[other]
            known[missing] = True
    known[neck] = True
    right_hip, left_hip = JOINT["right_hip"], JOINT["left_hip"]
    shoulders = points[left] - points[right] if known[right] else np.zeros(2)
    if known[right_hip] != known[left_hip]:
        other, missing, sign = (right_hip, left_hip, 1) if known[right_hip] else (left_hip, right_hip, -1)
        points[missing] = points[other] + sign * 0.55 * shoulders
    elif not known[right_hip]:
        torso = 1.45 * float(np.hypot(*shoulders))
        nose = JOINT["nose"]
        if known[nose]:
            torso = max(torso, 2 * float(np.hypot(*(points[neck] - points[nose]))))
        if torso < 1:
            return False
        middle = points[neck] + (0, torso)
        points[right_hip], points[left_hip] = middle - 0.27 * shoulders, middle + 0.27 * shoulders
    known[[right_hip, left_hip]] = True
    if not known[right]:
        hips = points[left_hip] - points[right_hip]
        points[right], points[left] = points[neck] - 0.9 * hips, points[neck] + 0.9 * hips
        known[[right, left]] = True
    return True


def _infer_limbs(points: np.ndarray, known: np.ndarray, length: float) -> None:
    """Fill in, in place, elbows between shoulder and wrist, and legs downward. A lost wrist stays lost."""
    for side in SIDES:
        shoulder, elbow, wrist = (JOINT[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist"))
        if not known[elbow] and known[wrist]:
            points[elbow] = points[shoulder] + ELBOW_SHARE * (points[wrist] - points[shoulder])
            known[elbow] = True
        hip, knee, ankle = (JOINT[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle"))
        if not known[knee]:
            points[knee] = (
                (points[hip] + points[ankle]) / 2
                if known[ankle]
                else points[hip] + (0, THIGH_LENGTH * length)
            )
        if not known[ankle]:
            points[ankle] = points[knee] + THIGH_LENGTH * length * direction_of(points[knee] - points[hip])
        known[[knee, ankle]] = True


def _read_head(
    points: np.ndarray, seen: np.ndarray, neck: np.ndarray, length: float, width: float, across: np.ndarray
) -> tuple[np.ndarray, float | None]:
    """Middle of the head (2,), and how far the face is off it in head radii (None without a face)."""
    ears = [JOINT[f"{side}_ear"] for side in SIDES]
    eyes = [JOINT[f"{side}_eye"] for side in SIDES]
    face = [j for j in (JOINT["nose"], *eyes) if seen[j]]
    radius = HEAD_RADIUS * length
    front = None
    if seen[JOINT["nose"]]:
        front = points[JOINT["nose"]]
    elif face:
        front = points[face].mean(axis=0)
    num_ears = int(seen[ears].sum())
    if num_ears == 2:
        head = points[ears].mean(axis=0)
        if front is None:
            return head, None
    elif num_ears == 1:
        ear = points[ears[0] if seen[ears[0]] else ears[1]]
        if front is None:
            return ear, None
        # Turned by an angle, the nose is off the middle by its sine, the nearer ear by its cosine.
        cosine = float(np.clip(abs(width) / FRONT_WIDTH, 0, 1))
        share = cosine / (cosine + np.sqrt(1 - cosine**2))
        head = ear + share * (front - ear)
    elif front is not None:
        head = front
    else:
        up = neck - (points[JOINT["right_hip"]] + points[JOINT["left_hip"]]) / 2
        return neck + HEAD_LENGTH * length * direction_of(up), None
    return head, float(np.clip((front - head) @ across / radius, -1, 1))
