"""What a network is called with: from an example, in a file, without storage, and of random values."""

from typing import Any

import pytest
import torch
from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.graph.examples import call_like
from nas_prune.graph.inputs import CallSpec, DictSpec, Forward, ListSpec, TensorSpec, ValueSpec, plain

WORDS = torch.tensor([[1, 2, 30], [4, 5, 6]])


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        ((3, 8, 9), plain((3, 8, 9))),
        ([20], plain((20,))),
        (torch.zeros(2, 3, 8, 9), plain((3, 8, 9))),
        (torch.zeros(2, 7, dtype=torch.float16), plain((7,))),
        (torch.zeros(4), plain(())),
        (WORDS, CallSpec(args=(TensorSpec(shape=(3,), kind="int64", least=1, below=31),))),
        (
            ((3, 8, 8), torch.zeros(2, 5)),
            CallSpec(args=(TensorSpec(shape=(3, 8, 8)), TensorSpec(shape=(5,)))),
        ),
        (
            {"words": WORDS, "mask": torch.ones(2, 3, dtype=torch.bool), "scale": 0.5},
            CallSpec(
                kwargs={
                    "words": TensorSpec(shape=(3,), kind="int64", least=1, below=31),
                    "mask": TensorSpec(shape=(3,), kind="bool"),
                    "scale": ValueSpec(value=0.5),
                }
            ),
        ),
        (
            ({"image": (3, 8, 8)}, [torch.zeros(2, 4), (5,)], None),
            CallSpec(
                args=(
                    DictSpec(entries={"image": TensorSpec(shape=(3, 8, 8))}),
                    ListSpec(items=(TensorSpec(shape=(4,)), TensorSpec(shape=(5,)))),
                    ValueSpec(value=None),
                )
            ),
        ),
        # A table for all, and a batch of two.
        (
            (torch.zeros(2, 6), torch.zeros(9, 6)),
            CallSpec(args=(TensorSpec(shape=(6,)), TensorSpec(shape=(9, 6), is_batched=False))),
        ),
    ],
)
def test_an_example_says_what_a_network_is_called_with(example: Any, expected: CallSpec) -> None:
    call = call_like(example)
    assert call == expected
    assert hash(call) == hash(expected)
    assert CallSpec.model_validate_json(call.model_dump_json()) == call
    assert call.is_plain == (len(call.args) == 1 and not call.kwargs and call.tensors[0].kind is None)


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ((3, 8.0, 8), r"whole numbers of at least 1, got \(3, 8.0, 8\)"),
        ((3, -8, 8), r"whole numbers of at least 1, got \(3, -8, 8\)"),
        ((3, 0), "whole numbers of at least 1"),
        (torch.zeros(2, 0, 4), r"must hold something, got a tensor of shape \[2, 0, 4\]"),
        ({}, "must hold a tensor or its shape"),
        ("image", "must hold a tensor or its shape"),
        ({1: (3, 8, 8)}, "must be named by words, got 1"),
        (((3, 8, 8), object()), "got object"),
        (((3, 8, 8), float("-inf")), "finite numbers, .* got -inf"),
        (torch.zeros(2, 3, dtype=torch.uint16), "must be of a type among .*, got uint16"),
        ((2**40, 2**40), r"cannot be used|at most"),
    ],
)
def test_what_is_no_example_is_refused_in_one_line(example: Any, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        call_like(example)


def test_inputs_are_made_of_the_shapes_and_types_that_were_asked_for() -> None:
    call = call_like(
        ({"image": (3, 8, 8)}, [WORDS, torch.ones(2, dtype=torch.bool)], torch.zeros(9, 6), "same")
    )
    forward, model = Forward(call), nn.Linear(4, 4).double()
    for inputs in (forward.blank(model, 5), forward.sampled(model, 5)):
        (images, (words, flags), table, word), keywords = inputs
        assert (images["image"].shape, images["image"].dtype) == ((5, 3, 8, 8), torch.float64)
        assert (words.shape, words.dtype) == ((5, 3), torch.int64)
        assert (flags.shape, flags.dtype) == ((5,), torch.bool)
        assert table.shape == (9, 6)  # no batch
        assert (word, keywords) == ("same", {})
    assert 1 <= int(words.min()) <= int(words.max()) < 31
    assert bool(flags.all())
    again = forward.sampled(model, 5)[0][0]["image"]
    assert torch.equal(images["image"], again)


def test_integers_at_the_ends_of_their_type_are_examples() -> None:
    for tensor in (torch.tensor([[-128, 5]], dtype=torch.int8), torch.full((1, 4), 255, dtype=torch.uint8)):
        call = call_like(tensor)
        (spec,) = call.args
        assert isinstance(spec, TensorSpec)
        assert (spec.least, spec.below) == (int(tensor.min()), int(tensor.max()) + 1)
        (made,), _ = Forward(call).sampled(nn.Identity(), 3)
        assert made.dtype == tensor.dtype
        assert spec.least <= int(made.min()) <= int(made.max()) < (spec.below or 0)
    with pytest.raises(ValueError, match="bounds must fit int8"):
        TensorSpec(shape=(3,), kind="int8", least=-129, below=2)
