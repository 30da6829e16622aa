// Reads JSON (RFC 8259) where it stands: a value is a part of the text that it came in, and nothing is allocated but the
// texts that are asked for.
//
//     json_t config = json_read(text, length);
//     char *endpoint = json_text(json_member(config, "endpoint"), NULL);      // to be freed; NULL where it is no text
//
// What is not there, or not of the kind that is asked for, is nothing (`at` is NULL), and of nothing there are no members:
// so a way down can be written in one line, and looked at in its end.

#ifndef TOLLGATE_JSON_H
#define TOLLGATE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// One value, as it is written. NULL and 0: nothing.
typedef struct {
    const char *at;
    size_t length;
} json_t;

// How deep values may lie in each other.
#define JSON_DEEPEST 64

static inline const char *json_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

static inline int json_hex(const char *at, const char *end) {
    int value = 0;
    for (int digit = 0; digit < 4; digit++, at++) {
        if (at >= end) return -1;
        if (*at >= '0' && *at <= '9') value = value * 16 + (*at - '0');
        else if (*at >= 'a' && *at <= 'f') value = value * 16 + (*at - 'a' + 10);
        else if (*at >= 'A' && *at <= 'F') value = value * 16 + (*at - 'A' + 10);
        else return -1;
    }
    return value;
}

// Behind the text that begins here with its quote; NULL where it is none.
static inline const char *json_behind_text(const char *at, const char *end) {
    if (at >= end || *at != '"') return NULL;
    for (at++; at < end; at++) {
        if (*at == '"') return at + 1;
        if ((unsigned char)*at < 0x20) return NULL;
        if (*at == '\\') {
            at++;
            if (at >= end || !memchr("\"\\/bfnrtu", *at, 9)) return NULL;
            if (*at == 'u' && json_hex(at + 1, end) < 0) return NULL;
        }
    }
    return NULL;
}

static inline const char *json_digits(const char *at, const char *end) {
    const char *begin = at;
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at == begin ? NULL : at;
}

static inline const char *json_behind_number(const char *at, const char *end) {
    if (at < end && *at == '-') at++;
    if (at < end && *at == '0') at++;
    else if (!(at = json_digits(at, end))) return NULL;
    if (at < end && *at == '.' && !(at = json_digits(at + 1, end))) return NULL;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        at = json_digits(at, end);
    }
    return at;
}

// Behind the value that begins here; NULL where it is none.
static inline const char *json_behind(const char *at, const char *end, int depth) {
    if (at >= end || depth > JSON_DEEPEST) return NULL;
    if (*at == '"') return json_behind_text(at, end);
    if (*at != '{' && *at != '[') {
        static const char *const words[] = {"true", "false", "null"};
        for (int word = 0; word < 3; word++) {
            size_t length = strlen(words[word]);
            if ((size_t)(end - at) >= length && memcmp(at, words[word], length) == 0) return at + length;
        }
        return json_behind_number(at, end);
    }
    bool object = *at == '{';
    char closing = object ? '}' : ']';
    at = json_space(at + 1, end);
    if (at < end && *at == closing) return at + 1;
    for (;;) {
        if (object) {
            if (!(at = json_behind_text(at, end))) return NULL;
            at = json_space(at, end);
            if (at >= end || *at != ':') return NULL;
            at = json_space(at + 1, end);
        }
        if (!(at = json_behind(at, end, depth + 1))) return NULL;
        at = json_space(at, end);
        if (at >= end || (*at != ',' && *at != closing)) return NULL;
        if (*at == closing) return at + 1;
        at = json_space(at + 1, end);
    }
}

// The one value of a whole document; nothing where it is not JSON.
static inline json_t json_read(const char *text, size_t length) {
    const char *end = text + length, *at = json_space(text, end), *behind = json_behind(at, end, 0);
    if (!behind || json_space(behind, end) != end) return (json_t){NULL, 0};
    return (json_t){at, (size_t)(behind - at)};
}

// Goes through the members of an object, or the values of an array, whose `name` is nothing then:
//
//     json_t name, value;
//     for (const char *next = NULL; json_each(object, &next, &name, &value);) …
static inline bool json_each(json_t within, const char **next, json_t *name, json_t *value) {
    if (!within.at || (*within.at != '{' && *within.at != '[')) return false;
    const char *end = within.at + within.length, *at = *next ? *next : within.at;
    // At the beginning, a comma or the end: the whole was read before, and is right.
    if (*at == '}' || *at == ']') return false;
    at = json_space(at + 1, end);
    if (*at == '}' || *at == ']') return false;
    *name = (json_t){NULL, 0};
    if (*within.at == '{') {
        const char *behind = json_behind_text(at, end);
        *name = (json_t){at, (size_t)(behind - at)};
        at = json_space(json_space(behind, end) + 1, end);
    }
    const char *behind = json_behind(at, end, 1);
    *value = (json_t){at, (size_t)(behind - at)};
    *next = json_space(behind, end);
    return true;
}

static inline char *json_utf8(char *out, uint32_t code) {
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    *out++ = (char)((0xf0 << (3 - more)) | (code >> (6 * more)));
    while (more-- > 0) *out++ = (char)(0x80 | ((code >> (6 * more)) & 0x3f));
    return out;
}

// A text without its quotes and escapes, to be freed; NULL where it is none. Ends with a zero byte, which `length` does not
// count. Half of a surrogate pair becomes U+FFFD.
static inline char *json_text(json_t value, size_t *length) {
    if (!value.at || *value.at != '"') return NULL;
    // No escape is shorter than what it stands for.
    char *text = malloc(value.length), *out = text;
    if (!text) abort();
    const char *end = value.at + value.length - 1;
    for (const char *at = value.at + 1; at < end; at++) {
        if (*at != '\\') {
            *out++ = *at;
            continue;
        }
        switch (*++at) {
        case 'b': *out++ = '\b'; break;
        case 'f': *out++ = '\f'; break;
        case 'n': *out++ = '\n'; break;
        case 'r': *out++ = '\r'; break;
        case 't': *out++ = '\t'; break;
        case 'u': {
            uint32_t code = (uint32_t)json_hex(at + 1, end);
            at += 4;
            if (code >= 0xd800 && code < 0xdc00 && end - at > 6 && at[1] == '\\' && at[2] == 'u') {
                int low = json_hex(at + 3, end);
                if (low >= 0xdc00 && low < 0xe000) {
                    code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
                    at += 6;
                }
            }
            out = json_utf8(out, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
            break;
        }
        default: *out++ = *at;
        }
    }
    *out = 0;
    if (length) *length = (size_t)(out - text);
    return text;
}

// Whether a text is this one.
static inline bool json_is(json_t value, const char *text) {
    size_t length;
    char *own = json_text(value, &length);
    bool same = own && length == strlen(text) && memcmp(own, text, length) == 0;
    free(own);
    return same;
}

// The member of an object with this name, the last one where there are several; nothing where there is none.
static inline json_t json_member(json_t object, const char *name) {
    json_t found = {NULL, 0}, key, value;
    for (const char *next = NULL; json_each(object, &next, &key, &value);) {
        if (key.at && json_is(key, name)) found = value;
    }
    return found;
}

// Whether it is the word `true`.
static inline bool json_true(json_t value) {
    return value.at && *value.at == 't';
}

#endif
