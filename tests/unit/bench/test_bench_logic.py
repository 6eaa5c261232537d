import pytest

from bench.failover_labs import format_policies as format_failover_policies
from bench.gaps import (
    Loss,
    Packet,
    count_duplicates,
    count_lost,
    find_longest_gap,
    find_losses,
)
from bench.networks import format_mixed_policies, format_policies
from bench.report import Section, format_report, format_spread, format_table
from bench.start import sum_imports
from mrouter.policy.load import load_policies


def test_longest_gap_is_the_longest_inside_the_window():
    arrivals = [0.0, 5.0, 5.1, 5.4, 5.5, 9.0]

    assert find_longest_gap(arrivals, 5.05, 5.6) == pytest.approx(0.3)


def test_gap_counts_from_the_last_arrival_before_the_window():
    assert find_longest_gap([1.0, 1.5, 1.51], 1.2, 1.52) == pytest.approx(0.5)


def test_gap_that_no_arrival_ends_lasts_until_the_window_ends():
    assert find_longest_gap([1.0, 1.1], 1.05, 3.0) == pytest.approx(1.9)


def test_window_without_any_arrival_is_one_gap():
    assert find_longest_gap([], 2.0, 2.4) == pytest.approx(0.4)


def receive(*numbers):
    """Packets that were sent every 10 ms, and came 1 ms later in this order."""
    return [Packet(number, number / 100, number / 100 + 0.001) for number in numbers]


def test_missing_numbers_are_losses_that_began_after_the_last_that_came():
    losses = find_losses(receive(0, 1, 4, 5, 7))

    assert [loss.count for loss in losses] == [2, 1]
    assert [loss.at for loss in losses] == pytest.approx([0.02, 0.06])


def test_packets_that_overtake_each_other_or_come_twice_are_no_losses():
    assert find_losses(receive(0, 2, 1, 1, 3)) == []


def test_losses_are_counted_in_the_window_in_which_they_began():
    losses = [Loss(1.0, 3), Loss(2.0, 5), Loss(3.0, 7)]

    assert count_lost(losses, 1.5, 3.0) == 5


def test_what_came_before_makes_a_duplicate_in_the_window():
    packets = receive(0, 1, 1, 2, 2, 2, 0, 3)

    assert count_duplicates(packets, 0.0, 1.0) == 4
    assert count_duplicates(packets, 0.015, 1.0) == 2


def test_import_times_are_summed_up_by_top_level_package():
    lines = [
        "import time: self [us] | cumulative | imported package",
        "import time:      1500 |       1500 |     asyncio.events",
        "import time:       500 |       2000 |   asyncio",
        "import time:        30 |       2030 | mrouter",
        "INFO started role=mobile-router",
    ]

    assert sum_imports(lines) == pytest.approx({"asyncio": 2.0, "mrouter": 0.03})


def test_spread_is_median_least_and_most():
    assert format_spread([3.0, 1.0, 2000.0]) == "3.0 (1.0-2,000.0)"


def test_columns_of_numbers_are_set_to_the_right():
    assert format_table(("case", "ms"), [("a", "1.5 (1-2)"), ("b", "-")]).splitlines() == [
        "| case | ms |",
        "| --- | ---: |",
        "| a | 1.5 (1-2) |",
        "| b | - |",
    ]


def test_median_and_worst_are_numbers_too():
    assert "| ---: |" in format_table(("ms",), [("16 / 1,018",)])


def test_report_marks_an_aim_that_was_missed():
    section = Section("Start", ("text",), (("under 500 ms", "600 ms", False),))

    assert "| Start | under 500 ms | 600 ms | **no** |" in format_report([section], quick=False)


@pytest.mark.parametrize("count", [1, 1000])
def test_failover_policies_have_the_bicast_flow_first_and_choose_in_the_default(tmp_path, count):
    path = tmp_path / "policy.toml"
    path.write_text(format_failover_policies(count, choose="lowest-loss"))

    first, *others, default = load_policies(path, ["lte", "wifi", "sat"], ["lan0"]).policies

    assert first.name == "bicast"
    assert len(others) == count - 1
    assert default.name == "default"


@pytest.mark.parametrize("form", [format_policies, format_mixed_policies])
@pytest.mark.parametrize("count", [1, 1000])
def test_policy_file_has_as_many_policies_and_the_measured_port_last(tmp_path, count, form):
    path = tmp_path / "policy.toml"
    path.write_text(form(count))

    *policies, _default = load_policies(path, ["lte", "wifi", "sat"], ["lan0"]).policies

    assert len(policies) == count
    assert policies[-1].match.destination_ports[0].first == 9000
