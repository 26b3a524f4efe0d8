"""A look through a dataset before a training: what would stop it hours later, and what is good to know."""

import contextlib
import dataclasses
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from data.annotations import SPLITS, Segment, annotation_paths, read_annotation_file
from data.check_pictures import Size, compare_sizes, decode_pictures, show_size
from data.check_report import DataReport, SplitCounts
from data.frames import NAMING, numbered_pictures
from data.latents import LatentVideo, projection_command
from utils.errors import UserError
from utils.files import read_json
from warping.joints import load_joints

FOLDERS = {"fashion_crop": "frame", "fashion_poses": "pose", "fashion_masks": "mask"}
MAX_GAPS = 8  # named in one message


def check_dataset(
    dataset_dir: Path,
    num_frames: int,
    latents_dir: Path | None = None,
    progress: bool = True,
    size_multiple: int = 8,
) -> DataReport:
    """Look through all annotated videos of both splits; every picture is decoded.

    All faults are collected: nothing about the dataset raises.

    Args:
        dataset_dir: the dataset's folder.
        num_frames: frames of the clips to train on.
        latents_dir: what project_latent_space.py wrote for it; None leaves that out.
        progress: show a progress bar.
        size_multiple: pixels that VAE and denoiser need a multiple of, along each side.
    """
    assert num_frames >= 1
    check = _Check(Path(dataset_dir), num_frames, progress)
    check.annotations()
    check.folders()
    check.pictures()
    check.size(latents_dir, size_multiple)
    check.joints()
    check.leaks()
    if latents_dir is not None:
        check.latents(Path(latents_dir))
    return DataReport(
        check.dataset_dir,
        num_frames,
        {split: check.count(split) for split in SPLITS},
        dict(check.problem_kinds),
        dict(check.warning_kinds),
    )


@dataclasses.dataclass(frozen=True)
class _Folder:
    """The numbered pictures of a video's frames, poses or masks."""

    path: Path
    numbered: list[tuple[int, str]]
    """Number and name of each picture, sorted."""

    @property
    def length(self) -> int:
        """Pictures that there would be without a gap, so that a gap is reported once, as a gap."""
        return self.numbered[-1][0] + 1 if self.numbered else 0


def _list_folder(path: Path) -> _Folder:
    return _Folder(path, sorted(numbered_pictures(path)) if path.is_dir() else [])


