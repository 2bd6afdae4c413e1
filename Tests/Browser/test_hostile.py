"""Texts that mean something to a browser stay texts, wherever the server keeps them."""

import unittest

from browser import BASE, Browser
from server import API, PASSWORD, Server, refusal

TEXTS = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "</title><script>alert(1)",
    "</textarea><script>alert(1)</script>", "<!--", "-->", "<![CDATA[", "]]>", "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;", "&amp;", "&", "<", ">", '"', "'", "`", "javascript:alert(1)", "data:text/html,<script>alert(1)",
    "{{title}}", "{{{title}}}", "{{#rows}}", "{{/content}}", "{{>layout}}", "{{% CONTENT_TYPE:TEXT}}", "${alert(1)}",
    "<%= 7*7 %>", "'; DROP TABLE user; --", '" OR 1=1', "\\", "%3Cscript%3Ealert(1)%3C/script%3E", "+ADw-script+AD4-",
    "=1+1", "@SUM(A1)", "-1", '"\u0301 onfocus=alert(1) autofocus x=', "<\u0338script>alert(1)</script>", "'\u0301",
    "&\u0301lt;", "\uFF1Cscript\uFF1Ealert(1)", "<svg/onload=alert(1)>", "<a href=//evil.test>evil</a>",
    "<style>*{display:none}</style>", "<base href=//evil.test>", "</select></form><form action=//evil.test>",
    "</td></tr></table><h1>evil</h1>", "\U0001F600<b>bold</b>", "<b>\u05E9\u05DC\u05D5\u05DD</b>",
    'x" autofocus onfocus="alert(1)',
]

