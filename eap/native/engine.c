/* The server side of TLS handshakes in memory, over the OpenSSL that Node carries: bytes in, bytes
 * out, the peer's certificate, exported keys. It proves possession of the client's key and decides
 * nothing. Two kinds of opaque handles, contexts and conversations; no thread, no socket, no global
 * state. eap/native.ts is the only caller and setup/native.mjs compiles it.
 *
 * Ownership: a handle is an N-API external, and its finalizer frees what it points to; a closed
 * conversation keeps only its small struct. OpenSSL's error queue is empty when a function returns,
 * since node:crypto reads the same one. */
#include <node_api.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "values.h"

#define BYTES_MAX 65536 /* The largest EAP-TLS message: one flight in, one out. */
#define FEEDS_MAX 8     /* A handshake takes two flights of the peer, three with a retry. */
#define PEM_BYTES_MAX (1 << 20)
#define CHAIN_MAX 10
#define NO_PASSWORD ((void *)"") /* Encrypted keys are refused; without it a terminal is asked. */
#define EXPORT_BYTES_MAX 256 /* EAP-TLS asks for 128. */
/* Certificate compression (RFC 8879) came with OpenSSL 3.2: older headers lack the names of the
 * bits that turn it off, older libraries ignore them. */
#ifndef SSL_OP_NO_RX_CERTIFICATE_COMPRESSION
#define SSL_OP_NO_TX_CERTIFICATE_COMPRESSION ((uint64_t)1 << 32)
#define SSL_OP_NO_RX_CERTIFICATE_COMPRESSION ((uint64_t)1 << 33)
#endif
/* What a conversation holds outside of V8's heap, told to the garbage collector; measured. */
#define CONVERSATION_BYTES 56320

/* Returned by feed(), and what get() can be asked for; eap/native.ts has the same numbers. */
enum { CONTINUE, ESTABLISHED, INCOMPLETE, FAILED, LATE };
enum { CODE, VERSION, CIPHER, GROUP, CERTIFICATE, RANDOMS, SECRET };

typedef struct {
  SSL *ssl; /* Owned; NULL once closed. It owns both BIOs. */
  BIO *in, *out;
  int status; /* Of the last feed; CONTINUE before the first. */
  unsigned feeds;
  unsigned char secret[EVP_MAX_MD_SIZE]; /* SERVER_TRAFFIC_SECRET_0 of TLS 1.3. */
  size_t secret_length;
  char code[120]; /* Why it failed, as node:tls writes its codes. */
} Conversation;

static const napi_type_tag CONTEXT = {0x7d1f6f3ac2a94b0e, 0x9e0c53d8a1b7f264};
static const napi_type_tag CONVERSATION = {0x35b8e02c94d64f71, 0xa6c9017be53f2d88};

/* The conversation behind a handle, closed or not; NULL with an exception. */
static Conversation *conversation_of(napi_env env, napi_value value) {
  return handle_of(env, value, &CONVERSATION, "not a TLS conversation");
}

/* `count` arguments of which the first is an open conversation; NULL with an exception. */
static Conversation *open_one(napi_env env, napi_callback_info info, size_t count,
                              napi_value *argv) {
  if (!arguments(env, info, count, argv)) return NULL;
  Conversation *c = conversation_of(env, argv[0]);
  if (c != NULL && c->ssl == NULL) raise(env, "the TLS conversation is closed");
  return c != NULL && c->ssl != NULL ? c : NULL;
}

/* Nothing is told about a peer, or said to it, without a proof of its key. */
static bool proven(napi_env env, const Conversation *c) {
  if (c->status == ESTABLISHED) return true;
  raise(env, "TLS is not established");
  return false;
}

/* Every chain passes: an operator knows no issuer of its devices. Whether the certificate binds its
 * key to an account is judged in certs/identity.ts before our last flight leaves, and the
 * CertificateVerify has proven that key. OpenSSL still demands that a certificate is there. */
static int accept_any_chain(X509_STORE_CTX *store, void *unused) {
  (void)unused;
  X509_STORE_CTX_set_error(store, X509_V_OK);
  return 1;
}

