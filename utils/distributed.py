"""One process or many: read torchrun's environment, start a process group, say who is who."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist


@dataclasses.dataclass(frozen=True)
class World:
    """This process among all of the run's processes."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process prints, samples and writes checkpoints."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.world_size > 1:
            dist.barrier()


@contextlib.contextmanager
def distributed_world(device: str = "auto") -> Iterator[World]:
    """Join the run that torchrun's RANK, WORLD_SIZE and LOCAL_RANK describe, or be alone without them.

    Args:
        device: "auto" takes a GPU where there is one, else the CPU. NCCL joins GPUs, gloo joins CPUs.
    """
    rank = int(os.environ.get("RANK", 0))
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.set_device(local_rank)
        torch_device = torch.device("cuda", local_rank)
    else:
        torch_device = torch.device(device)
    if world_size > 1:
        dist.init_process_group("nccl" if torch_device.type == "cuda" else "gloo")
    try:
        yield World(rank, world_size, torch_device)
    finally:
        if world_size > 1:
            dist.destroy_process_group()
