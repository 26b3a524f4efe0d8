"""All measures of one video of a clip, and what each of them means."""

import dataclasses

import numpy as np

from evaluation.appearance import color_errors, texture
from evaluation.clips import FPS, MeasuredClip
from evaluation.facing import TURNED, facing
from evaluation.fidelity import l1, psnr, ssim
from evaluation.keypoints import joint_errors
from evaluation.learned import LearnedMetrics
from evaluation.motion_rules import MOTIONS, read_motions
from evaluation.silhouette import estimate_background, iou, segment
from evaluation.smoothness import flicker, motion_ratio, warping_error
from models.pose_finder import PoseFinder
from warping.body import BACK

Values = dict[str, float | str]
"""Measure -> its number, or why there is none."""

NO_MASKS = "no masks (fashion_masks)"
NO_LABELS = "no motion label (fashion_poses/NAME.json)"
NO_JOINTS = "no joints (fashion_poses)"
NOBODY = "nobody was found in the video"
NOT_TURNED, NO_BACK = "no frame shows her turned", "no frame shows her back"


@dataclasses.dataclass(frozen=True)
class Measure:
    """What a measure is."""

    axis: str
    better: str
    """"up" where more is better, "down" where less is, "one" where 1 is best."""
    meaning: str


MEASURES = {
    "silhouette_iou": Measure("poses followed", "up", "overlap of the person's shape with the true mask"),
    "joint_error": Measure(
        "poses followed", "down", "distance of the found joints, % of the picture's height"
    ),
    "pck": Measure("poses followed", "up", "joints found within 0.2 torso lengths"),
    "joint_error_external": Measure("poses followed", "down", "the same, by the user's estimator"),
    "pck_external": Measure("poses followed", "up", "the same, by the user's estimator"),
    "garment_color_error": Measure(
        "appearance kept", "down", "mean colour of each garment part, 8-bit RGB steps"
    ),
    "garment_delta_e": Measure("appearance kept", "down", "the same as CIE 1976 deltaE"),
    "shoe_color_error": Measure("appearance kept", "down", "the same for shoes, 8-bit RGB steps"),
    "skin_color_error": Measure(
        "appearance kept", "down", "the same for head, arms and legs, 8-bit RGB steps"
    ),
    "skin_delta_e": Measure("appearance kept", "down", "the same as CIE 1976 deltaE"),
    "silhouette_psnr": Measure("appearance kept", "up", "PSNR inside the true silhouette, dB"),
    "turned_iou": Measure("poses followed", "up", "silhouette_iou of the frames that show her turned"),
    "turned_psnr": Measure("appearance kept", "up", "silhouette_psnr of the frames that show her turned"),
    "back_psnr": Measure("appearance kept", "up", "silhouette_psnr of the frames that show her back"),
    "pattern_correlation": Measure("appearance kept", "up", "correlation of the high-passed patterned cloth"),
    "texture_energy": Measure(
        "appearance kept", "one", "deviation of the high-passed cloth over the truth's"
    ),
    "turned_texture_energy": Measure(
        "appearance kept", "one", "the same of the whole person, in frames that show her turned"
    ),
    "motion_accuracy_with_poses": Measure("sentence followed", "up", "motion read back, poses given"),
    "motion_accuracy_text_only": Measure(
        "sentence followed", "up", "motion read back, no poses: skeletons made from the sentence"
    ),
    "motion_conflict_follows_poses": Measure(
        "sentence followed", "up", "poses win over another clip's sentence"
    ),
    "motion_conflict_follows_text": Measure(
        "sentence followed", "up", "another clip's sentence wins over the poses"
    ),
    "motion_ratio": Measure("smooth", "one", "change from frame to frame over the truth's"),
    "warping_error": Measure(
        "smooth", "down", "change of colour along the true motion beyond the truth's, 8-bit steps"
    ),
    "flicker": Measure("smooth", "down", "jumping to and fro beyond the truth's, 8-bit steps"),
    "ssim": Measure("close to the truth", "up", "structural similarity"),
    "psnr": Measure("close to the truth", "up", "dB"),
    "l1": Measure("close to the truth", "down", "8-bit steps"),
    "lpips": Measure("close to the truth", "down", "LPIPS"),
    "clip_score": Measure("close to the truth", "up", "100 x cosine of frames and sentence"),
    "fid": Measure("close to the truth", "down", "Frechet distance of pictures, over all clips"),
    "fvd": Measure("close to the truth", "down", "Frechet distance of videos, over all clips"),
}
DISTANCES = ("fid", "fvd")
"""Of all clips together; the others are means over clips."""


