"""Weights that a training starts from: from a file that a person names, or as a network's own function makes them.

What is taken is written into the run, by the network's own names, so that the run goes on without that file.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas_prune.coding.file import SUFFIX
from nas_prune.errors import BadInputError, DamagedError
from nas_prune.graph.axes import Atom
from nas_prune.graph.record import OUTPUT
from nas_prune.graph.selection import ChannelSelection
from nas_prune.space.load import named_of
from nas_prune.space.names import is_own
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.checkpoint import most_of, read_content, read_tensors, read_weights, write_tensors
from nas_prune.training.network_file import read_record
from nas_prune.training.weights_file import read_weights_file

AS_BUILT = "as-built"
START = "start.safetensors"
_COUNTS = "num_batches_tracked"  # which files of early versions of PyTorch have not
_FEW, _MANY = 3, 256  # names in a sentence; values of a parameter that no constructor writes down one by one


@dataclass(frozen=True, slots=True)
class GivenWeights:
    """What a network starts from.

    Attributes:
        name: of the file, or `as-built`.
        tensors: by the network's own names.
        anew: names of the network's tensors that are drawn at random all the same.
        unused: names in the file of what the network has no part for.
    """

    name: str
    tensors: Mapping[str, Tensor]
    anew: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @torch.no_grad()
    def put(self, network: nn.Module) -> nn.Module:
        """Set the weights of a network, in place."""
        own = network.state_dict()
        for name, tensor in self.tensors.items():
            own[name].copy_(tensor)
        return network

    @property
    def words(self) -> str:
        """What was taken and what was not, in a line."""
        said = [f"Starting from {self.name}: {len(self.tensors):,} tensors"]
        if self.anew:
            said.append(f"drawn anew: {_listed(self.anew)}")
        if self.unused:
            said.append(f"not used: {_listed(self.unused)}")
        return f"{'; '.join(said)}."


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """Where weights are to be taken from.

    Attributes:
        given: a file, or `as-built` for what the network's own function gives it.
        classes: of the images; a file of ours says which its network knows.
        typed: the network's name as a person gave it, for `as-built`.
    """

    given: str
    classes: tuple[str, ...]
    typed: str | None = None


def given_weights(source: WeightsSource, space: SearchSpace, like: nn.Module) -> GivenWeights:
    """The weights that a person names, matched to a network.

    Names must be the network's own, but for a prefix that all share (`module.`, `model.`). The classifier is drawn anew
    where the classes are others, as far as the file tells.

    Args:
        source: where they are.
        space: what the network is of.
        like: the network, whole or narrow.

    Raises:
        BadInputError: they cannot be read, or are not of this network; the first difference is named.
    """
    path = Path(source.given)
    if source.given == AS_BUILT:
        name, found, theirs = AS_BUILT, _as_loaded(space, source.typed), None
    elif path.name == START:  # of another run, which has taken it from a file
        return read_start(path.parent, like)
    else:
        name, found, theirs = path.name, _read(path), _classes_in(path)
    heads = set(_heads(space))
    if theirs is not None and theirs != source.classes:
        # As many classes, but others.
        found = {key: tensor for key, tensor in found.items() if key not in heads}
    drawn = _drawn(like, found) if source.given == AS_BUILT else set()
    return matched(name, found, like, heads | drawn, multiplier=space.reference.width_multiplier)


def _read(path: Path) -> dict[str, Tensor]:
    """The weights in a file; of a checkpoint of ours those that count: the moving average where there is one."""
    if path.suffix == ".safetensors":
        try:
            if "facts" in read_content(path, "weights"):
                return read_weights(path)
        except DamagedError:
            pass  # of another program
    return read_weights_file(path)


def _drawn(like: nn.Module, found: Mapping[str, Tensor]) -> set[str]:
    """Names of what a function of the user's own draws anew each time."""
    return {real for key, (real, _) in _own_names(like).items() if key not in found}


def _heads(space: SearchSpace) -> Iterator[str]:
    """Names of the tensors that put out the scores of classes."""
    graph = space.graph
    outputs = {number for number, group in enumerate(graph.groups) if group.frozen == OUTPUT}
    for name, axes in graph.parameters.items():
        if axes and any(isinstance(atom, Atom) and atom.index in outputs for run in axes[0] for atom in run):
            yield name


def _classes_in(path: Path) -> tuple[str, ...] | None:
    """The classes that a file of ours says its network tells apart; None for any other file."""
    if path.suffix not in (".safetensors", SUFFIX):
        return None
    try:
        record = read_record(path)
    except DamagedError:
        return None
    return None if record is None else record.preprocessing.classes


