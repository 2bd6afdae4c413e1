"""Every page for everybody who sees it: without a violation of WCAG, without a shift, light, and as a picture."""

import os
import unittest

from browser import SCHEMES, WIDTHS, Browser
from pages import NAMES, PAGES, prepare
from server import Server

MOST_BYTES = 100_000
MOST_REQUESTS = 5


class EveryPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.end)
        cls.parts = prepare(cls.server)
        cls.pictures = os.environ.get("DOCKER_RAM_SCREENSHOTS")

    def walk(self, role):
        browser = Browser(self.server.url)
        self.addCleanup(browser.end)
        if role:
            browser.sign_in(NAMES[role])
        for page in PAGES:
            if role not in page.roles:
                continue
            path = page.path.format(**self.parts)
            for scheme in SCHEMES:
                for width in reversed(WIDTHS):
                    browser.show(width, scheme)
                    with self.subTest(page=page.name, role=role, scheme=scheme, width=width):
                        if scheme == "light":
                            browser.go(path)
                            self.assertEqual(browser.shifts(), 0, "something on the page has moved")
                        self.assertLessEqual(browser.overflow(), 0, "the page is to be scrolled sideways")
                        self.assertEqual(browser.violations(), [])
                        if self.pictures:
                            name = f"{page.name}-{role or 'nobody'}-{width}-{scheme}.png"
                            browser.picture(os.path.join(self.pictures, name))
            self.assertTrue(browser.title and "{{" not in browser.title, browser.title)
            # The console holds what the content security policy has refused; that there is nothing is meant.
            said = [line["message"] for line in browser.driver.get_log("browser") if line["level"] == "SEVERE"]
            self.assertEqual([line for line in said if "status of 404" not in line], [])

    def test_nobody(self):
        self.walk(None)

    def test_member(self):
        self.walk("member")

    def test_auditor(self):
        self.walk("auditor")

    def test_owner(self):
        self.walk("owner")


class FirstView(unittest.TestCase):
    def test_it_is_light(self):
        server = Server()
        self.addCleanup(server.end)
        prepare(server)
        first = Browser(server.url)
        self.addCleanup(first.end)
        # The first page of a browser that has nothing of ours yet, and the first behind the sign-in.
        for page in ("the sign-in page", "the overview"):
            if page == "the sign-in page":
                first.go("/")
            else:
                first.sign_in("alice")
            weight = first.weight()
            total = sum(size for _, size, _ in weight)
            print(f"{page}: {len(weight)} requests, {total} bytes, {weight[0][2]:.0f} ms")
            self.assertLess(total, MOST_BYTES)
            self.assertLessEqual(len(weight), MOST_REQUESTS, weight)
            self.assertEqual([name for name, _, _ in weight if not name.startswith(server.url)], [])


if __name__ == "__main__":
    unittest.main()