def measure_video(
    clip: MeasuredClip,
    video: np.ndarray,
    finder: PoseFinder,
    learned: LearnedMetrics,
    external_joints: np.ndarray | None = None,
) -> Values:
    """Measure one video against a clip.

    Frames that are the photo itself are left out where frames are compared with the truth.

    Args:
        clip: the truth.
        video: (F, H, W, 3) uint8, shaped like `clip.frames`.
        finder: finds joints in the video.
        learned: networks that the user gave.
        external_joints: (F, 18, 3) of the video by the user's own estimator.

    Returns:
        Every measure of `MEASURES` that belongs to one video with poses.
    """
    assert video.shape == clip.frames.shape, (video.shape, clip.frames.shape)
    scored, truth = video[clip.scored], clip.frames[clip.scored]
    values: Values = _with_masks(clip, scored, truth)

    found = find_joints(finder, video)
    values |= _joints(clip, found, "")
    values |= _joints(clip, external_joints, "_external")
    values["motion_accuracy_with_poses"] = motion_read(clip.source.motions, found)

    values["motion_ratio"] = _number(motion_ratio(video, clip.frames), "the truth does not move")
    values["warping_error"] = _number(warping_error(video, clip.frames), "no flow was found")
    values["flicker"] = flicker(video, clip.frames)
    values |= {"ssim": ssim(scored, truth), "psnr": psnr(scored, truth), "l1": l1(scored, truth)}
    return values | learned.measure(scored, truth, clip.source.segment.text)


def _with_masks(clip: MeasuredClip, video: np.ndarray, truth: np.ndarray) -> Values:
    names = (
        "silhouette_iou", "silhouette_psnr", "garment_color_error", "garment_delta_e", "shoe_color_error",
        "skin_color_error", "skin_delta_e", "pattern_correlation", "texture_energy",
        "turned_iou", "turned_psnr", "turned_texture_energy", "back_psnr",
    )  # fmt: skip
    if clip.masks is None:
        return dict.fromkeys(names, NO_MASKS)
    masks = clip.masks[clip.scored]
    person = masks > 0
    no_garments = "no garment parts (fashion_poses/NAME.json)"
    found = segment(video, estimate_background(clip.photo))
    widths = facing(clip)[clip.scored]
    turned, back = widths < TURNED, widths < BACK

    def psnr_in(chosen: np.ndarray) -> float | str:
        return _number(psnr(video[chosen], truth[chosen], person[chosen]), "the masks are empty")

    values: Values = {
        "silhouette_iou": iou(found, person),
        "silhouette_psnr": psnr_in(np.ones(len(video), bool)),
        "turned_iou": iou(found[turned], person[turned]) if turned.any() else NOT_TURNED,
        "turned_psnr": psnr_in(turned) if turned.any() else NOT_TURNED,
        "turned_texture_energy": _number(
            texture(video[turned], truth[turned], person[turned].astype(np.uint8), (1,))[1],
            "too little of her is seen" if turned.any() else NOT_TURNED,
        ),
        "back_psnr": psnr_in(back) if back.any() else NO_BACK,
    }
    steps, delta_e = color_errors(video, truth, masks, clip.garments)
    values |= {
        "garment_color_error": _number(steps, no_garments),
        "garment_delta_e": _number(delta_e, no_garments),
    }
    values["shoe_color_error"] = _number(
        color_errors(video, truth, masks, clip.shoes)[0], "no shoes are seen"
    )
    steps, delta_e = color_errors(video, truth, masks, clip.skin)
    values |= {
        "skin_color_error": _number(steps, "no skin is seen"),
        "skin_delta_e": _number(delta_e, "no skin is seen"),
    }
    values["pattern_correlation"] = _number(
        texture(video, truth, masks, clip.patterned)[0], "no cloth has a pattern"
    )
    values["texture_energy"] = _number(texture(video, truth, masks, clip.garments)[1], no_garments)
    return values


def find_joints(finder: PoseFinder, video: np.ndarray) -> np.ndarray:
    """Find the joints of the person in a video.

    Args:
        finder: finder of poses.
        video: (F, H, W, 3) uint8, at `FPS` frames per second.

    Returns:
        (F, 18, 3): x, y in pixels, visibility 0 or 1; 0 in frames in which nobody is found.
    """
    track = finder.find_track(video, FPS)
    joints = track.keypoints.copy()
    joints[track.missing, :, 2] = 0  # short gaps are filled, which is no merit of the video
    return joints


def _joints(clip: MeasuredClip, found: np.ndarray | None, suffix: str) -> Values:
    names = f"joint_error{suffix}", f"pck{suffix}"
    if found is None:
        return dict.fromkeys(names, "no joints by another estimator; give --estimated_joints DIR")
    if clip.joints is None:
        return dict.fromkeys(names, NO_JOINTS)
    error, pck = joint_errors(found[clip.scored], clip.joints[clip.scored], clip.frames.shape[1])
    nobody = NOBODY if np.isfinite(pck) else NO_JOINTS
    return {names[0]: _number(error, nobody), names[1]: _number(pck, NO_JOINTS)}


def why_unread(motions: tuple[str, ...]) -> str | None:
    """Why it cannot be said whether a video shows these motions; None if it can."""
    if not motions:
        return NO_LABELS
    if not set(motions) <= set(MOTIONS):
        return f"no rule reads {', '.join(sorted(set(motions) - set(MOTIONS)))}"
    return None


def motion_read(motions: tuple[str, ...], joints: np.ndarray | None) -> float | str:
    """1 if the joints (F, 18, 3) show these motions in this order and no others, else 0; or why not said."""
    if joints is None:
        return NO_JOINTS
    return why_unread(motions) or float(read_motions(joints) == motions)


def _number(value: float, reason: str) -> float | str:
    return value if np.isfinite(value) else reason
