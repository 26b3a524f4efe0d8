"""Make a model like the one that ships, from an empty folder: data, every part, one folder for inference.

Try it; look at the commands first, then run each stage for a few steps (about ten minutes), then all:

    python -m recipe.run --dry_run
    python -m recipe.run --output_dir runs/try --share 0.001
    python -m recipe.run --output_dir runs/recipe

Finished stages are skipped. If the run is stopped, the same command continues where it was. The model is in
output_dir/model: python inference.py --pretrained_model runs/recipe/model
"""

import dataclasses
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch

from utils.config import run_script
from utils.errors import UserError
from utils.files import check_output_dir, read_json, write_json

MINIMUM = 4
"""Clips and steps that a stage has at least, however small the share."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a run of the recipe."""

    output_dir: Path = Path("runs/recipe")
    """Folder for the data, each part, the list of finished stages (stages/) and the model (model/)."""
    share: float = 1.0
    """Share of the data and of the steps. Far below 1 it only shows that everything runs."""
    num_processes: int | None = None
    """Number of processes that encode the frames. By default one for each GPU, or two where there is none."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""
    dry_run: bool = False
    """Print the commands and do nothing."""

    @property
    def processes(self) -> int:
        """`num_processes`, or its default here."""
        if self.num_processes is not None:
            return self.num_processes
        if self.device == "cpu" or not torch.cuda.is_available():
            return 2
        return torch.cuda.device_count() if self.device in ("auto", "cuda") else 1


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command of the recipe."""

    name: str
    module: str
    """What runs: a script of the root, or a module of a package."""
    flags: dict[str, Any]
    """Flag -> value; a tuple is several values, True a flag without one."""
    num_processes: int = 1
    unfinished: Path | None = None
    """Folder that is removed before the stage starts, for a script that begins anew and refuses what
    exists."""

    @property
    def arguments(self) -> list[str]:
        """The flags as a command line has them."""
        words: list[str] = []
        for flag, value in self.flags.items():
            values = value if isinstance(value, tuple) else () if value is True else (value,)
            words += [f"--{flag}", *map(str, values)]
        return words

    def reads(self, other: "Stage") -> bool:
        """Whether this stage is given something that another one writes."""
        folder = other.flags["output_dir"]
        values = [
            v for value in self.flags.values() for v in (value if isinstance(value, tuple) else (value,))
        ]
        return any(isinstance(value, Path) and value.is_relative_to(folder) for value in values)

    @property
    def command(self) -> list[str]:
        """What is run, after the interpreter."""
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
        processes = [*launcher, str(self.num_processes)] if self.num_processes > 1 else []
        return [*processes, "-m", self.module, *self.arguments]


