"""What an owner changes on the page, up to the engine that refuses it."""

import unittest

from selenium.webdriver.common.keys import Keys

from browser import BASE, Browser, OwnBrowsers
from demo import Demo
from server import Server, wait_for

LIST = f"{BASE}/registry-access"


class FiveSteps(unittest.TestCase):
    """Docker's own five steps, with a real engine behind them."""

    def test_a_pull_is_refused_by_the_change_made_on_the_page(self):
        demo = Demo()
        self.addCleanup(demo.end)
        before = demo.docker("pull", demo.image)
        self.assertEqual(before.returncode, 0, before.stderr)

        owner = Browser(demo.url)
        self.addCleanup(owner.end)
        owner.sign_in(demo.owner, demo.owner_password)
        owner.press("Registry Access")
        self.assertEqual(owner.one("[role=switch]").get_attribute("aria-checked"), "true")
        owner.press("Add registry")
        owner.fill("Registry address", "ghcr.io").fill("Registry nickname", "GitHub").press("Create")
        owner.press(f"Disallow {demo.registry}")
        self.assertIn("2 changes not saved", owner.text)
        self.assertEqual(demo.docker("pull", demo.image).returncode, 0, "what is not saved reaches no machine")
        owner.press("Review and save").fill("Comment", "not this one any more").press("Save & Apply")
        self.assertIn("Version 5", owner.text)

        def is_refused():
            ended = demo.docker("pull", demo.image)
            return ended.returncode != 0 and ended.stderr

        said = wait_for("refused pull", 60, is_refused)
        self.assertRegex(said, "Your organization has disallowed this registry: " + demo.registry.replace(".", r"\."))
        self.assertIn("(acme, policy 5, ", said)

        # It is seen without reading the page again: the refusal as soon as the machine has told of it.
        owner.press("Activity")

        def is_listed():
            if owner.one("#news a").is_displayed():
                owner.one("#news a").click()
            return f"Refused pull {demo.registry}" in owner.text.partition("saved and applied version 5")[0]

        wait_for("refusal in the activity", 60, is_listed)
        self.assertIn("alice saved and applied version 5", owner.text)
        self.assertIn("alice added the registry ghcr.io", owner.text)
        self.assertIn(f"alice changed the registry {demo.registry}", owner.text)

        # And the way back.
        owner.press("Registry Access").press(f"Allow {demo.registry}").press("Review and save").press("Save & Apply")
        wait_for("pull that is let through", 60, lambda: demo.docker("pull", demo.image).returncode == 0)
        member = Browser(demo.url)
        self.addCleanup(member.end)
        member.sign_in(demo.member, demo.member_password)
        self.assertIn(demo.registry, member.text)
        self.assertIn("Everything the demo started or made is gone again.", demo.end())


class Preparing(OwnBrowsers, unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.end)

    def addresses(self):
        return [rule["address"] for rule in self.server.alice.policy()["registries"]]

    def test_two_owners_at_once_lose_nothing(self):
        self.server.add_member("olga", "owner")
        alice, olga = self.browser("alice", to=LIST), self.browser("olga", to=LIST)

        def add(owner, address):
            owner.go(f"{LIST}/add").fill("Registry address", address).press("Create")

        add(alice, "one.acme.test")
        add(olga, "two.acme.test")
        alice.go(f"{LIST}/review")
        self.assertIn("2 changes", alice.text)
        # While alice reads what she is about to save, olga changes it: alice is asked to look again.
        add(olga, "three.acme.test")
        alice.fill("Comment", "what I have read").press("Save & Apply")
        self.assertIn("three.acme.test", alice.text)
        self.assertEqual(alice.field("Comment").get_attribute("value"), "what I have read")
        self.assertEqual(self.addresses(), ["docker.io"])
        alice.press("Save & Apply")
        self.assertEqual(self.addresses(), ["docker.io", "one.acme.test", "two.acme.test", "three.acme.test"])

        # A version that is saved by another way while changes wait.
        add(alice, "four.acme.test")
        registries = self.server.alice.policy()["registries"]
        self.server.alice.save([*registries, {"address": "five.acme.test", "allowed": True}], "from the command line")
        olga.go(f"{LIST}/review")
        self.assertFalse(olga.has("Save & Apply"))
        self.assertIn("from the command line", olga.text)
        olga.press("Put my changes on top of version 3").press("Save & Apply")
        self.assertEqual(self.addresses()[-2:], ["five.acme.test", "four.acme.test"])

    def test_what_was_typed_stays_when_it_is_wrong(self):
        alice = self.browser("alice", to=LIST)
        alice.press("Add registry")
        alice.fill("Registry address", "https://ghcr.io/acme").fill("Registry nickname", "GitHub").press("Create")
        field = alice.field("Registry address")
        self.assertEqual(field.get_attribute("value"), "https://ghcr.io/acme")
        self.assertEqual(field.get_attribute("aria-invalid"), "true")
        self.assertEqual(alice.field("Registry nickname").get_attribute("value"), "GitHub")
        self.assertIn("Nothing was changed", alice.text)

    def test_keyboard_alone_signs_in_adds_a_registry_and_saves(self):
        alice = self.browser().go(LIST)
        alice.tab_to("Name or e-mail address").keys("alice")
        alice.tab_to("Password").keys("plain words for a test", Keys.ENTER)
        wait_for("list of registries", 60, lambda: alice.path == LIST)
        alice.tab_to("Add registry").keys(Keys.ENTER)
        wait_for("form", 60, lambda: alice.path == f"{LIST}/add")
        alice.tab_to("Registry address").keys("ghcr.io")
        alice.tab_to("Registry nickname (optional)").keys("GitHub")
        alice.tab_to("Create").keys(Keys.ENTER)
        wait_for("list with a change", 60, lambda: alice.path == LIST and "1 change not saved" in alice.text)
        alice.tab_to("Review and save").keys(Keys.ENTER)
        wait_for("review", 60, lambda: alice.path == f"{LIST}/review")
        alice.tab_to("Comment (optional, shown in the history)").keys("without a mouse")
        alice.tab_to("Save & Apply").keys(Keys.ENTER)
        wait_for("new version", 60, lambda: self.addresses() == ["docker.io", "ghcr.io"])
        # A menu opens and closes by keys, and the focus stays.
        wait_for("list", 60, lambda: alice.path.startswith(LIST) and not alice.path.endswith("review"))
        alice.tab_to("alice").keys(Keys.ENTER)
        self.assertTrue(alice.has("Sign out") and alice.find("Sign out").is_displayed())
        alice.keys(Keys.ESCAPE)
        self.assertFalse(alice.find("Sign out").is_displayed())
        self.assertEqual(alice.run("return document.activeElement.tagName"), "SUMMARY")


if __name__ == "__main__":
    unittest.main()