# What a page of ours is made of; anything else came out of a text.
STRANGE = """
const strange = [];
for (const element of document.querySelectorAll("*")) {
  const name = element.tagName.toLowerCase();
  const ours = {
    script: () => element.src.startsWith(location.origin + "/assets/page."),
    link: () => element.href.startsWith(location.origin + "/assets/"),
    a: () => element.href === "" || element.href.startsWith(location.origin + "/"),
    // A field that is called "action" takes the place of the property.
    form: () => new URL(element.getAttribute("action") || "", location).href.startsWith(location.origin + "/"),
    svg: () => element.classList.contains("plot") || element.classList.contains("mark"),
    h1: () => document.querySelectorAll("h1").length === 1,
    b: () => false, base: () => false, img: () => false, style: () => false, iframe: () => false, object: () => false,
  }[name];
  if (ours && !ours()) strange.push(element.outerHTML.slice(0, 200));
  for (const attribute of element.attributes) {
    if (attribute.name.startsWith("on") || attribute.name === "autofocus" || attribute.name === "style") {
      strange.push(element.outerHTML.slice(0, 200));
    }
  }
}
return strange;
"""


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.end)
        cls.browser = Browser(cls.server.url)
        cls.addClassCleanup(cls.browser.end)
        assert len(set(TEXTS)) == 50
        alice = cls.server.alice
        # Nicknames and comments; devices, with what they tell of themselves; what they refused.
        rules = [{"address": f"r{i}.acme.test", "nickname": text, "allowed": True} for i, text in enumerate(TEXTS)]
        for number, text in enumerate(TEXTS):
            # A contact is ASCII.
            more = {"contact": text} if text.isascii() else {}
            alice.save(rules[: number + 1], text, **more)
        cls.devices = []
        for text in TEXTS:
            status = alice.status(points=[text], version=1, productVersion=text, engineVersion=text)
            status["findings"] = [text, {"code": text, "summary": text}]
            told = refusal(text, user=text, rule=text, id=text)
            cls.devices.append(alice.add_device(text, status, [told])["device"])
        # What people are asked for, and what they are given.
        for number, text in enumerate(TEXTS):
            name = f"person{number // 20}"
            if number % 20 == 0:
                cls.server.add_member(name)
                person = API(cls.server.url, name, PASSWORD)
            asked = person.send("POST", "./requests", body={"registry": f"q{number}.acme.test", "action": "pull", "reason": text})
            if number % 2:
                alice.send("POST", f"./requests/{asked['number']}/decline", body={"word": text})
            alice.send("POST", "./tokens", body={"name": text, "scopes": ["policy:read"], "days": 1})
            alice.send("POST", "./enrollment-tokens", body={"name": text, "days": 1})
            alice.send("POST", "./invitations", body={"role": "member", "email": f"{text}@{number}"})
        policy = alice.policy()
        policy["registries"] = [{**rule, "nickname": rule["nickname"] + " too"} for rule in rules]
        alice.send("PUT", "./policy/draft", body=policy, headers={"If-Match": '"0"'})
        cls.browser.sign_in("alice")

    def assert_harmless(self, title):
        self.assertIsNone(self.browser.alert())
        self.assertEqual(self.browser.run(STRANGE), [], self.browser.path)
        self.assertEqual(self.browser.title, f"{title} – acme")

    def assert_shown(self, path, title, text_of=lambda text: text):
        """Each text is to be read on the page, or on those that follow it."""
        self.browser.go(path)
        read = ""
        while True:
            self.assert_harmless(title)
            read += self.browser.run("return document.querySelector('main').textContent")
            further = self.browser.all("a[rel=next]")
            if not further:
                break
            self.browser.go(further[0].get_attribute("href").removeprefix(self.server.url))
        for text in TEXTS:
            self.assertIn(text_of(text), read, path)

    def test_the_registries(self):
        self.assert_shown(f"{BASE}/registry-access", "Registry Access", lambda text: text + " too")

    def test_the_review(self):
        self.assert_shown(f"{BASE}/registry-access/review", "Review and save", lambda text: text + " too")

    def test_the_history(self):
        self.assert_shown(f"{BASE}/registry-access/history", "Registry Access history")

    def test_the_activity(self):
        for kind in ("", "changes", "refusals", "devices"):
            path = f"{BASE}/activity?kind={kind}"
            if kind in ("", "changes"):
                # A contact is a setting, the comment of a version is its own.
                self.browser.go(path)
                self.assert_harmless("Activity")
            else:
                self.assert_shown(path, "Activity")

    def test_the_overview(self):
        self.browser.go(BASE)
        self.assert_harmless("Overview")

    def test_the_devices(self):
        self.assert_shown(f"{BASE}/devices", "Devices")
        for text, device in zip(TEXTS, self.devices):
            self.browser.go(f"{BASE}/devices/{device}")
            self.assert_harmless(text)
            self.assertIn(text, self.browser.run("return document.querySelector('main').textContent"))

    def test_the_requests(self):
        # Those that are open on the page, and each on its own.
        self.browser.go(f"{BASE}/requests")
        self.assert_harmless("Requests")
        for number, text in enumerate(TEXTS):
            self.browser.go(f"{BASE}/requests/{number + 1}")
            self.assert_harmless(f"q{number}.acme.test")
            read = self.browser.run("return document.querySelector('main').textContent")
            self.assertGreaterEqual(read.count(text), 2 if number % 2 else 1, (number, text))

    def test_the_tokens_and_invitations(self):
        self.assert_shown(f"{BASE}/settings/tokens", "Settings: access tokens")
        self.assert_shown(f"{BASE}/settings/machines", "Settings: machines")
        self.assert_shown(f"{BASE}/invitations", "Invitations")
        for kind in ("people", "requests", "settings"):
            self.browser.go(f"{BASE}/activity?kind={kind}")
            self.assert_harmless("Activity")

    def test_the_settings(self):
        # A contact is ASCII.
        for text in filter(str.isascii, TEXTS):
            self.server.alice.send("PATCH", "./settings", body={"contact": text})
            self.browser.go(f"{BASE}/settings")
            self.assert_harmless("Settings")
            self.assertEqual(self.browser.field("Contact").get_attribute("value"), text)

    def test_what_is_asked_for(self):
        for text in TEXTS:
            for path, label in (("registry-access", "Search"), ("activity", "Person")):
                self.browser.go(f"{BASE}/{path}")
                field = self.browser.field(label)
                self.browser.run("arguments[0].value = arguments[1]", field, text)
                field.submit()
                self.assert_harmless(self.browser.title.removesuffix(" – acme"))
                self.assertEqual(self.browser.field(label).get_attribute("value"), text)

    def test_what_was_typed(self):
        for text in TEXTS:
            self.browser.go(f"{BASE}/registry-access/add")
            for label in ("Registry address", "Registry nickname", "Repositories", "More support hosts"):
                self.browser.run("arguments[0].value = arguments[1]", self.browser.field(label), text + " NO")
            self.browser.press("Create")
            self.assert_harmless("Add a registry")
            self.assertEqual(self.browser.field("Repositories").get_attribute("value"), text + " NO")


if __name__ == "__main__":
    unittest.main()
