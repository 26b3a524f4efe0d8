"""Several sentences, one after the other: each has its time, and their tracks join without a jump.

A track starts in the pose where the last one ended, and stands still there: tracks of `models.text_to_poses`
have no speed at their ends. The model has only seen people who begin facing the viewer. Somebody who shows
her back is therefore given to it as her outline, left and right exchanged, which looks like a front.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from diffusion.motion import poses_from_text
from models.text_to_poses import TextToPoses
from utils.errors import UserError
from utils.pose_drawing import FACE, JOINT, MIRRORED, joint_indices

EXAMPLE = '"0-2: She stands and sways; 2-5: She turns around"'
MAX_SECONDS, MAX_SEGMENTS = 120, 100
LEAST_FRAMES = 4
"""Of a segment; fewer show no motion."""
MAX_FILE_BYTES = 100_000
_SEGMENT = re.compile(
    r"\s*(\d+(?:\.\d+)?)\s*s?\s*(?:-|–|to)\s*(\d+(?:\.\d+)?)\s*s?\s*:(.*)", re.DOTALL | re.ASCII
)
_SIDES = re.compile(r"\b(left|right)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """What is done from one moment to another, in seconds."""

    start: float
    end: float
    sentence: str

    def __str__(self) -> str:
        return f"{self.start:g}-{self.end:g}: {self.sentence}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeline:
    """Segments without gaps from second 0 on, and the frames a second that they are played at."""

    segments: tuple[Segment, ...]
    fps: float

    def __str__(self) -> str:
        return "; ".join(map(str, self.segments))

    @property
    def ends(self) -> list[int]:
        """The frame after the last one of each segment."""
        return [round(segment.end * self.fps) for segment in self.segments]

    @property
    def num_frames(self) -> int:
        """Frames of all segments."""
        return self.ends[-1]

    @property
    def frames(self) -> list[range]:
        """Which frames each segment has."""
        return [range(*pair) for pair in zip([0, *self.ends], self.ends, strict=False)]

    @property
    def sentences(self) -> list[str]:
        """The sentence of each frame."""
        pairs = zip(self.segments, self.frames, strict=True)
        return [segment.sentence for segment, frames in pairs for _ in frames]


def read_timeline(given: str | Path, fps: float) -> Timeline:
    """Read a timeline: the text itself, or a file of it.

    Args:
        given: ``"0-2: She stands and sways; 2-5: She turns around"``, times in seconds; in a file, a segment
            may also have a line of its own.
        fps: frames a second.

    Raises:
        UserError: no such file, or segments that are not one after the other from 0 on, too short, too long,
            too many, or without a sentence.
    """
    text = _read_file(Path(given)) if _is_file(given) else str(given)
    parts = [part for part in re.split(r"[;\r\n]", text) if part.strip()]
    if not parts:
        raise UserError(f"the timeline is empty; give segments such as {EXAMPLE}")
    if len(parts) > MAX_SEGMENTS:
        raise UserError(f"the timeline has {len(parts)} segments; give at most {MAX_SEGMENTS}")
    segments: list[Segment] = []
    for number, part in enumerate(parts, 1):
        segment = _read_segment(number, part, given)
        _check_follows(number, segment, segments[-1].end if segments else 0.0)
        segments.append(segment)
    timeline = Timeline(segments=tuple(segments), fps=fps)
    for number, (segment, frames) in enumerate(zip(segments, timeline.frames, strict=True), 1):
        if len(frames) < LEAST_FRAMES:
            raise UserError(
                f"segment {number} of the timeline ({segment.start:g}-{segment.end:g}) has {len(frames)} "
                f"frames at {fps:g} frames a second; give it at least {LEAST_FRAMES / fps:.2g} seconds"
            )
    return timeline


def _is_file(given: str | Path) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # a text that is no possible name
        return False


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise UserError(f"{path} is no timeline: it has more than {MAX_FILE_BYTES} bytes")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in UTF-8; write segments such as {EXAMPLE}") from error


def _read_segment(number: int, part: str, given: str | Path) -> Segment:
    match = _SEGMENT.fullmatch(part)
    if match is None:
        if ":" not in str(given) and not _is_file(given):
            raise UserError(f"there is no timeline file {given}; give a file, or segments such as {EXAMPLE}")
        shown = part.strip() if len(part) < 60 else part.strip()[:57] + "..."
        where = f" in {given}" if _is_file(given) else ""
        lacks = "" if ":" in part else ', which has no times and no ":"'
        raise UserError(
            f"segment {number} of the timeline{where} is {shown!r}{lacks}; write "
            f"START-END: SENTENCE, in seconds, such as {EXAMPLE}"
        )
    start, end, sentence = float(match[1]), float(match[2]), " ".join(match[3].split())
    if not sentence:
        raise UserError(
            f"segment {number} of the timeline ({start:g}-{end:g}) has no sentence; say what she does, for "
            'example "She stands and sways"'
        )
    return Segment(start=start, end=end, sentence=sentence)


def _check_follows(number: int, segment: Segment, before: float) -> None:
    """Refuse a segment that does not begin where the one before it ended."""
    start, end = segment.start, segment.end
    where = f"segment {number} of the timeline ({start:g}-{end:g})"
    if start != before and number == 1:
        raise UserError(f"{where} starts at {start:g} s; the first one must start at 0")
    if start > before:
        raise UserError(f"{where} leaves a gap after {before:g} s; start it at {before:g}")
    if start < before:
        raise UserError(f"{where} overlaps the one before it; start it at {before:g}")
    if end <= start:
        raise UserError(f"{where} ends before it starts; give the earlier second first")
    if end > MAX_SECONDS:
        raise UserError(
            f"{where} ends after {MAX_SECONDS} s, which is the longest; make the timeline shorter"
        )


def poses_from_timeline(
    model: TextToPoses,
    encode_prompt: Callable[[str], torch.Tensor],
    timeline: Timeline,
    image_joints: np.ndarray,
    height: int,
    width: int,
    generator: torch.Generator | None,
) -> np.ndarray:
    """Draw one track of joints that does what the sentences say, each in its time.

    Args:
        model: trained.
        encode_prompt: gives a sentence's embeddings (1, n, d).
        timeline: of the video.
        image_joints: (18, 3) the photo's pose in pixels, where the track begins.
        height: of the picture in pixels.
        width: of the picture in pixels.
        generator: another state gives another way of doing it.

    Returns:
        (F, 18, 3) float32: x, y in pixels, visibility 0 or 1; frame 0 is `image_joints`.

    Raises:
        UserError: neck or hips are not seen at the start of a segment.
    """
    pose = np.array(image_joints, np.float32)
    tracks: list[np.ndarray] = []
    for segment, frames in zip(timeline.segments, timeline.frames, strict=True):
        away = shows_back(pose)
        sentence = exchange_sides(segment.sentence) if away else segment.sentence
        count = len(frames) + bool(tracks)  # the pose that it starts in is the last one's end
        start = pose[MIRRORED] if away else pose.copy()
        if tracks:  # the places of hidden joints are known, and their limbs must not jump
            start[:, 2] = 1
        track = poses_from_text(model, encode_prompt(sentence), start, height, width, count, generator)
        if away:
            track = face_other_way(track)
            track[0] = pose
        tracks.append(track[1:] if tracks else track)
        pose = track[-1]
    return np.concatenate(tracks)


def shows_back(pose: np.ndarray) -> bool:
    """Whether somebody (18, 3) is turned away: left shoulder and hip lie to the left of the right ones."""
    pairs = [(JOINT[f"left_{part}"], JOINT[f"right_{part}"]) for part in ("shoulder", "hip")]
    across = [pose[a, 0] - pose[b, 0] for a, b in pairs if min(pose[a, 2], pose[b, 2]) > 0]
    return bool(sum(across) < 0)


def face_other_way(joints: np.ndarray) -> np.ndarray:
    """Joints (..., 18, 3) of somebody with the same outline who faces the other way.

    Left and right are exchanged. What is seen of the face is hidden, and the other way round.
    """
    turned = joints[..., MIRRORED, :]
    face = joint_indices(FACE)
    turned[..., face, 2] = turned[..., face, 2] <= 0
    return turned


def exchange_sides(sentence: str) -> str:
    """A sentence with left for right and right for left."""

    def other(match: re.Match[str]) -> str:
        word = "right" if match[0].lower() == "left" else "left"
        return word.upper() if match[0].isupper() else word.title() if match[0][0].isupper() else word

    return _SIDES.sub(other, sentence)


def sentence_of_frames(sentences: Sequence[str]) -> str:
    """One text for frames that are sampled together: their sentences in order, each once."""
    once = dict.fromkeys(sentences)
    return " ".join(text if text[-1:] in ".!?" or len(once) == 1 else f"{text}." for text in once)
