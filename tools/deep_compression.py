"""The study of deep compression: what is left of a network's accuracy at 1/10, 1/20 and 1/40 of its bytes, and how.

python tools/deep_compression.py --out deep --images cifar10-jpeg --workers 2

Stopped at any moment, the same command goes on. Each arm's runs lie in OUT/NETWORK/SEED; the table and the picture are
made of what is done (`--report` alone makes them again).
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from nas_prune.compression.config import CompressConfig
from nas_prune.compression.run import compress, resume_compress
from nas_prune.data.config import DataConfig
from nas_prune.patterns.config import SparsifyConfig
from nas_prune.patterns.run import resume_sparsify, sparsify
from nas_prune.runs.directory import RESULT
from nas_prune.runs.settings import CONFIG
from nas_prune.search.config import SearchConfig
from nas_prune.search.result import file_stem
from nas_prune.search.run import resume_search, search
from nas_prune.space.budget import Budget
from nas_prune.space.cut import matched
from nas_prune.space.load import load_referenced
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.config import TrainConfig
from nas_prune.training.recipe import Recipe, changed, recipe_named
from nas_prune.training.run import resume_train, train

SEEDS = (0, 1, 2)
SHARES = {
    10.0: 30.0,
    5.0: 15.0,
    2.5: 7.0,
}  # of the bytes, in percent: and of the weights that stay to be coded
CODED_FROM = 4  # a narrow network that is coded may have so many times the bytes in 32 bits


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the study.

    Attributes:
        space: its name; factor: of its widths.
        recipe: of its whole training.
        whole: epochs of that; prune, tune: of the gradual pruning from its weights, and of the tuning of shared values.
        rate: the recipe's learning rate, where it is another.
        has_uniform: whether narrow networks of uniform widths, which need no search, are trained, too.
    """

    space: str
    factor: float
    recipe: str
    whole: int
    prune: int
    tune: int
    has_uniform: bool
    rate: float | None = None

    @property
    def trained(self) -> Recipe:
        """How the whole network is trained."""
        return changed(recipe_named(self.recipe), epochs=self.whole, learning_rate=self.rate)

    @property
    def total(self) -> int:
        """Training of every arm, in epochs of the whole network."""
        return self.whole + self.prune + self.tune


NETWORKS = {
    "lenet300": Network("lenet300", 1, "digits", 60, 24, 16, has_uniform=True, rate=0.02),
    "lenet5": Network("lenet5", 1, "digits", 60, 24, 16, has_uniform=True, rate=0.02),
    "vgg16": Network("vgg16", 0.5, "fast", 30, 12, 8, has_uniform=False),
}


