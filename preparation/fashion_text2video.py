"""The Fashion-Text2Video download: frames of 512 x 256 in a folder a video, motion texts and motion labels.

Jiang et al., "Text2Performer: Text-Driven Human Video Generation", ICCV 2023. Its parts are told apart by
what is in them, wherever they were unpacked:

- folders of 000.png, 001.png and so on, one for each video;
- a folder of NAME.txt with lines ``start end text`` (Motion Texts), and one with ``start end label`` (Motion
  Labels); `end` is the last frame, label 22 says nothing;
- a JSON of sentences for each label, with ``<Gender>`` in them and words for it under "gender" (Motion
  Caption Templates);
- train_frame_num.txt, val_frame_num.txt and test_frame_num.txt with the videos of each part, a line each.

The download's other files are not needed; its moving_frames.npy is a pickle and is never opened.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.frames import NUMBERED
from evaluation.motion_rules import read_motions
from preparation import layout
from preparation.texts import Text, place_texts
from preparation.videos import Video, name_videos
from utils.errors import UserError
from utils.files import read_json, write_json

NO_LABEL = 22
LISTS = {"train": "train", "val": "test", "test": "test"}
"""Lists of videos that the download has, and the part that they go to here."""
LINE = re.compile(r"(\d{1,9})\s+(\d{1,9})\s+(\S.*)", re.ASCII)
WHAT = (
    "unpack the Fashion-Text2Video download into one folder: the video frames, Motion Texts or Motion "
    "Labels, and with the labels the Motion Caption Templates"
)
SIDE = r"\b(left|right)\b"
MEANINGS = (
    (r"\b(turns?|turning|rotat\w+)\b[^.]*\baround\b", "turn_around"),
    (r"\b(turns?|turning|rotat\w+|spins?)\b[^.]*?" + SIDE, "turn_{}"),
    (r"\b(rais\w+|lifts?|lifting|puts? up)\b[^.]*?" + SIDE + r"[^.]*\b(arm|hand)", "raise_{}_arm"),
    (r"\b(both|two) hands\b[^.]*\b(hips?|waist)\b|\bhands\b[^.]*\b(hips|waist)\b", "hands_on_hips"),
    (SIDE + r" hand\b[^.]*\b(hips?|waist)\b", "{}_hand_on_hip"),
    (r"\b(walk|step|mov|com)\w*\b[^.]*\b(forwards?|the (camera|viewer|front))\b", "walk_forward"),
    (r"\bfrom (?:the |her |his |their )?" + SIDE, "from_{}"),
    (r"\b(moves?|moving|steps?|stepping|walks?|walking|shifts?|goes)\b[^.]*?" + SIDE, "step_{}"),
    (r"\b(stands?|standing|stays?|still|poses?)\b", "stand_sway"),
)  # fmt: skip
"""What a sentence says -> our label of it; the first that fits."""
FROM = {"from_left": "step_right", "from_right": "step_left"}


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A part of a video with the download's label; frames of the video, `end` exclusive."""

    video: str
    start: int
    end: int
    label: int


@dataclasses.dataclass(frozen=True)
class Download:
    """What was found in the download.

    Attributes:
        videos: folders of frames.
        texts: sentences, in frames of the videos.
        labels: parts with labels.
        templates: label -> its sentences; empty where there are no templates.
        sides: a video's source -> "train" or "test"; empty where there are no lists.
    """

    videos: list[Video]
    texts: list[Text]
    labels: list[Labelled]
    templates: dict[str, list[str]]
    sides: dict[str, str]


def read_download(folder: Path, seed: int, known: Mapping[str, str] | None = None) -> Download:
    """Look through the folder that the download was unpacked into.

    Args:
        folder: holds the parts at any place, up to three folders deep.
        seed: of the choice among sentences, where there are labels alone.
        known: see `name_videos`.

    Raises:
        UserError: no frames, no annotations, or a file that is not what it should be.
    """
    if not folder.is_dir():
        raise UserError(f"--videos {folder} is no folder; {WHAT}")
    frames: list[str] = []
    notes: list[Path] = []
    templates: dict[str, list[str]] = {}
    for path, names in _folders(folder):
        if any(NUMBERED.fullmatch(name) for name in names):
            frames.append(path.relative_to(folder).as_posix())
        elif texts := sorted(n for n in names if n.endswith(".txt") and not n.endswith("_frame_num.txt")):
            notes += [path / name for name in texts]
        for name in sorted(names):
            if name.endswith(".json"):
                templates = templates or _templates(path / name)
    if not frames:
        raise UserError(f"--videos {folder} holds no folders of 000.png, 001.png and so on; {WHAT}")
    videos = name_videos(folder, sorted(frames), known)
    sources = {Path(video.source).name: video.source for video in videos}
    rows = [row for path in notes if path.stem in sources for row in _rows(path, sources[path.stem])]
    texts_found = [text for text in rows if not text.sentence.isdigit()]
    labels = [_labelled(text) for text in rows if text.sentence.isdigit()]
    if not texts_found:
        texts_found = list(_from_templates([t for t in rows if t.sentence.isdigit()], templates, seed))
    if not texts_found:
        raise UserError(f"--videos {folder} has frames, but no sentences for them; {WHAT}")
    return Download(videos, texts_found, labels, templates, _sides(folder, sources))


