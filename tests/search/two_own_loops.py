"""Run by torchrun in test_own_loop.py: a plain loop in two processes, each with half of every batch."""

import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import nas_prune
from tests.search.test_own_loop import SPACE, ours, sgd


def main(folder: Path, method: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, world = distributed.get_rank(), distributed.get_world_size()
    model = SPACE.build(seed=0)
    own = nas_prune.method(method, SPACE, model, strength=0.02)
    wrapped = DistributedDataParallel(model.eval())  # without batch statistics, which are each process's own
    optimiser = sgd(model)
    for images, labels in list(ours(0))[:3]:
        optimiser.zero_grad()
        cross_entropy(wrapped(images.chunk(world)[rank]), labels.chunk(world)[rank]).backward()
        own.penalty(optimiser)
        optimiser.step()
    torch.save(model.state_dict(), folder / f"{method}-{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
