/* Contexts for engine.c, its only user: the operator's certificate and key, what may be negotiated,
 * the ticket keys and the OCSP response, made once and shared by conversations. A context is freed
 * with the last of its handle and its conversations; all of them belong to one thread. */
#ifndef DATANET_CONTEXT_H
#define DATANET_CONTEXT_H

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include "ocsp.h"
#include "tickets.h"
#include "values.h"

#define PEM_BYTES_MAX (1 << 20)
#define CHAIN_MAX 10
#define NO_PASSWORD ((void *)"") /* Encrypted keys are refused; without it a terminal is asked. */
/* Certificate compression (RFC 8879) came with OpenSSL 3.2: older headers lack the names of the
 * bits that turn it off, older libraries ignore them. */
#ifndef SSL_OP_NO_RX_CERTIFICATE_COMPRESSION
#define SSL_OP_NO_TX_CERTIFICATE_COMPRESSION ((uint64_t)1 << 32)
#define SSL_OP_NO_RX_CERTIFICATE_COMPRESSION ((uint64_t)1 << 33)
#endif

typedef struct {
  SSL_CTX *tls;    /* Owned, as are the keys. */
  TicketKeys keys;
  unsigned users; /* Its handle, and each open conversation. */
} Context;

static const napi_type_tag CONTEXT = {0x7d1f6f3ac2a94b0e, 0x9e0c53d8a1b7f264};

/* In engine.c, for the conversations. */
static void keep_secret(const SSL *ssl, const char *line);

static SSL_CTX *context_of(napi_env env, napi_value value) {
  Context *context = handle_of(env, value, &CONTEXT, "not a TLS context");
  return context == NULL ? NULL : context->tls;
}

static void drop_context(Context *context) {
  if (--context->users > 0) return;
  (void)keep_response(context->tls, NULL);
  SSL_CTX_free(context->tls);
  OPENSSL_cleanse(&context->keys, sizeof context->keys);
  free(context);
}

/* Every chain passes: an operator knows no issuer of its devices. Whether the certificate binds its
 * key to an account is judged in certs/identity.ts before our last flight leaves, and the
 * CertificateVerify has proven that key. OpenSSL still demands that a certificate is there. */
static int accept_any_chain(X509_STORE_CTX *store, void *unused) {
  (void)unused;
  X509_STORE_CTX_set_error(store, X509_V_OK);
  return 1;
}

/* The leaf, then at most CHAIN_MAX others, in the order in which they are sent. */
static bool use_chain(SSL_CTX *ctx, void *pem, size_t length) {
  BIO *bio = BIO_new_mem_buf(pem, (int)length);
  X509 *leaf = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NO_PASSWORD);
  bool ok = leaf != NULL && SSL_CTX_use_certificate(ctx, leaf) == 1;
  X509_free(leaf);
  for (int n = 0; ok; n++) {
    X509 *next = PEM_read_bio_X509(bio, NULL, NULL, NO_PASSWORD);
    if (next == NULL) break;
    ok = n < CHAIN_MAX && SSL_CTX_add0_chain_cert(ctx, next) == 1;
    if (!ok) X509_free(next);
  }
  /* The end is where no further PEM begins; any other error is that of a broken one. */
  ok = ok && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (ok) ERR_clear_error();
  BIO_free(bio);
  return ok;
}

/* RFC 5246 §7.4.1.3, RFC 8446 §4.2.11: a session belongs to the operator's key. A ticket of another
 * operator is never taken, though both had the same ticket keys. */
static bool use_identity(SSL_CTX *ctx) {
  static const unsigned char name[] = "datanet-eap-tls";
  unsigned char digest[EVP_MAX_MD_SIZE], *spki = NULL;
  unsigned length = 0;
  int spki_length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(SSL_CTX_get0_certificate(ctx)), &spki);
  EVP_MD_CTX *hash = spki_length > 0 ? EVP_MD_CTX_new() : NULL;
  bool ok = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
            EVP_DigestUpdate(hash, name, sizeof name - 1) == 1 &&
            EVP_DigestUpdate(hash, spki, (size_t)spki_length) == 1 &&
            EVP_DigestFinal_ex(hash, digest, &length) == 1 &&
            SSL_CTX_set_session_id_context(ctx, digest, SSL_MAX_SID_CTX_LENGTH) == 1;
  EVP_MD_CTX_free(hash);
  OPENSSL_free(spki);
  return ok;
}

