"""`python -m nas_prune`, and `torchrun --nproc-per-node 2 -m nas_prune`."""

from nas_prune.cli import run

if __name__ == "__main__":
    run()
