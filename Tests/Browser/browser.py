"""Chromium, and the pages as whoever uses them sees them."""

import base64
import os

from axe_core_python.base import AXE_SCRIPT
from selenium import webdriver
from selenium.common.exceptions import NoAlertPresentException, NoSuchElementException, WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from server import ORGANIZATION, PASSWORD, wait_for

SCHEMES = ("light", "dark")
WIDTHS = (1280, 390)
BASE = f"/organizations/{ORGANIZATION}"

# Sees every layout shift that nobody caused, those before it was asked too.
SHIFTS = """
const end = arguments[arguments.length - 1];
let sum = 0;
new PerformanceObserver((list) => {
  for (const shift of list.getEntries()) if (!shift.hadRecentInput) sum += shift.value;
}).observe({ type: "layout-shift", buffered: true });
requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => end(sum), 100)));
"""

AXE = """
const end = arguments[arguments.length - 1];
axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], resultTypes: ["violations"] }).then(
  (found) => end(found.violations.flatMap((violation) => violation.nodes.map(
    (node) => `${violation.id}: ${node.target} ${node.html.slice(0, 200)} ${node.any.map((any) => any.message)}`))),
  (error) => end([`axe: ${error}`]));
"""

WEIGHT = """
const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
return all.map((entry) => [entry.name, entry.transferSize, entry.duration]);
"""

# What a reader takes for one word and sees in two lines, or beside its cell. Words end at what lines may be broken behind, and
# one of more than 16 letters may be broken anywhere.
BROKEN = """
const broken = [];
for (const cell of document.querySelectorAll("th, td")) {
  if (getComputedStyle(cell.closest("thead") ?? cell).clipPath !== "none") continue;
  const end = cell.getBoundingClientRect().right - parseFloat(getComputedStyle(cell).paddingRight);
  const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (text.parentElement.closest(".hidden")) continue;
    for (const word of text.data.matchAll(/\\S+/g)) {
      if (word[0].length > 16) continue;
      for (const part of word[0].matchAll(/[^-\\/?]+/g)) {
        const range = document.createRange();
        const start = word.index + part.index;
        range.setStart(text, start);
        range.setEnd(text, start + part[0].length);
        const lines = new Set([...range.getClientRects()].map((place) => Math.round(place.top))).size;
        if (lines > 1 || range.getBoundingClientRect().right > end + 1) broken.push(part[0]);
      }
    }
  }
}
return broken;
"""

# Whether what has the focus lies under the bar of changes, even in part; null on the bar itself.
COVERED = """
const [element, bar] = [document.activeElement, document.querySelector(".pending")];
if (element === document.body || bar.contains(element)) return null;
const [one, other] = [element.getBoundingClientRect(), bar.getBoundingClientRect()];
return one.bottom > other.top && one.top < other.bottom;
"""

FOCUS = """
const element = document.activeElement;
const style = getComputedStyle(element);
const name = element.getAttribute("aria-label") || (element.labels && element.labels[0] || element).innerText || "";
return [name.trim(), style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0, element.tagName];
"""


