"""The pages there are: one line each, for the tests that walk all of them."""

from dataclasses import dataclass

from browser import BASE
from server import API, PASSWORD, refusal

ALL = ("owner", "auditor", "member")
READERS = ("owner", "auditor")
OWNER = ("owner",)

NAMES = {"owner": "alice", "auditor": "audrey", "member": "mia"}


@dataclass(frozen=True)
class Page:
    """A page."""

    # What its picture is called.
    name: str
    path: str
    # Who sees it; None: whoever is not signed in.
    roles: tuple = ALL


PAGES = (
    Page("sign-in", "/sign-in", (None,)),
    Page("activate", "/activate?user_code=BCDF-GHJK", (None, "owner")),
    Page("organizations", "/organizations"),
    Page("overview", BASE, READERS),
    Page("registries", f"{BASE}/registry-access"),
    Page("registries-none-found", f"{BASE}/registry-access?q=nothing-is-like-this"),
    Page("registry-add", f"{BASE}/registry-access/add", OWNER),
    Page("registry-add-suggested", f"{BASE}/registry-access/add?address=ghcr.io", OWNER),
    Page("review", f"{BASE}/registry-access/review", OWNER),
    Page("discard", f"{BASE}/registry-access/discard", OWNER),
    Page("settings", f"{BASE}/registry-access/settings"),
    Page("times", f"{BASE}/registry-access/times", OWNER),
    Page("history", f"{BASE}/registry-access/history"),
    Page("version", f"{BASE}/registry-access/history/2"),
    Page("activity", f"{BASE}/activity", READERS),
    Page("activity-refusals", f"{BASE}/activity?kind=refusals", READERS),
    Page("activity-of-a-device", f"{BASE}/activity?device=build-01", READERS),
    Page("activity-none-found", f"{BASE}/activity?person=nobody&from=yesterday", READERS),
    Page("devices", f"{BASE}/devices", READERS),
    Page("devices-outdated", f"{BASE}/devices?state=behind", READERS),
    Page("devices-found", f"{BASE}/devices?q=BUILD-", READERS),
    Page("devices-none-found", f"{BASE}/devices?q=nothing-is-like-this", READERS),
    Page("device", f"{BASE}/devices/{{device}}", READERS),
    Page("device-remove", f"{BASE}/devices/{{device}}/remove", OWNER),
    Page("requests", f"{BASE}/requests"),
    Page("request", f"{BASE}/requests/1"),
    Page("members", f"{BASE}/members", READERS),
    Page("member", f"{BASE}/members/mia", READERS),
    Page("member-remove", f"{BASE}/members/mia/remove", OWNER),
    Page("member-password-reset", f"{BASE}/members/mia/password-reset", OWNER),
    Page("invitations", f"{BASE}/invitations", READERS),
    Page("join", "/join", (None,)),
    Page("new-password", "/new-password?link={reset}", (None,)),
    Page("new-password-link", "/new-password", (None,)),
    Page("teams", f"{BASE}/teams"),
    Page("team", f"{BASE}/teams/platform"),
    Page("team-remove", f"{BASE}/teams/platform/remove", OWNER),
    Page("team-registry-add", f"{BASE}/teams/platform/registries/add", OWNER),
    Page("sessions", f"{BASE}/sessions", READERS),
    Page("sessions-end", f"{BASE}/sessions/end?everybody=true", OWNER),
    Page("account", "/account"),
    Page("settings-general", f"{BASE}/settings", READERS),
    Page("settings-machines", f"{BASE}/settings/machines", READERS),
    Page("settings-single-sign-on", f"{BASE}/settings/single-sign-on", READERS),
    Page("settings-tokens", f"{BASE}/settings/tokens"),
    Page("settings-signing-keys", f"{BASE}/settings/signing-keys", READERS),
    Page("settings-root-document", f"{BASE}/settings/signing-keys/root", OWNER),
    Page("nothing-there", f"{BASE}/registry-access/history/99"),
    Page("missing", f"{BASE}/nothing-is-here"),
    Page("missing-elsewhere", "/nothing-is-here", (None, *ALL)),
)

REGISTRIES = [
    {"address": "docker.io", "nickname": "Docker Hub", "allowed": True},
    {"address": "ghcr.io", "nickname": "GitHub", "allowed": True, "actions": ["pull"], "repositories": ["acme/**"]},
    {"address": "**.dkr.ecr.eu-west-1.amazonaws.com", "nickname": "ECR Ireland", "allowed": True},
    {"address": "registry.acme.test:5000", "nickname": "Our own", "allowed": True, "insecure": True,
     "supportHosts": ["blobs.acme.test"]},
    {"address": "quay.io", "nickname": "Quay", "allowed": False},
    {"address": "10.20.0.0/16", "nickname": "Data centre", "allowed": True},
]


def prepare(server):
    """Makes an organization as it may be after some weeks; gives what stands in paths."""
    alice = server.alice
    server.add_member("audrey", "auditor")
    server.add_member("mia")
    alice.save(REGISTRIES[:3], "the registries that we knew of")
    old = alice.policy()["version"]
    alice.save(REGISTRIES, "our own, and no Quay until it is looked at")
    denied = ["quay.io"] * 7 + ["gcr.io"] * 4 + ["registry.example.test"] * 2 + ["mcr.microsoft.com"]
    finding = {"code": "proxy-not-used", "summary": "the engine does not go out through the proxy"}
    device = alice.add_device("build-01", alice.status(), [refusal(name) for name in denied[:6]])
    other = alice.add_device("build-02", alice.status(), [refusal(name, "bob", verdict="would-deny") for name in denied[6:]])
    alice.add_device("laptop-mia", alice.status(version=old), [refusal("quay.io", action="push")])
    alice.add_device("laptop-of-a-person-with-a-rather-long-name", alice.status(points=(), findings=[finding]))
    alice.add_device("new-laptop")
    for machine in (device, other):
        alice.use(machine, "docker.io", "registry.acme.test:5000")
    alice.send("POST", "./teams", body={"name": "platform"})
    mia = API(server.url, "mia", PASSWORD)
    mia.send("POST", "./requests", body={"registry": "gcr.io", "action": "pull", "reason": "the base image of the shop"})
    # A change that waits to be saved, with something to warn of.
    policy = alice.policy()
    policy["registries"] = [*REGISTRIES[1:3], {"address": "registry.acme.test:5000", "nickname": "Our own", "allowed": False},
                            *REGISTRIES[4:], {"address": "gcr.io", "allowed": True},
                            {"address": "**", "allowed": True, "acknowledgeBroad": True}]
    alice.send("PUT", "./policy/draft", body=policy, headers={"If-Match": '"0"'})
    reset = alice.send("POST", "./members/mia/password-reset")["link"]
    return {"device": device["device"], "reset": reset.split("=")[1]}
