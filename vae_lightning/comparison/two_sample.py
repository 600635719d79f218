"""A classifier's two-sample test: whether a machine can tell the rows apart."""

import numpy as np

from vae_lightning.comparison.tables import Coded

FOLDS = 3
TREES, LEARNING_RATE = 50, 0.2
MOST_LEVELS = 255
"""Categories that a gradient-boosted tree tells apart; the rarest share the last one."""


def two_sample_auroc(real: Coded, other: Coded, seed: int) -> float:
    """Area under the ROC curve of gradient-boosted trees that tell real rows from the others, cross-validated.

    0.5: they cannot be told apart; 1: every row gives itself away. Chance leaves a few hundredths around 0.5. NaN where
    there are too few rows to hold some out. (Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests".)
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    if min(len(real), len(other)) < 2 * FOLDS:
        return float("nan")
    x = np.concatenate([to_features(real), to_features(other)])
    y = np.repeat([0, 1], [len(real), len(other)])
    is_category = np.arange(x.shape[1]) >= real.numbers.shape[1]
    scores = []
    for fitted, held_out in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, y):
        trees = HistGradientBoostingClassifier(
            max_iter=TREES,
            learning_rate=LEARNING_RATE,
            categorical_features=is_category,
            early_stopping=False,
            random_state=seed,
        ).fit(x[fitted], y[fitted])
        scores.append(roc_auc_score(y[held_out], trees.decision_function(x[held_out])))
    return float(np.mean(scores))


def to_features(table: Coded) -> np.ndarray:
    """Numbers beside codes, (N, P + Q), as classifiers of scikit-learn read them."""
    return np.concatenate([table.numbers, np.minimum(table.codes, MOST_LEVELS - 1)], axis=1)