class Browser:
    """A browser of its own, without anything of an earlier one."""

    def __init__(self, url):
        self.url = url
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in (
            "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--no-first-run", "--no-default-browser-check",
            "--hide-scrollbars", "--force-color-profile=srgb", "--lang=en-GB", "--no-proxy-server",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        ):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
        self.driver.set_page_load_timeout(60)
        self.driver.set_script_timeout(60)
        self.show()

    def end(self):
        self.driver.quit()

    # Looks

    def show(self, width=1280, scheme="light"):
        """Sets how wide the page is, and whether it is light or dark."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}, still]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def picture(self, path, whole=True):
        """Keeps what is shown; whole: the page from its beginning to its end."""
        clip = {}
        if whole:
            height = self.run("return document.documentElement.scrollHeight")
            width = self.run("return innerWidth")
            clip = {"clip": {"x": 0, "y": 0, "width": width, "height": min(height, 8000), "scale": 1}}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": whole, **clip})
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    # Pages

    def go(self, path):
        self.driver.get(self.url + path)
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    @property
    def path(self):
        return self.driver.current_url.removeprefix(self.url)

    @property
    def title(self):
        return self.driver.title

    @property
    def text(self):
        """What is to be read on the page."""
        return self.run("return document.body.innerText")

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def field(self, label):
        """A field by its label."""
        marks = f"//label[starts-with(normalize-space(.), {quoted(label)})]"
        return self.one("#" + self.driver.find_element(By.XPATH, marks).get_attribute("for"))

    def fill(self, label, text):
        field = self.field(label)
        if field.tag_name == "select":
            Select(field).select_by_visible_text(text)
        else:
            field.clear()
            field.send_keys(text)
        return self

    def find(self, name):
        """A link or a button by what it is called."""
        words = quoted(name)
        marks = f"//*[self::a or self::button or self::summary][normalize-space(.)={words} or @aria-label={words}]"
        try:
            return self.driver.find_element(By.XPATH, marks)
        except NoSuchElementException:
            raise AssertionError(f"there is no {name!r} on {self.path}:\n{self.text}") from None

    def has(self, name):
        try:
            self.find(name)
        except AssertionError:
            return False
        return True

    def press(self, name):
        """Presses a link or a button that brings another page, and waits for that."""
        self.run("window.isLeft = true")
        self.find(name).click()

        def is_gone():
            try:
                return self.run("return !window.isLeft && document.readyState === 'complete'")
            except WebDriverException:
                # Between two pages there is none to ask.
                return False

        wait_for(f"page behind {name!r}", 60, is_gone)
        return self

    def sign_in(self, name, password=PASSWORD, to=None):
        self.go(to or "/")
        self.fill("Name", name).fill("Password", password)
        return self.press("Sign in")

    def alert(self):
        """What a dialog says that something on the page has opened."""
        try:
            return self.driver.switch_to.alert.text
        except NoAlertPresentException:
            return None

    # What is wrong with a page

    def violations(self):
        """What axe finds, also in what is folded up."""
        self.run("for (const details of document.querySelectorAll('details')) details.open = true;")
        self.driver.execute_script(AXE_SCRIPT)
        found = self.driver.execute_async_script(AXE)
        self.run("for (const details of document.querySelectorAll('details.menu')) details.open = false;")
        return found

    def shifts(self):
        return self.driver.execute_async_script(SHIFTS)

    def weight(self):
        """Every request of the page: its address, bytes and milliseconds."""
        return self.run(WEIGHT)

    def overflow(self):
        """How many pixels the page is too wide."""
        return self.run("return document.documentElement.scrollWidth - innerWidth")

    def hidden_columns(self):
        """How many pixels of its tables are seen only when these are scrolled sideways."""
        return self.run("return [...document.querySelectorAll('.flow')].map((each) => each.scrollWidth - each.clientWidth)")

    def broken_words(self):
        """The short words in tables that are broken over lines, or stick out of their cells."""
        return self.run(BROKEN)

    # The keyboard

    def keys(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()
        return self

    def tab_to(self, name):
        """Goes on with the tabulator until something of this name has the focus, which must be seen all the way."""
        seen = []
        for _ in range(200):
            self.keys(Keys.TAB)
            there, is_seen, tag = self.run(FOCUS)
            if tag != "BODY" and not is_seen:
                raise AssertionError(f"the focus is not seen on {there!r}, {tag}")
            if there == name or there.split("\n")[0] == name:
                return self
            seen.append(there)
        raise AssertionError(f"the tabulator does not come to {name!r}: {seen}")


class OwnBrowsers:
    """What test cases with a server have in common: browsers that end with the test."""

    def browser(self, name=None, to=None):
        browser = Browser(self.server.url)
        self.addCleanup(browser.end)
        return browser.sign_in(name, to=to) if name else browser


def quoted(text):
    """A text of XPath."""
    if '"' not in text:
        return f'"{text}"'
    return "concat(" + ", '\"', ".join(f'"{part}"' for part in text.split('"')) + ")"
