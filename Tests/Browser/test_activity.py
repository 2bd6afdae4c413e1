"""The activity while it is looked at, and its files."""

import csv
import io
import json
import unittest
import urllib.request

from browser import BASE, Browser
from pages import prepare
from server import Server, refusal, wait_for

ROWS = "return [...document.querySelectorAll('tbody tr')].map((row) => row.cells[1].innerText)"


class Looking(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.end)
        cls.browser = Browser(cls.server.url)
        cls.addClassCleanup(cls.browser.end)
        cls.alice = cls.server.alice
        cls.browser.sign_in("alice")

    def test_new_entries_wait_behind_a_button(self):
        device = self.alice.add_device("laptop")
        self.browser.go(f"{BASE}/activity")
        button = self.browser.one("#news a")
        rows = self.browser.run(ROWS)
        self.assertFalse(button.is_displayed())
        self.alice.send("POST", "./teams", body={"name": "platform"})
        wait_for("button", 60, button.is_displayed)
        self.assertEqual(button.text, "1 new entry")
        # Nothing has moved, and nothing does when more comes.
        self.assertEqual(self.browser.run(ROWS), rows)
        self.alice.report(device, refusals=[refusal("quay.io"), refusal("<b>gcr.io</b>")])
        wait_for("further entries", 60, lambda: button.text == "3 new entries")
        self.assertEqual(self.browser.shifts(), 0)
        button.click()
        after = self.browser.run(ROWS)
        self.assertEqual(after[3:], rows)
        self.assertIn("Refused pull <b>gcr.io</b> by mia", after[0])
        self.assertIn("alice created the team platform", after[2])
        self.assertFalse(button.is_displayed())
        self.assertTrue(all("Today" in row.text for row in self.browser.all("tbody tr.new time")))
        self.browser.go(f"{BASE}/activity")
        self.assertEqual(self.browser.run(ROWS), after)

    def test_only_what_is_asked_for_is_new(self):
        device = self.alice.add_device("laptop")
        self.browser.go(f"{BASE}/activity?kind=refusals&registry=registry.acme.test")
        self.assertIn("Nothing is like this", self.browser.text)
        self.alice.send("POST", "./teams", body={"name": "another"})
        self.alice.report(device, refusals=[refusal("gcr.io"), refusal("registry.acme.test")])
        button = self.browser.one("#news a")
        wait_for("button", 60, button.is_displayed)
        self.assertEqual(button.text, "1 new entry")
        # There was no list yet, so the page is read again.
        self.browser.press("1 new entry")
        self.assertEqual(len(self.browser.run(ROWS)), 1)

    def test_to_look_on_asks_for_nothing_when_the_session_has_ended(self):
        self.server.add_member("olga", "owner")
        browser = Browser(self.server.url)
        self.addCleanup(browser.end)
        browser.sign_in("olga", to=f"{BASE}/activity")
        browser.run("window.asked = 0; const send = fetch; fetch = (...all) => { asked++; return send(...all); };")
        wait_for("question", 60, lambda: browser.run("return asked") > 0)
        self.alice.send("DELETE", "./sessions?user=olga")
        counts = []

        def is_quiet():
            counts.append(browser.run("return asked"))
            # One question learns of it; there is none in two further rounds.
            return len(counts) > 70 and counts[-1] == counts[-70]

        wait_for("silence", 60, is_quiet)
        self.assertEqual(browser.path, f"{BASE}/activity")


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.end)
        prepare(cls.server)
        cls.browser = Browser(cls.server.url)
        cls.addClassCleanup(cls.browser.end)
        cls.browser.sign_in("alice")

    def file(self, name):
        """A file behind a link of the page, as the browser with its session gets it."""
        address = self.browser.find(name).get_attribute("href")
        cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in self.browser.driver.get_cookies())
        with urllib.request.urlopen(urllib.request.Request(address, headers={"Cookie": cookies})) as answer:
            return answer.read().decode()

    def test_the_files_hold_what_is_shown(self):
        self.browser.go(f"{BASE}/activity")
        self.browser.find("Export").click()
        changes = list(csv.DictReader(io.StringIO(self.file("Changes as CSV"))))
        self.assertEqual(changes[-1]["action"], "organization.created")
        refusals = [json.loads(line) for line in self.file("Refusals as JSON lines").splitlines()]
        self.assertEqual(len(refusals), 15)
        self.browser.find("Person, registry, device, days").click()
        self.browser.fill("Registry or name", "quay.io").fill("Kind", "Refusals").press("Filter")
        self.browser.find("Export").click()
        self.assertFalse(self.browser.has("Changes as CSV"))
        refusals = list(csv.DictReader(io.StringIO(self.file("Refusals as CSV"))))
        self.assertEqual({row["registry"] for row in refusals}, {"quay.io"})
        self.assertEqual(len(refusals), len(self.browser.run(ROWS)))

    def test_devices_by_their_state_and_as_a_file(self):
        self.browser.go(f"{BASE}/devices")
        names = "return [...document.querySelectorAll('tbody tr')].map((row) => row.cells[0].innerText).sort()"
        self.assertEqual(len(self.browser.run(names)), 5)
        for state, expected in (
            ("Up to date", ["build-01", "build-02"]),
            ("Not enforcing", ["laptop-of-a-person-with-a-rather-long-name"]),
            ("Outdated", ["laptop-mia"]),
            ("Never reported", ["new-laptop"]),
            ("Silent", []),
            ("Signed out", []),
        ):
            self.browser.fill("State", state).press("Show")
            self.assertEqual(self.browser.run(names), expected, state)
            if expected:
                rows = list(csv.DictReader(io.StringIO(self.file("Export CSV"))))
                self.assertEqual(sorted(row["name"] for row in rows), expected)
                self.assertEqual({row["state"] for row in rows}, {state})


if __name__ == "__main__":
    unittest.main()
