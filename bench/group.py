#!/usr/bin/env python3
"""Run a command in a control group of so much memory, and say what it took.

    bench/group.py --memory 6GiB [--cold FILE ...] -- COMMAND ...

Makes a child of the memory controller, version 1 or 2, whichever the machine has, limited to SIZE (plus --spare), drops
the pages of FILE from the page cache, runs the command in the group and removes the group. Prints one JSON line: exit
code, seconds, peak of the group (page cache included), whether the kernel killed anything, major faults, and bytes read
from disk by the kernel's own count. Needs the right to make groups (root, or a delegated group), Python 3.9, no packages.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path("/sys/fs/cgroup")


class NoGroup(RuntimeError):
    """This machine or this user can make no control group."""


def size(text):
    """`6GiB`, `800MB` or a number of bytes."""
    match = re.fullmatch(r"([0-9.]+)\s*([KMGT]?)(i?)B?", text, re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"{text} is not a size; write it as 6GiB or 800MB")
    base = 1000 if text.upper().endswith("B") and match[2] and not match[3] else 1024
    return int(float(match[1]) * base ** " KMGT".index(match[2].upper() or " "))


def own_paths():
    """Where this process is, by controller: {'memory': '/a', '': '/b'}; '' is version 2."""
    paths = {}
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            paths[name] = path
    return paths


def parents(root, path):
    """The group of this process and those above it, the nearest first."""
    here = root / path.lstrip("/")
    return [folder for folder in [here, *here.parents] if folder.is_dir() and (folder == root or root in folder.parents)]


class Group:
    """A child group with a limit; use it in `with`."""

    def __init__(self, limit):
        self.limit, self.name, self.folders = limit, f"ingle-bench-{os.getpid()}", {}

    def __enter__(self):
        try:
            if (ROOT / "memory" / "memory.limit_in_bytes").exists():
                self.version = 1
                self._make_v1()
            elif (ROOT / "cgroup.controllers").exists():
                self.version = 2
                self._make_v2()
            else:
                raise NoGroup("no memory controller is mounted")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make_v1(self):
        own = own_paths()
        for controller in ("memory", "blkio"):
            if not (ROOT / controller).is_dir():
                continue
            for parent in parents(ROOT / controller, own.get(controller, "/")):
                with contextlib.suppress(OSError):
                    (parent / self.name).mkdir()
                    self.folders[controller] = parent / self.name
                    break
        if "memory" not in self.folders:
            raise NoGroup("no group could be made under the memory controller")
        folder = self.folders["memory"]
        with contextlib.suppress(OSError):
            (folder / "memory.use_hierarchy").write_text("1")
        (folder / "memory.limit_in_bytes").write_text(str(self.limit))
        with contextlib.suppress(OSError):
            (folder / "memory.swappiness").write_text("0")

    def _make_v2(self):
        for parent in parents(ROOT, own_paths().get("", "/")):
            for controller in ("+memory", "+io"):
                with contextlib.suppress(OSError):
                    (parent / "cgroup.subtree_control").write_text(controller)
            folder = parent / self.name
            with contextlib.suppress(OSError):
                folder.mkdir()
                if (folder / "memory.max").exists():
                    (folder / "memory.max").write_text(str(self.limit))
                    self.folders["memory"] = self.folders["io"] = folder
                    break
                folder.rmdir()
        if "memory" not in self.folders:
            raise NoGroup("no group with a memory limit could be made")
        with contextlib.suppress(OSError):
            (folder / "memory.swap.max").write_text("0")

    def enter(self):
        """Moves the process that calls it into the group."""
        for folder in dict.fromkeys(self.folders.values()):
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def _read(self, controller, name):
        try:
            return (self.folders[controller] / name).read_text()
        except (OSError, KeyError):
            return None

    def peak(self):
        """Bytes that the group held at most, page cache included; None where the kernel does not say."""
        text = self._read("memory", "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak")
        return int(text) if text else None

    def kills(self):
        """Processes that the kernel killed because the limit was reached."""
        text = self._read("memory", "memory.oom_control" if self.version == 1 else "memory.events") or ""
        found = re.search(r"^oom_kill (\d+)", text, re.MULTILINE)
        return int(found[1]) if found else None

    def at_limit(self):
        """How often the limit was reached and something had to go."""
        text = self._read("memory", "memory.failcnt" if self.version == 1 else "memory.events") or ""
        found = re.search(r"^max (\d+)" if self.version == 2 else r"(\d+)", text, re.MULTILINE)
        return int(found[1]) if found else None

    def disk_bytes(self):
        """Bytes that the group read from disks."""
        if self.version == 1:
            text, pattern = self._read("blkio", "blkio.throttle.io_service_bytes"), r"^\d+:\d+ Read (\d+)"
        else:
            text, pattern = self._read("io", "io.stat"), r"\brbytes=(\d+)"
        return sum(map(int, re.findall(pattern, text, re.MULTILINE))) if text is not None else None

    def __exit__(self, *_):
        for folder in dict.fromkeys(self.folders.values()):
            for _ in range(50):
                try:
                    for pid in (folder / "cgroup.procs").read_text().split():
                        os.kill(int(pid), signal.SIGKILL)
                    folder.rmdir()
                    break
                except ProcessLookupError:
                    continue
                except OSError:
                    time.sleep(0.1)
            else:
                print(f"could not remove {folder}", file=sys.stderr)


def forget(path):
    """Drops a file's pages from the page cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run(command, limit, cold=(), timeout=None, env=None):
    """Runs the command; a dictionary of what it took, `output` and `errors` (what it printed) among it."""
    for path in cold:
        forget(path)
    with Group(limit) as group:
        start = time.monotonic()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 preexec_fn=group.enter, env={**os.environ, **(env or {})})
        try:
            output, errors = child.communicate(timeout=timeout)
            timed_out = False
        except subprocess.TimeoutExpired:
            child.kill()
            output, errors = child.communicate()
            timed_out = True
        seconds = time.monotonic() - start
        return {"version": group.version, "limit": limit, "code": child.returncode, "timed_out": timed_out,
                "seconds": seconds, "peak": group.peak(), "kills": group.kills(), "at_limit": group.at_limit(),
                "disk_bytes": group.disk_bytes(), **usage(), "output": output, "errors": errors}


def usage(before={"majflt": 0, "inblock": 0}):
    """Major faults and bytes read from disk by the children that ended since the last call."""
    import resource
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {"major_faults": now.ru_majflt - before["majflt"],
              "process_disk_bytes": (now.ru_inblock - before["inblock"]) * 512}
    before.update(majflt=now.ru_majflt, inblock=now.ru_inblock)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=size, required=True, metavar="SIZE")
    parser.add_argument("--spare", type=size, default=size("64MiB"), metavar="SIZE", help="beyond --memory [64MiB]")
    parser.add_argument("--cold", action="append", default=[], metavar="FILE", help="dropped from the page cache first")
    parser.add_argument("--timeout", type=float, metavar="SECONDS")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    try:
        result = run(args.command, args.memory + args.spare, args.cold, args.timeout)
    except NoGroup as error:
        sys.exit(f"no control group: {error}")
    sys.stdout.write(result.pop("output"))
    sys.stderr.write(result.pop("errors"))
    print(json.dumps(result), file=sys.stderr)
    sys.exit(result["code"] if result["code"] >= 0 else 1)


if __name__ == "__main__":
    main()