class Recipe:
    """The stages' commands, in groups that build on each other."""

    def __init__(self, config: Config) -> None:
        self.config = config
        out = self.out = config.output_dir
        self.people, self.turns, self.clips, self.tracks = (
            out / f"data_{name}" for name in ("people", "turns", "main", "tracks")
        )
        self.warper, self.vae = out / "warper" / "warper", out / "vae" / "vae"
        self.latents, self.latents_turns = out / "latents", out / "latents_turns"
        self.text_encoder = out / "text" / "text_encoder"
        self.denoiser = out / "denoiser_2" / "checkpoint" / "denoiser"
        self.device = {"device": config.device}

    def count(self, whole: int) -> int:
        """The share of so many clips or steps, at least MINIMUM; 0 stays 0."""
        return max(MINIMUM, round(whole * self.config.share)) if whole else 0

    def data(self) -> list[Stage]:
        """Synthetic data.

        Few frames of many people for warper and VAE, turns above all, which the denoiser sees as well; whole
        clips for the denoiser; joints alone for the motions.
        """

        def render(folder: Path, train: int, test: int, **flags: Any) -> Stage:
            counts = {"num_train": self.count(train), "num_test": self.count(test)}
            return Stage(folder.name, "data.synthetic", {"output_dir": folder, **counts, **flags})

        few = {"num_frames": 6, "surface": True}
        return [
            render(self.people, 2000, 64, **few, seed=100),
            render(self.turns, 1000, 4, **few, motions=("turn_left", "turn_right", "turn_around"), seed=300),
            render(self.clips, 1000, 64, num_frames=24, surface=True, seed=0),
            render(self.tracks, 6000, 264, poses_only=True, seed=200),
        ]

    def parts(self) -> list[Stage]:
        """What the denoiser needs: warper, VAE, text encoder, and latents made with them."""
        pictures = {"dataset": (self.people, self.turns, self.clips)}

        def project(dataset: Path, latents: Path) -> Stage:
            flags = {"dataset": dataset, "output_dir": latents, "vae": self.vae, "warper": self.warper,
                     "num_references": 1, "num_photos": 3, **self.device}  # fmt: skip
            return Stage(latents.name, "project_latent_space", flags, self.config.processes)

        return [
            Stage("warper", "recipe.train_warper",
                  {**pictures, "output_dir": self.out / "warper", "max_train_steps": self.count(5000),
                   **self.device}),
            Stage("vae", "recipe.train_vae",
                  {**pictures, "output_dir": self.out / "vae", "size": "f16", "crop": 256,
                   "max_train_steps": self.count(2200), **self.device}),
            Stage("text", "recipe.train_text_encoder",
                  {"output_dir": self.out / "text", "max_train_steps": self.count(800), **self.device},
                  unfinished=self.out / "text"),
            project(self.clips, self.latents),
            project(self.turns, self.latents_turns),
        ]  # fmt: skip

    def denoisers(self) -> list[Stage]:
        """The denoiser.

        At first with separate noise for each frame; then on the turns of more people; then with noise that
        the frames share and a loss that looks more at noisy timesteps and at flicker.
        """
        n, out = self.count, self.out
        frozen = {"vae": self.vae, "text_encoder": self.text_encoder, "warper": self.warper}
        shared = {"dataset": self.clips, "latents": self.latents, "preset": "small", **frozen,
                  "train_batch_size": 4, "short_clip_frames": 8, "drop_image": 0.05, "drop_poses": 0.05,
                  "person_weight": 3, "warmup_steps": 100, **self.device}  # fmt: skip
        return [
            Stage("denoiser_1", "train",
                  {**shared, "output_dir": out / "denoiser_1", "short_clip_steps": n(2100),
                   "max_train_steps": n(2400), "learning_rate": 8e-4, "timestep_shift": 2,
                   "temporal_weight": 0.5}),
            Stage("denoiser_turns", "train",
                  {**shared, "dataset": self.turns, "latents": self.latents_turns,
                   "output_dir": out / "denoiser_turns",
                   "init_from": out / "denoiser_1" / "checkpoint" / "denoiser", "num_frames": 6,
                   "short_clip_frames": 6, "short_clip_steps": n(900), "train_batch_size": 8,
                   "max_train_steps": n(900), "learning_rate": 5e-4, "timestep_shift": 3,
                   "temporal_weight": 1}),
            Stage("denoiser_2", "train",
                  {**shared, "output_dir": out / "denoiser_2",
                   "init_from": out / "denoiser_turns" / "checkpoint" / "denoiser",
                   "short_clip_steps": n(2200), "max_train_steps": n(2900), "learning_rate": 6e-4,
                   "ema_decay": 0.995, "timestep_shift": 3, "temporal_weight": 1, "shared_noise": 0.5,
                   "seed": 1}),
        ]  # fmt: skip

    def decoders(self) -> list[Stage]:
        """The decoder, on the same latents.

        With the photo moved to the poses; then also on what the denoiser predicts, and sharp where the photo
        shows nothing.
        """
        out, predicted = self.out, self.out / "predicted"

        def decoder(name: str, latents: tuple[Path, ...], vae: Path, steps: int, **flags: Any) -> Stage:
            settings = {"dataset": self.clips, "latents": latents, "vae": vae, "warper": self.warper,
                        "output_dir": out / name, "max_train_steps": self.count(steps), "further_photos": 0.3,
                        **self.device, **flags}  # fmt: skip
            return Stage(name, "recipe.train_decoder", settings)

        return [
            decoder("decoder_photo", (self.latents,), self.vae, 1000, warmup_steps=30),
            Stage("predicted", "recipe.predict_latents",
                  {"pretrained_model": self.denoiser, "vae": self.vae, "text_encoder": self.text_encoder,
                   "warper": self.warper, "scheduler": "ddim", "num_inference_steps": 2,
                   "dataset": self.clips, "max_clips": self.count(160), "output_dir": predicted,
                   **self.device}),
            decoder("decoder_sharp", (self.latents, predicted), out / "decoder_photo" / "vae", 400,
                    warmup_steps=20, learning_rate=4e-4, latent_noise=0.1, drop_photo=0.05,
                    temporal_weight=1, motion_weight=1, adversarial_weight=0.1, seed=3),
        ]  # fmt: skip

    def rest(self) -> list[Stage]:
        """What moves a person by a sentence, and the folder for inference."""
        motions, model = self.out / "text_to_poses", self.out / "model"
        return [
            Stage("text_to_poses", "recipe.train_text_to_poses",
                  {"dataset": self.tracks, "text_encoder": self.text_encoder, "output_dir": motions,
                   "max_train_steps": self.count(3500), **self.device}),
            Stage("model", "recipe.export_model",
                  {"denoiser": self.denoiser, "vae": self.out / "decoder_sharp" / "vae",
                   "text_encoder": self.text_encoder, "text_to_poses": motions / "text_to_poses",
                   "warper": self.warper, "scheduler": "ddim", "output_dir": model},
                  unfinished=model),
        ]  # fmt: skip


