"""Pages in windows of all widths: nothing is cut off, broken in the middle of a word, or under something else."""

import datetime
import unittest

from selenium.webdriver.common.keys import Keys

from browser import BASE, COVERED, OwnBrowsers
from pages import PAGES, prepare
from server import API, PASSWORD, Server, refusal

LIST = f"{BASE}/registry-access"


class Tables(OwnBrowsers, unittest.TestCase):
    """On all pages, with names as long as they may be."""

    def test_no_short_word_is_broken_and_nothing_is_cut_off(self):
        server = self.server = Server()
        self.addCleanup(server.end)
        parts = prepare(server)
        alice = server.alice
        parted = ".".join(["-".join(["registry"] * 6)] * 4) + ".acme.test"
        whole = ".".join(letter * 60 for letter in "xyz") + ".test"
        for name in ("m" * 64, "n" * 255, "a laptop with a name of words"):
            alice.add_device(name, alice.status(), [refusal(parted, "u" * 64), refusal(whole), refusal("gcr.io")])
        mia = API(server.url, "mia", PASSWORD)
        for registry, reason in ((parted, "r" * 400), (whole, "for a build that needs it"), ("r.io", "for another")):
            mia.send("POST", "./requests", body={"registry": registry, "action": "pull", "reason": reason})
            number = mia.send("POST", "./requests", body={"registry": f"a.{registry}", "action": "pull"})["number"]
            alice.send("POST", f"./requests/{number}/decline", body={"word": reason})
        for name in ("CI of the shop", "t" * 80):
            alice.send("POST", "./tokens", body={"name": name, "scopes": ["policy:read", "machines:read"], "days": 300})
            alice.send("POST", "./enrollment-tokens", body={"name": name, "days": 30})
        for email in ("new@acme.test", "e" * 200 + "@acme.test", None):
            alice.send("POST", "./invitations", body={"role": "auditor", **({"email": email} if email else {})})
        server.add_member("p" * 40)
        alice.send("POST", "./teams", body={"name": "t" * 40})

        browser = self.browser("alice")
        # Times are longest with two digits of hours; it is noon in some zone.
        ahead = 12 - datetime.datetime.now(datetime.timezone.utc).hour
        browser.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": f"Etc/GMT{-ahead:+d}"})
        for page in PAGES:
            if "owner" not in page.roles:
                continue
            browser.go(page.path.format(**parts))
            for width in (320, 390, 800, 853, 1024, 1184, 1185, 1280):
                browser.show(width)
                with self.subTest(page=page.name, width=width):
                    self.assertLessEqual(browser.overflow(), 0, "the page is to be scrolled sideways")
                    self.assertEqual(browser.broken_words(), [])
                    self.assertLessEqual(max(browser.hidden_columns(), default=0), 0, "a table is to be scrolled sideways")


class BarOfChanges(OwnBrowsers, unittest.TestCase):
    def test_what_has_the_focus_is_never_under_it(self):
        self.server = Server()
        self.addCleanup(self.server.end)
        self.server.alice.save([{"address": f"r{number}.acme.test", "allowed": True} for number in range(44)])
        alice = self.browser("alice", to=LIST).press("Disallow r7.acme.test")
        for width in (1280, 390):
            alice.show(width)
            for page in (LIST, f"{LIST}/settings"):
                with self.subTest(page=page, width=width):
                    alice.go(page)
                    self.assertIn("1 change not saved", alice.text)
                    covered, count = [], 0
                    while alice.keys(Keys.TAB).run("return document.activeElement.innerText") != "Review and save":
                        count += 1
                        self.assertLess(count, 300)
                        if alice.run(COVERED):
                            covered.append(alice.run("return document.activeElement.outerHTML"))
                    self.assertEqual(covered, [])


if __name__ == "__main__":
    unittest.main()
