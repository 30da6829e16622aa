// Greets: adds `x-greeting` to requests that carry `x-name`, and refuses those that do not.

let greeting = "hello";

const schema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    properties: { greeting: { description: "What comes before the name.", type: "string", default: greeting } },
    additionalProperties: false,
};

const edits = { remove: [], set: [], append: [], attributes: [], skipBody: false };

export const hooks = {
    schema: () => JSON.stringify(schema),

    // Called once for each instance: checks the configuration, and says what the plugin wants to see.
    configure(text) {
        const config = JSON.parse(text);
        const complaints = Object.keys(config)
            .filter((key) => key !== "greeting")
            .map((key) => ({ pointer: `/${key}`, message: `unknown option \`${key}\`` }));
        greeting = config.greeting ?? greeting;
        if (typeof greeting !== "string") {
            complaints.push({ pointer: "/greeting", message: "the greeting is text" });
        }
        if (complaints.length > 0) {
            throw complaints;
        }
        return {
            request: { parts: {}, headers: { tag: "only", val: ["x-name"] }, attributes: { tag: "none" } },
            ownedHeaders: [],
            setsAttributes: ["greeted"],
        };
    },

    onRequest(request) {
        if (request.headers.length === 0) {
            const problem = { status: 400, code: "no-name", title: "The request has no name.", headers: [], faults: [] };
            return { tag: "refuse", val: problem };
        }
        const name = new TextDecoder().decode(request.headers[0].value);
        const value = new TextEncoder().encode(`${greeting}, ${name}`);
        const set = [{ name: "x-greeting", value }];
        return { tag: "edit", val: { ...edits, set, attributes: [["greeted", name]] } };
    },

    // These are never called: the plugin did not ask for them.
    onRequestBody: () => ({ tag: "continue" }),
    onResponse: () => ({ tag: "continue" }),
    onResponseBody: () => ({ tag: "continue" }),
};
