// What a component exports has to be there, whether it is called or not. A plugin defines the hooks that its interest asks
// for; these stand in for the others.

#include "tollgate.h"

__attribute__((weak)) void exports_tollgate_plugin_hooks_on_request(tollgate_request_t *request, tollgate_flow_t *ret) {
    tollgate_plugin_http_request_free(request);
    *ret = (tollgate_flow_t){.tag = TOLLGATE_PLUGIN_HTTP_FLOW_CONTINUE};
}

__attribute__((weak)) void exports_tollgate_plugin_hooks_on_request_body(
    tollgate_request_t *request, plugin_list_u8_t *body, plugin_list_u8_t *memo, tollgate_body_flow_t *ret) {
    tollgate_plugin_http_request_free(request);
    plugin_list_u8_free(body);
    if (memo) plugin_list_u8_free(memo);
    *ret = (tollgate_body_flow_t){.tag = TOLLGATE_PLUGIN_HTTP_BODY_FLOW_CONTINUE};
}

__attribute__((weak)) void exports_tollgate_plugin_hooks_on_response(
    tollgate_response_head_t *response, plugin_list_u8_t *memo, tollgate_flow_t *ret) {
    tollgate_plugin_http_response_head_free(response);
    if (memo) plugin_list_u8_free(memo);
    *ret = (tollgate_flow_t){.tag = TOLLGATE_PLUGIN_HTTP_FLOW_CONTINUE};
}

__attribute__((weak)) void exports_tollgate_plugin_hooks_on_response_body(
    tollgate_response_head_t *response, plugin_list_u8_t *body, plugin_list_u8_t *memo, tollgate_body_flow_t *ret) {
    tollgate_plugin_http_response_head_free(response);
    plugin_list_u8_free(body);
    if (memo) plugin_list_u8_free(memo);
    *ret = (tollgate_body_flow_t){.tag = TOLLGATE_PLUGIN_HTTP_BODY_FLOW_CONTINUE};
}

// What `plugin.c` refers to so that the type of the component is linked in, which `wasm-tools component embed` adds here.
__attribute__((weak)) void __component_type_object_force_link_plugin(void) {}
