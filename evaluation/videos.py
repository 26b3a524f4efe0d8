"""The videos that are measured: read where they were given, else made."""

import dataclasses

import numpy as np
from diffusers import AutoencoderKL

from diffusion.inputs import View
from diffusion.latents import load_vae
from diffusion.pipeline import X2FashionPipeline
from diffusion.warped_photo import load_warper
from evaluation.clips import ClipSource, MeasuredClip, read_generated
from evaluation.facing import back_frame
from evaluation.learned import LearnedMetrics
from evaluation.measure import FPS, Values, find_joints, motion_read, why_unread
from evaluation.settings import FOLDERS, EvaluationSettings
from generation.inputs import Clip, Inputs
from generation.loading import load_matching_text_to_poses, load_pipeline, load_pose_finder
from generation.pose_findings import hide_faces
from generation.video import make_video, move_by_sentence
from models.pose_finder import PoseFinder
from models.text_to_poses import TextToPoses
from models.warper import Warper
from utils.devices import choose_device
from utils.errors import UserError
from utils.image import to_signed
from utils.pose_drawing import draw_pose
from utils.video import write_video


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tools:
    """What an evaluation needs besides the clips."""

    pipeline: X2FashionPipeline | None
    vae: AutoencoderKL | None
    warper: Warper | None
    """What corrects the rules' warp of the photo, for the VAE's decoder."""
    finder: PoseFinder
    learned: LearnedMetrics
    text_to_poses: TextToPoses | str = "no model"
    """Or why there is none."""


def load_tools(config: EvaluationSettings) -> Tools:
    """Load the model, unless videos are given, and the networks that measure.

    Raises:
        UserError: something is missing or does not fit; the message names it.
    """
    device = choose_device(config.device)
    finder = load_pose_finder(config)
    pipeline = vae = warper = None
    text_to_poses: TextToPoses | str = "no model"
    if config.videos is None:
        pipeline = load_pipeline(config, device)
        vae, warper = pipeline.vae, pipeline.warper
        try:
            text_to_poses = load_matching_text_to_poses(config, pipeline)
        except UserError as error:
            text_to_poses = str(error)
    elif config.vae is not None or (config.pretrained_model / "vae").is_dir():
        vae = load_vae(config.vae or config.pretrained_model / "vae").to(device)
        if config.warper is not None or (config.pretrained_model / "warper").is_dir():
            warper = load_warper(config.warper or config.pretrained_model / "warper").to(device)
    learned = LearnedMetrics(
        config.lpips_weights, config.inception_weights, config.i3d_weights, config.clip_model, device
    )
    return Tools(
        pipeline=pipeline, vae=vae, warper=warper, finder=finder, learned=learned, text_to_poses=text_to_poses
    )


def sample_video(
    config: EvaluationSettings,
    pipeline: X2FashionPipeline,
    clip: MeasuredClip,
    prompt: str,
    text_to_poses: TextToPoses | None = None,
) -> np.ndarray:
    """Sample the video of a clip, (F, H, W, 3) uint8.

    Where the photo is not the first frame, the sampled clip begins at the photo's own pose, and that frame is
    dropped; the last pose is held until the number of frames suits the model.

    Args:
        config: settings.
        pipeline: the model.
        clip: photo and poses.
        prompt: the sentence.
        text_to_poses: makes skeletons from the sentence, in place of the clip's own; None takes those.
    """
    lead, count = int(not clip.photo_is_first), len(clip.frames)
    multiple = pipeline.denoiser.frame_multiple
    sampled = -(-(lead + count) // multiple) * multiple
    place = Clip(name=clip.name, image=config.dataset, poses=None, prompt=prompt)
    inputs = Inputs(photo=clip.photo, poses=None, joints=None, image_joints=clip.photo_joints)
    if config.back_photo and (back := back_frame(clip)) is not None:
        assert clip.joints is not None
        view = View(to_signed(clip.frames[back, None])[0], clip.joints[back])
        inputs = dataclasses.replace(inputs, views=(view,))
    if text_to_poses is None:
        order = np.minimum(np.arange(sampled), lead + count - 1)
        poses, joints = np.concatenate([clip.photo_pose[None][:lead], clip.poses])[order], clip.joints
        if joints is not None and clip.photo_joints is not None:
            joints = np.concatenate([clip.photo_joints[None][:lead], joints])[order]
        if joints is not None:
            joints, behind = hide_faces(joints)
            poses = poses.copy()
            for frame in np.flatnonzero(behind):
                poses[frame] = draw_pose(joints[frame], *poses.shape[1:3])
        inputs = dataclasses.replace(inputs, poses=poses, joints=joints)
    else:
        assert clip.photo_joints is not None
        inputs = move_by_sentence(
            pipeline, text_to_poses, place, inputs, clip.photo_joints, sampled, config.seed
        )
    return np.stack(list(make_video(config, pipeline, place, inputs, sampled)))[lead : lead + count]


def video_of(
    config: EvaluationSettings, tools: Tools, clip: MeasuredClip, condition: str, prompt: str
) -> np.ndarray | str:
    """The video of a clip under a condition, read or made (and then written), or why there is none."""
    folder = FOLDERS[condition]
    given = getattr(config, folder)
    if given is not None:
        return read_generated(given, clip)
    if tools.pipeline is None or condition not in config.conditions:
        return (
            f"no such videos; give --{folder} DIR, or let --pretrained_model make them with "
            f"--conditions {condition}"
        )
    model = None
    if condition == "text":
        if isinstance(tools.text_to_poses, str):
            return tools.text_to_poses
        if clip.photo_joints is None:
            return "no joints of the photo (fashion_poses)"
        model = tools.text_to_poses
    video = sample_video(config, tools.pipeline, clip, prompt, model)
    write_video(config.output_dir / folder / f"{clip.name}.mp4", video, FPS)
    return video


def measure_sentence(
    config: EvaluationSettings, tools: Tools, clip: MeasuredClip, wrong: ClipSource | None
) -> Values:
    """Whether the sentence alone moves the person, and who wins where sentence and poses conflict."""
    motions = clip.source.motions

    def read(condition: str, prompt: str, wanted: dict[str, tuple[str, ...]]) -> Values:
        reason = why_unread(motions)
        video = reason or video_of(config, tools, clip, condition, prompt)
        if isinstance(video, str):
            return dict.fromkeys(wanted, video)
        joints = find_joints(tools.finder, video)
        return {name: motion_read(labels, joints) for name, labels in wanted.items()}

    text = clip.source.segment.text
    values = read("text", text, {"motion_accuracy_text_only": motions})
    names = "motion_conflict_follows_poses", "motion_conflict_follows_text"
    if wrong is None or not wrong.motions or wrong.motions == motions:
        return values | dict.fromkeys(names, "no clip of another motion to take a sentence from")
    return values | read(
        "conflict", wrong.segment.text, dict(zip(names, (motions, wrong.motions), strict=True))
    )
