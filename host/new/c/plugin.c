// Greets: adds `x-greeting` to requests that carry `x-name`, and refuses those that do not.

#include "json.h"
#include "tollgate.h"

static const char SCHEMA[] =
    "{ \"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"type\": \"object\", \"properties\": {"
    "    \"greeting\": { \"description\": \"What comes before the name.\", \"type\": \"string\", \"default\": \"hello\" }"
    "}, \"additionalProperties\": false }";

static char *greeting;

void exports_tollgate_plugin_hooks_schema(plugin_string_t *ret) {
    *ret = tollgate_text(SCHEMA);
}

// Called once for each instance: checks the configuration, and says what the plugin wants to see.
bool exports_tollgate_plugin_hooks_configure(plugin_string_t *text, tollgate_interest_t *ret, tollgate_complaints_t *err) {
    json_t config = json_read((const char *)text->ptr, text->len), name, value;
    *err = (tollgate_complaints_t){0};
    free(greeting);
    greeting = strdup("hello");
    for (const char *next = NULL; json_each(config, &next, &name, &value);) {
        if (!json_is(name, "greeting")) {
            tollgate_complain(err, "", "`greeting` is the only option");
            continue;
        }
        free(greeting);
        greeting = json_text(value, NULL);
        if (!greeting) tollgate_complain(err, "/greeting", "the greeting is text");
    }
    plugin_string_free(text);
    *ret = (tollgate_interest_t){.request = {.is_some = true}};
    tollgate_see(&ret->request.val.headers, "x-name");
    tollgate_add_text(&ret->sets_attributes, "greeted");
    return err->len == 0;
}

void exports_tollgate_plugin_hooks_on_request(tollgate_request_t *request, tollgate_flow_t *ret) {
    const plugin_list_u8_t *name = tollgate_header(&request->headers, "x-name");
    if (name) {
        size_t before = strlen(greeting), length = before + 2 + name->len;
        char *words = tollgate_allocate(NULL, length);
        memcpy(words, greeting, before);
        memcpy(words + before, ", ", 2);
        memcpy(words + before + 2, name->ptr, name->len);
        tollgate_edits_t *edits = tollgate_edit(ret);
        tollgate_add_header(&edits->set, "x-greeting", words, length);
        tollgate_attribute(edits, "greeted", name->ptr, name->len);
        free(words);
    } else {
        tollgate_refuse(ret, 400, "no-name", "The request has no name.");
    }
    tollgate_plugin_http_request_free(request);
}
