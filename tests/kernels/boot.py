"""Run a command on Debian's kernel, in a virtual machine: ``boot.py [COMMAND...]``.

The machine sees this one's files read-only, below a layer in its own memory: whatever the command
writes is gone afterwards. It is emulated in software, so no time taken in it means anything.
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
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
#: Each tool's Debian package.
TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "depmod": "kmod"}
#: Seconds after which the machine is taken for hung.
TIMEOUT = 3600

#: What it takes to see this machine's files; the rest is loaded by name from there.
BOOT_MODULES = ("virtio_pci", "9p", "9pnet_virtio", "overlay")
SHARE = "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"

# cache=loose: nobody changes these files while the machine runs, and Python reads thousands
INIT = """\
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

COMMAND = """\
export HOME=/root PATH={path} TERM=dumb
ip link set lo up
(cd {directory} && {command}) </dev/null >/dev/ttyS0 2>&1
echo $? >/dev/ttyS1
echo o >/proc/sysrq-trigger
while :; do :; done
"""


def main(arguments: list[str]) -> int:
    """Boot, run, and give the command's exit code."""
    missing = [package for tool, package in TOOLS.items() if find(tool) is None]
    if missing:
        sys.exit(f"missing Debian packages; as root run: apt-get install {' '.join(missing)}")
    return boot(fetch_kernel(), arguments or PYTEST)


def fetch_kernel() -> Path:
    """Return the directory of the newest Debian kernel that apt knows, downloaded if need be."""
    text = run(["apt-cache", "depends", "linux-image-amd64"])
    package = next(
        line.split()[-1] for line in text.splitlines() if line.strip().startswith("Depends:")
    )
    directory = CACHE / package
    if not directory.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            run(["apt-get", "-qq", "download", package], cwd=scratch)
            (archive,) = Path(scratch).glob("*.deb")
            unpacked = Path(scratch, "unpacked")
            run(["dpkg", "-x", str(archive), str(unpacked)])
            run([find("depmod"), "-b", str(unpacked), package.removeprefix("linux-image-")])
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
                *("-virtfs", SHARE),
                *("-kernel", str(image), "-initrd", str(initramfs)),
                *("-append", "console=ttyS0 quiet loglevel=3 panic=-1 rdinit=/init"),
            ],
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT,
            check=True,
        )
        code = result.read_text().strip()
    if not code:
        sys.exit("the virtual machine ended before its command did")
    return int(code)


def build_initramfs(modules: Path, command: list[str]) -> bytes:
    """Return a cpio archive (newc) with all that stands between the kernel and ``command``."""
    order = list_modules(modules)
    script = COMMAND.format(
        path=SEARCH_PATH, directory=shlex.quote(str(CHECKOUT)), command=shlex.join(command)
    )
    files = {
        "init": INIT.format(modules=modules).encode(),
        "command": script.encode(),
        "bin/busybox": Path(find("busybox")).read_bytes(),
        "modules/order": "".join(f"{path.name}\n" for path in order).encode(),
        **{f"modules/{path.name}": path.read_bytes() for path in order},
    }
    directories = ("bin", "modules", "lower", "layer", "root")
    applets = ("cp", "insmod", "mkdir", "mount", "sh", "switch_root", "uname")
    return b"".join(
        (
            *(pack(name, 0o040755) for name in directories),
            *(pack(name, 0o100755, content) for name, content in files.items()),
            *(pack(f"bin/{name}", 0o120777, b"busybox") for name in applets),
            pack("TRAILER!!!", 0),
        )
    )


def list_modules(modules: Path) -> list[Path]:
    """List ``BOOT_MODULES`` and what they need, in the order to load them in."""
    needs: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    order: dict[str, None] = {}
    for name in BOOT_MODULES:
        path = next(path for path in needs if Path(path).name == f"{name}.ko")
        # modules.dep lists the nearest first
        order.update(dict.fromkeys([*reversed(needs[path]), path]))
    return [modules / path for path in order]


def pack(name: str, mode: int, content: bytes = b"") -> bytes:
    """Return one entry of a cpio archive."""
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    start = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return pad(start) + pad(content)


def pad(data: bytes) -> bytes:
    """Fill ``data`` up to a multiple of four octets."""
    return data + bytes(-len(data) % 4)


def find(tool: str) -> str | None:
    """Find ``tool`` where root would."""
    return shutil.which(tool, path=SEARCH_PATH)


def run(command: list[str], cwd: str | None = None) -> str:
    """Return what ``command`` printed; end with what it complained of if it failed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}: {done.stderr.strip()} (try apt-get update)")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
