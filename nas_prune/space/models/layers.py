"""The first weights that all families share (Liu et al. 2019, the authors' code)."""

from torch import nn


def initialise(model: nn.Module, *, norm_scale: float) -> None:
    """Convolutions N(0, √(2 / (k·k·out))), linear layers N(0, 0.01), norms γ = `norm_scale`, β = 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, norm_scale)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)
