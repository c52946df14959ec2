"""Beginning a study: its directory, and its first trials."""

from pathlib import Path

import pytest

from nas_prune.errors import BadInputError
from nas_prune.guideline.artefact import Cell, Guideline
from nas_prune.runs.settings import read_config
from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig
from nas_prune.study.context import load_study
from nas_prune.study.creation import OneStudy, claim_directory
from nas_prune.study.dashboard import note
from nas_prune.study.location import StudyLocation, studies_in
from nas_prune.study.run import run_study
from tests.study.test_run import changed


def test_a_claim_that_was_killed_can_be_made_again_and_no_other(tmp_path: Path) -> None:
    ours, other = (Guideline(cells=(Cell(stage=1, log_ratio=ratio),)) for ratio in (0.5, 0.7))
    config = changed(guideline="guideline.yaml")
    ours.write(tmp_path / "guideline.yaml")  # and killed before the settings were there
    with pytest.raises(BadInputError, match="must be a new or an empty directory"):
        claim_directory(tmp_path, config, other)
    claim_directory(tmp_path, config, ours)
    assert read_config(tmp_path, StudyConfig).guideline == "guideline.yaml"


def test_a_guideline_that_is_uniform_is_the_baseline_of_that_name(tmp_path: Path) -> None:
    guided = changed(guideline="uniform", trials=1)
    run_study(guided, tmp_path / "run")
    context = load_study(tmp_path / "run")
    with studies_in(StudyLocation(tmp_path / "run"), context.config) as studies:
        one = OneStudy("small", studies["small"], context.config.budgets)
        (first,) = one.study.trials
        assert first.user_attrs[record.SOURCE] == "uniform"
        assert "`uniform` gives uniform widths here, which trial 0 is." in note(context, one, [first])