def as_built(space: SearchSpace, typed: str | None, seed: int) -> nn.Module:
    """The whole network as its own function makes it, weights and all.

    Raises:
        BadInputError: it is no function of the user's own.
    """
    name = typed or space.reference.name
    if not is_own(name):
        raise BadInputError(
            f"--weights as-built must come with a network of your own (--space package.module:factory), got {name}, "
            "which is made with random weights. Name a file."
        )
    named = named_of(space.reference, typed)
    assert named is not None
    return _made(named.make, seed)


def loads_weights(space: SearchSpace, typed: str | None) -> bool:
    """Whether a function of the user's own gives its network weights that are the same each time.

    A parameter of many values that is the same twice was loaded, or drawn from a fixed seed.
    """
    return is_own(space.reference.name) and _has_learned(_same_each_time(space, typed))


def _has_learned(same: Mapping[str, Tensor]) -> bool:
    return any(
        tensor.numel() >= _MANY and len(tensor.flatten()[:_MANY].unique()) > _MANY // 2
        for tensor in same.values()
        if tensor.is_floating_point()
    )


def _as_loaded(space: SearchSpace, typed: str | None) -> dict[str, Tensor]:
    """What a function of the user's own gives its network each time.

    Raises:
        BadInputError: it gives it nothing but what is drawn, or there is no such function.
    """
    same = _same_each_time(space, typed)
    if not _has_learned(same):
        raise BadInputError(
            f"--weights as-built must come with a function that loads weights, got {space.reference.name}, whose "
            "weights are drawn each time. Leave it out, or name a file."
        )
    return same


def _same_each_time(space: SearchSpace, typed: str | None) -> dict[str, Tensor]:
    """The tensors of a whole network that its own function does not draw: two networks are made, and compared."""
    one, other = (as_built(space, typed, seed).state_dict() for seed in (1, 2))
    return {
        name: tensor
        for name, tensor in one.items()
        if isinstance(tensor, Tensor) and name in other and torch.equal(tensor, other[name])
    }


