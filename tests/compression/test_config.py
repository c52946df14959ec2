"""Bits and budgets as people type them."""

from pathlib import Path

import pytest

from nas_prune.compression.config import CompressConfig, check_budget, file_of, parsed_bits
from nas_prune.errors import BadInputError, BudgetError
from nas_prune.space.budget import Budget
from nas_prune.training.recipe import changed, recipe_named


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("5", {"all": 5}),
        ("conv=8, linear=5", {"conv": 8, "linear": 5}),
        ("7,fc.weight=2", {"all": 7, "fc.weight": 2}),
    ],
)
def test_bits_are_read(text: str, bits: dict[str, int]) -> None:
    assert parsed_bits(text) == bits
    assert CompressConfig(bits=text).bits == bits


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must be a number or look like"),
        ("conv", "must be a number or look like"),
        ("conv=0", "from 1 to 10, got 0"),
        ("11", "from 1 to 10, got 11"),
        ("5,5", "got all twice"),
        ("conv=3;linear=3", "must be a number or look like"),
        ("-3", "must be a number or look like"),
    ],
)
def test_bits_that_are_none_are_refused(text: str, says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        CompressConfig(bits=text)


def test_names_go_before_kinds_and_kinds_before_all() -> None:
    config = CompressConfig(bits="3,conv=4,stem=5,stem.weight=6")
    assert config.bits_for("stem.weight", "conv") == 6
    assert config.bits_for("body.weight", "conv") == 4
    assert config.bits_for("fc.weight", "linear") == 3
    assert CompressConfig().bits_for("fc.weight", "linear") == 5
    assert CompressConfig(bits="stem=5").bits_for("stem.weight", "conv") == 5


def test_bits_and_a_budget_exclude_each_other() -> None:
    with pytest.raises(BadInputError, match="bits must come without a budget"):
        CompressConfig(bits="5", budget="size<=1MiB")


@pytest.mark.parametrize("text", ["macs<=5%", "size<=1MiB, params<=5%", "own"])
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(BudgetError, match="must bound the bytes of the file"):
        check_budget(Budget.parse(text))


def test_limits_are_bytes_or_shares_of_the_whole_network() -> None:
    assert CompressConfig(budget="size<=2KiB").limit(10**6) == 2048
    assert CompressConfig(budget="size<=5%").limit(10**6) == 50_000
    assert CompressConfig().limit(10**6) is None


def test_values_are_tuned_as_weights_are_fine_tuned() -> None:
    recipe = changed(recipe_named("digits"), epochs=30)
    config = CompressConfig(data="digits", recipe=recipe)
    assert config.tuning is not None
    assert (config.tuning.epochs, config.tuning.schedule) == (8, "cosine")
    assert config.tuning.learning_rate == pytest.approx(recipe.learning_rate / 10)
    assert CompressConfig(epochs=None, recipe=recipe, learning_rate=0.5).tuning.learning_rate == 0.5  # type: ignore[union-attr]
    assert config.model_copy(update={"epochs": 0}).tuning is None


def test_the_file_lies_in_the_run_or_beside_it() -> None:
    assert file_of(Path("a/net"), is_beside=True) == Path("a/net.nasp")
    assert file_of(Path("a/net"), is_beside=False) == Path("a/net/net.nasp")
