/* The OCSP response that is stapled to the operator's certificate, for engine.c, its only user
 * (RFC 6066 §8, RFC 8446 §4.4.2.1). It is neither read nor judged here. A context owns a copy; a
 * peer that asks is given one of its own, and without a response is told nothing. */
#ifndef DATANET_OCSP_H
#define DATANET_OCSP_H

#include <node_api.h>
#include <openssl/ssl.h>
#include <openssl/tls1.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "values.h"

/* What TLS 1.2 peers on OpenSSL take: CertificateStatus of 16,384 octets, of which four are not the
 * response. Public CAs' are below 3 KiB with their responder's certificate. */
#define OCSP_BYTES_MAX 16380

typedef struct { size_t length; unsigned char bytes[]; } OcspResponse;

/* In context.h: what a handle of a context points to; NULL with an exception. */
static SSL_CTX *context_of(napi_env env, napi_value value);

static bool has_response(const SSL *ssl) {
  return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)) != NULL;
}

/* Called for peers that ask, before our Certificate is written. OpenSSL frees the copy with `ssl`;
 * without memory for one the peer gets none and decides for itself. */
static int staple(SSL *ssl, void *unused) {
  (void)unused;
  const OcspResponse *response = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
  unsigned char *copy = response == NULL ? NULL : OPENSSL_memdup(response->bytes, response->length);
  if (copy == NULL) return SSL_TLSEXT_ERR_NOACK;
  (void)SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)response->length);
  return SSL_TLSEXT_ERR_OK;
}

/* Owned by the context from here on, in place of the one before; NULL is none. False: nothing has
 * changed. Also called when the context goes. */
static bool keep_response(SSL_CTX *ctx, OcspResponse *response) {
  OcspResponse *before = SSL_CTX_get_app_data(ctx);
  SSL_CTX_set_tlsext_status_cb(ctx, staple);
  if (SSL_CTX_set_app_data(ctx, response) != 1) return false;
  free(before);
  return true;
}

/* setOcspResponse(context, der): for the handshakes that begin from now on; empty is none. */
static napi_value set_ocsp_response(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  void *data;
  size_t length;
  SSL_CTX *ctx = arguments(env, info, 2, argv) ? context_of(env, argv[0]) : NULL;
  if (ctx == NULL || !bytes_of(env, argv[1], OCSP_BYTES_MAX, &data, &length)) return NULL;
  ERR_clear_error();
  OcspResponse *response = length == 0 ? NULL : malloc(sizeof *response + length);
  if (length > 0 && response == NULL) return raise(env, "no memory for the OCSP response");
  if (response != NULL) {
    response->length = length;
    memcpy(response->bytes, data, length);
  }
  if (!keep_response(ctx, response)) {
    free(response);
    return raise(env, "no OCSP response could be kept");
  }
  return NULL;
}

#endif
