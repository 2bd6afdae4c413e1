"""Who belongs to an organization: invited, signed in, and made to sign in again."""

import unittest

from browser import BASE, OwnBrowsers
from server import PASSWORD, Server


class People(OwnBrowsers, unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.end)
        self.alice = self.browser("alice")

    def test_an_invitation_makes_a_member_whom_the_owner_can_make_sign_in_again(self):
        alice = self.alice
        alice.press("Members").press("Invite somebody")
        alice.fill("E-mail address", "bob@acme.test").press("Make the link")
        link = alice.field("Send them this link").get_attribute("value")
        self.assertTrue(link.startswith(f"{self.server.url}/join?invitation=rami_"), link)
        alice.go(f"{BASE}/invitations")
        self.assertNotIn(link, alice.one("main").get_attribute("innerHTML"), "it is shown once")

        bob = self.browser().go(link.removeprefix(self.server.url))
        self.assertIn("Join acme", bob.text)
        bob.fill("Your name here", "bob").fill("Password", PASSWORD).fill("Password again", PASSWORD).press("Join")
        self.assertEqual(bob.path, f"{BASE}/registry-access")

        alice.go(f"{BASE}/members").press("bob")
        self.assertIn("bob@acme.test", alice.text)
        alice.go(f"{BASE}/sessions").press("Force everybody to sign in again")
        # Nothing is done before it is said how many that is: two browsers, and the tests' own session.
        self.assertRegex(alice.one(".tiles").text.replace("\n", " "), r"3 sessions 2 people 0 machines")
        self.assertIn("This browser is among them", alice.text)
        bob.go(f"{BASE}/registry-access")
        self.assertEqual(bob.path, f"{BASE}/registry-access")
        alice.press("Force everybody to sign in again")
        self.assertTrue(alice.path.startswith("/sign-in"), alice.path)
        bob.go(f"{BASE}/registry-access")
        self.assertTrue(bob.path.startswith("/sign-in?to="), bob.path)
        bob.fill("Name", "bob").fill("Password", PASSWORD).press("Sign in")
        self.assertEqual(bob.path, f"{BASE}/registry-access")
        alice.sign_in("alice").press("Activity")
        self.assertIn("alice ended sessions", alice.text)

    def test_whoever_has_forgotten_the_password_sets_a_new_one_by_an_owners_link(self):
        new = "some other words for it"
        self.server.add_member("mia")
        mia = self.browser("mia")
        alice = self.alice.go(f"{BASE}/members/mia")
        alice.press("Make a link for a new password").press("Make the link")
        link = alice.field("Give mia this link").get_attribute("value")
        self.assertTrue(link.startswith(f"{self.server.url}/new-password?link=ramn_"), link)
        self.assertEqual(alice.violations(), [])
        alice.press("I have copied it")
        self.assertEqual(alice.path, f"{BASE}/members/mia")

        visitor = self.browser().go(link.removeprefix(self.server.url))
        self.assertIn("A new password for mia", visitor.text)
        visitor.fill("New password", "short").fill("New password again", "short").press("Set the password")
        self.assertIn("12 to 256 bytes", visitor.text)
        self.assertEqual(visitor.violations(), [])
        visitor.fill("New password", new).fill("New password again", new).press("Set the password")
        self.assertEqual(visitor.path, "/sign-in")
        self.assertIn("mia has a new password", visitor.text)
        # Where mia was signed in before, mia is not any more.
        mia.go(f"{BASE}/registry-access")
        self.assertTrue(mia.path.startswith("/sign-in?to="), mia.path)
        visitor.sign_in("mia", new)
        self.assertEqual(visitor.path, f"{BASE}/registry-access")
        visitor.go(link.removeprefix(self.server.url))
        self.assertIn("This link is not good, or not any more.", visitor.text)
        alice.press("Activity")
        self.assertIn("alice made a link for a new password of", alice.text)


if __name__ == "__main__":
    unittest.main()
