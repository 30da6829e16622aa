// What json.h takes for JSON, and what it makes of it. Ends with 1, and says where, if something is not so.

#include <stdio.h>

#include "../json.h"

static int wrong;

#define CHECK(holds) \
    do { \
        if (!(holds)) { \
            printf("line %d: %s\n", __LINE__, #holds); \
            wrong = 1; \
        } \
    } while (0)

// In memory of exactly its length, so that reading behind it is noticed.
static json_t read_exactly(const char *text, char **copy) {
    size_t length = strlen(text);
    *copy = malloc(length + !length);
    memcpy(*copy, text, length);
    return json_read(*copy, length);
}

static bool is_json(const char *text) {
    char *copy;
    bool is = read_exactly(text, &copy).at;
    free(copy);
    return is;
}

static bool text_is(const char *text, const char *expected, size_t length) {
    char *copy;
    size_t found;
    char *own = json_text(read_exactly(text, &copy), &found);
    bool same = own && found == length && memcmp(own, expected, length + 1) == 0;
    free(own);
    free(copy);
    return same;
}

int main(void) {
    static const char *const good[] = {
        "{}", "[]", " [1 , 2.5e+3,-0, {\"a\":[]} ]\r\n", "\"a\\u00e4\\\"\"", "true", "false", "null", "0", "-1.5E3",
    };
    static const char *const bad[] = {
        "", " ", "{", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "01", "1.", ".5", "+1", "1e", "-", "tru", "1 2", "[1 2]",
        "\"abc", "\"a\\", "\"\n\"", "\"\\x\"", "\"\\u12\"", "\"\\u12", "[", "]", "{\"a\":1]", "\x01",
    };
    for (size_t at = 0; at < sizeof good / sizeof *good; at++) {
        if (!is_json(good[at])) wrong = printf("not taken: %s\n", good[at]) > 0;
    }
    for (size_t at = 0; at < sizeof bad / sizeof *bad; at++) {
        if (is_json(bad[at])) wrong = printf("taken: %s\n", bad[at]) > 0;
    }

    CHECK(text_is("\"\"", "", 0));
    CHECK(text_is("\"\\b\\f\\n\\r\\t\\/\\\\\\\"\"", "\b\f\n\r\t/\\\"", 8));
    CHECK(text_is("\"\\u0041\\u00e4\\u20ac\\ud83d\\ude00\"", "A\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 10));
    CHECK(text_is("\"a\\u0000b\"", "a\0b", 3));
    CHECK(text_is("\"\\ud83d\"", "\xef\xbf\xbd", 3));
    CHECK(text_is("\"\\ud83dx\\ude00\"", "\xef\xbf\xbdx\xef\xbf\xbd", 7));
    CHECK(text_is("\"\\ud83d\\u0041\"", "\xef\xbf\xbd" "A", 4));

    char *copy;
    json_t document = read_exactly("{ \"a\" : [ 1 , \"2\" , {} ], \"b\":{\"c\":true}, \"b\\u0062\":0, \"a\":[ ] , \"z\":\"true\" }", &copy);
    CHECK(json_true(json_member(json_member(document, "b"), "c")));
    CHECK(json_member(document, "bb").at && json_member(document, "a").length == 3);
    CHECK(!json_member(document, "c").at && !json_member(json_member(document, "c"), "d").at);
    CHECK(!json_text(json_member(document, "b"), NULL) && !json_true(json_member(document, "z")));
    CHECK(json_is(json_member(document, "z"), "true") && !json_is(json_member(document, "z"), "tru"));
    char all[128] = "";
    json_t name, value;
    for (const char *next = NULL; json_each(document, &next, &name, &value);) {
        snprintf(all + strlen(all), sizeof all - strlen(all), "%.*s=%.*s;", (int)name.length, name.at, (int)value.length, value.at);
    }
    CHECK(strcmp(all, "\"a\"=[ 1 , \"2\" , {} ];\"b\"={\"c\":true};\"b\\u0062\"=0;\"a\"=[ ];\"z\"=\"true\";") == 0);
    free(copy);

    document = read_exactly("[[],[ 1, 2 ]]", &copy);
    int count = 0;
    for (const char *next = NULL; json_each(document, &next, &name, &value);) count += !name.at && *value.at == '[';
    CHECK(count == 2);
    free(copy);

    char deep[2 * (JSON_DEEPEST + 1) + 3] = "";
    for (int depth = JSON_DEEPEST; depth <= JSON_DEEPEST + 2; depth++) {
        memset(deep, '[', (size_t)depth);
        memset(deep + depth, ']', (size_t)depth);
        CHECK(!!json_read(deep, 2 * (size_t)depth).at == (depth <= JSON_DEEPEST + 1));
    }
    return wrong;
}
