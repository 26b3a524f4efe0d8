"""The whole recipe as one command: its stages' commands are right, and finished ones are skipped."""

import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from recipe import run
from tests.train_toys import ROOT
from utils.errors import UserError
from utils.files import read_json, write_json

MODULES = {"data.synthetic": "data.synthetic.__main__"}


def test_every_stage_is_a_command_that_its_script_takes(tmp_path: Path) -> None:
    for stage in run.list_stages(run.Config(output_dir=tmp_path)):
        module = importlib.import_module(MODULES.get(stage.module, stage.module))
        config = tyro.cli(module.Config, args=stage.arguments, use_underscores=True)
        for flag, value in stage.flags.items():
            assert getattr(config, flag) == value, (stage.name, flag)
        assert config.output_dir.is_relative_to(tmp_path), stage.name


def test_every_stage_reads_what_one_before_it_writes(tmp_path: Path) -> None:
    written: set[Path] = set()
    for stage in run.list_stages(run.Config(output_dir=tmp_path)):
        outputs = {stage.flags["output_dir"]}
        values = [
            v for value in stage.flags.values() for v in (value if isinstance(value, tuple) else (value,))
        ]
        for path in [value for value in values if isinstance(value, Path) and value not in outputs]:
            assert any(path.is_relative_to(folder) for folder in written), (stage.name, path)
        assert not outputs & written, stage.name
        assert stage.unfinished is None or stage.unfinished in outputs
        written |= outputs


def test_finished_stages_are_skipped_and_others_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run.Config(output_dir=tmp_path / "out", share=0.001)
    text = next(stage for stage in run.list_stages(config) if stage.name == "text")
    monkeypatch.chdir(ROOT)
    run.run_stages(config, [text])
    weights = config.output_dir / "text" / "text_encoder" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    run.run_stages(config, [text])
    assert weights.stat().st_mtime_ns == written
    assert "finished before" in capsys.readouterr().out
    path = config.output_dir / "stages" / "text.json"
    write_json(path, read_json(path) | {"arguments": []})
    with pytest.raises(UserError, match="finished with other settings"):
        run.run_stages(config, [text])


def test_what_was_made_from_a_stage_is_not_kept_beside_a_new_one(tmp_path: Path) -> None:
    config = run.Config(output_dir=tmp_path)
    stages = run.list_stages(config)
    for stage in stages:
        write_json(tmp_path / "stages" / f"{stage.name}.json", {"arguments": stage.arguments})
        if stage.unfinished is not None:
            stage.unfinished.mkdir()
    run.run_stages(config, stages)
    (tmp_path / "model").rmdir()
    assert [stage.name for stage in stages if not run.is_finished(config, stage)] == ["model"]
    (tmp_path / "stages/vae.json").unlink()
    with pytest.raises(UserError, match=r"stage latents was made from vae, .* remove .*latents.json and"):
        run.run_stages(config, stages)


def test_a_stage_that_fails_is_named_and_not_noted(tmp_path: Path) -> None:
    config = run.Config(output_dir=tmp_path)
    stage = run.Stage("text", "recipe.train_text_encoder", {"output_dir": tmp_path, "max_train_steps": 0})
    with pytest.raises(UserError, match="stage text ended with status 2"):
        run.run_stage(config, stage)
    assert not (tmp_path / "stages").exists()
    for name, value in (("share", 0.0), ("num_processes", 0)):
        with pytest.raises(UserError, match=f"--{name}"):
            run.main(dataclasses.replace(config, **{name: value}))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_recipe_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recipe.run", "--output_dir", str(tmp_path), "--share", "0.001"]
    subprocess.run(command, cwd=ROOT, check=True)
    model = ["--pretrained_model", str(tmp_path / "model"), "--output_dir", str(tmp_path / "result")]
    subprocess.run([sys.executable, "inference.py", *model], cwd=ROOT, check=True)
    assert len(list((tmp_path / "result").glob("*.mp4"))) == 6
