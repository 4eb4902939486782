import math

from jobs.records.seed_groups import Spread, find_spread, group_by_seed


def test_runs_are_grouped_by_all_settings_but_the_seed() -> None:
    settings = {
        "0000": {"model.name": "gru", "training.seed": 0, "data.groups": ["Bach"]},
        "0001": {"model.name": "gru", "training.seed": 1, "data.groups": ["Bach"]},
        "0002": {"model.name": "base", "training.seed": 0, "data.groups": ["Bach"]},
        "0003": {"training.seed": 2, "data.groups": ["Bach"], "model.name": "gru"},
        "0004": {"model.name": "gru", "training.seed": 0, "data.groups": ["Chopin"]},
    }
    assert group_by_seed(settings) == [["0000", "0001", "0003"], ["0002"], ["0004"]]


def test_spread_of_a_group() -> None:
    assert find_spread([1.0, 2.0, 6.0]) == Spread(3.0, math.sqrt(7))  # squares 4 + 1 + 9, over two degrees of freedom
    assert str(find_spread([1.61, 1.60, 1.59])) == "1.6 ± 0.01"
    assert str(find_spread([1.61])) == "1.61"
    assert find_spread([1.0, None]) is None
    assert find_spread([]) is None
    assert find_spread([1.0, math.nan]) is None
    assert find_spread([math.inf, 1.0]) is None
