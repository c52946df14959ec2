"""Budgets as people write them, and what is said of those that make no sense."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_prune.errors import BudgetError
from nas_prune.space.budget import Budget
from nas_prune.space.quantities import KINDS, written


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("macs<=50%", Budget("macs", share=0.5)),
        ("MACs <= 12.5 %", Budget("macs", share=0.125)),
        ("params<=1.2M", Budget("params", absolute=1_200_000)),
        ("params≤300k", Budget("params", absolute=300_000)),
        ("channels<=40%", Budget("channels", share=0.4)),
        ("macs<=1.5G", Budget("macs", absolute=1_500_000_000)),
        ("activations<=5000", Budget("activations", absolute=5000)),
        ("macs<=2e6", Budget("macs", absolute=2_000_000)),
        ("latency<=3ms", Budget("latency", absolute=3_000_000)),
        ("latency <= 250 µs", Budget("latency", absolute=250_000)),
        ("latency<=60%", Budget("latency", share=0.6)),
        ("memory<=256KiB", Budget("memory", absolute=262_144)),
        ("size<=1MB", Budget("size", absolute=1_000_000)),
        (
            "latency<=3ms, params<=500K",
            Budget("latency", absolute=3_000_000, more=(Budget("params", absolute=500_000),)),
        ),
    ],
)
def test_budgets_are_read(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("macs<=-3", "must be at least 1, got 'macs<=-3'"),
        ("macs<50", "written with <=, got 'macs<50'. Write macs<=50"),
        ("macs>=50%", "must be an upper bound"),
        ("flops<=50%", "must name MACs, not FLOPs"),
        ("latency<=3", "unit must be %, ms, us, ns or s, got ''"),
        ("latency<=3M", "unit must be %, ms, us, ns or s, got 'm'"),
        ("memory<=3ms", "unit must be %, KiB, MiB, KB, MB or B, got 'ms'"),
        (
            "speed<=3",
            "must bound one of macs, params, channels, activations, latency, memory, size, nonzero, got 'speed'",
        ),
        ("macs<=50%, macs<=3M", "must bound each cost once, got macs twice"),
        ("macs<=50%, own", "must look like"),
        ("macs<=50%,", "must look like"),
        ("macs", "must look like"),
        ("", "must look like"),
        ("macs<=0%", "above 0 % and at most 100 %"),
        ("macs<=120%", "above 0 % and at most 100 %"),
        ("macs<=1.2.3M", "must hold a number"),
        ("macs<=3X", "unit must be %, K, M or G, got 'x'"),
        ("macs<=0.5", "must be at least 1"),
        ("macs<=1e400", "must be below 2^53"),
        ("macs<=nan%", "must look like"),
    ],
)
def test_nonsense_is_refused_in_words(text: str, problem: str) -> None:
    with pytest.raises(BudgetError, match=re.escape(problem)):
        Budget.parse(text)


@given(st.sampled_from(KINDS), st.integers(1, 2**52))
def test_an_absolute_budget_prints_as_what_it_is_read_from(kind: str, count: int) -> None:
    more = () if kind == "macs" else (Budget("macs", 0.5),)
    budget = Budget(kind, absolute=count, more=more)
    assert Budget.parse(str(budget)) == budget
    assert Budget.parse(f"{kind}<={written(kind, count)}").absolute == count


@given(st.floats(1e-12, 1))
def test_a_share_is_read_again_as_it_was(share: float) -> None:
    budget = Budget("macs", share=share, more=(Budget("params", share=share / 3),))
    assert budget.share == pytest.approx(share, rel=1e-9)
    assert Budget.parse(str(budget)) == budget


def test_a_share_of_more_digits_is_rounded_where_it_is_made() -> None:
    for budget in (Budget.parse("nonzero<=33.333333333333%"), Budget("nonzero", share=1 / 3)):
        assert str(budget) == "nonzero<=33.33333333%"
        assert budget.limit(3_000_000) == Budget.parse(str(budget)).limit(3_000_000) == 999_999
    assert str(Budget.parse("nonzero<=0.00001%")) == "nonzero<=0.00001%"


def test_a_limit_is_rounded_down() -> None:
    assert Budget.parse("channels<=40%").limit(4224) == 1689
    assert Budget.parse("macs<=50%").limit(7) == 3
    assert Budget.parse("macs<=29%").limit(100) == 29
