from __future__ import annotations

import pytest

from mrouter.lab.namespaces import LabError
from mrouter.lab.topology import Topology


@pytest.mark.parametrize("name", ["-x", "a b", "a/b", "UPPER", "../up", "x" * 32])
def test_a_name_that_could_leave_the_labs_own_names_is_refused(name):
    with pytest.raises(LabError, match="cannot name a lab"):
        Topology(name)


def test_every_node_has_a_namespace_with_the_labs_name():
    assert Topology("car7").namespaces == (
        "mrl-car7-lfn",
        "mrl-car7-mr",
        "mrl-car7-net",
        "mrl-car7-ha",
        "mrl-car7-cn",
    )


def test_two_labs_without_a_name_differ():
    assert Topology().namespaces != Topology().namespaces
