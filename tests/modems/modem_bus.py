"""A D-Bus daemon of a test's own, and a ModemManager on it that does as it is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ADDRESS = "DBUS_SYSTEM_BUS_ADDRESS"
_PROGRAM = Path(__file__).with_name("fake_modem_manager.py")
_CONFIGURATION = """\
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class ModemBus:
    """The bus; ``address`` is for the environment of whom is to use it."""

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="mrouter-bus-")
        self._socket = Path(self._directory.name) / "bus"
        self._configuration = Path(self._directory.name) / "bus.conf"
        self._configuration.write_text(_CONFIGURATION.format(socket=self._socket))
        self.address = f"unix:path={self._socket}"
        self._daemon = None
        self._service = None

    def __enter__(self):
        self.start_bus()
        return self

    def __exit__(self, *reason):
        self.stop_service()
        self.stop_bus()
        self._directory.cleanup()

    def start_bus(self):
        options = [f"--config-file={self._configuration}", "--nofork", "--nopidfile"]
        command = ["dbus-daemon", *options, "--print-address"]
        self._daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._daemon.stdout.readline().startswith(self.address)  # it listens now

    def stop_bus(self):
        _kill(self._daemon)
        self._socket.unlink(missing_ok=True)

    def start_service(self):
        self._service = subprocess.Popen(
            [sys.executable, str(_PROGRAM)],
            env={**os.environ, ADDRESS: self.address},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def stop_service(self):
        if self._service is not None:
            _kill(self._service)
            self._service = None

    def freeze_service(self):
        self._service.send_signal(signal.SIGSTOP)

    def thaw_service(self):
        self._service.send_signal(signal.SIGCONT)

    def tell(self, do, **arguments):
        """Have the service do something, and return its answer."""
        self._service.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._service.stdin.flush()
        return self._read()

    def set_signal(self, modem, percent):
        self.tell("set", modem=modem, name="signal_quality", value=[percent, True])

    def _read(self):
        line = self._service.stdout.readline()
        assert line, "the service has ended"
        return json.loads(line)


def _kill(process):
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
