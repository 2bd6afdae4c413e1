"""A member asks for a registry on the page, and an owner answers."""

import datetime
import unittest

from selenium.webdriver.common.keys import Keys

from browser import BASE, OwnBrowsers
from server import Server


class Requests(OwnBrowsers, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.end)
        cls.server.add_member("mia")

    def ask(self, mia, registry, reason):
        # What the address names is filled in, as behind a link.
        mia.go(f"{BASE}/requests?registry={registry}")
        self.assertEqual(mia.field("Registry").get_attribute("value"), registry)
        mia.fill("Reason", reason).press("Ask")
        self.assertIn(reason, mia.text)

    def test_what_is_allowed_is_in_the_next_policy_and_the_member_reads_the_answer(self):
        mia, alice = self.browser("mia"), self.browser("alice")
        self.ask(mia, "ghcr.io", "the base image of the shop")
        version = self.server.alice.policy()["version"]
        alice.go(f"{BASE}/requests").press("Answer the request for ghcr.io")
        self.assertIn("the base image of the shop", alice.text)
        alice.fill("A word to who asked", "only to pull, please").press("Allow")
        policy = self.server.alice.policy()
        self.assertEqual(policy["version"], version + 1)
        rule = next(rule for rule in policy["registries"] if rule["address"] == "ghcr.io")
        self.assertTrue(rule["allowed"])
        self.assertEqual(rule.get("actions"), ["pull"])
        mia.go(f"{BASE}/requests")
        self.assertIn("only to pull, please", mia.text)
        self.assertIn("alice", mia.text)
        alice.press("Activity")
        self.assertIn("mia asked for ghcr.io", alice.text)
        self.assertIn("alice allowed the request for ghcr.io", alice.text)

    def test_who_types_a_last_day_need_not_say_that_there_is_one(self):
        mia, alice = self.browser("mia"), self.browser("alice")
        self.ask(mia, "day.test", "for a while")
        alice.go(f"{BASE}/requests").press("Answer the request for day.test")
        # The same day in every order of day and month; half of it is no answer yet.
        day = alice.one("#date")
        day.send_keys("12")
        alice.press("Allow")
        self.assertIn("Choose the last day", alice.text)
        year = datetime.date.today().year + 1
        alice.one("#date").send_keys(f"1212{year}")
        alice.press("Allow")
        self.assertIn(f"day.test is allowed until the end of 12 December {year} (UTC)", alice.text)

    def test_what_is_declined_changes_no_policy(self):
        mia, alice = self.browser("mia"), self.browser("alice")
        self.ask(mia, "quay.io", "one of many")
        version = self.server.alice.policy()["version"]
        alice.go(f"{BASE}/requests").press("Answer the request for quay.io")
        # Enter is a line break there, and gives no answer.
        path = alice.path
        alice.fill("A word to who asked", f"ghcr.io has{Keys.ENTER}it too")
        self.assertEqual((alice.path, alice.field("A word to who asked").get_attribute("value")), (path, "ghcr.io has\nit too"))
        alice.press("Decline")
        self.assertEqual(self.server.alice.policy()["version"], version)
        mia.go(f"{BASE}/requests")
        self.assertIn("ghcr.io has it too", mia.text)
        # Whoever is no owner or editor answers nothing.
        mia.go(f"{BASE}/requests/1")
        self.assertFalse(mia.has("Allow"))


if __name__ == "__main__":
    unittest.main()
