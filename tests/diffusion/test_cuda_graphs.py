"""Steps that are recorded and replayed; the recorder of the CPU tests runs them again instead."""

from collections.abc import Callable

import pytest
import torch

from diffusion.cuda_graphs import GraphedDenoiser
from diffusion.pipeline import X2FashionPipeline
from tests.toys import SENTENCES, figure_clip
from utils.errors import UserError

FRAMES, POSES, JOINTS = figure_clip(4)
GUIDED = {"pose_guidance_scale": 2.0, "text_guidance_scale": 1.5}
MakePipeline = Callable[..., X2FashionPipeline]


class Recorder:
    """Counts recordings; to replay one is to run it."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, run: Callable[[], None]) -> Callable[[], None]:
        self.count += 1
        run()
        return run


def sample(pipeline: X2FashionPipeline, prompt: str = SENTENCES[0], **options: object) -> torch.Tensor:
    inputs = {"joints": JOINTS, "num_inference_steps": 4, "output_type": "latent", **options}
    device = pipeline.device
    return pipeline(FRAMES[0], POSES, prompt, generator=torch.Generator().manual_seed(0), **inputs).frames.to(
        device
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        GUIDED,
        {"guidance_interval": (0.3, 0.8), **GUIDED},
        {"reuse_interval": 2},
        {"reuse_interval": 2, "guidance_interval": (0.3, 0.8), **GUIDED},
    ],
)
@pytest.mark.parametrize("sampler", ["ddim", "dpmsolver++"])
def test_replayed_steps_give_the_same_video(
    make_tiny_pipeline: MakePipeline, options: dict[str, object], sampler: str
) -> None:
    pipeline, recorder = make_tiny_pipeline(sampler), Recorder()
    expected = [sample(pipeline, prompt, **options) for prompt in SENTENCES[:2]]
    pipeline._graphed_denoiser = GraphedDenoiser(pipeline.denoiser, recorder)
    found = [sample(pipeline, prompt, **options) for prompt in SENTENCES[:2]]
    assert recorder.count > 0
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    assert not torch.equal(*found)


def test_a_kind_of_step_is_recorded_once_for_each_size(make_tiny_pipeline: MakePipeline) -> None:
    pipeline, recorder = make_tiny_pipeline(), Recorder()
    pipeline._graphed_denoiser = GraphedDenoiser(pipeline.denoiser, recorder)
    for _ in range(2):
        sample(pipeline)
    assert recorder.count == 1
    sample(pipeline, **GUIDED)
    assert recorder.count == 2
    sample(pipeline, num_frames=2, joints=JOINTS[:2])
    assert recorder.count == 3


def test_a_denoiser_that_was_replaced_is_recorded_anew(make_tiny_pipeline: MakePipeline) -> None:
    pipeline, other = make_tiny_pipeline(), make_tiny_pipeline()
    with torch.no_grad():
        for parameter in other.denoiser.parameters():
            parameter.mul_(1.01)
    pipeline._graphed_denoiser = GraphedDenoiser(pipeline.denoiser, Recorder())
    first = sample(pipeline)
    pipeline.denoiser = other.denoiser
    second = sample(pipeline)
    assert not torch.equal(first, second)
    torch.testing.assert_close(second, sample(other))


def test_a_model_on_the_cpu_is_refused(make_tiny_pipeline: MakePipeline) -> None:
    with pytest.raises(UserError, match="CUDA graphs need a GPU, and the model is on cpu"):
        make_tiny_pipeline().enable_cuda_graphs()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("options", [{}, {"reuse_interval": 2}, GUIDED])
def test_cuda_graphs_on_a_gpu(make_tiny_pipeline: MakePipeline, options: dict[str, object]) -> None:
    pipeline = make_tiny_pipeline().to("cuda")
    expected = [sample(pipeline, prompt, **options) for prompt in SENTENCES[:2]]
    pipeline.enable_cuda_graphs()
    for one, prompt in zip(expected, SENTENCES[:2], strict=True):
        torch.testing.assert_close(one, sample(pipeline, prompt, **options), atol=1e-4, rtol=1e-3)
