"""Usefulness for prediction: train on one table, test on real rows."""

import numpy as np

from vae_lightning.comparison.tables import Coded
from vae_lightning.comparison.two_sample import to_features

TREES, LEAST_ROWS_IN_LEAF = 100, 3


def name_measure(real: Coded, target: str) -> str:
    """How a prediction of ``target`` is judged: AUROC of two categories, accuracy of more, R² of numbers."""
    if real.kinds.is_number(target):
        return "R²"
    return "AUROC" if len(np.unique(_observed(real, target).column(target))) == 2 else "accuracy"


def usefulness(table: Coded, real: Coded, target: str, seed: int) -> float:
    """How well a random forest that has seen ``table`` alone predicts a column of real rows; see :func:`name_measure`.

    Rows whose target is empty are left out. NaN where the real target holds one value, or no row has one.

    Args:
        table: what the forest is trained on.
        real: rows it is tested on.
        target: the column to predict from all others.
        seed: of the forest.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.metrics import r2_score, roc_auc_score

    table, real = _observed(table, target), _observed(real, target)
    others = [name for name in (*real.kinds.numbers, *real.kinds.categories) if name != target]
    y = real.column(target)
    if not others or not len(table) or len(np.unique(y)) < 2:
        return float("nan")
    fitted, tested = (to_features(rows.select(others)) for rows in (table, real))
    options = {"n_estimators": TREES, "min_samples_leaf": LEAST_ROWS_IN_LEAF, "random_state": seed}
    measure = name_measure(real, target)
    if measure == "R²":
        trees = RandomForestRegressor(max_features=1 / 3, **options).fit(fitted, table.column(target))
        return float(r2_score(y, trees.predict(tested)))
    trees = RandomForestClassifier(**options).fit(fitted, table.column(target))
    if measure == "accuracy":
        return float(np.mean(trees.predict(tested) == y))
    positive = np.unique(y)[1]  # the rarer of the two
    chances = trees.predict_proba(tested)[:, trees.classes_ == positive].sum(axis=1)
    return float(roc_auc_score(y == positive, chances))


def _observed(table: Coded, target: str) -> Coded:
    values = table.column(target)
    if table.kinds.is_number(target):
        return table.take(np.flatnonzero(~np.isnan(values)))
    return table.take(np.flatnonzero(values != table.kinds.holes[table.kinds.categories.index(target)]))
