"""The page laid out with Gradio, and which click calls what of `page.studio`."""

import functools
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from generation.findings import Finding
from generation.timeline import EXAMPLE
from generation.track_editing import DEFAULT_REACH, SPEED_STEP, change_speed, loop, mirror, move_joint
from page.studio import Result, Studio, Visit, write_track
from page.views import (
    error_html,
    findings_html,
    format_seconds,
    note_html,
    progress_html,
    result_html,
    stage_value,
    video_url,
)
from utils.errors import UserError
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
TIMELINE = "0-1: She stands; 1-3: She turns around; 3-5: She raises her left arm"
QUALITIES = {"fast": "Fast", "": "Usual", "balanced": "Balanced", "best": "Best"}
LONGEST_SECONDS = 20
THEME = gr.themes.Base(
    primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
)
CSS = (HERE / "page.css").read_text(encoding="utf-8")
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


def served(path: Path) -> str:
    """A copy of a result where Gradio may serve it from."""
    folder = Path(tempfile.mkdtemp(prefix="x2fashion-"))
    return str(shutil.copy(path, folder / path.name))


class Page:
    """The page's widgets, and what they call.

    Attributes:
        blocks: to launch.
    """

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        with gr.Blocks(title="X2Fashion", analytics_enabled=False) as self.blocks:
            self.name = gr.BrowserState("", storage_key="x2fashion_visit")
            gr.Markdown(
                "# X2Fashion\nOne photo and a sentence become a short fashion video, on this machine."
            )
            # Shown when the visitor has a name, so that no click comes before it.
            with gr.Column(visible=False) as self.room:
                with gr.Row():
                    with gr.Column(min_width=320):
                        self._photo()
                        self._motion()
                    with gr.Column(min_width=320, elem_id="stage_column"):
                        self._stage()
                with gr.Row():
                    with gr.Column(min_width=320):
                        self._choices()
                    with gr.Column(min_width=320):
                        self._player()
                self._compare()
            self._connect()

    def _photo(self) -> None:
        gr.Markdown("## 1. Photo")
        self.photo = _photo_box("Drop, paste or choose a photo of one whole person", "photo", 300)
        with gr.Row(elem_classes="suggestions", elem_id="examples"):
            self.examples = [
                (gr.Button(f"Example {number}", icon=path, size="sm", min_width=60), path)
                for number, path in enumerate(example_photos(), 1)
            ]
        with gr.Accordion("A second photo, of her back", open=False, elem_id="back_box"):
            self.back = _photo_box("Optional", "back", 200)
        self.photo_findings = gr.HTML(
            "<p>Her pose and what there is to say about the photo will be shown here.</p>",
            elem_id="photo_findings",
        )

    def _motion(self) -> None:
        gr.Markdown("## 2. Motion")
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
                    TIMELINE, label="Seconds and sentences", info=f"For example {EXAMPLE}", lines=3,
                    elem_id="timeline", max_length=5000,
                )  # fmt: skip
                self.by_timeline = gr.Button("Show the motion", elem_id="by_timeline")
            with gr.Tab("Poses from a file", elem_id="poses_tab"):
                self.poses = gr.File(
                    label="A video of skeletons or of a person, or JSON of OpenPose, DWPose or this page",
                    file_types=[".json", "video", ".gif", ".mkv"], elem_id="poses",
                )  # fmt: skip
                self.fit = gr.Radio(
                    ["auto", "on", "off"], value="auto", label="Fit the poses to her body", elem_id="fit"
                )
                self.by_poses = gr.Button("Show the motion", elem_id="by_poses")
        with gr.Row():
            self.seconds = gr.Slider(
                0.5, LONGEST_SECONDS, 2, step=0.5, label="Seconds", elem_id="seconds",
                min_width=120,
            )  # fmt: skip
            self.fps = gr.Slider(4, 30, 12, step=1, label="Frames a s", elem_id="fps", min_width=120)
            self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed", min_width=120)
        self.motion_findings = gr.HTML(elem_id="motion_findings")

    def _stage(self) -> None:
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
            self.reach = gr.Slider(
                0, 24, DEFAULT_REACH, step=1, label="Frames that follow", elem_id="reach", min_width=140
            )
            self.keep_lengths = gr.Checkbox(
                True, label="Limbs keep their length", elem_id="keep_lengths", min_width=140
            )
        with gr.Row(elem_classes="suggestions"):
            self.edits = {
                label: gr.Button(label, size="sm", min_width=60, elem_id=label.lower())
                for label in ("Undo", "Mirror", "Slower", "Faster", "Loop")
            }
            self.save = gr.DownloadButton("Save", size="sm", min_width=60, elem_id="save")
            self.load = gr.UploadButton("Load", size="sm", min_width=60, file_types=[".json"], elem_id="load")
        self.edit_note = gr.HTML(elem_id="edit_note")

    def _choices(self) -> None:
        gr.Markdown("## 4. Video")
        self.quality = gr.Radio(
            [(label, value) for value, label in QUALITIES.items()],
            value="", label="Quality", elem_id="quality",
        )  # fmt: skip
        gr.Markdown("How closely to follow each (1 is neutral, other values take longer)")
        scale = functools.partial(gr.Slider, 0.0, 4.0, 1.0, step=0.1, min_width=110)
        with gr.Row():
            self.scales = [
                scale(label=what, elem_id=f"{name}_scale")
                for name, what in (("image", "Photo"), ("pose", "Poses"), ("text", "Sentence"))
            ]
        self.whole_photo = gr.Checkbox(
            False, label="Lay her back into the whole photo", elem_id="whole_photo"
        )
        self.estimate = gr.HTML(elem_id="estimate")
        with gr.Row():
            self.make = gr.Button("Make the video", variant="primary", elem_id="make", min_width=120)
            self.stop = gr.Button("Stop", variant="stop", elem_id="stop", min_width=80)
        self.progress = gr.HTML(elem_id="progress")

    def _player(self) -> None:
        self.video = gr.Video(
            label="The video", autoplay=True, loop=True, elem_id="video", height=420, interactive=False
        )
        with gr.Row():
            self.mp4 = gr.DownloadButton("Download mp4", elem_id="mp4", size="sm", interactive=False)
            self.gif = gr.DownloadButton("Download GIF", elem_id="gif", size="sm", interactive=False)
        self.command = gr.Textbox(
            label="The command that makes the same bytes", buttons=["copy"], interactive=False, lines=2,
            elem_id="command",
        )  # fmt: skip

    def _compare(self) -> None:
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

    def _connect(self) -> None:
        """Say which event calls what."""
        quick: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "concurrency_id": "quick"}
        quick |= {"api_visibility": "private"}
        shown = [self.stage, self.motion_findings, self.edit_note, self.save, self.estimate]
        looked = [self.photo_findings, *shown]
        motion = [self.name, self.prompt, self.timeline, self.poses, self.fit]
        motion += [self.seconds, self.fps, self.seed]
        choices = [self.name, self.quality, *self.scales, self.whole_photo]
        made = [self.progress, self.video, self.mp4, self.gif, self.command, self.first, self.second]

        self.blocks.load(self.arrive, self.name, [self.room, self.name, *looked, *made], **quick)
        self.photo.input(self.look, [self.name, self.photo], looked, **quick)
        for event in (self.back.input, self.back.clear):
            event(self.look_behind, [self.back, *motion], shown, **quick)
        for button, path in self.examples:
            button.click(
                functools.partial(self.take_example, path), self.name, [self.photo, *looked], **quick
            )
        for button, sentence in zip(self.suggestions, SUGGESTIONS.values(), strict=True):
            button.click(functools.partial(self.suggest, sentence), motion, [self.prompt, *shown], **quick)
        self.by_sentence.click(functools.partial(self.show, "prompt"), motion, shown, **quick)
        self.prompt.submit(functools.partial(self.show, "prompt"), motion, shown, **quick)
        self.by_timeline.click(functools.partial(self.show, "timeline"), motion, shown, **quick)
        for event in (self.by_poses.click, self.poses.upload):
            event(functools.partial(self.show, "poses"), motion, shown, **quick)
        for slider in (self.seconds, self.fps):
            slider.release(functools.partial(self.show, ""), motion, shown, **quick)
        self.seed.input(functools.partial(self.show, ""), motion, shown, **quick)
        self.stage.move(self.drag, [self.name, self.reach, self.keep_lengths], shown, **quick)
        changes: dict[str, Callable[[Visit], Any]] = {
            "Undo": lambda visit: _editor(visit).undo(),
            "Mirror": lambda visit: _editor(visit).apply(mirror),
            "Slower": lambda visit: _editor(visit).apply(change_speed, 1 / SPEED_STEP),
            "Faster": lambda visit: _editor(visit).apply(change_speed, SPEED_STEP),
            "Loop": lambda visit: _editor(visit).apply(loop),
        }
        for label, change in changes.items():
            self.edits[label].click(functools.partial(self.edit, change), self.name, shown, **quick)
        self.load.upload(self.load_track, [self.name, self.load], shown, **quick)
        widgets: list[Any] = [self.quality, *self.scales, self.whole_photo]
        for widget in widgets:
            widget.change(self.guess, choices, self.estimate, **quick)
        begin = self.make.click(
            self.announce, self.name, self.progress, queue=False, api_visibility="private"
        )
        begin.then(
            self.make_video, choices, made, show_progress="hidden", concurrency_limit=1,
            concurrency_id="video", api_visibility="private",
        )  # fmt: skip
        self.stop.click(self.halt, self.name, None, queue=False, api_visibility="private")
        for box in (self.first, self.second):
            box.input(self.compare, [self.name, self.first, self.second], self.pair, **quick)

    # What events call. Each is given the visitor's name first.

    def arrive(self, name: str) -> Sequence[Any]:
        """A new visitor, or one who loaded the page again: shows what there was, and stops what was made."""
        name = name or secrets.token_hex(8)
        visit = self.studio.visit(name)
        visit.stop.set()
        findings = findings_html(visit.photo.findings, "") if visit.photo else gr.skip()
        results = self._result_values(visit) if visit.results else [gr.skip()] * 7
        return [gr.Column(visible=True), name, findings, *self._shown(visit, "", play=True), *results]

    def look(self, name: str, upload: str | None) -> Sequence[Any]:
        """Look at a photo."""
        visit = self.studio.visit(name)
        if upload is None:
            return [gr.skip()] * 6
        try:
            photo = self.studio.look_at(visit, upload)
        except UserError as error:
            return [error_html(error, visit), *[gr.skip()] * 5]
        found = findings_html(photo.findings, "Nothing is wrong with the photo.")
        return [found, *self._shown(visit, "")]

    def look_behind(self, upload: str | None, name: str, *motion: Any) -> Sequence[Any]:
        """Take a second photo, or take it away, and show the motion again."""
        visit = self.studio.visit(name)
        before = visit.further
        visit.further = None if upload is None else visit.keep(upload, "back_")
        shown = self.show("", name, *motion)
        if visit.settings is not None and len(visit.settings.image) != 1 + (visit.further is not None):
            visit.further = before  # it was refused
        return shown

    def take_example(self, path: str, name: str) -> Sequence[Any]:
        """Look at a photo that ships."""
        copy = Path(tempfile.mkdtemp(prefix="x2fashion-")) / f"{Path(path).parent.name}{Path(path).suffix}"
        shutil.copyfile(path, copy)
        return [str(copy), *self.look(name, str(copy))]

    def suggest(self, sentence: str, name: str, _prompt: str, *motion: Any) -> Sequence[Any]:
        """Take a suggested sentence."""
        return [sentence, *self.show("prompt", name, sentence, *motion)]

    def show(
        self, kind: str, name: str, prompt: str, timeline: str, poses: str | None, fit: str,
        seconds: float, fps: float, seed: float | None,
    ) -> Sequence[Any]:  # fmt: skip
        """Give her the motion of a kind, "prompt", "timeline" or "poses"; "" is the one that is shown."""
        visit = self.studio.visit(name)
        if not kind:
            if visit.settings is None:
                return [gr.skip()] * 5
            kind = next(each for each in ("timeline", "poses", "prompt") if getattr(visit.settings, each))
            if kind == "poses":  # those that are shown, wherever they came from
                poses, fit = str(visit.settings.poses), visit.settings.fit_poses
        motion: dict[str, Any] = {"seed": int(seed or 0)}
        try:
            if kind == "prompt":
                if not prompt.strip():
                    raise UserError("there is no sentence; say what she does, or click on a suggestion")
                motion |= {"prompt": prompt, "fps": fps, "num_frames": self._num_frames(seconds * fps)}
            elif kind == "timeline":
                motion |= {"timeline": timeline.replace("\n", "; "), "fps": fps}
            else:
                if poses is None:
                    raise UserError("there are no poses; choose a file")
                path = Path(poses)
                kept = path if path.parent == visit.folder else visit.keep(path, "poses_")
                motion |= {"poses": kept, "fit_poses": fit}
            findings = self._new(visit, self.studio.move(visit, **motion))
        except UserError as error:
            return [gr.skip(), error_html(error, visit), *[gr.skip()] * 3]
        return self._shown(visit, findings_html(findings, ""), play=True)

    @staticmethod
    def _new(visit: Visit, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Findings that were not told about the photo already."""
        told = visit.photo.findings if visit.photo is not None else ()
        return tuple(each for each in findings if each not in told)

    def _num_frames(self, count: float) -> int:
        multiple = self.studio.pipeline.denoiser.frame_multiple
        return max(1, round(count / multiple)) * multiple

    def drag(self, name: str, reach: float, keep_lengths: bool, event: gr.EventData) -> Sequence[Any]:
        """Move a joint."""

        def change(visit: Visit) -> None:
            _editor(visit).apply(
                move_joint, int(event.frame), int(event.joint), (float(event.x), float(event.y)),
                reach=int(reach), keep_lengths=keep_lengths,
            )  # fmt: skip

        return self.edit(change, name)

    def edit(self, change: Callable[[Visit], Any], name: str) -> Sequence[Any]:
        """Change the track."""
        visit = self.studio.visit(name)
        try:
            change(visit)
            return self._shown(visit, gr.skip())
        except UserError as error:
            note = error_html(error, visit)
            return [stage_value(visit), gr.skip(), note, gr.skip(), gr.skip()]

    def load_track(self, name: str, upload: str) -> Sequence[Any]:
        """Show a track that was saved."""
        visit = self.studio.visit(name)
        try:
            findings = self.studio.move(visit, poses=visit.keep(upload, "poses_"), fit_poses="off")
            findings = self._new(visit, findings)
        except UserError as error:
            return [gr.skip(), gr.skip(), error_html(error, visit), gr.skip(), gr.skip()]
        return self._shown(visit, findings_html(findings, ""), play=True)

    def _shown(self, visit: Visit, findings: Any, *, play: bool = False) -> list[Any]:
        """Values of stage, findings, note, saved track and estimate."""
        note, saved, estimate = "", None, ""
        if visit.editor is not None and visit.photo is not None:
            track = visit.track
            saved = Path(tempfile.mkdtemp(prefix="x2fashion-")) / f"{visit.photo.path.stem}_track.json"
            write_track(saved, track, visit.photo)
            edited = " Edited." if visit.editor.is_edited else ""
            note = note_html(f"{len(track)} frames, {len(track) / track.fps:.1f} s.{edited}")
            estimate = self._estimate(visit)
        return [stage_value(visit, play=play), findings, note, str(saved) if saved else None, estimate]

    def _estimate(self, visit: Visit, **choices: Any) -> str:
        seconds = self.studio.seconds_for(visit, **choices)
        return note_html(f"This will take about {format_seconds(seconds)}.")

    def guess(self, name: str, *choices: Any) -> str:
        """Say how long the video will take."""
        visit = self.studio.visit(name)
        return self._estimate(visit, **_settings(*choices)) if visit.settings else ""

    def announce(self, name: str) -> str:
        """Say that the video comes, or that another one is made first."""
        self.studio.visit(name).stop.clear()
        if self.studio.busy.locked():
            return note_html("Another video is being made. Yours waits, and begins when that one is done.")
        return note_html("It begins.")

    def make_video(self, name: str, *choices: Any) -> Iterator[Sequence[Any]]:
        """Make the video."""
        visit = self.studio.visit(name)
        try:
            for said in self.studio.make(visit, **_settings(*choices)):
                if isinstance(said, Result):
                    yield self._result_values(visit)
                else:
                    yield [progress_html(said), *[gr.skip()] * 6]
        except UserError as error:
            yield [error_html(error, visit), *[gr.skip()] * 6]

    def _result_values(self, visit: Visit) -> list[Any]:
        """Values of progress, player, downloads, command and the two boxes to compare."""
        result, titles = visit.results[-1], [each.title for each in visit.results]
        command = result.command if result.is_whole else f"{result.command}  # the whole video"
        boxes = [gr.Dropdown(choices=titles) for _ in range(2)]
        mp4, gif = served(result.video), served(result.gif)
        files = [gr.DownloadButton(value=path, interactive=True) for path in (mp4, gif)]
        return [result_html(result), mp4, *files, command, *boxes]

    def halt(self, name: str) -> None:
        """Stop the video in the making."""
        self.studio.visit(name).stop.set()

    def compare(self, name: str, first: int | None, second: int | None) -> dict[str, str] | None:
        """Two videos side by side."""
        results = self.studio.visit(name).results
        if first is None or second is None:
            return None
        return {"first": video_url(results[first].video), "second": video_url(results[second].video)}


def _photo_box(label: str, name: str, height: int) -> Any:
    """A box for a photo, whose file is taken as it was uploaded: the command line's own checks read it."""
    sources: Any = ["upload", "clipboard"]
    box: Any = gr.Image(type="filepath", label=label, sources=sources, elem_id=name, height=height)
    box.preprocess = lambda payload: None if payload is None else payload.path
    return box


def _editor(visit: Visit) -> Any:
    if visit.editor is None:
        raise UserError("there is no motion yet; say what she does, or give poses")
    return visit.editor


def _settings(quality: str, image: float, pose: float, text: float, whole_photo: bool) -> dict[str, Any]:
    """The choices of a video as fields of `ClipSettings`."""
    return {
        "quality": quality or None,
        "image_guidance_scale": image,
        "pose_guidance_scale": pose,
        "text_guidance_scale": text,
        "frame": "photo" if whole_photo else "model",
    }
