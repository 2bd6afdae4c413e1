"""The first set-up of a server, from nothing to signed in."""

import shutil
import subprocess
import tempfile
import unittest

from browser import Browser
from server import PASSWORD, PROGRAMS, free_port


class SetUp(unittest.TestCase):
    def test_the_first_set_up_makes_the_organization_and_is_there_once(self):
        work = tempfile.mkdtemp(prefix="docker-ram-browser.")
        self.addCleanup(shutil.rmtree, work, ignore_errors=True)
        url = f"http://127.0.0.1:{free_port()}"
        command = [f"{PROGRAMS}/docker-ram-server", "serve", "--data", f"{work}/data", "--public-url", url]
        command += ["--listen", url.removeprefix("http://")]
        with open(f"{work}/log", "w", encoding="utf-8") as log:
            server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait, 30)
        self.addCleanup(server.terminate)
        address = next(word for line in server.stdout for word in line.split() if "/set-up?secret=" in word)

        owner = Browser(url)
        self.addCleanup(owner.end)
        owner.go("/set-up?secret=rams_of-somebody-else")
        self.assertFalse(owner.has("Make the organization"))
        owner.go(address.removeprefix(url))
        self.assertEqual(owner.violations(), [])
        self.assertIn("Set up your organization", owner.text)
        owner.one("#organization").send_keys("acme")
        owner.one("#owner").send_keys("olga")
        owner.fill("Password", "short").fill("The password once more", "short").press("Make the organization")
        self.assertIn("Nothing was made", owner.text)
        self.assertEqual(owner.one("#organization").get_attribute("value"), "acme", "what was typed stays")
        owner.fill("Password", PASSWORD).fill("The password once more", PASSWORD).press("Make the organization")
        self.assertEqual(owner.path, "/organizations/acme/settings/machines")
        self.assertIn("sha256:", owner.text)
        command = owner.one("[aria-label='Command that enrolls a machine']").get_attribute("value")
        self.assertIn(f"docker ram enroll {url} --organization acme --fingerprint sha256:", command)
        self.assertEqual(owner.violations(), [])

        stranger = Browser(url)
        self.addCleanup(stranger.end)
        stranger.go(address.removeprefix(url))
        self.assertFalse(stranger.has("Make the organization"), "it is there once")
        stranger.sign_in("olga")
        self.assertEqual(stranger.path, "/organizations/acme")


if __name__ == "__main__":
    unittest.main()
