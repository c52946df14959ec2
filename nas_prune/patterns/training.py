"""Training the network of a pattern: from random weights with masks, or from the weights that its search left."""

from dataclasses import dataclass
from pathlib import Path

from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError
from nas_prune.patterns.config import SparsifyConfig
from nas_prune.patterns.costs import PatternCosts, costs_of
from nas_prune.patterns.draw import check_of, drawn_masks
from nas_prune.patterns.layers import weight_layers
from nas_prune.patterns.pattern import PATTERNS, Pattern, read_pattern
from nas_prune.patterns.prepared import prepared_patterns
from nas_prune.patterns.rounds import early_network
from nas_prune.patterns.run import pruned, trained_network
from nas_prune.patterns.statistics import cost_record
from nas_prune.runs.data_name import own_data
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import CONFIG, read_config
from nas_prune.search.result import file_stem
from nas_prune.space.budget import Budget
from nas_prune.space.load import load_referenced
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.config import TrainConfig, images_like
from nas_prune.training.given_weights import GivenWeights
from nas_prune.training.job import Inputs
from nas_prune.training.masks import GivenMasks, Masks, identity_of_masks, masked, read_masks
from nas_prune.training.recipe import Recipe
from nas_prune.training.result import TrainResult
from nas_prune.training.run import train
from nas_prune.training.schedules import SCHEDULES, recorded_recipe

CAP = 4.0  # of Scratch-B's epochs over the recipe's, where nothing else is asked for


@dataclass(frozen=True, slots=True)
class PatternSubject:
    """A pattern to be trained.

    Attributes:
        pattern: the artefact.
        path: its file.
        home: the directory of the search that found it; None where it is not known.
        space: its network.
        costs: of that network's patterns.
        exact: its masks; None where it has statistics alone.
        typed: the network as a person named it, if it is one of their own.
    """

    pattern: Pattern
    path: Path
    home: Path | None
    space: SearchSpace
    costs: PatternCosts
    exact: Masks | None
    typed: str | None = None


def pattern_file(named: Path, budget: Budget | None = None) -> Path:
    """The file of a pattern: itself, or what a search found at a budget.

    Raises:
        BadInputError: the search has not finished, or it is not said which of its patterns.
    """
    if not named.is_dir():
        return named
    found = {path.stem: path for path in sorted((named / PATTERNS).glob("*.json"))}
    if not found:
        raise BadInputError(
            f"RUN must be the directory of a finished search for patterns, got {named}, without any."
        )
    if budget is None and len(found) == 1:
        return next(iter(found.values()))
    stem = None if budget is None else file_stem(budget)
    if stem not in found:
        names = [str(read_pattern(path).budget) for path in found.values()]
        hint = f" Choose: --budget '{names[0]}'." if budget is None else ""
        raise BadInputError(
            f"--budget must be one of {', '.join(map(repr, names))}, got {budget or 'none'}.{hint}"
        )
    return found[stem]


def pattern_subject(
    named: Path, budget: Budget | None = None, *, space: str | None = None, draws: bool = False
) -> PatternSubject:
    """The pattern that a run or a file stands for, with its network.

    Args:
        named: the directory of a search for patterns, or a pattern's file.
        budget: which of a search's patterns; needed where it found several.
        space: the network again, if it is one of your own.
        draws: whether masks are drawn from the statistics, even where there are exact ones.

    Raises:
        BadInputError: it is none of these, or its masks are not those that it was written with.
    """
    path = pattern_file(named, budget)
    pattern = read_pattern(path)
    network = load_referenced(pattern.space, space)
    whole = weight_layers(network)
    dense = [layer.path for layer in whole.layers if layer.name not in {one.name for one in pattern.layers}]
    costs = costs_of(network, weight_layers(network, dense))
    check_of(pattern, costs.layers)
    home = path.resolve().parent.parent
    is_in_search = path.resolve().parent.name == PATTERNS and (home / CONFIG).exists()
    exact = None if draws else _exact(pattern, path)
    if exact is not None:
        _check_counts(pattern, exact, path)
    kept = {layer.name: layer.nonzero for layer in pattern.layers}
    cost = costs.at([kept[layer.name] for layer in costs.layers.layers])
    pattern = pattern.model_copy(update={"cost": cost_record(cost), "base_cost": cost_record(costs.whole)})
    return PatternSubject(pattern, path, home if is_in_search else None, network, costs, exact, space)


def _check_counts(pattern: Pattern, masks: Masks, path: Path) -> None:
    for layer in pattern.layers:
        if layer.name not in masks or int(masks[layer.name].sum()) != layer.nonzero:
            raise BadInputError(
                f"a pattern must say of each layer what its masks have, got {layer.nonzero:,} weights for {layer.name} "
                f"in {path}. It was edited; search again."
            )


def _exact(pattern: Pattern, path: Path) -> Masks | None:
    """The masks beside a pattern; None where it has none, or is alone."""
    if pattern.mask is None or not (path.parent / pattern.mask.file).exists():
        return None
    masks = read_masks(path.parent / pattern.mask.file)
    if identity_of_masks(masks) != pattern.mask.blake2b:
        raise BadInputError(
            f"the masks of {path} must be those that it was written with, got others in {pattern.mask.file}. Draw them "
            "anew (--draw), or search again."
        )
    return masks


