"""What a network's quality is measured by, as numbers and as words."""

import pytest
from pydantic import TypeAdapter, ValidationError

from nas_prune.data.metric import ACCURACY, Metric

RMSE = Metric("RMSE", is_greater_better=False)


@pytest.mark.parametrize("metric", [ACCURACY, RMSE])
def test_the_better_of_two_values_has_the_greater_score_and_a_score_leads_back(metric: Metric) -> None:
    better, worse = (0.8, 0.3) if metric.is_greater_better else (0.3, 0.8)
    assert metric.score(better) > metric.score(worse)
    assert metric.score(metric.score(better)) == better
    assert metric.difference(metric.score(better) - metric.score(worse)).startswith("+")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.4318, "0.4318"),
        (0.0012346, "0.001235"),
        (31.4159, "31.42"),
        (1e6, "1,000,000"),
        (3e12, "3.000e+12"),
        (-2e-9, "-2.000e-09"),
        (float("nan"), "nan"),
    ],
)
def test_what_is_no_share_is_written_with_four_digits(value: float, said: str) -> None:
    assert RMSE.shown(value) == RMSE.bare(value) == said


def test_a_share_is_written_in_percent_and_its_differences_in_points() -> None:
    assert (ACCURACY.shown(0.5), ACCURACY.heading) == ("50.00 %", "accuracy (%)")
    assert ACCURACY.difference(-0.001) + ACCURACY.unit == "-0.10 points"
    assert RMSE.difference(0.5) + RMSE.unit == "+0.5000"


def test_intervals_and_pictures_of_scores_are_in_values() -> None:
    assert ACCURACY.between(0.5, 0.75) == "50.00 to 75.00"
    assert RMSE.between(-0.75, -0.5) == "0.5000 to 0.7500"
    assert (ACCURACY.drawn(0.5), RMSE.drawn(-0.5)) == (50, 0.5)


@pytest.mark.parametrize("name", ["", "two\nlines", "a|b", "<b>", "x" * 41])
def test_a_name_that_would_break_a_table_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="^1 validation error for Metric\nname\n"):
        Metric(name=name)


def test_settings_hold_it_as_plain_json_and_refuse_what_they_do_not_know() -> None:
    known = TypeAdapter(Metric)
    assert known.validate_python(known.dump_python(RMSE, mode="json")) == RMSE
    with pytest.raises(ValidationError, match="unit"):
        known.validate_python({"name": "mIoU", "unit": "%"})
