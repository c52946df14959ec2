"""Lottery tickets: several trainings, each from the same early weights with fewer of them (Frankle and Carbin 2019).

After each round the smallest weights go, so that costs fall by one factor from round to round; those that stay are set
back to what they were after some steps of the first round (rewinding: Frankle et al. 2020), and the rest of the recipe
is repeated from there.
"""

from collections.abc import Mapping
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas_prune.data.preprocessing import preprocessing_of
from nas_prune.patterns.cut import cut_weights
from nas_prune.patterns.prepared import PreparedPatterns
from nas_prune.patterns.stepwise import bound_at, falling, rounds_for
from nas_prune.runs.directory import METRICS, NETWORK
from nas_prune.runs.files import saying_why, write_whole
from nas_prune.runs.progress import Progress
from nas_prune.training.checkpoint import (
    check_same_run,
    most_of,
    read_content,
    read_tensors,
    write_tensors,
)
from nas_prune.training.event_log import events_folder
from nas_prune.training.loop import Training
from nas_prune.training.masks import Masks, hold, identity_of_masks, masked, write_masks
from nas_prune.training.network_file import (
    NetworkFile,
    NetworkRecord,
    read_network,
    set_weights,
    write_network,
)
from nas_prune.training.resumable import drop_checkpoints, facts_of, is_finished, train_in
from nas_prune.training.state import Sums, TrainState, start

REWOUND, MASKS = "rewound.safetensors", "mask.safetensors"
_SUMS = ("loss", "hits")  # over the steps of the epoch that weights are set back into


def rounds_of(stage: PreparedPatterns) -> int:
    """How many rounds remove weights: a fifth of what is left each, if it is not said otherwise."""
    setting = stage.setting
    shares = [
        setting.costs.limit(bound) / setting.costs.whole.of(bound.kind) for bound in setting.budget.bounds
    ]
    return stage.config.iterations or rounds_for(min(shares))


def trained_in_rounds(stage: PreparedPatterns, run: Path, progress: Progress) -> tuple[nn.Module, int]:
    """Train round after round, or take what is done.

    Returns:
        The network of the last round, whose weights are those of the last round but one's cut; and the epochs of all
        rounds. The final cut is made of it.
    """
    epochs, rounds = stage.config.search_recipe.epochs, rounds_of(stage)
    network, masks = _round(stage, run, 0, None, progress), None
    for number in range(1, rounds):
        masks = _masks_after(stage, network, number, rounds)
        network = _round(stage, run, number, masks, progress)
    if masks is not None:
        masked(network, masks)
    again = ceil(epochs - _rewind_step(stage) / stage.setting.steps_per_epoch)
    return network, epochs + (rounds - 1) * again


def _masks_after(stage: PreparedPatterns, network: nn.Module, number: int, rounds: int) -> Masks:
    """Which weights are left after so many rounds."""
    bound = bound_at(stage.setting, partial(falling, number / rounds))
    return cut_weights(stage.costs, stage.scores(network), bound).masks


def _round(
    stage: PreparedPatterns, run: Path, number: int, masks: Masks | None, progress: Progress
) -> nn.Module:
    """One training, gone on with or taken as it was left."""
    folder = run / f"round-{number}"
    with saying_why(folder):
        folder.mkdir(exist_ok=True)
    training = _training(stage, run, number, masks)
    network = stage.first_network()
    if masks is not None:
        _set_rewound(network, run, _first_facts(stage, run))
        hold(network, masks, scales=False)
        write_masks(folder / MASKS, masks)
    state = start(network, training.recipe)
    facts = facts_of(training)
    if is_finished(folder):
        file = read_network(folder / NETWORK, network)
        file.of_same_run(facts)
        set_weights(network, file)
        return network
    if masks is None and not _rewind_step(stage) and not (run / REWOUND).exists():
        _write_rewound(run, network, None, facts)
    if masks is not None:
        _begin_at(state, stage, run, folder)
    train_in(folder, state, training, progress)
    record = NetworkRecord(
        widths=stage.space.widths(stage.space.base_G),
        preprocessing=preprocessing_of(stage.data),
        facts=facts,
        epochs_done=state.epochs_done,
    )
    write_network(folder / NETWORK, state.trained, record)
    read_network(folder / NETWORK, state.trained)
    if not stage.config.keep_checkpoints:
        drop_checkpoints(folder)
    return state.trained


