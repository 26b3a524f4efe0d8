"""The page's sections: widgets, one beside or below the other."""

import functools
from pathlib import Path
from typing import Any

import gradio as gr

from generation.timeline import EXAMPLE
from generation.track_editing import DEFAULT_REACH
from page.events import EDITS, FIRST_FIELDS, FPS, SCALES, SECONDS
from utils.paths import SHIPPED_DATASET
from utils.pose_drawing import COLORS, JOINT_NAMES, LIMBS

HERE = Path(__file__).parent
SUGGESTIONS = {
    "stand_sway": "She stands and sways.",
    "walk_forward": "She walks forward.",
    "step_left": "She steps to her left.",
    "step_right": "She steps to her right.",
    "turn_left": "She turns to her left.",
    "turn_right": "She turns to her right.",
    "turn_around": "She turns around.",
    "raise_left_arm": "She raises her left arm.",
    "raise_right_arm": "She raises her right arm.",
    "left_hand_on_hip": "She puts her left hand on her hip.",
    "right_hand_on_hip": "She puts her right hand on her hip.",
    "hands_on_hips": "She puts both hands on her hips.",
}
"""What the shipped model knows, by the labels of `evaluation.motion_rules`."""
QUALITIES = {"fast": "Fast", "": "Usual", "balanced": "Balanced", "best": "Best"}
COMPARE_HTML = (
    '<div class="pair"><video class="first" muted playsinline></video>'
    '<video class="second" muted playsinline></video><div class="bar"><button type="button" class="both">'
    'Play both</button><input type="range" class="time" min="0" max="1000" value="0" aria-label="Time"></div>'
    "</div>"
)


def example_photos() -> list[str]:
    """First frames of the sample's clips."""
    clips = sorted((SHIPPED_DATASET / "fashion_crop").glob("test_*"))[:4]
    return [str(min(clip.iterdir())) for clip in clips]


class PhotoSection:
    """Where photos come in, and what is found in them."""

    def __init__(self) -> None:
        gr.Markdown("## 1. Photo\nOne whole person from the front, on a plain background.")
        self.photo = _photo_box("Photo", "photo", 300)
        with gr.Row(elem_classes="suggestions", elem_id="examples"):
            self.examples = [
                (gr.Button(f"Example {number}", icon=path, size="sm", min_width=60), path)
                for number, path in enumerate(example_photos(), 1)
            ]
        self.photo_findings = gr.HTML(
            "<p>Her pose and what there is to say about the photo will be shown here.</p>",
            elem_id="photo_findings",
        )
        with gr.Accordion("A second photo, of her back", open=False, elem_id="back_box"):
            self.back = _photo_box("Second photo", "back", 200)
            self.back_findings = gr.HTML(elem_id="back_findings")


class MotionSection:
    """Three ways to say how she moves."""

    def __init__(self) -> None:
        gr.Markdown("## 2. Motion")
        _, timeline, _, seconds, fps, seed = FIRST_FIELDS
        with gr.Tabs():
            with gr.Tab("Sentence", elem_id="sentence_tab"):
                self.prompt = gr.Textbox(
                    label="What she does",
                    placeholder="She turns to her left.",
                    elem_id="prompt",
                    max_length=500,
                )
                with gr.Row(elem_classes="suggestions", elem_id="suggestions"):
                    self.suggestions = [
                        gr.Button(sentence, size="sm", min_width=40) for sentence in SUGGESTIONS.values()
                    ]
                self.by_sentence = gr.Button("Show the motion", elem_id="by_sentence")
            with gr.Tab("Timeline", elem_id="timeline_tab"):
                self.timeline = gr.Textbox(
                    timeline, label="Seconds and sentences", info=f"For example {EXAMPLE}", lines=3,
                    elem_id="timeline", max_length=5000,
                )  # fmt: skip
                self.by_timeline = gr.Button("Show the motion", elem_id="by_timeline")
            with gr.Tab("Poses", elem_id="poses_tab"):
                self.poses = gr.File(
                    label="A video of skeletons or of a person, or JSON of OpenPose, DWPose or this page",
                    file_types=[".json", "video", ".gif", ".mkv"], elem_id="poses", height=140,
                )  # fmt: skip
                self.fit = gr.Radio(
                    ["auto", "on", "off"], value="auto", label="Fit the poses to her body", elem_id="fit"
                )
                self.by_poses = gr.Button("Show the motion", elem_id="by_poses")
        with gr.Row():
            self.seconds = _slider("Seconds", "seconds", SECONDS, seconds, 0.5)
            self.fps = _slider("Frames a second", "fps", FPS, fps, 1)
            self.seed = _as_given(gr.Number(seed, label="Seed", precision=0, elem_id="seed", min_width=110))
        self.motion_findings = gr.HTML(elem_id="motion_findings")


