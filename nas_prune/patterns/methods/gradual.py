"""Small weights go while the network trains, by a cubic schedule (Zhu and Gupta 2017)."""

from functools import partial

from torch import nn

from nas_prune.patterns.cut import Scores
from nas_prune.patterns.methods.contract import Course, PatternMethod, Setting
from nas_prune.patterns.methods.magnitude import by_size, magnitudes
from nas_prune.patterns.stepwise import gradually, stepwise


def course(setting: Setting) -> Course:
    """Sixty removals between a tenth and three quarters of the training."""
    return stepwise(setting, gradually(setting), partial(_sizes, setting))


def _sizes(setting: Setting, model: nn.Module) -> Scores:
    own = dict(model.named_parameters())
    weights = {layer.name: own[layer.name].detach() for layer in setting.costs.layers.layers}
    return by_size(weights, setting.scope)


GRADUAL = PatternMethod(
    name="gradual",
    summary="small weights go during the training, quickly at first",
    citation="Zhu and Gupta, To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017",
    scores=magnitudes,
    course=course,
    takes_budgets=False,
)
