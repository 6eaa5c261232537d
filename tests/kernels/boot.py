"""Run a command on Debian's kernel, in a virtual machine: ``boot.py [COMMAND...]``.

The machine sees this one's files read-only, below a layer in its own memory: whatever the command
writes is gone afterwards. Needs no KVM (software emulation takes about five seconds to boot).
Without a command, the tests of this directory run. Exits as the command does.

Debian packages: qemu-system-x86, busybox-static, kmod. The kernel is downloaded once, by apt-get,
to ``.cache/kernels`` in the checkout, and is not installed.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".cache/kernels"
PYTEST = [str(CHECKOUT / ".venv/bin/pytest"), "-m", "kernels", "tests/kernels"]
#: Seconds after which the machine is taken for hung.
TIMEOUT = 1200

#: What it takes to see this machine's files; the rest is loaded by name from there.
_BOOT_MODULES = ("virtio_pci", "9p", "9pnet_virtio", "overlay")

# cache=loose: nobody changes these files while the machine runs, and Python reads thousands
_INIT = """\
#!/bin/busybox sh
set -e
export PATH=/bin
while read -r module; do insmod "/modules/$module"; done </modules/order
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /lower
mount -t tmpfs layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work root /root
mkdir -p "/root/lib/modules/$(uname -r)"
mount --bind "/lower{modules}" "/root/lib/modules/$(uname -r)"
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
for directory in run tmp; do mount -t tmpfs "$directory" "/root/$directory"; done
cp /command /root/run/command
exec switch_root /root /bin/sh /run/command
"""

_COMMAND = """\
export HOME=/root PATH={path} TERM=dumb
ip link set lo up
(cd {directory} && {command}) </dev/null >/dev/ttyS0 2>&1
echo $? >/dev/ttyS1
echo o >/proc/sysrq-trigger
while :; do :; done
"""


def main(arguments: list[str]) -> int:
    """Boot, run, and give the command's exit code."""
    missing = [
        tool
        for tool in ("qemu-system-x86_64", "busybox", "depmod")
        if not shutil.which(tool, path=_SEARCH_PATH)
    ]
    if missing:
        print(f"missing: {', '.join(missing)}; as root run:", file=sys.stderr)
        print("apt-get install qemu-system-x86 busybox-static kmod", file=sys.stderr)
        return 2
    return boot(fetch_kernel(), arguments or PYTEST)


_SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def fetch_kernel() -> Path:
    """Return the directory of the newest Debian kernel that apt knows, downloaded if need be."""
    text = _run(["apt-cache", "depends", "linux-image-amd64"])
    package = next(
        line.split()[-1] for line in text.splitlines() if line.strip().startswith("Depends:")
    )
    directory = CACHE / package
    if not directory.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            _run(["apt-get", "download", package], cwd=scratch)
            (archive,) = Path(scratch).glob("*.deb")
            unpacked = Path(scratch, "unpacked")
            _run(["dpkg", "-x", str(archive), str(unpacked)])
            version = package.removeprefix("linux-image-")
            _run([shutil.which("depmod", path=_SEARCH_PATH), "-b", str(unpacked), version])
            unpacked.rename(directory)
    return directory


def boot(kernel: Path, command: list[str]) -> int:
    """Run ``command`` in the checkout's directory on ``kernel``; its output is ours."""
    (image,) = kernel.glob("boot/vmlinuz-*")
    (modules,) = kernel.glob("lib/modules/*")
    with tempfile.TemporaryDirectory() as scratch:
        initramfs = Path(scratch, "initramfs")
        initramfs.write_bytes(build_initramfs(modules, command))
        result = Path(scratch, "result")
        subprocess.run(
            [
                "qemu-system-x86_64",
                *("-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "1G"),
                *("-nodefaults", "-no-reboot", "-display", "none"),
                *("-serial", "stdio", "-serial", f"file:{result}"),
                *("-virtfs", _SHARE),
                *("-kernel", str(image), "-initrd", str(initramfs)),
                *("-append", "console=ttyS0 quiet loglevel=3 panic=-1 rdinit=/init"),
            ],
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT,
            check=True,
        )
        text = result.read_text().strip()
    if not text:
        print("the virtual machine ended before its command did", file=sys.stderr)
        return 2
    return int(text)


_SHARE = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"


def build_initramfs(modules: Path, command: list[str]) -> bytes:
    """Return a cpio archive (newc) with all that stands between the kernel and ``command``."""
    order = _list_modules(modules)
    script = _COMMAND.format(
        path=_SEARCH_PATH, directory=shlex.quote(str(CHECKOUT)), command=shlex.join(command)
    )
    files = {
        "init": _INIT.format(modules=modules).encode(),
        "command": script.encode(),
        "bin/busybox": Path(shutil.which("busybox", path=_SEARCH_PATH)).read_bytes(),
        "modules/order": "".join(f"{path.name}\n" for path in order).encode(),
        **{f"modules/{path.name}": path.read_bytes() for path in order},
    }
    directories = ("bin", "modules", "lower", "layer", "root")
    applets = ("cp", "insmod", "mkdir", "mount", "sh", "switch_root", "uname")
    return b"".join(
        (
            *(_pack(name, 0o040755) for name in directories),
            *(_pack(name, 0o100755, content) for name, content in files.items()),
            *(_pack(f"bin/{name}", 0o120777, b"busybox") for name in applets),
            _pack("TRAILER!!!", 0),
        )
    )


def _list_modules(modules: Path) -> list[Path]:
    """List the modules of ``_BOOT_MODULES`` and what they need, in the order to load them in."""
    needs: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    order: dict[str, None] = {}
    for name in _BOOT_MODULES:
        path = next(path for path in needs if Path(path).name == f"{name}.ko")
        # modules.dep lists the nearest first
        order.update(dict.fromkeys([*reversed(needs[path]), path]))
    return [modules / path for path in order]


def _pack(name: str, mode: int, content: bytes = b"") -> bytes:
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return _pad(header) + _pad(content)


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _run(command: list[str], cwd: str | None = None) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
