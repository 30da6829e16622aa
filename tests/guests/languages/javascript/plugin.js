// Does what its configuration names and no plugin should, unless the request asks it to behave.

let how = "";
// Whether this instance has done it.
let did = false;

const deeper = (depth) => deeper(depth + 1) + 1;

function misbehave() {
    switch (how) {
        case "raise":
            throw new Error("secret");
        case "reject":
            return Promise.reject(new Error("secret"));
        case "recurse":
            return deeper(0);
        case "allocate":
            for (const kept = []; ; ) {
                kept.push(new Uint8Array(1 << 20).fill(1));
            }
        case "spin":
            for (;;) {}
        default:
            // No flow at all.
            return 7;
    }
}

export const hooks = {
    schema: () => "{}",

    configure(text) {
        how = JSON.parse(text).how;
        return {
            request: { parts: {}, headers: { tag: "only", val: ["x-behave"] }, attributes: { tag: "none" } },
            ownedHeaders: [],
            setsAttributes: [],
        };
    },

    onRequest(request) {
        if (request.headers.length === 0) {
            did = true;
            return misbehave();
        }
        const said = { name: "x-misbehaved", value: new TextEncoder().encode(String(did)) };
        const edits = { remove: [], set: [said], append: [], attributes: [], skipBody: false };
        return { tag: "edit", val: edits };
    },

    // These are never called: the plugin did not ask for them.
    onRequestBody: () => ({ tag: "continue" }),
    onResponse: () => ({ tag: "continue" }),
    onResponseBody: () => ({ tag: "continue" }),
};
