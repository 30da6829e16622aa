"""Greets: adds `x-greeting` to requests that carry `x-name`, and refuses those that do not."""

import json

from componentize_py_types import Err
from wit_world.exports import hooks
from wit_world.exports.hooks import Complaint, Interest, Names_None_, Names_Only, Parts, RequestInterest
from wit_world.imports.http import BodyFlow_Continue, Edits, Flow_Continue, Flow_Edit, Flow_Refuse, Header, Problem

GREETING = "hello"

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"greeting": {"description": "What comes before the name.", "type": "string", "default": GREETING}},
    "additionalProperties": False,
}


def edits(set=(), attributes=()):
    return Flow_Edit(Edits([], list(set), [], None, None, None, list(attributes), None, False))


class Hooks(hooks.Hooks if hasattr(hooks, "Hooks") else object):
    def schema(self):
        return json.dumps(SCHEMA)

    def configure(self, config):
        """Called once for each instance: checks the configuration, and says what the plugin wants to see."""
        global GREETING
        config = json.loads(config)
        complaints = [Complaint(f"/{key}", f"unknown option `{key}`") for key in config if key != "greeting"]
        GREETING = config.get("greeting", GREETING)
        if not isinstance(GREETING, str):
            complaints.append(Complaint("/greeting", "the greeting is text"))
        if complaints:
            raise Err(complaints)
        see = RequestInterest(Parts(0), Names_Only(["x-name"]), Names_None_())
        return Interest(see, None, None, None, [], ["greeted"])

    def on_request(self, request):
        name = next((header.value.decode(errors="replace") for header in request.headers), None)
        if name is None:
            return Flow_Refuse(Problem(400, "no-name", "The request has no name.", None, [], []))
        greeting = Header("x-greeting", f"{GREETING}, {name}".encode())
        return edits(set=[greeting], attributes=[("greeted", name)])

    # These are never called: the plugin did not ask for them.

    def on_request_body(self, request, body, memo):
        return BodyFlow_Continue()

    def on_response(self, response, memo):
        return Flow_Continue()

    def on_response_body(self, response, body, memo):
        return BodyFlow_Continue()
