"""A user's own clip: what the command line and the page ask for, prepared and looked at."""

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

from diffusion.inputs import check_multiple
from diffusion.pipeline import X2FashionPipeline
from generation.backdrop import look_for_backdrop
from generation.findings import Finding
from generation.inputs import Clip, Inputs
from generation.loading import MotionTools
from generation.look import mend_inputs
from generation.photo import Photo, look_at_photo
from generation.pose_findings import Fit
from generation.sentence_findings import look_at_sentence
from generation.settings import VideoSettings
from generation.timeline import read_timeline
from generation.video import DEFAULT_NUM_FRAMES, prepare_inputs
from generation.views import with_views
from utils.errors import UserError
from utils.video import MAX_FPS, MIN_FPS

DEFAULT_FPS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipSettings(VideoSettings):
    """Photo, motion and frames of one video."""

    image: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Photo of a person, of any size. Give --image again for further photos of her, such as of her back: each
    place of a frame is taken from the photo that shows it best. Without it, a video is made of every clip of
    the dataset's split."""
    poses: Path | None = None
    """Skeletons: a folder of numbered pictures, a video or GIF, or JSON of OpenPose, DWPose or our own. In a
    video of a person the poses are found. Without --poses the sentence moves the person."""
    prompt: str = ""
    """What the person does, for example "She turns to her left."."""
    timeline: str = ""
    """Several sentences, each with its seconds: "0-2: She stands and sways; 2-5: She turns around", or a file
    that holds such a text. Goes in place of --prompt, --poses and --num_frames."""
    image_joints: Path | None = None
    """The photo's own pose: a JSON of keypoints, or a skeleton picture. By default what --pose_finder finds,
    and the first of --poses where that is about the same."""
    fit_poses: Fit = "auto"
    """Whether to fit --poses of another person to the photo (limb lengths, place and size): if they differ
    clearly (auto), always (on, or the flag alone), or never (off)."""
    frame: Literal["model", "photo"] = "model"
    """What the video shows: the part of the photo around the person (model), or the whole photo at its own
    size, in which nothing but her moves (photo)."""
    num_frames: int | None = None
    """Number of frames to make. By default one for each pose, and 24 without poses."""
    fps: float | None = None
    """Frames a second of the video. By default the frame rate of the poses if they have one, else 12."""

    def __post_init__(self) -> None:
        """A single photo may be given as it is."""
        if isinstance(self.image, Path):
            object.__setattr__(self, "image", (self.image,))


def own_clip(settings: ClipSettings) -> Clip:
    """Say which clip the settings ask for.

    Raises:
        UserError: flags that do not go together, or a timeline that cannot be read.
    """
    image, *further = settings.image
    poses, prompt, timeline = settings.poses, settings.prompt, settings.timeline
    if poses is None and not prompt and not timeline:
        raise UserError(
            f"--image {image} needs a --prompt that says what the person does, a --timeline of them, or "
            "--poses: a folder of skeleton pictures (000.png, 001.png ...) or an mp4 of them"
        )
    for flag in ("prompt", "poses", "num_frames"):
        if timeline and getattr(settings, flag):
            given = f"--{flag} {getattr(settings, flag)}"
            raise UserError(f"--timeline goes in place of {given}; give one of them")
    if poses is None and settings.fit_poses == "on":
        raise UserError("--fit_poses goes with --poses; what a sentence moves fits already")
    if not prompt and not timeline and settings.text_guidance_scale != 1:
        raise UserError(f"--text_guidance_scale {settings.text_guidance_scale} needs a --prompt to follow")
    read = read_timeline(timeline, settings.fps or DEFAULT_FPS) if timeline else None
    return Clip(
        name=image.stem,
        image=image,
        poses=poses,
        prompt=str(read or prompt),
        image_joints=settings.image_joints,
        timeline=read,
        further_images=tuple(further),
    )


def frame_size(settings: VideoSettings, pipeline: X2FashionPipeline) -> tuple[int, int]:
    """Height and width of the video in pixels."""
    return settings.height or pipeline.config.height, settings.width or pipeline.config.width


def prepare_own_clip(
    settings: ClipSettings,
    pipeline: X2FashionPipeline,
    tools: MotionTools,
    clip: Clip,
    photo: Photo | None = None,
) -> Inputs:
    """Read a clip's inputs, make the poses that it lacks, and set right what can be.

    Args:
        settings: of the video.
        pipeline: the model.
        tools: from `generation.loading.load_motion_tools`.
        clip: from `own_clip`.
        photo: that was looked at; by default it is looked at now.

    Raises:
        UserError: see `prepare_inputs`.
    """
    height, width = frame_size(settings, pipeline)
    if photo is None:
        photo = look_at_photo(clip.image, height, width, tools.finder, clip.image_joints)
    inputs = prepare_inputs(
        pipeline,
        tools,
        clip,
        num_frames=settings.num_frames,
        height=height,
        width=width,
        seed=settings.seed,
        photo=photo,
    )
    inputs = mend_inputs(clip, inputs, photo, settings.fit_poses)
    return with_views(inputs, clip, tools.finder)


def check_num_frames(settings: ClipSettings, pipeline: X2FashionPipeline, clip: Clip, inputs: Inputs) -> None:
    """Refuse a number of frames that the denoiser cannot sample at once (UserError)."""
    count = num_frames_of(settings, inputs)
    if inputs.poses is None or count <= settings.window_frames:
        check_multiple(f"frames of clip {clip.name}", count, pipeline.denoiser.frame_multiple)


def num_frames_of(settings: ClipSettings, inputs: Inputs) -> int:
    """Frames of a clip's video."""
    return (settings.num_frames or DEFAULT_NUM_FRAMES) if inputs.poses is None else len(inputs.poses)


def fps_of(settings: ClipSettings, inputs: Inputs) -> float:
    """Frames a second of a clip's video; a dataset's clips have the rate that evaluate.py expects."""
    own = None if inputs.track is None or not settings.image else inputs.track.fps
    return settings.fps or (own if own is not None and MIN_FPS <= own <= MAX_FPS else DEFAULT_FPS)


def look_at_inputs(
    settings: ClipSettings, pipeline: X2FashionPipeline, clip: Clip, inputs: Inputs
) -> tuple[Finding, ...]:
    """Everything that was found in photo, poses and sentences."""
    findings = [each for each in inputs.findings if settings.fps is None or each.code != "frame_rate"]
    if settings.frame == "photo" and inputs.original is not None:
        findings += look_for_backdrop(inputs.original)
    sentences = [clip.prompt] if clip.timeline is None else dict.fromkeys(clip.timeline.sentences)
    for sentence in filter(None, sentences):
        longest = pipeline.tokenizer.model_max_length
        told = look_at_sentence(sentence, pipeline.tokenizer.tokenize, longest)
        findings += [each for each in told if clip.poses is None or each.code != "bare_stand"]
    return tuple(findings)