def _rewind_step(stage: PreparedPatterns) -> int:
    """The step of the first round after which weights are kept; 0 for those before the first."""
    per_epoch, epochs = stage.setting.steps_per_epoch, stage.config.search_recipe.epochs
    return min(round((stage.config.rewind or 0) * per_epoch), epochs * per_epoch - 1)


def _begin_at(state: TrainState, stage: PreparedPatterns, run: Path, folder: Path) -> None:
    """Let a round begin after some steps, which are those of the first round, and so are their sums."""
    epoch, steps = divmod(_rewind_step(stage), stage.setting.steps_per_epoch)
    state.epochs_done, state.steps_done = epoch, steps
    if steps:
        sums = read_content(run / REWOUND, "early weights")["sums"]
        device = stage.compute.device
        loss, hits = (torch.tensor(float(sums[name]), dtype=torch.float64, device=device) for name in _SUMS)
        state.sums = Sums(loss, hits)
    if not (folder / METRICS).exists() and epoch:
        lines = (run / "round-0" / METRICS).read_text(encoding="utf-8").splitlines()[:epoch]
        write_whole(folder / METRICS, "\n".join(lines) + "\n")


def _training(stage: PreparedPatterns, run: Path, number: int, masks: Masks | None) -> Training:
    config, per_epoch = stage.config, stage.setting.steps_per_epoch

    def after_step(state: TrainState) -> None:
        if state.epochs_done * per_epoch + state.steps_done + 1 == _rewind_step(stage):
            _write_rewound(run, state.model, state.sums, _first_facts(stage, run))

    settings = {"method": stage.method.name, "round": number, "rewind": config.rewind}
    return Training(
        stage.data,
        config.search_recipe.to_the_end(),
        config.seed,
        stage.compute,
        after_step=after_step if number == 0 else None,
        log_to=None if config.log is None else events_folder(run / f"round-{number}", config.seed),
        title=f"round {number + 1} of {rounds_of(stage)}",
        settings=settings if masks is None else {**settings, "masks": identity_of_masks(masks)},
    )


def _first_facts(stage: PreparedPatterns, run: Path) -> dict[str, Any]:
    """What decides the first round, and so the weights that others are set back to."""
    return facts_of(_training(stage, run, 0, None))


def _write_rewound(run: Path, network: nn.Module, sums: Sums | None, facts: Mapping[str, Any]) -> None:
    known = {} if sums is None else {"sums": {name: float(getattr(sums, name)) for name in _SUMS}}
    write_tensors(run / REWOUND, dict(network.state_dict()), {"facts": facts, **known})


def early_network(stage: PreparedPatterns, run: Path) -> nn.Module:
    """The network that every round but the first starts from, with all its weights.

    Raises:
        BadInputError, DamagedError: the file is of another search or network, missing or damaged.
    """
    network = stage.first_network()
    facts = _first_facts(stage, run)
    # Of the search alone: its images and the device may be others by now.
    _set_rewound(network, run, {name: facts[name] for name in ("seed", "recipe", "settings")})
    return network


def _set_rewound(network: nn.Module, run: Path, facts: Mapping[str, Any]) -> None:
    """Set a network to the early weights of its search, in place."""
    path = run / REWOUND
    content, weights = read_tensors(path, "early weights", most_of(network))
    check_same_run(path, content.get("facts", facts), facts)  # files of earlier versions have none
    set_weights(network, NetworkFile(path, weights, None))
