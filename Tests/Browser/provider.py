"""A provider of OpenID Connect on loopback, with a page where people sign in, as those of organizations have."""

import base64
import hashlib
import json
import secrets
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT = "docker-ram"
SECRET = "what only the client knows"

FORM = """<!DOCTYPE html><html lang="en"><title>The provider</title><h1>The provider of acme</h1>
<form method="post"><p><label for="name">Name</label> <input id="name" name="name"></p>
<button>Sign in at the provider</button></form>"""


class Provider:
    """Knows everybody by the name that they type, and keeps to the standard: codes are good once, and for one verifier."""

    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.codes = {}
        # The addresses of the forms that were asked for, for what a test wants to know of them.
        self.asked = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                provider.get(self)

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                provider.post(self, dict(urllib.parse.parse_qsl(self.rfile.read(length).decode())))

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def end(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def get(self, handler):
        path, _, query = handler.path.partition("?")
        if path == "/.well-known/openid-configuration":
            self.send(handler, {
                "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            })
        elif path == "/keys":
            key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
            self.send(handler, {"keys": [{**key, "kid": "one", "use": "sig", "alg": "RS256"}]})
        elif path == "/authorize":
            self.asked.append(dict(urllib.parse.parse_qsl(query)))
            self.send(handler, FORM)
        else:
            self.send(handler, "nothing", 404)

    def post(self, handler, fields):
        path, _, query = handler.path.partition("?")
        if path == "/authorize":
            asked = dict(urllib.parse.parse_qsl(query))
            code = secrets.token_urlsafe(16)
            self.codes[code] = (fields["name"], asked)
            back = urllib.parse.urlencode({"code": code, "state": asked["state"]})
            handler.send_response(303)
            handler.send_header("Location", f"{asked['redirect_uri']}?{back}")
            handler.end_headers()
        elif path == "/token":
            self.token(handler, fields)
        else:
            self.send(handler, "nothing", 404)

    def token(self, handler, fields):
        scheme, _, credentials = handler.headers["Authorization"].partition(" ")
        client, _, secret = base64.b64decode(credentials).decode().partition(":")
        name, asked = self.codes.pop(fields["code"])
        challenge = base64.urlsafe_b64encode(hashlib.sha256(fields["code_verifier"].encode()).digest()).decode().rstrip("=")
        is_client = (scheme, urllib.parse.unquote(client), urllib.parse.unquote(secret)) == ("Basic", CLIENT, SECRET)
        if not is_client or challenge != asked["code_challenge"] or fields["redirect_uri"] != asked["redirect_uri"]:
            self.send(handler, {"error": "invalid_grant"}, 400)
            return
        now = int(time.time())
        claims = {
            "iss": self.issuer, "sub": f"subject of {name}", "aud": CLIENT, "iat": now, "exp": now + 300,
            "nonce": asked["nonce"], "email": f"{name}@acme.test", "email_verified": True, "preferred_username": name,
        }
        # Said only to who asks when somebody has shown who they are.
        if "max_age" in asked:
            claims["auth_time"] = now
        token = jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "one"})
        self.send(handler, {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "id_token": token})

    @staticmethod
    def send(handler, content, status=200):
        is_page = isinstance(content, str)
        body = (content if is_page else json.dumps(content)).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "text/html; charset=utf-8" if is_page else "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
