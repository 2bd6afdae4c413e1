"""The demo of install.sh, left running: an engine, a registry, docker-ramd and a server that it is enrolled at."""

import os
import signal
import subprocess

from server import PROGRAMS


class Demo:
    def __init__(self):
        installer = os.path.abspath("../../install.sh")
        self.said = []
        self.process = subprocess.Popen(
            [installer, "--demo", "--keep", "--prebuilt", PROGRAMS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for line in self.process.stdout:
            self.said.append(line)
            if line.strip().startswith("To end it"):
                break
        else:
            self.end()
            raise AssertionError("the demo did not come up:\n" + "".join(self.said[-40:]))
        facts = dict(line.strip().split("  ", 1) for line in self.said[-10:] if "  " in line.strip())
        self.url = facts["Dashboard"].strip()
        self.owner, self.owner_password = facts["Owner"].strip().split(", whose password is: ")
        self.member, self.member_password = facts["Member"].strip().split(", whose password is: ")
        self.environment = facts["Engine"].strip().rpartition(" . ")[2]
        self.image = next(line.split()[-1] for line in self.said[-10:] if "docker pull 127.0.0.1" in line)
        self.registry = self.image.partition("/")[0]

    def docker(self, *arguments):
        """Runs docker against the engine of the demo, as its words for people say."""
        return subprocess.run(
            ["sh", "-euc", '. "$0"; exec docker "$@"', self.environment, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def end(self):
        """Ends it; gives what it said at the end."""
        if self.process.stdout.closed:
            return ""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with self.process.stdout as output:
            rest = output.read()
        self.process.wait(timeout=60)
        return rest
