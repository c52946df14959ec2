"""Ridge regression of what a first fit left, with as much of it believed as predicts what was left out.

Shape suffixes: M measurements, F features.
"""

import numpy as np
from numpy.typing import NDArray

_PENALTIES = 10 ** np.arange(-3, 3, 0.5)
_USUAL = 1.4826  # standard deviations in a median of absolute errors, for normal ones
_FINEST = 0.01  # of a value, that no measurement is better than
_FAR = 2.0  # standard deviations from which on a measurement counts less
_BOUND = 3.0  # beyond which an error counts no more, where penalties are compared
MARGIN = 0.98  # of the error of zero, below which another must be to be believed


def trust_in(values_M: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much each of some values around zero counts: less, where it is far larger than is usual."""
    return np.minimum(1.0, _FAR * _usual(values_M) / np.maximum(np.abs(values_M), 1e-12))


def capped_loss(
    errors_M: NDArray[np.float64], trust_M: NDArray[np.float64], values_M: NDArray[np.float64]
) -> float:
    """The mean square of errors in predicting values that are trusted so much, none counted as more than a bound."""
    return float(np.minimum(trust_M * errors_M**2, (_BOUND * _usual(values_M)) ** 2).mean())


def _usual(values_M: NDArray[np.float64]) -> float:
    return max(_FINEST, _USUAL * float(np.median(np.abs(values_M))))


def ridge(
    features_MF: NDArray[np.float64], values_M: NDArray[np.float64], of_M: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The coefficients that predict values which they have not seen best; all zero where zero predicts no worse.

    The penalty is the one of some by which measurements are predicted best that are left out, all of one network at
    once: what disturbed it is in all of them. Values that are far larger than usual count less: other processes disturb
    single measurements.

    Args:
        features_MF: a column for each coefficient; the penalty treats all alike, so that they should be of one size.
        values_M: relative errors to be predicted, around zero.
        of_M: the network that each is of.

    Returns:
        F coefficients.
    """
    trust_M = trust_in(values_M)
    weighted_FM = (features_MF * trust_M[:, None]).T
    products_FF, right_F = weighted_FM @ features_MF, weighted_FM @ values_M
    groups = [np.flatnonzero(of_M == network) for network in np.unique(of_M)]
    best, found_F = MARGIN * capped_loss(values_M, trust_M, values_M), np.zeros(features_MF.shape[1])
    for penalty in _PENALTIES:
        inverse_FF = np.linalg.inv(products_FF + penalty * np.eye(len(found_F)))
        weights_F = inverse_FF @ right_F
        errors_M = values_M - features_MF @ weights_F
        for own in groups:  # exact: as if fitted without them
            part = features_MF[own] @ inverse_FF @ weighted_FM[:, own]
            errors_M[own] = np.linalg.solve(np.eye(len(own)) - part, errors_M[own])
        left_out = capped_loss(errors_M, trust_M, values_M)
        if left_out < best:
            best, found_F = left_out, weights_F
    return found_F