def _made(make: Any, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = make()
    return network


def matched(
    name: str, found: Mapping[str, Tensor], like: nn.Module, heads: Collection[str], *, multiplier: float = 1
) -> GivenWeights:
    """Tensors from somewhere else, by the names of a network.

    Args:
        name: where they are from.
        found: by the names that they have there.
        like: the network.
        heads: names of the tensors that put out the scores of classes: drawn anew where there are others, or none.
        multiplier: of its widths, for what is said where they are others.

    Raises:
        BadInputError: a tensor that is no part of the classifier is missing, of another shape, or has no place.
    """
    own = _own_names(like)
    place = _place_of(name, own, found)
    if place is None:
        raise BadInputError(
            f"--weights must be of this network, got {name}, which has no tensor of it: {_listed(tuple(found))} there, "
            f"{_listed(tuple(own))} here."
        )
    taken: dict[str, Tensor] = {}
    anew: list[str] = []
    for key, (real, tensor) in own.items():
        there = place.of(key)
        other = found.get(there)
        if other is not None and other.shape == tensor.shape:
            taken[real] = _converted(name, there, other, tensor)
        elif real in heads and (other is None or other.shape[1:] == tensor.shape[1:]):
            anew.append(real)
        elif other is not None or not key.endswith(_COUNTS):
            _refuse(name, there, tensor, other, multiplier)
    unused = _unused(name, own, found, place)
    return GivenWeights(name, taken, tuple(anew), unused)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a network's tensors are among others: either side may have a prefix that the other has not."""

    ours: str
    theirs: str

    def of(self, key: str) -> str:
        """The name there of what has a name here."""
        return self.theirs + key.removeprefix(self.ours) if key.startswith(self.ours) else key

    def part(self, key: str, prefix: str) -> str | None:
        """The first part of a name behind a prefix; None for a name without it."""
        return key.removeprefix(prefix).partition(".")[0] if key.startswith(prefix) else None


def _unused(name: str, own: Mapping[str, Any], found: Mapping[str, Tensor], place: _Place) -> tuple[str, ...]:
    """Names of what has no place in the network.

    Raises:
        BadInputError: some of it lies within parts that the network has: it is a deeper one's, say.
    """
    used = {place.of(key) for key in own}
    unused = tuple(key for key in found if key not in used)
    parts = {place.part(key, place.ours) for key in own} - {None}
    misplaced = tuple(
        key for key in unused if place.part(key, place.theirs) in parts and not key.endswith(_COUNTS)
    )
    if misplaced:
        raise BadInputError(
            f"--weights must be of this network, got {name}, which has {len(misplaced):,} tensors that it has not: "
            f"{_listed(misplaced)}."
        )
    return unused


def _own_names(like: nn.Module) -> dict[str, tuple[str, Tensor]]:
    """A network's tensors: by the names without selections, the names with them and the tensors."""
    selections = [path for path, part in like.named_modules() if isinstance(part, ChannelSelection)]
    parents = [path.rpartition(".")[0] for path in selections]
    found = {}
    for name, tensor in like.state_dict().items():
        parent = next((one for one in parents if name.startswith(f"{one}.")), None)
        if not isinstance(tensor, Tensor) or any(name.startswith(f"{path}.") for path in selections):
            continue
        short = name
        if parent is not None:  # a selection and the norm behind it stand where the norm alone stood
            rest = name.removeprefix(f"{parent}.")
            short = f"{parent}.{rest.partition('.')[2]}"
        found[short] = (name, tensor)
    return found


def _place_of(name: str, own: Mapping[str, tuple[str, Tensor]], found: Mapping[str, Tensor]) -> _Place | None:
    """The place with most tensors of the right shape; None where there are none.

    Raises:
        BadInputError: two places have as many, and other tensors: a network and its average, say.
    """
    tried = [_Place("", theirs) for theirs in _prefixes(found)] + [
        _Place(ours, "") for ours in _prefixes(own)
    ]

    def taken(place: _Place) -> dict[str, Tensor]:
        there = ((key, found.get(place.of(key)), tensor) for key, (_, tensor) in own.items())
        return {
            key: other for key, other, tensor in there if other is not None and other.shape == tensor.shape
        }

    def is_one_to_one(place: _Place) -> bool:
        names = [place.of(key) for key in own if place.of(key) in found]
        return len(set(names)) == len(names)

    places = {place: len(taken(place)) for place in dict.fromkeys(tried) if is_one_to_one(place)}
    most = max(places.values(), default=0)
    if not most:
        return None
    best = sorted(
        (place for place in places if places[place] == most), key=lambda one: len(one.ours + one.theirs)
    )
    first = taken(best[0])
    for place in best[1:]:
        second = taken(place)
        if second.keys() != first.keys() or any(not torch.equal(second[key], first[key]) for key in first):
            one, other = (f"{each.theirs or each.ours}…" for each in (best[0], place))
            raise BadInputError(
                f"--weights must hold one network, got {name} with several of its shape ({one} and {other}). Save the "
                "one that is meant alone."
            )
    return best[0]


def _prefixes(names: Iterable[str]) -> list[str]:
    """What names may begin with that is of no network: nothing, their first part, the first two."""
    found = {"": None}
    for name in names:
        parts = name.split(".")
        found |= {".".join(parts[:count]) + ".": None for count in (1, 2) if len(parts) > count}
    return list(found)


def _converted(name: str, key: str, other: Tensor, tensor: Tensor) -> Tensor:
    if other.is_floating_point() != tensor.is_floating_point() or not bool(other.isfinite().all()):
        raise BadInputError(
            f"--weights must hold finite numbers like the network's own, got {name}, where {key} does not."
        )
    return other.to(tensor.dtype).contiguous()


def _refuse(name: str, key: str, tensor: Tensor, other: Tensor | None, multiplier: float) -> None:
    got = "nothing" if other is None else _shape(other)
    factor = f" Its widths are multiplied by {multiplier:g} here." if multiplier != 1 else ""
    raise BadInputError(
        f"--weights must be of this network, got {name}, where {key} is {got}, not {_shape(tensor)}.{factor}"
    )


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


def _listed(names: Sequence[str]) -> str:
    more = f", … ({len(names):,} in all)" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def write_start(run: Path, given: GivenWeights) -> None:
    """Write what a run starts from into its directory, so that it goes on without the file."""
    content = {"name": given.name, "anew": list(given.anew), "unused": list(given.unused)}
    write_tensors(run / START, given.tensors, {"start": content})


def read_start(run: Path, like: nn.Module) -> GivenWeights:
    """What `write_start` wrote.

    Args:
        run: the directory.
        like: the network that it is for.

    Raises:
        DamagedError: the file is missing, damaged, or of another network.
    """
    path = run / START
    content, tensors = read_tensors(path, "the start of a run", most_of(like))
    own = like.state_dict()
    wrong = next((key for key, one in tensors.items() if key not in own or own[key].shape != one.shape), None)
    said = content.get("start")
    if wrong is not None or not isinstance(said, dict) or not isinstance(said.get("name"), str):
        raise DamagedError(f"the start of a run must be of its network, got {path}, which is not.")
    anew, unused = (tuple(map(str, said.get(key) or ())) for key in ("anew", "unused"))
    return GivenWeights(said["name"], tensors, anew, unused)