class StageSection:
    """The photo with her skeleton over it, and what changes the track."""

    def __init__(self) -> None:
        gr.Markdown("## 3. See and edit")
        self.stage = gr.HTML(
            None,
            html_template=(HERE / "stage.html").read_text(encoding="utf-8"),
            css_template=(HERE / "stage.css").read_text(encoding="utf-8"),
            js_on_load=(HERE / "stage.js").read_text(encoding="utf-8"),
            elem_id="stage",
            limbs=LIMBS,
            colors=COLORS,
            names=JOINT_NAMES,
        )
        gr.Markdown("Drag a joint. The frames before and after follow, and limbs keep their length.")
        with gr.Row():
            self.reach = _slider("Frames that follow", "reach", (0, 24), DEFAULT_REACH, 1)
            self.keep_lengths = gr.Checkbox(
                True, label="Limbs keep their length", elem_id="keep_lengths", min_width=140
            )
        with gr.Row(elem_classes="suggestions"):
            self.edits = {
                label: gr.Button(label, size="sm", min_width=60, elem_id=label.lower()) for label in EDITS
            }
            self.save = gr.DownloadButton("Save", size="sm", min_width=60, elem_id="save")
            self.load = gr.UploadButton("Load", size="sm", min_width=60, file_types=[".json"], elem_id="load")
        self.edit_note = gr.HTML(elem_id="edit_note")


class ChoicesSection:
    """How the video is made, and the button that makes it."""

    def __init__(self) -> None:
        gr.Markdown("## 4. Video")
        self.quality = gr.Radio(
            [(label, value) for value, label in QUALITIES.items()],
            value="", label="Quality", elem_id="quality",
        )  # fmt: skip
        gr.Markdown("How closely to follow each (1 is neutral, other values take longer)")
        with gr.Row():
            scale = functools.partial(_slider, ends=SCALES, value=1.0, step=0.1)
            self.scales = [
                scale(what, f"{name}_scale")
                for name, what in (("image", "Photo"), ("pose", "Poses"), ("text", "Sentence"))
            ]
        self.whole_photo = gr.Checkbox(
            False, label="Lay her back into the whole photo", elem_id="whole_photo"
        )
        self.estimate = gr.HTML(elem_id="estimate")
        with gr.Row():
            self.make = gr.Button("Make the video", variant="primary", elem_id="make", scale=2, min_width=160)
            self.stop = gr.Button("Stop", variant="stop", elem_id="stop", min_width=80, interactive=False)
        self.progress = gr.HTML(elem_id="progress")


class PlayerSection:
    """The video that was made, its files and its command."""

    def __init__(self) -> None:
        self.video = gr.Video(
            label="The video", autoplay=True, loop=True, elem_id="video", height=420, interactive=False
        )
        with gr.Row():
            self.mp4, self.gif = (
                gr.DownloadButton(
                    f"Download {kind}", elem_id=kind.lower(), size="sm", interactive=False, min_width=120
                )
                for kind in ("mp4", "GIF")
            )
        self.command = gr.Textbox(
            label="The same bytes in a terminal", buttons=["copy"], interactive=False, lines=2,
            elem_id="command",
        )  # fmt: skip


class CompareSection:
    """Two videos side by side."""

    def __init__(self) -> None:
        with gr.Accordion("Compare two videos", open=False, elem_id="compare_box"):
            with gr.Row():
                self.first = gr.Dropdown([], label="One", elem_id="first", type="index")
                self.second = gr.Dropdown([], label="The other", elem_id="second", type="index")
            self.pair = gr.HTML(
                None,
                html_template=COMPARE_HTML,
                js_on_load=(HERE / "compare.js").read_text(encoding="utf-8"),
                elem_id="pair",
            )


def _photo_box(label: str, name: str, height: int) -> Any:
    """A box for a photo, whose file is taken as it was uploaded: the command line's own checks read it."""
    sources: Any = ["upload", "clipboard"]
    box: Any = gr.Image(type="filepath", label=label, sources=sources, elem_id=name, height=height)
    box.preprocess = lambda payload: None if payload is None else payload.path
    return box


def _slider(label: str, name: str, ends: tuple[float, float], value: float, step: float) -> Any:
    return _as_given(gr.Slider(*ends, value, step=step, label=label, elem_id=name, min_width=110))


def _as_given(field: Any) -> Any:
    """A number that is taken as it was typed: `page.events` says in a line what is wrong with it."""
    field.preprocess = lambda payload: payload
    return field
