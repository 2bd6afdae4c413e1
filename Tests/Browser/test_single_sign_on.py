"""Single sign-on in a real browser: to the provider's own page, and back."""

import unittest

from browser import BASE, OwnBrowsers
from provider import CLIENT, SECRET, Provider
from server import PASSWORD, Server


class SingleSignOn(OwnBrowsers, unittest.TestCase):
    def setUp(self):
        self.provider = Provider()
        self.addCleanup(self.provider.end)
        self.server = Server()
        self.addCleanup(self.server.end)

    def set_provider(self):
        """As an owner does it, on the page."""
        alice = self.browser("alice", to=f"{BASE}/settings/single-sign-on")
        alice.fill("Issuer", self.provider.issuer).fill("Client", CLIENT).fill("Secret of the client", SECRET)
        alice.press("Save")
        self.assertIn("/sign-in?organization=acme", alice.text)
        self.assertNotIn(SECRET, alice.run("return document.documentElement.outerHTML"))
        return alice

    def at_provider(self, browser):
        return browser.driver.current_url.startswith(f"{self.provider.issuer}/authorize?")

    def sign_in(self, browser, name, to=BASE):
        """From the page that somebody wants to the provider, and back."""
        browser.go(to)
        self.assertTrue(browser.path.startswith("/sign-in?to="), browser.path)
        browser.find("Use single sign-on").click()
        browser.fill("Organization", "acme").press("Go on to its provider")
        self.show(browser, name)

    def show(self, browser, name):
        self.assertTrue(self.at_provider(browser), browser.driver.current_url)
        browser.fill("Name", name).press("Sign in at the provider")

    def test_a_member_is_linked_once_and_comes_back_to_the_page_that_they_wanted(self):
        owner = self.set_provider()
        self.server.add_member("mia")
        mia = self.browser()
        self.sign_in(mia, "mia", to=f"{BASE}/registry-access/history")
        self.assertIn("Nobody of acme is known by this sign-in so far.", mia.text)
        self.assertEqual(mia.violations(), [])
        mia.fill("Your name", "mia").fill("Your password", "not the password").press("Go on")
        self.assertIn("The name or the password is wrong.", mia.text)
        mia.fill("Your name", "mia").fill("Your password", PASSWORD).press("Go on")
        self.assertEqual(mia.path, f"{BASE}/registry-access/history")

        # The next time the provider is enough.
        again = self.browser()
        self.sign_in(again, "mia", to=f"{BASE}/requests")
        self.assertEqual(again.path, f"{BASE}/requests")
        again.find("mia").click()
        again.press("Sign out")
        again.go(f"{BASE}/requests")
        self.assertTrue(again.path.startswith("/sign-in"), again.path)
        owner.press("Members").press("mia")
        self.assertIn("Password, Single sign-on", owner.text)

    def test_a_stranger_comes_in_with_an_invitation_only(self):
        self.set_provider()
        invitation = self.server.alice.send("POST", "./invitations", body={"role": "member"})["invitation"]
        bob = self.browser()
        self.sign_in(bob, "bob")
        bob.press("Go on")
        self.assertIn("Give an invitation, or your name and password.", bob.text)
        bob.fill("Your invitation", "rami_of-somebody-else").press("Go on")
        self.assertIn("The invitation is not good", bob.text)
        bob.fill("Your invitation", invitation).press("Go on")
        self.assertEqual(bob.path, f"{BASE}/registry-access")
        names = [member["name"] for member in self.server.alice.send("GET", "./members")["members"]]
        self.assertEqual(names, ["alice", "bob"])

    def test_what_is_dangerous_takes_a_fresh_sign_in_at_the_provider(self):
        self.set_provider()
        self.server.alice.send("PUT", "./single-sign-on/identities/alice", body={"subject": "subject of alice"})
        alice = self.browser()
        self.sign_in(alice, "alice", to=f"{BASE}/sessions/end?everybody=true")
        # The provider has not said when she has shown who she is.
        self.assertEqual(alice.path, f"{BASE}/sessions/end?everybody=true")
        alice.press("Force everybody to sign in again")
        self.assertIn("Show first who you are, at your organization’s provider.", alice.text.replace("'", "’"))
        alice.press("Sign in at your provider once more")
        asked = self.provider.asked[-1]
        self.assertEqual((asked.get("prompt"), asked.get("max_age")), ("login", "0"))
        # Somebody else who shows who they are at this browser is not who has signed in.
        self.show(alice, "bob")
        self.assertNotIn("You have shown who you are", alice.text)
        alice.go(f"{BASE}/sessions/end?everybody=true").press("Sign in at your provider once more")
        self.show(alice, "alice")
        self.assertEqual(alice.path, f"{BASE}/sessions/end?everybody=true")
        self.assertIn("You have shown who you are. Go on.", alice.text)
        alice.press("Force everybody to sign in again")
        self.assertTrue(alice.path.startswith("/sign-in"), alice.path)
        alice.go(BASE)
        self.assertTrue(alice.path.startswith("/sign-in?to="), alice.path)


if __name__ == "__main__":
    unittest.main()
