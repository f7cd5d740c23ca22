/* Values between JavaScript and C for engine.c, its only user: arguments in, each checked and
 * bounded, results and handles out. A function that fails leaves an exception pending; what it
 * borrows from JavaScript is good until the callback returns. */
#ifndef DATANET_VALUES_H
#define DATANET_VALUES_H

#include <node_api.h>
#include <openssl/err.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TEXT_SIZE 512 /* The longest list is the signature algorithms, about 200 bytes. */
/* Node cuts a longer string at a whole character, up to 3 bytes short of the room. */
#define TEXT_BYTES_MAX (TEXT_SIZE - 5)

/* Leaves an exception pending, unless one is: `what`, and the oldest error of OpenSSL if there is
 * one. Returns what a callback returns then. */
static napi_value raise(napi_env env, const char *what) {
  bool pending = false;
  char text[300];
  const char *reason = ERR_reason_error_string(ERR_peek_error());
  ERR_clear_error();
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) return NULL;
  snprintf(text, sizeof text, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
  napi_throw_error(env, NULL, text);
  return NULL;
}

/* The same for an argument of the wrong kind; false. */
static bool wrong_type(napi_env env, const char *what) {
  (void)napi_throw_type_error(env, NULL, what);
  return false;
}

/* At least `count` arguments, or false with an exception. */
static bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, argv, NULL, NULL) == napi_ok && given >= count) {
    return true;
  }
  return wrong_type(env, "too few arguments");
}

/* Borrowed from a Buffer or another view until the callback returns; false with an exception. */
static bool bytes_of(napi_env env, napi_value value, size_t max, void **data, size_t *length) {
  bool is = false;
  if (napi_is_buffer(env, value, &is) == napi_ok && is &&
      napi_get_buffer_info(env, value, data, length) == napi_ok && *length <= max) {
    return true;
  }
  return wrong_type(env, "a PEM, flight or context must be a Buffer within its limit");
}

/* Copies a string that fits and has no NUL inside; false with an exception. */
static bool text_of(napi_env env, napi_value value, char text[TEXT_SIZE]) {
  size_t length = 0;
  napi_status status = napi_get_value_string_utf8(env, value, text, TEXT_SIZE, &length);
  if (status == napi_ok && length <= TEXT_BYTES_MAX && strlen(text) == length) return true;
  return wrong_type(env, "a list or label must be a string of at most 507 bytes");
}

static bool number_of(napi_env env, napi_value value, int32_t *number) {
  if (napi_get_value_int32(env, value, number) == napi_ok) return true;
  return wrong_type(env, "a version, length or field must be a number");
}

/* Whole seconds, as many as a double can count. */
static bool seconds_of(napi_env env, napi_value value, int64_t *seconds) {
  if (napi_get_value_int64(env, value, seconds) == napi_ok) return true;
  return wrong_type(env, "a time must be a number of seconds");
}

/* What a handle of this kind points to; NULL with an exception, `wrong`, for any other value. */
static void *handle_of(napi_env env, napi_value value, const napi_type_tag *tag,
                       const char *wrong) {
  void *data = NULL;
  bool is = false;
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env, value, &type) == napi_ok && type == napi_external &&
      napi_check_object_type_tag(env, value, tag, &is) == napi_ok && is &&
      napi_get_value_external(env, value, &data) == napi_ok && data != NULL) {
    return data;
  }
  wrong_type(env, wrong);
  return NULL;
}

static napi_value buffer_from(napi_env env, const void *data, size_t length) {
  napi_value result = NULL;
  napi_status status = napi_create_buffer_copy(env, length, data, NULL, &result);
  return status == napi_ok ? result : raise(env, "no Buffer could be made");
}

static napi_value number_from(napi_env env, int32_t number) {
  napi_value result = NULL;
  napi_status status = napi_create_int32(env, number, &result);
  return status == napi_ok ? result : raise(env, "no number could be made");
}

static napi_value text_from(napi_env env, const char *text) {
  napi_value result = NULL;
  napi_status status = napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result);
  return status == napi_ok ? result : raise(env, "no string could be made");
}

/* Hands `data` to a new handle; NULL with an exception where that fails, `data` freed then. */
static napi_value handle_for(napi_env env, void *data, const napi_type_tag *tag,
                             napi_finalize destroy) {
  napi_value handle = NULL;
  if (napi_create_external(env, data, destroy, NULL, &handle) != napi_ok) {
    destroy(env, data, NULL);
    return raise(env, "no handle could be made");
  }
  napi_status status = napi_type_tag_object(env, handle, tag);
  return status == napi_ok ? handle : raise(env, "no handle could be tagged");
}

#endif