def list_stages(config: Config) -> list[Stage]:
    """The recipe: data, warper, VAE, text encoder, latents, denoiser, decoder, motions, export."""
    recipe = Recipe(config)
    return [*recipe.data(), *recipe.parts(), *recipe.denoisers(), *recipe.decoders(), *recipe.rest()]


def is_finished(config: Config, stage: Stage) -> bool:
    """Whether a stage was finished, by the same command.

    Raises:
        UserError: it was finished by another command, so that what follows from it would be a mixture.
    """
    path = config.output_dir / "stages" / f"{stage.name}.json"
    if not path.is_file() or (stage.unfinished is not None and not stage.unfinished.is_dir()):
        return False
    document: Any = read_json(path)
    arguments = document.get("arguments") if isinstance(document, dict) else None
    if arguments != stage.arguments:
        raise UserError(
            f"stage {stage.name} of {config.output_dir} was finished with other settings; give those again, "
            "or another --output_dir"
        )
    return True


def run_stage(config: Config, stage: Stage) -> None:
    """Run a stage to its end, and note that it is finished.

    Raises:
        UserError: it ended with an error, which it has printed.
    """
    if stage.unfinished is not None and stage.unfinished.is_dir():
        shutil.rmtree(stage.unfinished)
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *stage.command])
    is_stopped = threading.Event()

    def stop(*_: object) -> None:
        is_stopped.set()
        process.terminate()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()  # it got the Ctrl-C as well, and writes a checkpoint
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if is_stopped.is_set():
        raise SystemExit(128 + signal.SIGTERM)
    if status:
        raise UserError(
            f"stage {stage.name} ended with status {status}, see above; give the same command again to go on"
        )
    document = {"arguments": stage.arguments, "seconds": round(time.perf_counter() - started)}
    write_json(config.output_dir / "stages" / f"{stage.name}.json", document)


def run_stages(config: Config, stages: list[Stage]) -> None:
    """Run the stages that are not finished, one after the other.

    Raises:
        UserError: one failed, was finished with other settings, or was made from one that is to be made anew.
    """
    finished = [is_finished(config, stage) for stage in stages]
    anew = [stage for stage, done in zip(stages, finished, strict=True) if not done]
    for stage, done in zip(stages, finished, strict=True):
        old = next((before for before in anew if before is not stage and stage.reads(before)), None)
        if done and old is not None:
            record = config.output_dir / "stages" / f"{stage.name}.json"
            raise UserError(
                f"stage {stage.name} was made from {old.name}, which is to be made anew; remove {record} and "
                f"{stage.flags['output_dir']} too"
            )
    for number, (stage, done) in enumerate(zip(stages, finished, strict=True), 1):
        print(f"[{number}/{len(stages)}] {stage.name}{': finished before' if done else ''}", flush=True)
        if not done:
            run_stage(config, stage)


def main(config: Config) -> None:
    """Print the commands, or run them."""
    if not 0 < config.share <= 1:
        raise UserError(f"--share {config.share} must be above 0 and at most 1")
    if config.num_processes is not None and config.num_processes < 1:
        raise UserError(f"--num_processes {config.num_processes} must be at least 1")
    stages = list_stages(config)
    if config.dry_run:
        print("\n".join(shlex.join(["python", *stage.command]) for stage in stages))
        return
    check_output_dir(config.output_dir)
    run_stages(config, stages)
    print(f"the model is {config.output_dir / 'model'}; python inference.py --pretrained_model takes it")


if __name__ == "__main__":
    run_script(main, Config, __doc__)