def inherited_weights(subject: PatternSubject, config: TrainConfig) -> GivenWeights:
    """The weights that a pattern's search left of those that stay, moved as its method moves them.

    Args:
        subject: the pattern.
        config: the training's settings. Its schedule `rewind` takes a lottery ticket's early weights, as the paper
            does; it runs on the device that is there now, and its images are where the search's may be now.

    Raises:
        BadInputError: the search is not known, or trained no network.
    """
    home = subject.home
    if home is None or subject.exact is None:
        raise BadInputError(
            "--schedule fine-tune and rewind must come with a pattern in its search's directory, with its masks and "
            f"without --draw, got {subject.path}."
        )
    searched = reopen(
        home,
        SparsifyConfig,
        trusted=subject.typed,
        data_name=_moved_to(home, config.data.name),
        progress=SILENT,
        cleans=False,
    )
    here = {"device": config.device, "threads": config.threads}
    stage = prepared_patterns(searched.model_copy(update=here), SILENT, home)
    if not stage.method.trains:
        raise BadInputError(
            f"--schedule fine-tune and rewind must come with a search that trained a network, got {home}, by "
            f"{stage.method.name}. Use --schedule scratch-e or scratch-b."
        )
    if stage.method.rounds and config.schedule == "rewind":
        network = masked(early_network(stage, home), subject.exact)
    else:
        network = pruned(stage, trained_network(stage, home), subject.exact)
    return GivenWeights(f"{home.name}/{subject.path.stem}", dict(network.state_dict()))


def images_of(
    pattern: Pattern,
    path: Path,
    *,
    name: str | None = None,
    max_images: int | None = None,
    stream: bool | None = None,
    task: str | None = None,
) -> DataConfig:
    """The images that a pattern's network is trained on: those named, or those that its search looked at.

    Where they are the search's, under whatever place, so is what else it was told of them, if nothing else is asked
    for.

    Args:
        pattern: the artefact.
        path: its file, in its search's directory or elsewhere.
        name: of the images that are asked for instead.
        max_images: how many of the training part.
        stream: whether they stay in their files.
        task: what is learned of them.

    Raises:
        BadInputError: the search is not known, and no images are named.
    """
    home = path.resolve().parent.parent
    found_on = None
    if path.resolve().parent.name == PATTERNS and (home / CONFIG).exists():
        found_on = read_config(home, SparsifyConfig).resolved_from(home, None).data
    known = found_on or pattern.data
    if name is None:
        if known is None or (found_on is None and own_data(known.name) is not None):
            raise BadInputError(
                "--data must say where the images are, since the pattern's search is not beside it, got none."
            )
        name = known.name
    size = pattern.space.input_shape[-1]
    return images_like(pattern.data, found_on, name, size, max_images=max_images, stream=stream, task=task)


def recipe_of(pattern: Pattern) -> Recipe | None:
    """The recipe recorded in a pattern; None if there is none.

    Raises:
        BadInputError: what the file holds is no recipe.
    """
    return recorded_recipe(pattern.recipe, "the pattern")


def _moved_to(home: Path, named: str) -> str | None:
    """Where a search's images are now, if they are no longer where it had them: where the training's are."""
    own = own_data(read_config(home, SparsifyConfig).resolved_from(home, None).data.name)
    return named if own is not None and not Path(own.place).expanduser().exists() else None


def inputs_for(subject: PatternSubject, config: TrainConfig) -> tuple[TrainConfig, Inputs]:
    """The settings of a training with what they take from a pattern, and its masks and weights."""
    inherits = SCHEDULES[config.schedule].inherits
    if subject.exact is not None:
        masks = GivenMasks(subject.path.stem, shared=subject.exact)
    else:
        own = {seed: drawn_masks(subject.pattern, subject.costs.layers, seed) for seed in config.seeds}
        masks = GivenMasks(subject.path.stem, by_seed=own)
    weights = inherited_weights(subject, config) if inherits else None
    changes = {
        "pattern": masks.name,
        "pattern_macs": subject.pattern.cost.macs,
        "cap": CAP if config.cap is None and SCHEDULES[config.schedule].by_macs else config.cap,
    }
    return config.model_copy(update=changes), Inputs(network=subject.space, weights=weights, masks=masks)


def train_pattern(
    config: TrainConfig,
    named: Path,
    out: Path | None = None,
    *,
    budget: Budget | str | None = None,
    space: str | None = None,
    draws: bool = False,
    workers: int = 1,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train networks of which only a pattern's weights are there; `nas_prune.training.run.resume_train` goes on.

    Args:
        config: every setting of the training. Scratch-B goes by the MACs of the weights that are there, at most four
            times the recipe's epochs if no cap is given.
        named: the directory of a search for patterns, or a pattern's file.
        out: the run's directory, new or empty; the next free one in `runs/` if None.
        budget: which of a search's patterns, also as text; needed where it found several.
        space: the network again, if it is one of your own.
        draws: whether each seed's masks are drawn from the pattern's statistics, even where there are exact ones.
        workers: how many seeds are trained at once.
        progress: reports how far the work is.

    Raises:
        NasPruneError: something in the settings cannot be used.
    """
    which = Budget.parse(budget) if isinstance(budget, str) else budget
    subject = pattern_subject(named, which, space=space, draws=draws)
    if subject.pattern.seed in config.seeds and not SCHEDULES[config.schedule].inherits:
        progress.say(
            f"Seed {subject.pattern.seed} is that of the search: its first weights are those on which the masks were "
            "found. Take others for random weights."
        )
    if subject.exact is None and not draws:
        progress.say(
            "Masks are drawn for each seed from the pattern's statistics: the file of those that were found is not "
            f"beside {subject.path}."
        )
    config, inputs = inputs_for(subject, config)
    widths = subject.space.widths(subject.space.base_G)
    return train(config, widths, out, space=space, workers=workers, inputs=inputs, progress=progress)
