"""Runs a program within the system calls that a unit's SystemCallFilter= leaves it, as systemd would: UNIT PROGRAM [ARGUMENT …]"""

import errno
import os
import subprocess
import sys

import seccomp


def calls(names):
    """Groups as this machine's systemd expands them."""
    found = set()
    for name in names:
        if not name.startswith("@"):
            found.add(name)
            continue
        listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
        words = [line.strip() for line in listed.splitlines() if line.startswith("    ")]
        found |= calls([word for word in words if not word.startswith("#")])
    return found


allowed = {"execve", "exit", "exit_group"}
with open(sys.argv[1], encoding="utf-8") as unit:
    for line in unit:
        key, _, value = line.strip().partition("=")
        if key == "SystemCallFilter":
            if value.startswith("~"):
                allowed -= calls(value[1:].split())
            else:
                allowed |= calls(value.split())

# The socket's environment names this process, which the program becomes.
rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
for call in sorted(allowed):
    try:
        rules.add_rule(seccomp.ALLOW, call)
    except (RuntimeError, ValueError):
        pass  # another processor's
rules.load()
os.execv(sys.argv[2], sys.argv[2:])
