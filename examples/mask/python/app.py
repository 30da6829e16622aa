"""Hides words in the bodies of responses while they pass: each becomes as many asterisks. However long a body is, what
stays in memory is less than one word, so that one which is cut in two is found."""

import json

from componentize_py_types import Err
from wit_world.exports import chunks, hooks
from wit_world.exports.chunks import ChunkFlow_Continue, ChunkFlow_Replace, Passing, Wanted
from wit_world.exports.hooks import Complaint, Interest
from wit_world.imports.http import BodyFlow_Continue, Flow_Continue

SCHEMA = {
    "type": "object",
    "properties": {"words": {"description": "What is hidden.", "type": "array", "items": {"type": "string"}}},
    "required": ["words"],
    "additionalProperties": False,
}

words = []
# What may be the beginning of a word. It belongs to one body: an instance works on one at a time, from its first piece on.
kept = b""


def mask(text):
    for word in words:
        text = text.replace(word, b"*" * len(word))
    return text


class Chunks(chunks.Chunks if hasattr(chunks, "Chunks") else object):
    def wants(self):
        return Wanted(request=Passing.NONE, response=Passing.CHANGE)

    def on_response_chunk(self, chunk):
        global kept
        text = mask((b"" if chunk.first else kept) + chunk.bytes)
        ready = len(text) if chunk.last else max(len(text) - max(map(len, words)) + 1, 0)
        kept = text[ready:]
        return ChunkFlow_Replace(text[:ready])

    # Never called: the plugin wants no requests.
    def on_request_chunk(self, chunk):
        return ChunkFlow_Continue()


class Hooks(hooks.Hooks if hasattr(hooks, "Hooks") else object):
    def schema(self):
        return json.dumps(SCHEMA)

    def configure(self, config):
        global words
        words = json.loads(config).get("words")
        if not (isinstance(words, list) and words and all(isinstance(word, str) and word for word in words)):
            raise Err([Complaint("/words", "it is a list of words, and not empty")])
        words = [word.encode() for word in words]
        return Interest(None, None, None, None, [], [])

    # These are never called: the plugin did not ask for them.

    def on_request(self, request):
        return Flow_Continue()

    def on_request_body(self, request, body, memo):
        return BodyFlow_Continue()

    def on_response(self, response, memo):
        return Flow_Continue()

    def on_response_body(self, response, body, memo):
        return BodyFlow_Continue()
