"""nas-prune: find the shape of a convolutional network.

Structured pruning as a search for layer widths; the networks found are trained from random weights.
"""

from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas_prune.comparison.config import CompareConfig as CompareConfig
    from nas_prune.comparison.evaluate import evaluate_guideline as evaluate_guideline
    from nas_prune.comparison.evaluate_result import EvaluateConfig as EvaluateConfig
    from nas_prune.comparison.run import compare as compare
    from nas_prune.comparison.transfer import transfer as transfer
    from nas_prune.compression.config import CompressConfig as CompressConfig
    from nas_prune.compression.run import compress as compress
    from nas_prune.data.metric import Metric as Metric
    from nas_prune.data.own_datasets import Datasets as Datasets
    from nas_prune.data.own_datasets import register_data as register_data
    from nas_prune.data.task import Task as Task
    from nas_prune.data.tasks import register_task as register_task
    from nas_prune.errors import NasPruneError as NasPruneError
    from nas_prune.export.config import ExportConfig as ExportConfig
    from nas_prune.export.run import export_network as export_network
    from nas_prune.guideline.apply import apply_guideline as apply_guideline
    from nas_prune.guideline.artefact import Guideline as Guideline
    from nas_prune.guideline.artefact import read_guideline as read_guideline
    from nas_prune.guideline.fit import fit_guideline as fit_guideline
    from nas_prune.guideline.fit import fit_guidelines as fit_guidelines
    from nas_prune.patterns.config import SparsifyConfig as SparsifyConfig
    from nas_prune.patterns.pattern import Pattern as Pattern
    from nas_prune.patterns.pattern import read_pattern as read_pattern
    from nas_prune.patterns.run import sparsify as sparsify
    from nas_prune.patterns.training import train_pattern as train_pattern
    from nas_prune.report.read import read_parts as read_parts
    from nas_prune.report.render import as_html as as_html
    from nas_prune.search.config import SearchConfig as SearchConfig
    from nas_prune.search.methods.contract import Evidence as Evidence
    from nas_prune.search.methods.contract import WidthMethod as WidthMethod
    from nas_prune.search.methods.registry import register_method as register_method
    from nas_prune.search.own_loop import method as method
    from nas_prune.search.own_loop import scores as scores
    from nas_prune.search.own_loop import slimming as slimming
    from nas_prune.search.run import search as search
    from nas_prune.space.budget import Budget as Budget
    from nas_prune.space.load import load_space as load_space
    from nas_prune.space.rebuild import rebuild as rebuild
    from nas_prune.space.search_space import SearchSpace as SearchSpace
    from nas_prune.space.widths import Widths as Widths
    from nas_prune.space.widths import read_widths as read_widths
    from nas_prune.study.config import StudyConfig as StudyConfig
    from nas_prune.study.config import read_study as read_study
    from nas_prune.study.own_function import Trial as Trial
    from nas_prune.study.own_training import study as study
    from nas_prune.study.rank import rank_study as rank_study
    from nas_prune.study.run import run_study as run_study
    from nas_prune.training.config import TrainConfig as TrainConfig
    from nas_prune.training.load_network import load_network as load_network
    from nas_prune.training.prediction import predict as predict
    from nas_prune.training.run import train as train

# Loaded on first use, so that importing the package does not import torch.
_HOMES = {
    "Budget": "space.budget",
    "CompareConfig": "comparison.config",
    "CompressConfig": "compression.config",
    "EvaluateConfig": "comparison.evaluate_result",
    "Datasets": "data.own_datasets",
    "Evidence": "search.methods.contract",
    "ExportConfig": "export.config",
    "Guideline": "guideline.artefact",
    "Metric": "data.metric",
    "NasPruneError": "errors",
    "Pattern": "patterns.pattern",
    "SearchConfig": "search.config",
    "SearchSpace": "space.search_space",
    "SparsifyConfig": "patterns.config",
    "StudyConfig": "study.config",
    "Task": "data.task",
    "TrainConfig": "training.config",
    "Trial": "study.own_function",
    "WidthMethod": "search.methods.contract",
    "Widths": "space.widths",
    "apply_guideline": "guideline.apply",
    "as_html": "report.render",
    "compare": "comparison.run",
    "compress": "compression.run",
    "evaluate_guideline": "comparison.evaluate",
    "export_network": "export.run",
    "fit_guideline": "guideline.fit",
    "fit_guidelines": "guideline.fit",
    "load_network": "training.load_network",
    "load_space": "space.load",
    "method": "search.own_loop",
    "predict": "training.prediction",
    "rank_study": "study.rank",
    "read_guideline": "guideline.artefact",
    "read_pattern": "patterns.pattern",
    "read_parts": "report.read",
    "read_study": "study.config",
    "read_widths": "space.widths",
    "rebuild": "space.rebuild",
    "register_data": "data.own_datasets",
    "register_method": "search.methods.registry",
    "register_task": "data.tasks",
    "run_study": "study.run",
    "scores": "search.own_loop",
    "search": "search.run",
    "slimming": "search.own_loop",
    "sparsify": "patterns.run",
    "study": "study.own_training",
    "train": "training.run",
    "train_pattern": "patterns.training",
    "transfer": "comparison.transfer",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nas_prune' has no attribute {name!r}")
    found = getattr(import_module(f"nas_prune.{_HOMES[name]}"), name)
    if isinstance(found, FunctionType):
        from nas_prune.runs.typed import called_by_person

        return called_by_person(found)
    return found
