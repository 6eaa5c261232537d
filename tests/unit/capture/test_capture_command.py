"""The command's options, its mistakes, and the command itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
from capture_samples import ASSOCIATION, DRAFT, KEY, SIGNED, write_frames

from mrouter.capture.frame import CaptureError
from mrouter.capture.pcap import read_frames
from mrouter.capture.run import CaptureOptions, load_association, make_format, run_capture

# --- mistakes ------------------------------------------------------------------------------


def refuse(**options):
    with pytest.raises(CaptureError) as caught:
        run_capture(CaptureOptions(**options), DRAFT)
    return str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    assert "none.pcap: No such file" in refuse(read=tmp_path / "none.pcap")


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "text.pcap"
    path.write_text("not packets " * 10)
    assert "cannot read" in refuse(read=path)


def test_the_file_that_is_read_is_not_overwritten(tmp_path):
    path = write_frames(tmp_path / "some.pcap", SIGNED)
    assert "overwrite" in refuse(read=path, write=path)
    assert [frame.data for frame in read_frames(path)] == [SIGNED]


def test_bounds_of_a_live_capture_do_not_go_with_a_file(tmp_path):
    assert "excludes" in refuse(read=tmp_path / "some.pcap", seconds=1)


def test_an_interface_that_is_not_there_is_named():
    assert "'nope0'" in refuse(interfaces=["nope0"])


def test_a_dialect_that_is_not_there_is_refused():
    with pytest.raises(CaptureError, match="draft-01, rfc5648"):
        make_format("draft-99")


def test_a_coainfo_type_that_is_taken_is_refused():
    with pytest.raises(CaptureError, match="6"):
        make_format("draft-01", 6)


def test_a_key_is_read_from_its_file(tmp_path):
    path = tmp_path / "mr.key"
    path.write_text(KEY.hex())
    path.chmod(0o600)
    assert load_association(path, 256, "hmac-sha256") == ASSOCIATION


def test_a_key_file_open_to_others_is_refused_and_not_shown(tmp_path):
    path = tmp_path / "mr.key"
    path.write_text(KEY.hex())
    path.chmod(0o644)
    with pytest.raises(CaptureError, match="chmod 600") as caught:
        load_association(path, 256, "hmac-sha256")
    assert KEY.hex() not in str(caught.value)


def test_a_key_without_its_spi_is_refused(tmp_path):
    with pytest.raises(CaptureError, match="--spi"):
        load_association(tmp_path / "mr.key", None, "hmac-sha256")


def test_an_algorithm_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "mr.key"
    path.write_text(KEY.hex())
    path.chmod(0o600)
    with pytest.raises(CaptureError, match="hmac-sha1, hmac-sha256"):
        load_association(path, 256, "md5")


# --- the command ---------------------------------------------------------------------------


def run_command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mrouter", "capture", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_shows_a_file(tmp_path):
    path = write_frames(tmp_path / "some.pcap", SIGNED, SIGNED)
    key = tmp_path / "mr.key"
    key.write_text(KEY.hex())
    key.chmod(0o600)
    done = run_command("--read", path, "--key-file", key, "--spi", 256, "--count", 1)
    assert done.stderr == ""
    assert done.stdout.endswith("auth ok\n")
    assert done.stdout.count("\n") == 1


def test_without_scapy_the_command_says_what_to_install(tmp_path):
    program = (
        "import sys; sys.modules['scapy'] = None; sys.argv = ['mrouter', 'capture'];"
        "from mrouter.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "mrouter: scapy is missing: pip install 'mrouter[capture]'\n"
