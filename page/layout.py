"""The page laid out with Gradio, and which click calls what of `page.events`."""

import functools
from pathlib import Path
from typing import Any

import gradio as gr

from page.events import EDITS, Events
from page.sections import (
    SUGGESTIONS,
    ChoicesSection,
    CompareSection,
    MotionSection,
    PhotoSection,
    PlayerSection,
    StageSection,
)
from page.studio import Studio

THEME = gr.themes.Base(
    primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
)
CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
STORAGE_KEY = "x2fashion_visit"
READ_NAME = f"() => sessionStorage.getItem('{STORAGE_KEY}') || ''"
KEEP_NAME = f"name => {{ sessionStorage.setItem('{STORAGE_KEY}', name); return name; }}"
"""A tab is a visitor: it keeps its name when it is loaded again, and another tab has another name."""


class Page:
    """The page's widgets, and what they call.

    Attributes:
        blocks: to launch.
    """

    def __init__(self, studio: Studio) -> None:
        self.events = Events(studio)
        with gr.Blocks(title="X2Fashion", analytics_enabled=False) as self.blocks:
            self.name = gr.Textbox("", visible=False)
            gr.Markdown(
                "# X2Fashion\nOne photo and a sentence become a short fashion video, on this machine."
            )
            # Shown when the visitor has a name, so that no click comes before it.
            with gr.Column(visible=False) as self.room:
                with gr.Row():
                    with gr.Column(min_width=320):
                        self.photo = PhotoSection()
                        self.motion = MotionSection()
                    with gr.Column(min_width=320, elem_id="stage_column"):
                        self.stage = StageSection()
                with gr.Row():
                    with gr.Column(min_width=320):
                        self.choices = ChoicesSection()
                    with gr.Column(min_width=320):
                        self.player = PlayerSection()
                self.compared = CompareSection()
            self._connect()

    def _connect(self) -> None:
        """Say which event calls what."""
        events, photo, motion, stage = self.events, self.photo, self.motion, self.stage
        quick: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": 4, "concurrency_id": "quick"}
        quick |= {"api_visibility": "private"}
        looking = quick | {"show_progress": "minimal", "show_progress_on": photo.photo_findings}
        looking_behind = looking | {"show_progress_on": photo.back_findings}
        reading = looking | {"show_progress_on": motion.motion_findings}

        asked = [self.name, motion.prompt, motion.timeline, motion.poses, motion.fit]
        asked += [motion.seconds, motion.fps, motion.seed]
        shown = [stage.stage, motion.motion_findings, stage.edit_note, stage.save, self.choices.estimate]
        looked = [photo.photo, photo.back, photo.photo_findings, photo.back_findings, *shown]
        fields = [photo.photo, photo.back, motion.prompt, motion.timeline, motion.fit]
        fields += [motion.seconds, motion.fps, motion.seed]
        player, compared = self.player, self.compared
        made = [self.choices.progress, player.video, player.mp4, player.gif, player.command]
        made += [compared.first, compared.second]

        arrived = self.blocks.load(
            events.arrive,
            self.name,
            [self.room, self.name, *fields, photo.photo_findings, *shown, *made],
            js=READ_NAME,
            **quick,
        )
        arrived.then(None, self.name, self.name, js=KEEP_NAME)
        for event in (photo.photo.input, photo.photo.clear):
            event(events.look, [self.name, photo.photo], looked, **looking)
        for event in (photo.back.input, photo.back.clear):
            outputs = [photo.back, photo.back_findings]
            event(events.look_behind, [self.name, photo.back], outputs, **looking_behind)
        for button, path in photo.examples:
            button.click(functools.partial(events.take_example, path), self.name, looked, **looking)

        for button, sentence in zip(motion.suggestions, SUGGESTIONS.values(), strict=True):
            suggest = functools.partial(events.suggest, sentence)
            button.click(suggest, asked, [motion.prompt, *shown], **quick)
        by_sentence, by_timeline = motion.by_sentence.click, motion.by_timeline.click
        ways = {"prompt": (by_sentence, motion.prompt.submit), "timeline": (by_timeline,)}
        ways["poses"] = (motion.by_poses.click, motion.poses.upload)
        ways[""] = (motion.seconds.release, motion.fps.release, motion.seed.input)
        for kind, ways_of_kind in ways.items():
            for event in ways_of_kind:
                calls = reading if kind == "poses" else quick
                event(functools.partial(events.show, kind), asked, shown, **calls)

        stage.stage.move(events.drag, [self.name, stage.reach, stage.keep_lengths], shown, **quick)
        for label in EDITS:
            stage.edits[label].click(functools.partial(events.edit, label), self.name, shown, **quick)
        stage.load.upload(events.load_track, [self.name, stage.load], shown, **quick)
        self._connect_video(made, quick)

    def _connect_video(self, made: list[Any], quick: dict[str, Any]) -> None:
        events, chosen, compared = self.events, self.choices, self.compared
        choices = [self.name, chosen.quality, *chosen.scales, chosen.whole_photo]
        for widget in choices[1:]:
            widget.change(events.guess, choices, chosen.estimate, **quick)
        direct: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        buttons = [chosen.make, chosen.stop]
        begin = chosen.make.click(events.announce, self.name, [chosen.progress, *buttons], **direct)
        making = begin.then(
            events.make_video,
            choices,
            made,
            show_progress="hidden",
            concurrency_limit=1,
            concurrency_id="video",
            api_visibility="private",
        )
        making.then(events.release, None, buttons, **direct)
        chosen.stop.click(events.halt, self.name, None, **direct)
        for shown in (chosen.estimate, self.stage.stage):  # another choice, another motion
            shown.change(events.forget_error, chosen.progress, chosen.progress, **quick)
        for box in (compared.first, compared.second):
            box.input(events.compare, [self.name, compared.first, compared.second], compared.pair, **quick)
