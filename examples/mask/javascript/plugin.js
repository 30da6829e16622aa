// Hides words in the bodies of responses while they pass: each becomes as many asterisks. However long a body is, what
// stays in memory is less than one word, so that one which is cut in two is found.

const schema = {
    type: "object",
    properties: { words: { description: "What is hidden.", type: "array", items: { type: "string" } } },
    required: ["words"],
    additionalProperties: false,
};

let words = [];
// What may be the beginning of a word. It belongs to one body: an instance works on one at a time, from its first piece on.
let kept = new Uint8Array();

const star = "*".charCodeAt(0);

function mask(text) {
    for (const word of words) {
        for (let at = find(text, word, 0); at >= 0; at = find(text, word, at + word.length)) {
            text.fill(star, at, at + word.length);
        }
    }
}

// Where a word begins in some bytes; -1 where it is not there. Bodies are bytes, and a character may be cut in two.
function find(text, word, from) {
    for (let at = text.indexOf(word[0], from); at >= 0; at = text.indexOf(word[0], at + 1)) {
        if (word.every((byte, index) => text[at + index] === byte)) {
            return at;
        }
    }
    return -1;
}

export const chunks = {
    wants: () => ({ request: "none", response: "change" }),

    onResponseChunk(chunk) {
        const before = chunk.first ? new Uint8Array() : kept;
        const text = new Uint8Array(before.length + chunk.bytes.length);
        text.set(before);
        text.set(chunk.bytes, before.length);
        mask(text);
        const longest = Math.max(...words.map((word) => word.length));
        const ready = chunk.last ? text.length : Math.max(text.length - longest + 1, 0);
        kept = text.slice(ready);
        return { tag: "replace", val: text.subarray(0, ready) };
    },

    // Never called: the plugin wants no requests.
    onRequestChunk: () => ({ tag: "continue" }),
};

export const hooks = {
    schema: () => JSON.stringify(schema),

    configure(text) {
        const list = JSON.parse(text).words;
        const isWord = (word) => typeof word === "string" && word !== "";
        if (!Array.isArray(list) || list.length === 0 || !list.every(isWord)) {
            throw [{ pointer: "/words", message: "it is a list of words, and not empty" }];
        }
        words = list.map((word) => new TextEncoder().encode(word));
        return { ownedHeaders: [], setsAttributes: [] };
    },

    // These are never called: the plugin did not ask for them.
    onRequest: () => ({ tag: "continue" }),
    onRequestBody: () => ({ tag: "continue" }),
    onResponse: () => ({ tag: "continue" }),
    onResponseBody: () => ({ tag: "continue" }),
};
