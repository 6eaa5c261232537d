from __future__ import annotations

import pytest

from mrouter.config.load import load_config
from mrouter.errors import ConfigError
from mrouter.links.probes import ProbeProfile

TEXT = """\
role = "mobile-router"
[mobile-router]
home-address = "2001:db8:f1::100"
home-agent = "2001:db8:f0::2"
prefixes = []
policy = "vehicle.toml"
[[link]]
name = "lte"
interface = "wwan0"
ifpri = 0
[security]
unauthenticated-because-ipsec-protects = true
"""


def load(directory, line=""):
    path = directory / "mr.toml"
    path.write_text(TEXT.replace("ifpri = 0\n", f"ifpri = 0\n{line}\n"))
    return load_config(path)


def test_a_link_is_probed_as_the_policies_need_it_unless_its_profile_is_said(tmp_path):
    assert load(tmp_path).links[0].probe is None
    for profile in ProbeProfile:
        assert load(tmp_path, f'probe = "{profile.value}"').links[0].probe is profile


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            'probe = "agressive"',
            r'mr.toml:11: link\[0\].probe: "agressive" is not known '
            r"\(did you mean aggressive\?\)",
        ),
        ("probe = 0.2", r"mr.toml:11: link\[0\].probe: .*"),
        ("probe = true", r"mr.toml:11: link\[0\].probe: .*"),
    ],
)
def test_another_profile_is_refused(tmp_path, line, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, line)