/* Keeps the one secret under which an alert of our own is sealed (eap/alert.ts). */
static void keep_secret(const SSL *ssl, const char *line) {
  static const char label[] = "SERVER_TRAFFIC_SECRET_0 ";
  Conversation *c = SSL_get_app_data(ssl);
  if (c == NULL || strncmp(line, label, sizeof label - 1) != 0) return;
  const char *hex = strrchr(line, ' ') + 1;
  if (OPENSSL_hexstr2buf_ex(c->secret, sizeof c->secret, &c->secret_length, hex, '\0') != 1) {
    c->secret_length = 0;
  }
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
  static const unsigned char id[] = "datanet-eap-tls";
  /* No resumption: an account is judged anew at every login. */
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
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
  return SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
         SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1) == 1;
}

static void destroy_context(napi_env env, void *data, void *unused) {
  (void)env, (void)unused;
  SSL_CTX_free(data);
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
  SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
  const char *wrong = NULL;
  if (ctx == NULL || !use_policy(ctx)) wrong = "no TLS context";
  else if (SSL_CTX_set_min_proto_version(ctx, versions[0]) != 1 ||
           SSL_CTX_set_max_proto_version(ctx, versions[1]) != 1) wrong = "TLS versions";
  else if (SSL_CTX_set_cipher_list(ctx, lists[0]) != 1) wrong = "ciphers";
  else if (SSL_CTX_set_ciphersuites(ctx, lists[1]) != 1) wrong = "suites";
  else if (SSL_CTX_set1_sigalgs_list(ctx, lists[2]) != 1) wrong = "signature algorithms";
  else if (SSL_CTX_set1_groups_list(ctx, lists[3]) != 1) wrong = "groups";
  else if (!use_chain(ctx, cert, cert_length)) wrong = "certificate";
  else if (!use_key(ctx, key, key_length)) wrong = "private key";
  if (wrong == NULL) {
    ERR_clear_error();
    return handle_for(env, ctx, &CONTEXT, destroy_context);
  }
  SSL_CTX_free(ctx);
  return raise(env, wrong);
}

/* Frees all but the struct; nothing where that has happened. */
static void release(napi_env env, Conversation *c) {
  int64_t now;
  if (c->ssl == NULL) return;
  SSL_free(c->ssl);
  c->ssl = NULL;
  OPENSSL_cleanse(c->secret, sizeof c->secret);
  (void)napi_adjust_external_memory(env, -CONVERSATION_BYTES, &now);
  ERR_clear_error();
}

static void destroy_conversation(napi_env env, void *data, void *unused) {
  (void)unused;
  release(env, data);
  free(data);
}

/* open(context): a handle. It keeps the context alive by OpenSSL's own count. */
static napi_value open_conversation(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int64_t now;
  if (!arguments(env, info, 1, argv)) return NULL;
  SSL_CTX *ctx = handle_of(env, argv[0], &CONTEXT, "not a TLS context");
  if (ctx == NULL) return NULL;
  ERR_clear_error();
  Conversation *c = calloc(1, sizeof *c);
  SSL *ssl = c == NULL ? NULL : SSL_new(ctx);
  BIO *in = ssl == NULL ? NULL : BIO_new(BIO_s_mem());
  BIO *out = in == NULL ? NULL : BIO_new(BIO_s_mem());
  if (out == NULL || SSL_set_app_data(ssl, c) != 1) {
    BIO_free(out);
    BIO_free(in);
    SSL_free(ssl);
    free(c);
    return raise(env, "no TLS conversation");
  }
  SSL_set_bio(ssl, in, out);
  SSL_set_accept_state(ssl);
  *c = (Conversation){.ssl = ssl, .in = in, .out = out, .status = CONTINUE};
  (void)napi_adjust_external_memory(env, CONVERSATION_BYTES, &now);
  return handle_for(env, c, &CONVERSATION, destroy_conversation);
}

