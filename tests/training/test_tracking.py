"""Loggers: what Weights & Biases is told of a training beyond its figures."""

import numpy as np

from ugcvqa.training.tracking import Row, residuals


def test_residuals_are_summed_up_by_part_and_resolution():
    values = {("test", "360p"): [1.0, -1.0, 3.0], ("test", "1080p"): [0.5], ("val", "360p"): [2.0, 0.0]}
    rows = [Row("id", *key, 3.0 + one, 3.0, one) for key, several in values.items() for one in several]
    rows.append(Row("id", "train", "360p", 9.0, 0.0, 9.0))
    table = residuals(rows)
    assert [line[0] for line in table] == ["test 360p", "test 1080p", "val 360p"]
    for name, n, mean, rmse in table:
        errors = np.array(values[tuple(name.split())])
        assert (n, mean, rmse) == (errors.size, errors.mean(), np.sqrt((errors**2).mean()))
