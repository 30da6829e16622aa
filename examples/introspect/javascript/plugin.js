// Asks an authorization server about each bearer token (RFC 7662), tells the upstream and later plugins whose it is, and
// refuses requests without a good one.

import { send } from "tollgate:plugin/http-client@0.1.0";
import { write } from "tollgate:plugin/log@0.1.0";

const encode = (text) => new TextEncoder().encode(text);
const decode = (bytes) => new TextDecoder().decode(bytes);
const field = (name, value) => ({ name, value: encode(value) });
const refuse = (status, code, title, headers = []) => ({
    tag: "refuse",
    val: { status, code, title, headers, faults: [] },
});

let endpoint = "";

// What the server says about a token.
function ask(token) {
    const response = send({
        method: "POST",
        url: endpoint,
        headers: [field("content-type", "application/x-www-form-urlencoded")],
        body: encode(`token=${token}`),
        timeoutMs: 500,
    });
    if (response.status !== 200) {
        throw new Error(`the server answered ${response.status}`);
    }
    return JSON.parse(decode(response.body));
}

export const hooks = {
    schema: () =>
        JSON.stringify({
            type: "object",
            properties: { endpoint: { description: "Where tokens are introspected.", type: "string" } },
            required: ["endpoint"],
            additionalProperties: false,
        }),

    configure(text) {
        endpoint = JSON.parse(text).endpoint;
        if (typeof endpoint !== "string" || !endpoint.includes("://")) {
            throw [{ pointer: "/endpoint", message: "it is an absolute URL" }];
        }
        return {
            request: { parts: {}, headers: { tag: "only", val: ["authorization"] }, attributes: { tag: "none" } },
            ownedHeaders: ["x-user"],
            setsAttributes: ["consumer"],
        };
    },

    onRequest(request) {
        const value = request.headers.length > 0 ? decode(request.headers[0].value) : "";
        // RFC 6750, section 2.1. Of what a token may be made of, `+`, `/` and `=` would mean something else in a form.
        const bearer = /^Bearer ([A-Za-z0-9._~-]+)$/.exec(value);
        if (bearer === null) {
            const challenge = [field("www-authenticate", "Bearer")];
            return refuse(401, "missing-token", "This needs a bearer token.", challenge);
        }
        let verdict;
        try {
            verdict = ask(bearer[1]);
        } catch (why) {
            write("warn", `the token cannot be looked up: ${why.payload?.tag ?? why.message}`);
            return refuse(503, "introspection-failed", "The token cannot be looked up now.");
        }
        if (!verdict.active) {
            const headers = [
                field("content-type", "application/json"),
                field("www-authenticate", 'Bearer error="invalid_token"'),
            ];
            return { tag: "respond", val: { status: 401, headers, body: encode('{"error":"invalid_token"}') } };
        }
        const edits = {
            remove: ["authorization"],
            set: [field("x-user", verdict.sub ?? "")],
            append: [],
            attributes: [["consumer", verdict.sub ?? ""]],
            skipBody: false,
        };
        return { tag: "edit", val: edits };
    },

    // These are never called: the plugin did not ask for them.
    onRequestBody: () => ({ tag: "continue" }),
    onResponse: () => ({ tag: "continue" }),
    onResponseBody: () => ({ tag: "continue" }),
};