/* Writes the code that node:tls would give: that of the oldest error, else of `reason`. */
static int failed(Conversation *c, int status, const char *reason) {
  const char *known = ERR_reason_error_string(ERR_peek_error());
  snprintf(c->code, sizeof c->code, "ERR_SSL_%s", known == NULL ? reason : known);
  for (char *at = c->code; *at != '\0'; at++) {
    if (*at == ' ') *at = '_';
    else if (*at >= 'a' && *at <= 'z') *at = (char)(*at - 'a' + 'A');
  }
  return status;
}

/* A flight that goes on behind the Finished is refused. Our own Finished (1.2) is in `out` by then:
 * thrown away, since a refused peer must not see a success; the caller makes the alert. */
static int judge_rest(Conversation *c) {
  char byte;
  if (BIO_pending(c->in) == 0 && SSL_has_pending(c->ssl) == 0) return ESTABLISHED;
  /* For its error only, and one message at most: 2,000 KeyUpdates in a flight take 90 ms. */
  (void)SSL_clear_mode(c->ssl, SSL_MODE_AUTO_RETRY);
  (void)SSL_read(c->ssl, &byte, 1);
  (void)BIO_reset(c->out);
  return failed(c, LATE, "data after finished");
}

static int step(Conversation *c, const void *data, size_t length) {
  if (++c->feeds > FEEDS_MAX) return failed(c, FAILED, "too many flights");
  if (BIO_write(c->in, data, (int)length) != (int)length) return failed(c, FAILED, "no memory");
  int done = SSL_do_handshake(c->ssl);
  if (BIO_pending(c->out) > BYTES_MAX) {
    (void)BIO_reset(c->out);
    return failed(c, FAILED, "flight too large");
  }
  if (done == 1) return judge_rest(c);
  if (SSL_get_error(c->ssl, done) != SSL_ERROR_WANT_READ) return failed(c, FAILED, "unknown");
  /* A whole EAP-TLS message was fed: where nothing is to be said, the peer owes the rest. */
  return BIO_pending(c->out) > 0 ? CONTINUE : failed(c, INCOMPLETE, "incomplete flight");
}

/* feed(conversation, flight): one of the numbers above; only after CONTINUE is there a next one. */
static napi_value feed(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  void *data;
  size_t length;
  Conversation *c = open_one(env, info, 2, argv);
  if (c == NULL || !bytes_of(env, argv[1], BYTES_MAX, &data, &length)) return NULL;
  if (c->status != CONTINUE) return raise(env, "the handshake is over");
  ERR_clear_error();
  c->status = step(c, data, length);
  ERR_clear_error();
  return number_from(env, c->status);
}

/* All that OpenSSL has written since the last time. */
static napi_value written(napi_env env, Conversation *c) {
  char *data = NULL;
  long length = BIO_get_mem_data(c->out, &data);
  napi_value result = buffer_from(env, data, length > 0 ? (size_t)length : 0);
  (void)BIO_reset(c->out);
  ERR_clear_error();
  return result;
}

/* take(conversation): our flight after CONTINUE, the alert after FAILED. What is there once
 * established is withheld until commit(). */
static napi_value take(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  Conversation *c = open_one(env, info, 1, argv);
  if (c == NULL) return NULL;
  return c->status == ESTABLISHED ? raise(env, "the last flight is withheld") : written(env, c);
}

/* commit(conversation): the withheld flight of 1.2, the octet 0x00 as data of 1.3 (RFC 9190 §2.5).
 * Once established; the caller calls it once. */
static napi_value commit(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  Conversation *c = open_one(env, info, 1, argv);
  if (c == NULL || !proven(env, c)) return NULL;
  ERR_clear_error();
  if (SSL_version(c->ssl) == TLS1_3_VERSION && SSL_write(c->ssl, "", 1) != 1) {
    return raise(env, "no commitment could be written");
  }
  return written(env, c);
}

