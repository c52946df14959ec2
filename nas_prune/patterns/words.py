"""What guidelines of patterns say, in words."""

from nas_prune.patterns.guideline import Agreement, PatternGuideline


def sentences(found: PatternGuideline) -> list[str]:
    """Whether sources agree in densities and in positions, a sentence each."""
    said = [_said("how densely stages and kinds of layers are filled", found.of_densities)]
    if found.positions:
        return [*said, _said("which positions of kernels stay", found.of_positions)]
    return [*said, "Of kernel positions nothing is known: no source has enough kernels of several positions."]


def _said(what: str, agreement: Agreement) -> str:
    if agreement.p_value is None:
        return f"One source alone says {what}; it is applied as it is."
    how = f"(p = {agreement.p_value:.2g}, {agreement.test})"
    if agreement.is_found:
        return f"The sources agree {how} on {what}."
    return f"The sources do not agree by more than chance {how} on {what}: uniform is used."
