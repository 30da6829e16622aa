// What makes answers of hooks short to write. `plugin.h` is the contract itself, as wit-bindgen has it in C, with every rule.
//
// What a hook is given belongs to it, and it frees it: `tollgate_plugin_http_request_free(request)`. What it answers belongs
// to the host: so everything here copies, and nothing that was given to it has to live on.

#ifndef TOLLGATE_H
#define TOLLGATE_H

#include <stdlib.h>
#include <string.h>

#include "plugin.h"

typedef exports_tollgate_plugin_hooks_interest_t tollgate_interest_t;
typedef exports_tollgate_plugin_hooks_list_complaint_t tollgate_complaints_t;
typedef exports_tollgate_plugin_hooks_request_t tollgate_request_t;
typedef exports_tollgate_plugin_hooks_response_head_t tollgate_response_head_t;
typedef exports_tollgate_plugin_hooks_flow_t tollgate_flow_t;
typedef exports_tollgate_plugin_hooks_body_flow_t tollgate_body_flow_t;
typedef tollgate_plugin_http_edits_t tollgate_edits_t;
typedef tollgate_plugin_http_problem_t tollgate_problem_t;
typedef tollgate_plugin_http_response_t tollgate_response_t;
typedef tollgate_plugin_http_header_t tollgate_header_t;
typedef tollgate_plugin_http_list_header_t tollgate_headers_t;

// Memory; where there is none the plugin traps, and its failure policy decides about the request.
static inline void *tollgate_allocate(void *old, size_t size) {
    void *memory = realloc(old, size ? size : 1);
    if (!memory) abort();
    return memory;
}

// A text of so many bytes, copied.
static inline plugin_string_t tollgate_text_n(const void *text, size_t length) {
    plugin_string_t copy = {NULL, length};
    if (length) copy.ptr = memcpy(tollgate_allocate(NULL, length), text, length);
    return copy;
}

// A text that ends with a zero byte, copied.
static inline plugin_string_t tollgate_text(const char *text) {
    return tollgate_text_n(text, strlen(text));
}

// Bytes, copied.
static inline plugin_list_u8_t tollgate_bytes(const void *bytes, size_t length) {
    plugin_string_t copy = tollgate_text_n(bytes, length);
    return (plugin_list_u8_t){copy.ptr, copy.len};
}

// Adds to a list of texts: `owned_headers`, `sets_attributes`, `remove`.
static inline void tollgate_add_text(plugin_list_string_t *list, const char *text) {
    list->ptr = tollgate_allocate(list->ptr, (list->len + 1) * sizeof *list->ptr);
    list->ptr[list->len++] = tollgate_text(text);
}

// Adds to a list of fields: `set`, `append`, those of a response, a problem or a request of one's own.
static inline void tollgate_add_header(tollgate_headers_t *list, const char *name, const void *value, size_t length) {
    list->ptr = tollgate_allocate(list->ptr, (list->len + 1) * sizeof *list->ptr);
    list->ptr[list->len++] = (tollgate_header_t){tollgate_text(name), tollgate_bytes(value, length)};
}

// Asks for headers or attributes by their names, one with each call.
static inline void tollgate_see(exports_tollgate_plugin_hooks_names_t *names, const char *name) {
    names->tag = EXPORTS_TOLLGATE_PLUGIN_HOOKS_NAMES_ONLY;
    tollgate_add_text(&names->val.only, name);
}

// Says one thing that is wrong with the configuration: where, as a JSON Pointer (RFC 6901), and what.
static inline void tollgate_complain(tollgate_complaints_t *list, const char *pointer, const char *message) {
    list->ptr = tollgate_allocate(list->ptr, (list->len + 1) * sizeof *list->ptr);
    list->ptr[list->len++] = (exports_tollgate_plugin_hooks_complaint_t){tollgate_text(pointer), tollgate_text(message)};
}

// The first header of this name, of those that were asked for; NULL where there is none.
static inline const plugin_list_u8_t *tollgate_header(const tollgate_headers_t *list, const char *name) {
    for (size_t at = 0; at < list->len; at++) {
        const tollgate_header_t *header = &list->ptr[at];
        if (header->name.len == strlen(name) && memcmp(header->name.ptr, name, header->name.len) == 0) return &header->value;
    }
    return NULL;
}

// Goes on, with the changes that are then made to what is answered here.
static inline tollgate_edits_t *tollgate_edit(tollgate_flow_t *flow) {
    *flow = (tollgate_flow_t){.tag = TOLLGATE_PLUGIN_HTTP_FLOW_EDIT};
    return &flow->val.edit;
}

// Sets an attribute, which `sets_attributes` of the interest has to name.
static inline void tollgate_attribute(tollgate_edits_t *edits, const char *name, const void *value, size_t length) {
    size_t count = edits->attributes.len;
    edits->attributes.ptr = tollgate_allocate(edits->attributes.ptr, (count + 1) * sizeof *edits->attributes.ptr);
    edits->attributes.ptr[count] =
        (tollgate_plugin_http_attribute_t){tollgate_text(name), tollgate_text_n(value, length)};
    edits->attributes.len = count + 1;
}

// Refuses, with an error that the host writes: a status, one stable word, and a summary.
static inline tollgate_problem_t *tollgate_refuse(tollgate_flow_t *flow, uint16_t status, const char *code, const char *title) {
    *flow = (tollgate_flow_t){.tag = TOLLGATE_PLUGIN_HTTP_FLOW_REFUSE};
    flow->val.refuse.status = status;
    flow->val.refuse.code = tollgate_text(code);
    flow->val.refuse.title = tollgate_text(title);
    return &flow->val.refuse;
}

// Answers in place of the upstream.
static inline tollgate_response_t *tollgate_respond(tollgate_flow_t *flow, uint16_t status, const void *body, size_t length) {
    *flow = (tollgate_flow_t){.tag = TOLLGATE_PLUGIN_HTTP_FLOW_RESPOND};
    flow->val.respond.status = status;
    flow->val.respond.body = tollgate_bytes(body, length);
    return &flow->val.respond;
}

// Writes a line for the operator: `TOLLGATE_PLUGIN_LOG_LEVEL_WARN` and so on.
static inline void tollgate_log(tollgate_plugin_log_level_t level, const char *text) {
    plugin_string_t line = {(uint8_t *)text, strlen(text)};
    tollgate_plugin_log_write(level, &line);
}

// Sends a request of the plugin's own, and waits at most so many milliseconds for the answer, which is to be freed by
// `tollgate_plugin_http_response_free`; where there is none, `error` says why. The fields are freed here.
static inline bool tollgate_send(
    const char *method, const char *url, tollgate_headers_t fields, const void *body, size_t length, uint32_t timeout_ms,
    tollgate_response_t *response, tollgate_plugin_http_client_error_t *error) {
    // All of it is only looked at.
    tollgate_plugin_http_client_request_t request = {
        .method = {(uint8_t *)method, strlen(method)},
        .url = {(uint8_t *)url, strlen(url)},
        .headers = {fields.ptr, fields.len},
        .body = {(uint8_t *)body, length},
        .timeout_ms = {true, timeout_ms},
    };
    bool answered = tollgate_plugin_http_client_send(&request, response, error);
    tollgate_plugin_http_list_header_free(&fields);
    return answered;
}

#endif
