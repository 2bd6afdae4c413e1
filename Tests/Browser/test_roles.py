"""What members and auditors see, and the end of a session."""

import unittest

from browser import BASE, OwnBrowsers
from pages import prepare
from server import Server


class Roles(OwnBrowsers, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.end)
        cls.parts = prepare(cls.server)

    def assert_reads_only(self, browser):
        self.assertEqual(browser.all("main form[method=post] button, main form[method=post] input:not([type=hidden])"), [])

    def test_a_member_reads_the_policy_in_force_and_nothing_else(self):
        mia = self.browser("mia")
        self.assertEqual(mia.path, f"{BASE}/registry-access")
        self.assertNotIn("Overview", mia.one(".side").text)
        self.assertIn("Registry Access", mia.one(".side").text)
        self.assertIn("registry.acme.test:5000", mia.text)
        # What is prepared is nobody's business yet.
        self.assertNotIn("gcr.io\n", mia.text.replace("ghcr.io", ""))
        self.assertNotIn("not saved", mia.text)
        for path in ("", "/settings", "/history", "/history/2"):
            self.assert_reads_only(mia.go(f"{BASE}/registry-access{path}"))
        for path in ("activity", "activity/export?list=changes&format=csv", "devices", "devices-export",
                     f"devices/{self.parts['device']}", "registry-access/add", "registry-access/review"):
            mia.go(f"{BASE}/{path}")
            self.assertEqual(mia.one("h1").text, "You may not do this", path)

    def test_an_auditor_reads_everything_and_changes_nothing(self):
        audrey = self.browser("audrey")
        for path in ("", "/registry-access", "/registry-access/settings", "/registry-access/history",
                     "/registry-access/history/2", "/activity", "/devices", f"/devices/{self.parts['device']}",
                     "/settings", "/settings/machines", "/settings/signing-keys"):
            audrey.go(f"{BASE}{path}")
            self.assertNotEqual(audrey.one("h1").text, "You may not do this", path)
            self.assert_reads_only(audrey)
        audrey.go(f"{BASE}/registry-access/add")
        self.assertEqual(audrey.one("h1").text, "You may not do this")

    def test_an_ended_session_asks_to_sign_in_and_comes_back(self):
        mia = self.browser("mia")
        mia.go(f"{BASE}/registry-access/history")
        self.server.alice.send("DELETE", "./sessions?user=mia")
        mia.go(f"{BASE}/registry-access/settings")
        self.assertTrue(mia.path.startswith("/sign-in?to="), mia.path)
        mia.fill("Name", "mia").fill("Password", "plain words for a test").press("Sign in")
        self.assertEqual(mia.path, f"{BASE}/registry-access/settings")


if __name__ == "__main__":
    unittest.main()
