"""Guidelines: what found widths have in common, fitted, applied and explained."""

from nas_prune.guideline.artefact import Cell, Guideline, read_guideline
from nas_prune.guideline.fit import fit_guideline, fit_guidelines

__all__ = ["Cell", "Guideline", "fit_guideline", "fit_guidelines", "read_guideline"]
