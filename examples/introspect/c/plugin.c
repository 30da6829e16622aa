// Asks an authorization server about each bearer token (RFC 7662), tells the upstream and later plugins whose it is, and
// refuses requests without a good one.

#include <stdio.h>

#include "json.h"
#include "tollgate.h"

static const char SCHEMA[] =
    "{ \"type\": \"object\", \"properties\": {"
    "    \"endpoint\": { \"description\": \"Where tokens are introspected.\", \"type\": \"string\" }"
    "}, \"required\": [\"endpoint\"], \"additionalProperties\": false }";

static char *endpoint;

void exports_tollgate_plugin_hooks_schema(plugin_string_t *ret) {
    *ret = tollgate_text(SCHEMA);
}

bool exports_tollgate_plugin_hooks_configure(plugin_string_t *text, tollgate_interest_t *ret, tollgate_complaints_t *err) {
    free(endpoint);
    endpoint = json_text(json_member(json_read((const char *)text->ptr, text->len), "endpoint"), NULL);
    plugin_string_free(text);
    *err = (tollgate_complaints_t){0};
    if (!endpoint || !strstr(endpoint, "://")) {
        tollgate_complain(err, "/endpoint", "it is an absolute URL");
        return false;
    }
    *ret = (tollgate_interest_t){.request = {.is_some = true}};
    tollgate_see(&ret->request.val.headers, "authorization");
    tollgate_add_text(&ret->owned_headers, "x-user");
    tollgate_add_text(&ret->sets_attributes, "consumer");
    return true;
}

// RFC 6750, section 2.1: what a token is made of. Of that, `+`, `/` and `=` would mean something else in a form.
static bool is_token(const char *text, size_t length) {
    for (size_t at = 0; at < length; at++) {
        char byte = text[at];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
        if (!letter && !memchr("-._~", byte, 4)) return false;
    }
    return length > 0;
}

// What the server says about a token, to be freed; false where it says nothing, and why.
static bool ask(const char *token, size_t length, tollgate_response_t *said, char *why, size_t room) {
    const char kind[] = "application/x-www-form-urlencoded";
    tollgate_headers_t fields = {0};
    tollgate_add_header(&fields, "content-type", kind, sizeof kind - 1);
    char *form = tollgate_allocate(NULL, 6 + length);
    memcpy(form, "token=", 6);
    memcpy(form + 6, token, length);

    tollgate_plugin_http_client_error_t error;
    bool answered = tollgate_send("POST", endpoint, fields, form, 6 + length, 500, said, &error);
    free(form);
    if (!answered) {
        snprintf(why, room, "there is no answer (%u)", error.tag);
        tollgate_plugin_http_client_error_free(&error);
        return false;
    }
    if (said->status == 200 && json_read((const char *)said->body.ptr, said->body.len).at) return true;
    snprintf(why, room, "the server answered %u", said->status);
    tollgate_plugin_http_response_free(said);
    return false;
}

void exports_tollgate_plugin_hooks_on_request(tollgate_request_t *request, tollgate_flow_t *ret) {
    const plugin_list_u8_t *header = tollgate_header(&request->headers, "authorization");
    const char *value = header ? (const char *)header->ptr : "";
    size_t length = header ? header->len : 0;
    tollgate_response_t said;
    char why[80];
    if (length < 7 || memcmp(value, "Bearer ", 7) != 0 || !is_token(value + 7, length - 7)) {
        tollgate_problem_t *problem = tollgate_refuse(ret, 401, "missing-token", "This needs a bearer token.");
        tollgate_add_header(&problem->headers, "www-authenticate", "Bearer", 6);
    } else if (!ask(value + 7, length - 7, &said, why, sizeof why)) {
        char line[128];
        snprintf(line, sizeof line, "the token cannot be looked up: %s", why);
        tollgate_log(TOLLGATE_PLUGIN_LOG_LEVEL_WARN, line);
        tollgate_refuse(ret, 503, "introspection-failed", "The token cannot be looked up now.");
    } else {
        json_t verdict = json_read((const char *)said.body.ptr, said.body.len);
        if (json_true(json_member(verdict, "active"))) {
            char *user = json_text(json_member(verdict, "sub"), &length);
            if (!user) length = 0;
            tollgate_edits_t *edits = tollgate_edit(ret);
            tollgate_add_text(&edits->remove, "authorization");
            tollgate_add_header(&edits->set, "x-user", user, length);
            tollgate_attribute(edits, "consumer", user, length);
            free(user);
        } else {
            const char error[] = "{\"error\":\"invalid_token\"}", challenge[] = "Bearer error=\"invalid_token\"";
            tollgate_response_t *response = tollgate_respond(ret, 401, error, sizeof error - 1);
            tollgate_add_header(&response->headers, "content-type", "application/json", 16);
            tollgate_add_header(&response->headers, "www-authenticate", challenge, sizeof challenge - 1);
        }
        tollgate_plugin_http_response_free(&said);
    }
    tollgate_plugin_http_request_free(request);
}