def _folders(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders up to three deep with the names of their files, in order; hidden ones are left out."""
    for path, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if name[0] not in "._")
        if len(Path(path).relative_to(folder).parts) >= 3:
            inner.clear()
        yield Path(path), [name for name in names if name[0] != "."]


def _rows(path: Path, source: str) -> Iterator[Text]:
    """The lines of a file of texts or labels."""
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line.strip())
        if match is None or int(match[2]) < int(match[1]):
            raise UserError(f"{path}:{number}: {line[:60]!r} is not `start end text` or `start end label`")
        sentence = " ".join(match[3].split())
        yield Text(f"{path}:{number}", source, int(match[1]), int(match[2]) + 1, sentence)


def _labelled(text: Text) -> Labelled:
    return Labelled(text.video, int(text.start), int(text.end), int(text.sentence))


def _templates(path: Path) -> dict[str, list[str]]:
    """The sentences of each label, and words for a person; nothing where the file is something else."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("gender"), list):
        return {}
    return {key: [str(v) for v in values] for key, values in content.items() if isinstance(values, list)}


def _from_templates(labels: Sequence[Text], templates: Mapping[str, list[str]], seed: int) -> Iterator[Text]:
    """A sentence for each part whose label has any."""
    for text in labels:
        choices = templates.get(text.sentence, [])
        if text.sentence == str(NO_LABEL) or not choices:
            continue
        rng = np.random.default_rng([seed, *f"{text.video} {text.start}".encode()])
        who = templates["gender"][rng.integers(len(templates["gender"]))]
        sentence = choices[rng.integers(len(choices))].replace("<Gender>", who).strip()
        yield dataclasses.replace(text, sentence=sentence[:1].upper() + sentence[1:])


def _sides(folder: Path, sources: Mapping[str, str]) -> dict[str, str]:
    """The part of each listed video, by its source."""
    sides = {}
    for path in sorted(folder.rglob("*_frame_num.txt")):
        side = LISTS.get(path.name.removesuffix("_frame_num.txt"))
        if side is None:
            continue
        for line in path.read_text(encoding="utf-8-sig").splitlines():
            if line.split() and (source := sources.get(line.split()[0])):
                sides[source] = side
    return sides


def meaning(sentences: Sequence[str]) -> str:
    """Our label of what the sentences say, or "" where it has none or they do not agree.

    Left and right are taken as they are written. Ours are the person's own.
    """
    counts = collections.Counter(_meaning(sentence.lower()) for sentence in sentences)
    label, count = counts.most_common(1)[0] if counts else ("", 0)
    return label if 2 * count > len(sentences) else ""


def _meaning(sentence: str) -> str:
    for pattern, label in MEANINGS:
        if match := re.search(pattern, sentence):
            side = next((group for group in match.groups() if group in ("left", "right")), "")
            name = label.format(side)
            return FROM.get(name, name)
    return ""


def write_labels(output_dir: Path, download: Download) -> None:
    """Write labels.json: our label of each of the download's, and what the joints say of its parts.

    Args:
        output_dir: of the dataset, which is prepared.
        download: that it was made of.
    """
    numbers = sorted({part.label for part in download.labels})
    sentences: dict[int, list[str]] = {n: list(download.templates.get(str(n), [])) for n in numbers}
    spoken = {(text.video, text.start, text.end): text.sentence for text in download.texts}
    for part in () if download.templates else download.labels:
        if sentence := spoken.get((part.video, part.start, part.end)):
            sentences[part.label].append(sentence)
    ours = {number: "" if number == NO_LABEL else meaning(sentences[number]) for number in numbers}
    by_video: dict[str, list[Text]] = {}
    for part in download.labels:
        text = Text("", part.video, part.start, part.end, str(part.label))
        by_video.setdefault(part.video, []).append(text)
    read: dict[int, collections.Counter[str]] = {number: collections.Counter() for number in numbers}
    clips: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((output_dir / layout.POSES).glob("[!.]*.json")):
        clip = read_json(path)
        source, joints = clip["source"], np.asarray(clip["keypoints"], np.float32)
        parts = by_video.get(source["video"], [])
        for start, end, text in place_texts(parts, "frames", source["times_s"], source["frames"]):
            number = int(text.sentence)
            read[number].update([" ".join(read_motions(joints[start:end])) or "nothing"])
            entry = {"start": start, "end": end, "label": number, "motion": ours[number]}
            clips.setdefault(path.stem, []).append(entry)
    table = {
        str(number): {"motion": ours[number], "sentences": sorted(set(sentences[number]))[:5]}
        | {"read_in_the_joints": dict(read[number].most_common())}
        for number in numbers
    }
    write_json(output_dir / "labels.json", {"labels": table, "clips": clips})
