"""Which links' radios are asked about."""

from __future__ import annotations

import pytest
from test_config_probe import load

from mrouter.errors import ConfigError
from mrouter.links.radio import RadioKind


def test_a_radio_is_known_to_nobody_unless_the_file_says_so(tmp_path):
    (link,) = load(tmp_path).links
    assert (link.radio, link.least_signal) == (None, None)
    for kind in RadioKind:
        assert load(tmp_path, f'radio = "{kind.value}"').links[0].radio is kind


def test_links_with_a_least_signal_may_weaken(tmp_path):
    config = load(tmp_path, 'radio = "wifi"\nleast-signal = 20')
    assert config.links[0].least_signal == 20
    assert config.may_weaken == {"lte"}
    assert load(tmp_path, 'radio = "wifi"').may_weaken == frozenset()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('radio = "modum"', r'radio: "modum" is not known \(did you mean modem\?\)'),
        ("least-signal = 20", r'least-signal: stands beside radio only \(write radio = "modem"'),
        ('radio = "modem"\nleast-signal = 0', r"least-signal: must be from 1 to 100 percent"),
        ('radio = "modem"\nleast-signal = "20"', r"least-signal: .*"),
    ],
)
def test_a_mistake_is_told(tmp_path, lines, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, lines)
