"""One process or many: read torchrun's environment, start a process group, say who is who."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import _set_pg_timeout

from utils.devices import choose_device

CONNECT, WORK, PATIENCE = timedelta(minutes=2), timedelta(minutes=30), timedelta(days=7)
"""How long processes wait for each other: to begin, in a step, and while one of them does something alone."""


@dataclasses.dataclass(frozen=True)
class World:
    """This process among all of the run's processes.

    Attributes:
        rank: rank of this process, from 0.
        world_size: number of processes.
        device: that this process computes on.
        patient: a group that waits for days, for what may take longer than the network's timeout.
    """

    rank: int
    world_size: int
    device: torch.device
    patient: dist.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process prints, samples and writes checkpoints."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process is here, however long it takes."""
        if self.world_size > 1:
            dist.barrier(group=self.patient)

    def on_main(self, work: Callable[[], Any]) -> None:
        """Let the main process do something while the others wait; where it fails, all of them end.

        Raises:
            Exception: what `work` raised, in the main process; SystemExit in the others.
        """
        failure: BaseException | None = None
        if self.is_main:
            try:
                work()
            except BaseException as error:  # also Ctrl-C: the others must not wait for ever
                failure = error
        if self.world_size > 1:
            failed = torch.tensor(int(failure is not None))
            dist.broadcast(failed, src=0, group=self.patient)
            if failed and failure is None:
                raise SystemExit(2)
        if failure is not None:
            raise failure

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum a CPU tensor over all processes; every one gets the result."""
        if self.world_size > 1:
            dist.all_reduce(values, group=self.patient)
        return values

    def gather(self, value: Any) -> list[Any]:
        """One picklable value of each process, in the order of their ranks, for every one of them."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self.patient)
        return values


@contextlib.contextmanager
def distributed_world(device: str = "auto") -> Iterator[World]:
    """Join the run that torchrun's RANK, WORLD_SIZE and LOCAL_RANK describe, or be alone without them.

    Args:
        device: see `utils.devices.choose_device`. NCCL joins GPUs, gloo joins CPUs.

    Raises:
        UserError: there is no such device here.
    """
    rank = int(os.environ.get("RANK", 0))
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    torch_device = choose_device(device, local_rank)
    if torch_device.type == "cuda":
        torch.cuda.set_device(torch_device)
    patient = None
    if world_size > 1:
        # Processes that torchrun started again must not find the addresses of those that died.
        store, _, _ = next(dist.rendezvous("env://", timeout=CONNECT))
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        dist.init_process_group(
            "nccl" if torch_device.type == "cuda" else "gloo",
            store=dist.PrefixStore(f"attempt_{attempt}", store),
            rank=rank,
            world_size=world_size,
            timeout=CONNECT,
        )
        patient = dist.new_group(backend="gloo", timeout=CONNECT)
        _set_pg_timeout(WORK, dist.group.WORLD)
        _set_pg_timeout(PATIENCE, patient)
    try:
        yield World(rank, world_size, torch_device, patient)
    finally:
        if world_size > 1:
            dist.destroy_process_group()