static bool use_key(SSL_CTX *ctx, void *pem, size_t length) {
  BIO *bio = BIO_new_mem_buf(pem, (int)length);
  EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, NO_PASSWORD);
  bool ok = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) && SSL_CTX_check_private_key(ctx);
  EVP_PKEY_free(key);
  BIO_free(bio);
  return ok;
}

/* What does not depend on the configuration. */
static bool use_policy(SSL_CTX *ctx) {
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  /* With a peer that knows it, Brotli took a seventh of the CPU of a whole authentication for a few
   * hundred octets less; and it is a decompressor for whoever has not been authenticated yet. */
  SSL_CTX_set_options(ctx, SSL_OP_NO_TX_CERTIFICATE_COMPRESSION |
                               SSL_OP_NO_RX_CERTIFICATE_COMPRESSION);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  /* Exactly the chain given: else OpenSSL looks for more of it at every handshake. */
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_security_level(ctx, 2);
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  SSL_CTX_set_cert_verify_callback(ctx, accept_any_chain, NULL);
  SSL_CTX_set_keylog_callback(ctx, keep_secret);
  return use_tickets(ctx);
}

static void destroy_context(napi_env env, void *data, void *unused) {
  (void)env, (void)unused;
  drop_context(data);
}

/* createContext(certificatePem, keyPem, minVersion, maxVersion, ciphers, suites, sigalgs, groups):
 * a handle. PEMs as Buffers, versions as on the wire (0x0303), lists as OpenSSL writes them. */
static napi_value create_context(napi_env env, napi_callback_info info) {
  napi_value argv[8];
  void *cert, *key;
  size_t cert_length, key_length;
  int32_t versions[2];
  char lists[4][TEXT_SIZE];
  if (!arguments(env, info, 8, argv) ||
      !bytes_of(env, argv[0], PEM_BYTES_MAX, &cert, &cert_length) ||
      !bytes_of(env, argv[1], PEM_BYTES_MAX, &key, &key_length) ||
      !number_of(env, argv[2], &versions[0]) || !number_of(env, argv[3], &versions[1]) ||
      !text_of(env, argv[4], lists[0]) || !text_of(env, argv[5], lists[1]) ||
      !text_of(env, argv[6], lists[2]) || !text_of(env, argv[7], lists[3])) {
    return NULL;
  }
  ERR_clear_error();
  Context *context = calloc(1, sizeof *context);
  SSL_CTX *ctx = context == NULL ? NULL : SSL_CTX_new(TLS_server_method());
  const char *wrong = NULL;
  if (ctx == NULL || !use_policy(ctx)) wrong = "no TLS context";
  else if (SSL_CTX_set_min_proto_version(ctx, versions[0]) != 1 ||
           SSL_CTX_set_max_proto_version(ctx, versions[1]) != 1) wrong = "TLS versions";
  else if (SSL_CTX_set_cipher_list(ctx, lists[0]) != 1) wrong = "ciphers";
  else if (SSL_CTX_set_ciphersuites(ctx, lists[1]) != 1) wrong = "suites";
  else if (SSL_CTX_set1_sigalgs_list(ctx, lists[2]) != 1) wrong = "signature algorithms";
  else if (SSL_CTX_set1_groups_list(ctx, lists[3]) != 1) wrong = "groups";
  else if (!use_chain(ctx, cert, cert_length) || !use_identity(ctx)) wrong = "certificate";
  else if (!use_key(ctx, key, key_length)) wrong = "private key";
  if (wrong == NULL) {
    ERR_clear_error();
    *context = (Context){.tls = ctx, .users = 1};
    return handle_for(env, context, &CONTEXT, destroy_context);
  }
  SSL_CTX_free(ctx);
  free(context);
  return raise(env, wrong);
}

/* setTicketKeys(context, keys): none, one or two of them, the current one first, each 16 octets of
 * name, 32 for AES-256-CBC and 32 for HMAC-SHA256. Conversations see them at once. */
static napi_value set_ticket_keys(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  void *data;
  size_t length;
  if (!arguments(env, info, 2, argv)) return NULL;
  Context *context = handle_of(env, argv[0], &CONTEXT, "not a TLS context");
  if (context == NULL ||
      !bytes_of(env, argv[1], TICKET_KEYS_MAX * sizeof(TicketKey), &data, &length)) return NULL;
  if (length % sizeof(TicketKey) != 0) {
    wrong_type(env, "a ticket key is of 80 octets");
    return NULL;
  }
  use_ticket_keys(context->tls, &context->keys, data, length / sizeof(TicketKey));
  return NULL;
}

#endif
