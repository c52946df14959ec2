"""A network of your own: searched, its widths trained from scratch, and then used without nas-prune.

    python studies/examples/own_network.py

What it shows: any function that makes an `nn.Module` can be searched; here a small odd one, with a depthwise branch, a
concatenation and a squeeze-and-excitation, and no width that is a multiple of 8. The only thing that the function does
for nas-prune is to take its widths as numbers, so that the network found can be made again without nas-prune.

What comes out: the widths found at 40 % of the MACs and the accuracy after training; `own-network-search` and
`own-network-trained`, the two runs; and `own-network`, all that is needed elsewhere: `network.json` with the widths as
plain numbers and `weights.safetensors`. A second process that never imports nas-prune reads these and looks at digits.

On the command line: nas-prune search --space own_network:make_network --method sss --budget 'macs<=40%'

Took 18 s on two cores of an AMD EPYC with another program on one of them (median, n = 5, 16 to 19; Python 3.11, torch
2.14.1).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

# By the layer that makes the channels, which is what nas-prune calls a group of channels too.
WIDTHS = {"stem.0": 22, "pointwise.0": 30, "side.0": 13, "squeeze": 11, "last.0": 37}


def conv(read: int, write: int, size: int, groups: int = 1) -> nn.Sequential:
    """A convolution, its norm and a ReLU."""
    layer = nn.Conv2d(read, write, size, padding=size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(write), nn.ReLU())


class OddNetwork(nn.Module):
    """Two branches, one of them depthwise, concatenated and weighed by channel."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        stem, branches = widths["stem.0"], widths["pointwise.0"] + widths["side.0"]
        self.stem = conv(1, stem, 3)
        self.depthwise = conv(stem, stem, 3, groups=stem)
        self.pointwise = conv(stem, widths["pointwise.0"], 1)
        self.side = conv(stem, widths["side.0"], 3)
        self.squeeze = nn.Linear(branches, widths["squeeze"])
        self.excite = nn.Linear(widths["squeeze"], branches)
        self.last = conv(branches, widths["last.0"], 3)
        self.classifier = nn.Linear(widths["last.0"], 10)

    def forward(self, x: Tensor) -> Tensor:
        """A score for each of the ten digits."""
        x = self.stem(x)
        x = torch.cat([self.pointwise(self.depthwise(x)), self.side(x)], 1)
        weights = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3))))))
        x = self.last(nn.functional.max_pool2d(x * weights[..., None, None], 2))
        scores: Tensor = self.classifier(x.mean((2, 3)))
        return scores


def make_network(widths: Mapping[str, int] = WIDTHS) -> nn.Module:
    """What nas-prune calls, and what you call afterwards with other widths."""
    return OddNetwork(widths)


def find_and_train(folder: Path, epochs: int) -> None:
    """Search, train the widths found from random weights, and write what is needed to use the network."""
    import nas_prune
    from nas_prune.data import load_data

    space = f"{Path(__file__).stem}:make_network"  # must be said again, since code that only a file names is not run
    config = nas_prune.SearchConfig(space=space, method="sss", budgets=("macs<=40%",), epochs=epochs)
    widths = nas_prune.search(config, Path("own-network-search")).found[0].widths
    numbers = {group.name: group.width for group in widths.groups}
    print("widths: " + ", ".join(f"{name} {width} of {WIDTHS[name]}" for name, width in numbers.items()))

    settings = nas_prune.TrainConfig(
        recipe=config.recipe.with_epochs(epochs), schedule="scratch-b", seeds=(0,)
    )
    trained = nas_prune.train(settings, widths, Path("own-network-trained"), space=space)
    print(f"test accuracy from random weights: {100 * trained.seeds[0].test_accuracy:.1f} %")

    data = load_data("digits")  # the same split, for the mean and deviation that images were scaled by
    weights = load_file(trained.run / "seed-0" / "network.safetensors")
    folder.mkdir()
    save_file(weights, folder / "weights.safetensors")
    content = {"widths": numbers, "mean": data.mean[0], "deviation": data.std[0]}
    (folder / "network.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def use(folder: Path) -> None:
    """Make the network again, with its weights, and look at all digits; nas-prune has no part in this."""
    content = json.loads((folder / "network.json").read_text(encoding="utf-8"))
    network = make_network(content["widths"]).eval()
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    digits = load_digits()
    images = torch.from_numpy(digits.images / 16).float()[:, None]  # pixels from 0 to 1
    with torch.no_grad():
        found = network((images - content["mean"]) / content["deviation"]).argmax(1).numpy()
    assert "nas_prune" not in sys.modules
    right = (found == digits.target).sum()
    print(f"without nas-prune: {right} of {len(found)} digits right, those it was trained on among them")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--epochs", type=int, default=20, help="of the search, and of training the whole network"
    )
    parser.add_argument("--use", type=Path, help="only use the network in this directory")
    given = parser.parse_args()
    if given.use is not None:
        use(given.use)
    else:
        find_and_train(Path("own-network"), given.epochs)
        subprocess.run([sys.executable, __file__, "--use", "own-network"], check=True)
