"""Does what its configuration names and no plugin should, unless the request asks it to behave."""

import json
import sys

from wit_world.exports import hooks
from wit_world.exports.hooks import Interest, Names_None_, Names_Only, Parts, RequestInterest
from wit_world.imports.http import BodyFlow_Continue, Edits, Flow_Continue, Flow_Edit, Header

how = ""
# Whether this instance has done it.
did = False


def deeper(depth):
    return deeper(depth + 1) + 1


def misbehave():
    if how == "raise":
        raise ValueError("secret")
    if how == "exit":
        sys.exit(0)
    if how == "recurse":
        deeper(0)
    if how == "allocate":
        kept = []
        while True:
            kept.append(bytearray(1 << 20))
    if how == "spin":
        while True:
            pass
    # No flow at all.
    return 7


class Hooks(hooks.Hooks if hasattr(hooks, "Hooks") else object):
    def schema(self):
        return "{}"

    def configure(self, config):
        global how
        how = json.loads(config)["how"]
        see = RequestInterest(Parts(0), Names_Only(["x-behave"]), Names_None_())
        return Interest(see, None, None, None, [], [])

    def on_request(self, request):
        global did
        if not request.headers:
            did = True
            return misbehave()
        said = Header("x-misbehaved", str(did).lower().encode())
        return Flow_Edit(Edits([], [said], [], None, None, None, [], None, False))

    # These are never called: the plugin did not ask for them.

    def on_request_body(self, request, body, memo):
        return BodyFlow_Continue()

    def on_response(self, response, memo):
        return Flow_Continue()

    def on_response_body(self, response, body, memo):
        return BodyFlow_Continue()