@dataclass(frozen=True, slots=True)
class Repetition:
    """One network with one seed.

    Attributes:
        network: which.
        seed: of the split, the weights and the order of images.
        home: where its runs lie.
        data: its images.
    """

    network: Network
    seed: int
    home: Path
    data: DataConfig

    def run(self) -> None:
        """All arms, or what is left of them."""
        whole = self._whole()
        for share, density in SHARES.items():
            sparse = self._sparse(whole, density)
            self._compress(sparse, f"deep-{share:g}", share)
            self._narrow(whole, f"found-{share:g}", share, self.network.whole)
            self._narrow(whole, f"found-coded-{share:g}", share, self.network.whole, is_coded=True)
            if self.network.has_uniform:
                self._narrow(whole, f"uniform-coded-{share:g}", share, 0, is_coded=True)
        self._compress(whole, "whole", None)
        self._train(read_widths(whole / "widths" / "whole.json"), "dense", self.network.total)

    def _whole(self) -> Path:
        """The search that trains the whole network: its weights are pruned, its channels are scored."""
        run, net = self.home / "search", self.network
        budgets = tuple(Budget("size", share / 100) for one in SHARES for share in (one, CODED_FROM * one))
        if not (run / RESULT).exists():
            if (run / CONFIG).exists():
                resume_search(run)
            else:
                search(
                    SearchConfig(
                        space=net.space,
                        width_multiplier=net.factor,
                        groups="all",
                        method="taylor",
                        budgets=tuple(dict.fromkeys(budgets)),
                        data=self.data,
                        recipe=net.trained,
                        seed=self.seed,
                        threads=1,
                    ),
                    run,
                )
        return run

    def _sparse(self, whole: Path, density: float) -> Path:
        run, net = self.home / f"sparse-{density:g}", self.network
        if not (run / RESULT).exists():
            if (run / CONFIG).exists():
                resume_sparsify(run)
            else:
                sparsify(
                    SparsifyConfig(
                        space=net.space,
                        width_multiplier=net.factor,
                        method="gradual",
                        budgets=(Budget("nonzero", density / 100),),
                        weights=str(whole / "network.safetensors"),
                        data=self.data,
                        recipe=net.trained,
                        epochs=net.prune,
                        seed=self.seed,
                        threads=1,
                    ),
                    run,
                )
        return run

    def _narrow(self, whole: Path, name: str, share: float, spent: int, *, is_coded: bool = False) -> None:
        """A narrow network from random weights, for what is left of the total."""
        net = self.network
        size = Budget("size", CODED_FROM * share / 100 if is_coded else share / 100)
        widths = read_widths(whole / "widths" / f"{file_stem(size)}.json")
        if not spent:
            widths = self._uniform(widths)
        left = net.total - spent - (net.tune * widths.cost.macs / widths.base_cost.macs if is_coded else 0)
        epochs = round(left * widths.base_cost.macs / widths.cost.macs)
        run = self._train(widths, name, epochs)
        if is_coded:
            self._compress(run, name, share)

    def _train(self, widths: Widths, name: str, epochs: int) -> Path:
        """From random weights."""
        run = self.home / f"train-{name}"
        if not (run / RESULT).exists():
            if (run / CONFIG).exists():
                resume_train(run)
            else:
                config = TrainConfig(
                    data=self.data,
                    recipe=changed(self.network.trained, epochs=epochs),
                    schedule="scratch-e",
                    seeds=(100 + self.seed,),
                    data_seed=self.seed,
                    threads=1,
                )
                train(config, widths, run)
        return run

    def _uniform(self, widths: Widths) -> Widths:
        space = load_referenced(widths.space, None)
        budget = Budget("params", absolute=widths.cost.params)
        return space.widths(matched(space, space.searched("all"), budget).widths_G, budget=str(budget))

    def _compress(self, source: Path, name: str, share: float | None) -> None:
        run = self.home / f"compressed-{name}"
        if (run / RESULT).exists():
            return
        if (run / CONFIG).exists():
            resume_compress(run)
            return
        budget = None if share is None else Budget("size", share / 100)
        config = CompressConfig(
            budget=budget,
            bits=None if budget else "8",
            epochs=self.network.tune if budget else 0,
            seed=self.seed,
            threads=1,
        )
        compress(source, config, out=run)


def repetition(name: str, seed: int, out: Path, images: str) -> Repetition:
    """One network with one seed."""
    net = NETWORKS[name]
    data = (
        DataConfig(name="digits")
        if net.recipe == "digits"
        else DataConfig(name=f"folder:{images}", image_size=16, max_images=5000)
    )
    return Repetition(net, seed, out / name / str(seed), data)


def _start(name: str, seed: int, options: argparse.Namespace) -> int:
    """One repetition in a process of its own."""
    (options.out / name / str(seed)).mkdir(parents=True, exist_ok=True)
    own = [
        sys.executable,
        "-m",
        "tools.deep_compression",
        "--out",
        str(options.out),
        "--one",
        name,
        str(seed),
    ]
    return subprocess.run([*own, "--images", options.images], check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left, and write the table of what is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the runs lie")
    parser.add_argument("--images", default="", help="a folder of CIFAR-10 as images, for vgg16")
    parser.add_argument("--network", choices=[*NETWORKS], action="append", help="all if left out")
    parser.add_argument("--workers", type=int, default=1, help="repetitions at once, one thread each")
    parser.add_argument("--report", action="store_true", help="the table and the picture alone")
    parser.add_argument("--one", nargs=2, metavar=("NETWORK", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        torch.set_num_threads(1)
        name, seed = options.one
        repetition(name, int(seed), options.out, options.images).run()
        return 0
    failed = 0
    needs_images = any(NETWORKS[name].recipe != "digits" for name in options.network or NETWORKS)
    if needs_images and not options.report and not Path(options.images).is_dir():
        parser.error(f"--images must be a folder of CIFAR-10 as images, got {options.images!r}")
    if not options.report:
        with ThreadPoolExecutor(options.workers) as pool:
            todo = [(name, seed) for name in options.network or NETWORKS for seed in SEEDS]
            failed = sum(map(bool, pool.map(lambda own: _start(*own, options), todo)))
    from tools.deep_compression_report import write

    print(write(options.out))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
