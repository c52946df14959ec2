"""What a comparison says of its arms: planted accuracies through the whole result, by the test it was begun with."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from nas_prune.comparison.config import STUDY_SEED, CompareConfig
from nas_prune.comparison.differences import compared
from nas_prune.comparison.result import CompareResult
from nas_prune.comparison.sentences import sentences
from nas_prune.comparison.statistics import TestName, detectable, paired
from nas_prune.comparison.summary import summary
from nas_prune.report.comparison import differences_table
from nas_prune.space.widths import read_widths
from nas_prune.training.result import Trained

FOUND = Path(__file__).parents[1] / "earlier_runs" / "search" / "widths" / "macs-50pct.json"
ARMS = tuple(
    name
    for name, arm in CompareConfig().known.items()
    if not (arm.is_extra or name.startswith(("guided", "winner", "unpruned-given", "uniform-target")))
)


def planted(config: CompareConfig, rng: np.random.Generator, noise: float = 0.01) -> CompareResult:
    """A comparison whose arms are equally good; trainings differ by chance alone."""
    arms = {
        name: tuple(
            Trained(seed, 0.9, 0.9 + rng.normal(0, noise), 1, 1000, 100, 0.0) for seed in range(config.seeds)
        )
        for name in ARMS
    }
    return CompareResult(Path("run"), config, read_widths(FOUND), arms, 0, 100)


def test_five_seeds_find_three_deviations_among_eleven_comparisons() -> None:
    rng, noise = np.random.default_rng(0), 0.01
    found = []
    for _ in range(6):
        result = planted(CompareConfig(arms=ARMS), rng, noise)
        found += [one.detectable for name, one in result.compared().items() if "random" not in name]
    assert len(found) == 6 * 9
    assert np.median(found) < 3 * noise  # 4.6 by a paired t test of each pair alone
    assert np.median(found) > 2.2 * noise


def several(config: CompareConfig, rng: np.random.Generator) -> CompareResult:
    """Two searches' widths, the second's 0.1 better; other arms as good as the first's."""
    result = planted(config, rng, 0.001)
    arms = {
        arm.name: tuple(
            Trained(
                seed, 0.9, 0.9 + 0.1 * search * (arm.kind == "found") + rng.normal(0, 0.001), 1, 1, 1, 0.0
            )
            for search, seeds in enumerate(config.seeds_of(arm))
            for seed in seeds
        )
        for arm in config.chosen
    }
    return CompareResult(result.run, config, result.widths, arms, 0, 100)


def test_searches_are_a_random_effect() -> None:
    arms, rng = ("scratch-b", "scratch-e", "uniform-macs-b", "random-b"), np.random.default_rng(1)
    config = CompareConfig(arms=arms, seeds=3, searches=2)
    result = several(config, rng)
    assert [one.seed for one in result.arms["scratch-b"]] == [0, 1, 2, 1000, 1001, 1002]
    assert [one.seed for one in result.arms["uniform-macs-b"]] == [0, 1, 2]
    found = {name: one.contrast for name, one in result.compared().items()}
    uniform, same = found["uniform-macs-b"], found["scratch-e"]
    assert uniform.difference == pytest.approx(-0.05, abs=0.002)
    assert uniform.low < 0 < uniform.high  # two searches as different as these say nothing of a third
    assert (uniform.n, uniform.n_beside) == (3, 2)
    assert uniform.error == pytest.approx(0.05, rel=0.1)
    assert (same.n, same.n_beside) == (2, 2)
    assert abs(same.low) < 0.02  # the searches' widths are the same in both arms
    alone = several(config.model_copy(update={"searches": 1}), rng).compared()["uniform-macs-b"]
    assert alone.contrast.error < 0.002


def test_an_earlier_comparison_keeps_its_paired_test() -> None:
    rng = np.random.default_rng(2)
    result = planted(CompareConfig(arms=ARMS, test="t"), rng)
    other = CompareResult(
        result.run, CompareConfig(arms=ARMS), result.widths, result.arms, 0, result.num_train
    )
    mine, other_arm = (
        [one.test_accuracy for one in result.arms[name]] for name in ("uniform-macs-b", "scratch-b")
    )
    pairs = result.compared()["uniform-macs-b"]
    assert pairs.contrast == paired(mine, other_arm)
    assert pairs.test == "t"
    assert pairs.detectable == pytest.approx(detectable(pairs.contrast.deviation, 5, 11))
    assert other.compared()["uniform-macs-b"].contrast.p_value != pairs.contrast.p_value


@pytest.mark.parametrize("test", get_args(TestName))
def test_sentences_and_tables_say_which_test_was_used(test: TestName) -> None:
    rng = np.random.default_rng(3)
    result = planted(CompareConfig(arms=("scratch-b", "scratch-e"), seeds=6, test=test), rng)
    name = {
        "moderated": "moderated t", "t": "paired t", "wilcoxon": "signed ranks", "sign-flip": "sign flips",
    }[test]  # fmt: skip
    assert f"p ({name})" in differences_table(result).headings
    words = {"moderated": "variances moderated", "t": "paired t tests"}.get(test, name)
    assert words in " ".join(sentences(result))
    assert summary(result)["comparisons"][0]["test"] == test


def test_with_one_seed_nothing_is_tested() -> None:
    result = planted(CompareConfig(arms=ARMS, seeds=1), np.random.default_rng(4))
    assert {one.verdict for one in result.compared().values()} == {"one seed: not tested"}
    said = " ".join(sentences(result))
    assert "Tested by" not in said
    assert "one seed: not tested" in said


def test_arms_that_guess_are_named_whatever_the_number_of_classes() -> None:
    """Of ten classes one may have six in ten of the images."""
    result = planted(CompareConfig(arms=ARMS), np.random.default_rng(0))
    assert not any("guessing" in sentence for sentence in sentences(result))

    def with_guess(guess: float, *names: str) -> CompareResult:
        arms = {
            name: tuple(replace(one, guess=guess if name in names else 0.2) for one in own)
            for name, own in result.arms.items()
        }
        return replace(result, arms=arms)

    said = sentences(with_guess(0.95, "unpruned"))[-1]
    assert said.startswith("Of the arms, unpruned is hardly better than guessing the largest class")
    assert sentences(with_guess(0.95, "unpruned", "lottery"))[-1].startswith(
        "Of the arms, unpruned, lottery are"
    )
    assert sentences(with_guess(0.95, *ARMS))[-1].startswith("Every arm is hardly better than guessing")


def test_what_is_found_anew_for_each_seed_has_its_own_variance() -> None:
    """Its widths differ from seed to seed, which no arm of fixed widths says anything about."""
    arms = ("scratch-e", "scratch-b", "uniform-macs-b", "study-e", "study-b", "torch-pruning")
    rng = np.random.default_rng(8)
    config = CompareConfig(arms=arms)
    result = planted(config, rng)
    like = {"study-e": "random-e", "study-b": "random-b", "torch-pruning": "rewound"}
    usual = {
        name: tuple(
            replace(one, seed=one.seed + STUDY_SEED * name.startswith("study"))
            for one in result.arms[like.get(name, name)]
        )
        for name in arms
    }
    noisy = {
        **usual,
        "study-b": tuple(
            replace(one, test_score=one.test_score + 0.1 * rng.standard_normal()) for one in usual["study-b"]
        ),
    }
    quiet, other = (compared(config, own) for own in (usual, noisy))
    assert other["uniform-macs-b"].contrast.error == pytest.approx(quiet["uniform-macs-b"].contrast.error)
    assert other["study-b"].contrast.error > 3 * quiet["study-b"].contrast.error
