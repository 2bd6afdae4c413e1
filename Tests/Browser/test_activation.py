"""The page that a developer sees at "docker ram login": the code, the question, the decision."""

import unittest

from browser import SCHEMES, WIDTHS, OwnBrowsers
from server import PASSWORD, Server


class Activation(OwnBrowsers, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.end)
        cls.server.add_member("mia")

    def begin(self):
        form = {"client_id": "docker-ram", "organization": "acme", "device_name": "laptop of mia"}
        return self.server.alice.send("POST", "/v1/device_authorization", form=form)

    def look(self, browser):
        """At the page as it is, in every form: the next one is only to be had by going on."""
        for scheme in SCHEMES:
            for width in reversed(WIDTHS):
                browser.show(width, scheme)
                self.assertLessEqual(browser.overflow(), 0, "the page is to be scrolled sideways")
                self.assertEqual(browser.violations(), [])
        browser.show()

    def test_a_machine_is_signed_in_with_name_and_password(self):
        begun = self.begin()
        mia = self.browser().go(f"/activate?user_code={begun['user_code']}")
        self.look(mia)
        mia.fill("Your name", "mia").fill("Your password", "not the password").press("Sign in")
        self.assertIn("The name or the password is wrong.", mia.text)
        self.assertEqual(mia.field("Your name").get_attribute("value"), "mia")
        mia.fill("Your password", PASSWORD).press("Sign in")
        self.assertEqual(mia.one("h1").text, "Did you start this?")
        self.assertIn("laptop of mia", mia.text)
        self.assertIn("Today", mia.one("time").text)
        self.look(mia)
        mia.press("I started this: sign in the machine")
        self.assertIn("laptop of mia is signed in as mia.", mia.text)
        self.look(mia)

    def test_whoever_is_signed_in_needs_no_password_and_still_has_to_say_yes(self):
        begun = self.begin()
        mia = self.browser("mia")
        mia.go(f"/activate?user_code={begun['user_code']}")
        self.look(mia)
        self.assertEqual(mia.all("input[type=password]"), [])
        mia.press("Go on as mia")
        self.assertEqual(mia.one("h1").text, "Did you start this?")
        mia.press("Deny")
        self.assertIn("laptop of mia was not signed in.", mia.text)
        mia.go("/activate").press("Sign in as somebody else")
        self.assertEqual(len(mia.all("input[type=password]")), 1)


if __name__ == "__main__":
    unittest.main()
