"""Databases of a stranger: what would be computed when they are read or written is refused, and odd values are said."""

import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import create_trial

from nas_prune.errors import StorageError
from nas_prune.study.config import StudyConfig
from nas_prune.study.storage import opened
from nas_prune.study.trial_check import check_study

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A study of one complete trial."""
    path = tmp_path / "x.db"
    with opened(f"sqlite:///{path}", tmp_path) as storage:
        study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
        study.add_trial(create_trial(value=0.5, user_attrs={"params": 7}))
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as found, found:
        for statement in statements:
            found.execute(statement.replace("ENDLESS", ENDLESS).replace("DEEP", "[" * 100_000))


def check(path: Path) -> None:
    with opened(f"sqlite:///{path}", path.parent) as storage:
        check_study(
            optuna.load_study(study_name="s", storage=storage), StudyConfig(name="s", space="resnet20")
        )


def test_a_study_of_ours_is_read(database: Path) -> None:
    check(database)


@pytest.mark.parametrize(
    "statements",
    [
        (
            "ALTER TABLE trials RENAME TO t",
            "CREATE VIEW trials AS SELECT * FROM t WHERE trial_id IN (ENDLESS)",
        ),
        ("CREATE TRIGGER evil AFTER INSERT ON trials BEGIN SELECT x FROM (ENDLESS); END",),
        ("CREATE TABLE more (a, b AS (zeroblob(1000000000)))",),
        ("CREATE VIRTUAL TABLE more USING fts5(a)",),
    ],
    ids=["view", "trigger", "column", "virtual"],
)
def test_what_would_be_computed_is_refused(statements: tuple[str, ...], database: Path) -> None:
    change(database, *statements)
    with pytest.raises(StorageError, match="must hold tables as Optuna makes them, got sqlite"):
        check(database)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE trial_user_attributes SET value_json = '['", "what Optuna cannot read"),
        ("UPDATE trial_user_attributes SET value_json = 'DEEP'", "what Optuna cannot read"),
        (
            "UPDATE trial_user_attributes SET value_json = '\"7\"'",
            "attributes as they are written here, got params=7",
        ),
        ("UPDATE study_directions SET direction = 'MINIMIZE'", "directions of nas-prune, got minimize"),
        ("UPDATE trial_values SET value = 1e308 * 10", "numbers as values, got"),
        ("DELETE FROM trial_values", "a value and widths|what Optuna cannot read"),
    ],
)
def test_odd_values_are_said_in_one_line(statement: str, why: str, database: Path) -> None:
    change(database, statement)
    with pytest.raises(StorageError, match=why):
        check(database)
