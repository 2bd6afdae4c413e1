"""The end of the demo that was left running: by Ctrl-C on its terminal."""

import os
import pty
import re
import select
import signal
import time
import unittest

from server import PROGRAMS


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *command):
        self.said = ""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            # Who runs the tests in the background ignores Ctrl-C, and a shell that was started so cannot heed it any more.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execv(command[0], command)
        self.status = None

    def read_until(self, pattern, seconds):
        """Reads on until something was said; None: until the end."""
        end = time.monotonic() + seconds
        while pattern is None or not re.search(pattern, self.said):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.terminal], [], [], left)[0]:
                raise AssertionError(f"in {seconds} s there was no {pattern!r}:\n{self.said[-3000:]}")
            try:
                block = os.read(self.terminal, 1 << 16)
            except OSError:
                # Nobody has the terminal open any more.
                block = b""
            if not block:
                if pattern is None:
                    return
                raise AssertionError(f"it ended without {pattern!r}:\n{self.said[-3000:]}")
            self.said += block.decode(errors="replace")

    def press(self, key):
        os.write(self.terminal, key)

    def wait(self):
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def end(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGTERM)
            self.read_until(None, 120)
            self.wait()
        os.close(self.terminal)


def programs_below(directory):
    """The programs that run with something of a directory in their command, or in it."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace")
            if directory in command or os.readlink(f"/proc/{name}/cwd").startswith(directory):
                found.append(f"{name} {command}")
        except OSError:
            # It has ended meanwhile.
            continue
    return found


class DemoOnATerminal(unittest.TestCase):
    def test_ctrl_c_ends_all_programs_and_removes_what_was_made(self):
        demo = Terminal(os.path.abspath("../../install.sh"), "--demo", "--keep", "--prebuilt", PROGRAMS)
        self.addCleanup(demo.end)
        demo.read_until(r"To end it .*\n", 600)
        directory = re.search(r"\. (/tmp/docker-ram-demo\.\w+)/environment", demo.said).group(1)
        self.assertTrue(os.path.isdir(directory))
        running = "\n".join(programs_below(directory))
        for program in ("docker-ramd", "docker-ram-server", "dockerd", "docker-registry"):
            self.assertIn(program, running)
        demo.press(b"\x03")
        demo.read_until(None, 120)
        self.assertEqual(demo.wait(), 0, demo.said[-2000:])
        self.assertIn("Everything the demo started or made is gone again.", demo.said)
        self.assertEqual(programs_below(directory), [])
        self.assertFalse(os.path.exists(directory))
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            self.assertEqual([line for line in mounts if directory in line], [])


if __name__ == "__main__":
    unittest.main()