/* exportKey(conversation, length, label, context): RFC 5705; an undefined context is none. */
static napi_value export_key(napi_env env, napi_callback_info info) {
  napi_value argv[4], result = NULL;
  int32_t length;
  char label[TEXT_SIZE];
  void *context = NULL;
  size_t context_length = 0;
  napi_valuetype type = napi_undefined;
  unsigned char out[EXPORT_BYTES_MAX];
  Conversation *c = open_one(env, info, 4, argv);
  if (c == NULL || !proven(env, c) || !number_of(env, argv[1], &length) ||
      !text_of(env, argv[2], label)) return NULL;
  if (napi_typeof(env, argv[3], &type) != napi_ok) return raise(env, "no context");
  bool with = type != napi_undefined;
  if (with && !bytes_of(env, argv[3], EXPORT_BYTES_MAX, &context, &context_length)) return NULL;
  if (length < 1 || length > EXPORT_BYTES_MAX) return raise(env, "the length is out of range");
  ERR_clear_error();
  if (SSL_export_keying_material(c->ssl, out, (size_t)length, label, strlen(label), context,
                                 context_length, with) != 1) return raise(env, "exporter");
  result = buffer_from(env, out, (size_t)length);
  OPENSSL_cleanse(out, sizeof out);
  return result;
}

static napi_value certificate_of(napi_env env, const SSL *ssl) {
  unsigned char *der = NULL;
  X509 *certificate = SSL_get0_peer_certificate(ssl);
  int length = certificate == NULL ? 0 : i2d_X509(certificate, &der);
  if (length <= 0) return raise(env, "no peer certificate");
  napi_value result = buffer_from(env, der, (size_t)length);
  OPENSSL_free(der);
  return result;
}

/* get(conversation, field). Any time: the code of a failure. After ESTABLISHED or LATE: the version
 * as on the wire, the cipher's IANA name, the group as OpenSSL's number, the peer's leaf in DER,
 * client_random and server_random, the traffic secret (empty on 1.2). */
static napi_value get(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  int32_t field;
  unsigned char randoms[2 * SSL3_RANDOM_SIZE];
  Conversation *c = open_one(env, info, 2, argv);
  if (c == NULL || !number_of(env, argv[1], &field)) return NULL;
  if (field == CODE) return text_from(env, c->code);
  if (c->status != LATE && !proven(env, c)) return NULL;
  switch (field) {
    case VERSION: return number_from(env, SSL_version(c->ssl));
    case CIPHER: return text_from(env, SSL_CIPHER_standard_name(SSL_get_current_cipher(c->ssl)));
    case GROUP: return number_from(env, (int32_t)SSL_get_negotiated_group(c->ssl));
    case CERTIFICATE: return certificate_of(env, c->ssl);
    case SECRET: return buffer_from(env, c->secret, c->secret_length);
    case RANDOMS:
      SSL_get_client_random(c->ssl, randoms, SSL3_RANDOM_SIZE);
      SSL_get_server_random(c->ssl, randoms + SSL3_RANDOM_SIZE, SSL3_RANDOM_SIZE);
      return buffer_from(env, randoms, sizeof randoms);
    default: return raise(env, "no such field");
  }
}

/* close(conversation): frees what it holds; harmless when repeated. */
static napi_value close_one(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  Conversation *c = arguments(env, info, 1, argv) ? conversation_of(env, argv[0]) : NULL;
  if (c != NULL) release(env, c);
  return NULL;
}

/* Called by Node once per environment that loads the file. */
NAPI_MODULE_INIT() {
  static const struct { const char *name; napi_callback call; } functions[] = {
    {"createContext", create_context}, {"open", open_conversation}, {"feed", feed},
    {"take", take}, {"commit", commit}, {"exportKey", export_key}, {"get", get},
    {"close", close_one},
  };
  /* Within one major version OpenSSL keeps what its headers promise. */
  if (OPENSSL_version_major() != OPENSSL_VERSION_MAJOR) {
    return raise(env, "Node carries another major version of OpenSSL");
  }
  for (size_t n = 0; n < sizeof functions / sizeof *functions; n++) {
    napi_value call;
    if (napi_create_function(env, functions[n].name, NAPI_AUTO_LENGTH, functions[n].call, NULL,
                             &call) != napi_ok ||
        napi_set_named_property(env, exports, functions[n].name, call) != napi_ok) {
      return raise(env, "the functions could not be exported");
    }
  }
  return exports;
}