class _Check:
    """The state of one run of `check_dataset`: what was read so far, and what was found."""

    def __init__(self, dataset_dir: Path, num_frames: int, progress: bool) -> None:
        self.dataset_dir, self.num_frames, self.progress = dataset_dir, num_frames, progress
        self.problem_kinds: defaultdict[str, list[str]] = defaultdict(list)
        self.warning_kinds: defaultdict[str, list[str]] = defaultdict(list)
        self.names: dict[str, list[str]] = {split: [] for split in SPLITS}
        self.segments: dict[str, list[Segment]] = {split: [] for split in SPLITS}
        self.listed: dict[tuple[str, str], _Folder] = {}  # by folder of the dataset and video
        self.identities: dict[str, str] = {}
        self.damaged: set[str] = set()
        self.video_sizes: dict[Path, Size] = {}

    def all_names(self) -> list[str]:
        return sorted({name for names in self.names.values() for name in names})

    def count(self, split: str) -> SplitCounts:
        return SplitCounts(
            videos=len(self.names[split]),
            frames=sum(len(self.folder("fashion_crop", name).numbered) for name in self.names[split]),
            segments=len(self.segments[split]),
            usable_segments=sum(map(self.is_usable, self.segments[split])),
        )

    def is_usable(self, segment: Segment) -> bool:
        return segment.end - segment.start >= self.num_frames

    def folder(self, kind: str, name: str) -> _Folder:
        if (kind, name) not in self.listed:
            self.listed[kind, name] = _list_folder(self.dataset_dir / kind / name)
        return self.listed[kind, name]

    def annotations(self) -> None:
        """Read both splits' segments."""
        for split in SPLITS:
            try:
                paths = annotation_paths(self.dataset_dir, split)
            except UserError as error:
                if split == "train":
                    self.problem_kinds["no training split"].append(str(error))
                else:
                    self.warning_kinds["no test split"].append(
                        f"{error}; or train with --sample_steps 0 --validation_steps 0"
                    )
                continue
            for path in paths:
                self._read_annotations(split, path)
            self._check_lengths(split)
        unused = self._unused()
        if unused:
            self.warning_kinds["videos of neither split"].append(
                f"{len(unused)} videos have no annotation and were not checked (the first: {unused[0]}); "
                f"to train on one, write lines `start end text` into {self.dataset_dir / 'train'}/NAME.txt"
            )

    def _read_annotations(self, split: str, path: Path) -> None:
        self.names[split].append(path.stem)
        frames = self.folder("fashion_crop", path.stem)
        if not frames.numbered:
            self.problem_kinds["videos without frames"].append(
                f"{path} describes a video without frames; put them into {frames.path} ({NAMING}) "
                "or remove the annotation"
            )
        mistakes: list[str] = []
        try:
            segments = read_annotation_file(path, frames.length or None, mistakes)
        except UserError as error:
            self.problem_kinds["annotations"].append(str(error))
            return
        if mistakes:
            self.problem_kinds["annotations"] += mistakes
        elif not segments:
            self.warning_kinds["empty annotations"].append(
                f"{path} holds no segment, so its video is not used; write lines `start end text` into it"
            )
        self.segments[split] += segments

    def _check_lengths(self, split: str) -> None:
        segments = self.segments[split]
        short = [segment for segment in segments if not self.is_usable(segment)]
        folder = self.dataset_dir / split
        if split == "train" and len(short) == len(segments):
            longest = max((segment.end - segment.start for segment in segments), default=0)
            self.problem_kinds["no usable segment"].append(
                f"no segment of {folder} has {self.num_frames} frames (the longest of {len(segments)} has "
                f"{longest}); choose a smaller --num_frames"
            )
        elif short:
            self.warning_kinds["short segments"].append(
                f"{len(short)} of {len(segments)} segments are shorter than {self.num_frames} frames and are "
                f"not used (the first: {folder / short[0].name}.txt, {short[0].start} to {short[0].end}); "
                "choose a smaller --num_frames to use them"
            )

    def _unused(self) -> list[str]:
        folder = self.dataset_dir / "fashion_crop"
        if not folder.is_dir():
            return []
        annotated = set(self.all_names())
        with os.scandir(folder) as entries:
            return sorted(
                e.name for e in entries if e.is_dir() and e.name[0] != "." and e.name not in annotated
            )

    def folders(self) -> None:
        """Compare the numbers of frames, poses and masks, by names alone."""
        without_masks = []
        for name in self.all_names():
            frames, poses, masks = (self.folder(kind, name) for kind in FOLDERS)
            for kind, folder in zip(FOLDERS, (frames, poses, masks), strict=True):
                self._check_numbers(FOLDERS[kind], folder)
            if not poses.numbered:
                self.problem_kinds["missing poses"].append(
                    f"{poses.path} {'holds no' if poses.path.is_dir() else 'does not exist: there are no'} "
                    f"pose pictures for {frames.path}; draw one for each frame (000.png, 001.png and so on)"
                )
            elif frames.numbered and poses.length != frames.length:
                self.problem_kinds["number of poses"].append(
                    f"{poses.path} has poses up to {poses.length - 1:03d}, {frames.path} frames up to "
                    f"{frames.length - 1:03d}; each frame needs its own pose: complete them"
                )
            if not masks.numbered:
                without_masks.append(masks.path)
            elif frames.numbered and masks.length != frames.length:
                self.problem_kinds["number of masks"].append(
                    f"{masks.path} has masks up to {masks.length - 1:03d}, {frames.path} frames up to "
                    f"{frames.length - 1:03d}; complete the masks or remove their folder"
                )
        if 0 < len(without_masks) < len(self.all_names()):
            self.warning_kinds["missing masks"].append(
                f"{len(without_masks)} of {len(self.all_names())} videos have no masks (the first: "
                f"{without_masks[0]}); add them, or train with --person_weight 1"
            )

    def _check_numbers(self, what: str, folder: _Folder) -> None:
        gaps, expected = [], 0
        for number, name in folder.numbered:
            if number < expected:
                self.problem_kinds["numbers given twice"].append(
                    f"{folder.path} has {what} {number} twice ({name}); remove one of them"
                )
            elif number > expected:
                last = f"-{number - 1:03d}" if number - expected > 1 else ""
                gaps.append(f"{expected:03d}{last}")
            expected = number + 1
        if gaps:
            more = f" and {len(gaps) - MAX_GAPS} more gaps" if len(gaps) > MAX_GAPS else ""
            self.problem_kinds[f"missing {what}s"].append(
                f"{folder.path} has no {what} {', '.join(gaps[:MAX_GAPS])}{more}; pictures are numbered from "
                "000 without a gap: add what is missing, or number them anew"
            )

    def pictures(self) -> None:
        """Decode every picture, and compare their sizes."""
        folders = [self.folder(kind, name) for name in self.all_names() for kind in FOLDERS]
        paths = [folder.path / name for folder in folders for _, name in folder.numbered]
        sizes: defaultdict[Path, dict[str, Size]] = defaultdict(dict)
        for path, result in decode_pictures(paths, self.progress):
            if isinstance(result, str):
                self.damaged.add(result)
                self.problem_kinds["unusable pictures"].append(result)
            else:
                sizes[path.parent][path.name] = result
        self.video_sizes = compare_sizes(
            self.dataset_dir, self.all_names(), sizes, self.problem_kinds, self.warning_kinds
        )

    def size(self, latents_dir: Path | None, multiple: int) -> None:
        """Videos are projected at the first one's size or another, which the model must be able to take."""
        if not self.video_sizes:
            return
        video, (height, width) = next(iter(self.video_sizes.items()))
        done = "is"
        if latents_dir is not None:
            with contextlib.suppress(UserError):  # not projected, or damaged
                metadata = LatentVideo(latents_dir / f"{video.name}.safetensors").metadata
                if "height" not in metadata:  # made by another program
                    return
                height, width = int(metadata["height"]), int(metadata["width"])
                done = "was projected at"
        if height % multiple or width % multiple:
            near = [max(multiple, round(side / multiple) * multiple) for side in (height, width)]
            self.problem_kinds["size of frames"].append(
                f"{video} {done} {show_size((height, width))} pixels, and the model takes multiples of "
                f"{multiple}; add --height {near[0]} --width {near[1]} to project_latent_space.py"
            )

    def joints(self) -> None:
        """Read the JSON files: joints must be as many as frames; identities are kept for `leaks`."""
        for name in tqdm(self.all_names(), desc="joints", unit="video", disable=not self.progress):
            poses_dir = self.dataset_dir / "fashion_poses" / name
            path = poses_dir.with_name(f"{name}.json")
            if not path.is_file():
                continue
            try:
                content = read_json(path)
                if isinstance(content, dict) and (identity := _identity(content)) is not None:
                    self.identities[name] = identity
                load_joints(poses_dir, 0)
            except UserError as error:
                if str(error) not in self.damaged:
                    self.problem_kinds["joints"].append(
                        f"{error}; mend the file, or remove it to have the joints read from the pictures"
                    )
                continue
            frames = self.folder("fashion_crop", name)
            if frames.numbered and len(content["keypoints"]) != frames.length:
                self.problem_kinds["joints"].append(
                    f"{path} has joints of {len(content['keypoints'])} frames, {frames.path} frames "
                    f"up to {frames.length - 1:03d}; write it again, or remove it to have the joints read "
                    "from the pictures"
                )

    def leaks(self) -> None:
        """Find what train and test share: videos, identities, first frames."""
        train, test = (set(self.names[split]) for split in ("train", "test"))
        for name in sorted(train & test):
            self.problem_kinds["videos of both splits"].append(
                f"{self.dataset_dir / 'test' / name}.txt and {self.dataset_dir / 'train' / name}.txt are the "
                "same video, so a test on it means nothing; remove one of them"
            )
        train_only, test_only = sorted(train - test), sorted(test - train)
        known = _first_with(train_only, self.identities)
        for name in test_only:
            if (other := known.get(self.identities.get(name, ""))) is not None:
                poses_dir = self.dataset_dir / "fashion_poses"
                self.problem_kinds["identities of both splits"].append(
                    f"{poses_dir / name}.json of the test split and {poses_dir / other}.json of the training "
                    f"split have one identity, {self.identities[name]!r}; move one video to the other's split"
                )
        hashes = self._hash_first_frames([*train_only, *test_only]) if train_only and test_only else {}
        known = _first_with(train_only, hashes)
        for name in test_only:
            if (other := known.get(hashes.get(name, ""))) is not None:
                here, there = (self.folder("fashion_crop", video) for video in (name, other))
                self.problem_kinds["pictures of both splits"].append(
                    f"{here.path / here.numbered[0][1]} of the test split is the same file as "
                    f"{there.path / there.numbered[0][1]} of the training split: one video under two names; "
                    f"remove {self.dataset_dir / 'test' / name}.txt or "
                    f"{self.dataset_dir / 'train' / other}.txt"
                )

    def _hash_first_frames(self, names: Iterable[str]) -> dict[str, str]:
        """SHA-256 of each video's first frame's file; those that cannot be read are left out."""
        hashes = {}
        for name in names:
            folder = self.folder("fashion_crop", name)
            if folder.numbered and (path := folder.path / folder.numbered[0][1]).is_file():
                hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return hashes

    def latents(self, latents_dir: Path) -> None:
        """Compare projected videos with the dataset."""
        command = projection_command(self.dataset_dir, latents_dir)
        if not latents_dir.is_dir():
            self.problem_kinds["videos not projected"].append(
                f"there is no folder {latents_dir}; run: {command}"
            )
            return
        needed = {segment.name for segment in self.segments["train"] if self.is_usable(segment)}
        vaes: dict[Path, str] = {}
        for name in self.all_names():
            path = latents_dir / f"{name}.safetensors"
            if not path.is_file():
                kinds = self.problem_kinds if name in needed else self.warning_kinds
                kinds["videos not projected"].append(f"{path} does not exist; run: {command}")
                continue
            try:
                video = LatentVideo(path)
            except UserError as error:
                self.problem_kinds["projected videos"].append(str(error))
                continue
            frames = self.folder("fashion_crop", name)
            if frames.numbered and video.num_frames != frames.length:
                self.problem_kinds["projected videos"].append(
                    f"{path} has {video.num_frames} frames, {frames.path} {frames.length}; run: {command}"
                )
            vaes[path] = video.metadata.get("vae_sha256", "")
        if len(set(vaes.values())) > 1:
            commonest = Counter(vaes.values()).most_common(1)[0][0]
            like = next(path for path, vae in vaes.items() if vae == commonest)
            self.problem_kinds["several VAEs"] += [
                f"{path} was made by another VAE than {like}; run, with one --vae for all: {command}"
                for path, vae in vaes.items()
                if vae != commonest
            ]


def _identity(content: dict) -> str | None:
    """The identity that a clip's JSON carries, as {"identity": {"id": ..}} or {"identity": ..}."""
    identity = content.get("identity")
    if isinstance(identity, dict):
        identity = identity.get("id")
    return str(identity) if isinstance(identity, str | int) and identity != "" else None


def _first_with(names: Iterable[str], values: dict[str, str]) -> dict[str, str]:
    """The first of `names` that has each value."""
    first: dict[str, str] = {}
    for name in names:
        if name in values:
            first.setdefault(values[name], name)
    return first
