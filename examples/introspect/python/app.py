"""Asks an authorization server about each bearer token (RFC 7662), tells the upstream and later plugins whose it is, and
refuses requests without a good one."""

import json
import re

from componentize_py_types import Err
from wit_world.exports import hooks
from wit_world.exports.hooks import Complaint, Interest, Names_None_, Names_Only, Parts, RequestInterest
from wit_world.imports import http_client, log
from wit_world.imports.http import (
    BodyFlow_Continue, Edits, Flow_Continue, Flow_Edit, Flow_Refuse, Flow_Respond, Header, Problem, Response,
)

# RFC 6750, section 2.1. Of what a token may be made of, `+`, `/` and `=` would mean something else in a form.
BEARER = re.compile(rb"Bearer ([A-Za-z0-9._~-]+)")

SCHEMA = {
    "type": "object",
    "properties": {"endpoint": {"description": "Where tokens are introspected.", "type": "string"}},
    "required": ["endpoint"],
    "additionalProperties": False,
}

endpoint = ""


def refuse(status, code, title, *headers):
    return Flow_Refuse(Problem(status, code, title, None, list(headers), []))


def ask(token):
    """What the server says about a token."""
    kind = Header("content-type", b"application/x-www-form-urlencoded")
    response = http_client.send(http_client.Request("POST", endpoint, [kind], b"token=" + token, 500))
    if response.status != 200:
        raise ValueError(f"the server answered {response.status}")
    return json.loads(response.body)


class Hooks(hooks.Hooks if hasattr(hooks, "Hooks") else object):
    def schema(self):
        return json.dumps(SCHEMA)

    def configure(self, config):
        global endpoint
        endpoint = json.loads(config).get("endpoint")
        if not isinstance(endpoint, str) or "://" not in endpoint:
            raise Err([Complaint("/endpoint", "it is an absolute URL")])
        see = RequestInterest(Parts(0), Names_Only(["authorization"]), Names_None_())
        return Interest(see, None, None, None, ["x-user"], ["consumer"])

    def on_request(self, request):
        bearer = BEARER.fullmatch(request.headers[0].value) if request.headers else None
        if bearer is None:
            challenge = Header("www-authenticate", b"Bearer")
            return refuse(401, "missing-token", "This needs a bearer token.", challenge)
        try:
            verdict = ask(bearer[1])
        except (Err, ValueError) as why:
            log.write(log.Level.WARN, f"the token cannot be looked up: {why}")
            return refuse(503, "introspection-failed", "The token cannot be looked up now.")
        if not verdict.get("active"):
            headers = [
                Header("content-type", b"application/json"),
                Header("www-authenticate", b'Bearer error="invalid_token"'),
            ]
            return Flow_Respond(Response(401, headers, b'{"error":"invalid_token"}'))
        user = verdict.get("sub", "")
        user_header = Header("x-user", user.encode())
        attributes = [("consumer", user)]
        return Flow_Edit(Edits(["authorization"], [user_header], [], None, None, None, attributes, None, False))

    # These are never called: the plugin did not ask for them.

    def on_request_body(self, request, body, memo):
        return BodyFlow_Continue()

    def on_response(self, response, memo):
        return Flow_Continue()

    def on_response_body(self, response, body, memo):
        return BodyFlow_Continue()
