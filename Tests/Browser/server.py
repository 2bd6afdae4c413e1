"""docker-ram-server with a data directory of its own, on loopback, and its API as the tests need it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

PROGRAMS = os.environ.get("DOCKER_RAM_PROGRAMS", os.path.abspath("../../.build/debug"))
ORGANIZATION = "acme"
PASSWORD = "plain words for a test"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what, seconds, look):
    """Waits until something is there; how long that takes decides nothing, only that it never comes does."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"in {seconds} s there was no {what}")
        time.sleep(0.1)


class API:
    """The server's own API, as somebody of the organization."""

    def __init__(self, url, name, password):
        self.url = url
        self.token = None
        form = {"grant_type": "password", "username": name, "password": password, "organization": ORGANIZATION}
        self.token = self.send("POST", "/v1/token", form=form)["access_token"]

    def send(self, method, path, body=None, form=None, headers=None, token=None):
        if path.startswith("./"):
            path = f"/v1/organizations/{ORGANIZATION}{path[1:]}"
        headers = dict(headers or {})
        data = None
        if form is not None:
            data = urllib.parse.urlencode(form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if token or self.token:
            headers["Authorization"] = f"Bearer {token or self.token}"
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None
        return json.loads(text) if text else None

    def policy(self):
        return self.send("GET", "./policy")

    def save(self, registries=None, comment="", **settings):
        """Saves the policy with other registries or settings."""
        policy = self.policy()
        version = policy["version"]
        policy.update(settings)
        if registries is not None:
            policy["registries"] = registries
        query = f"?comment={urllib.parse.quote(comment, safe='')}" if comment else ""
        self.send("PUT", f"./policy{query}", body=policy, headers={"If-Match": f'"{version}"'})

    def add_device(self, name, status=None, refusals=()):
        """Registers a machine that tells of itself and of what it refused."""
        if not hasattr(self, "enrollment"):
            self.enrollment = self.send("POST", "./enrollment-tokens", body={"name": "tests", "days": 1})["enrollmentToken"]
        device = self.send("POST", "./devices", body={"name": name, "enrollmentToken": self.enrollment})
        if status or refusals:
            self.report(device, status, refusals)
        return device

    def report(self, device, status=None, refusals=()):
        body = {"batch": str(uuid.uuid4()), "refusals": list(refusals)}
        if status:
            body["status"] = status
        self.send("POST", f"./devices/{device['device']}/reports", body=body, token=device["secret"])

    def use(self, device, *registries, action="pull"):
        """Tells that a machine used registries today."""
        day = time.strftime("%Y-%m-%d", time.gmtime())
        body = {"uses": [{"day": day, "registry": registry, "action": action} for registry in registries]}
        self.send("POST", f"./devices/{device['device']}/uses", body=body, token=device["secret"])

    def status(self, points=("authorization-plugin", "egress-proxy"), version=None, **more):
        version = version or self.policy()["version"]
        status = {"policyVersion": version, "productVersion": "0.1.0", "engineVersion": "28.2.2"}
        return {**status, "enforcementPoints": list(points), "findings": [], **more}


def refusal(registry, user="mia", action="pull", verdict="deny", **more):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    made = {"id": uuid.uuid4().hex[:6], "time": now, "registry": registry, "action": action, "verdict": verdict}
    return {**made, "rule": "no-rule", "point": "authorization-plugin", "user": user, **more}


class Server:
    """A server with alice as the owner of acme."""

    def __init__(self):
        self.work = tempfile.mkdtemp(prefix="docker-ram-browser.")
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process = None
        try:
            command = [f"{PROGRAMS}/docker-ram-server", "init", "--data", f"{self.work}/data"]
            command += ["--organization", ORGANIZATION, "--owner", "alice", "--contact", "platform@acme.test"]
            command += ["--public-url", self.url, "--root-key", f"{self.work}/root.key", "--password-stdin"]
            subprocess.run(command, input=f"{PASSWORD}\n", text=True, check=True, capture_output=True)
            self.start()
            self.alice = API(self.url, "alice", PASSWORD)
        except BaseException:
            self.end()
            raise

    def start(self):
        command = [f"{PROGRAMS}/docker-ram-server", "serve", "--data", f"{self.work}/data"]
        command += ["--listen", self.url.removeprefix("http://")]
        with open(f"{self.work}/log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

        def is_ready():
            if self.process.poll() is not None:
                raise AssertionError("the server ended: " + open(f"{self.work}/log", encoding="utf-8").read()[-2000:])
            try:
                return urllib.request.urlopen(f"{self.url}/readyz", timeout=5).status == 200
            except OSError:
                return False

        wait_for("server that is ready", 60, is_ready)

    def add_member(self, name, role="member"):
        """Makes somebody a member, with the password of all tests."""
        invitation = self.alice.send("POST", "./invitations", body={"role": role})["invitation"]
        accept = {"invitation": invitation, "name": name, "password": PASSWORD}
        self.alice.send("POST", "/v1/invitations/accept", body=accept)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.work, ignore_errors=True)
