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
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "context.h"
#include "tickets.h"
#include "values.h"

#define BYTES_MAX 65536 /* The largest EAP-TLS message: one flight in, one out. */
#define FEEDS_MAX 8     /* A handshake takes two flights of the peer, three with a retry. */
#define EXPORT_BYTES_MAX 256 /* EAP-TLS asks for 128. */
/* What a conversation holds outside of V8's heap, told to the garbage collector; measured. */
#define CONVERSATION_BYTES 56320

/* Returned by feed(), and what get() can be asked for; eap/native.ts has the same numbers. */
enum { CONTINUE, ESTABLISHED, INCOMPLETE, FAILED, LATE };
enum { CODE, VERSION, CIPHER, GROUP, CERTIFICATE, RANDOMS, SECRET, RESUMED, TICKET };

typedef struct {
  SSL *ssl; /* Owned; NULL once closed. It owns both BIOs. */
  BIO *in, *out;
  Context *context; /* Held until closed. */
  Resumption resumption;
  int status; /* Of the last feed; CONTINUE before the first. */
  unsigned feeds;
  unsigned char secret[EVP_MAX_MD_SIZE]; /* SERVER_TRAFFIC_SECRET_0 of TLS 1.3. */
  size_t secret_length;
  char code[120]; /* Why it failed, as node:tls writes its codes. */
} Conversation;

static const napi_type_tag CONVERSATION = {0x35b8e02c94d64f71, 0xa6c9017be53f2d88};

static Resumption *resumption_of(const SSL *ssl) {
  return &((Conversation *)SSL_get_app_data(ssl))->resumption;
}

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

/* Frees all but the struct; nothing where that has happened. */
static void release(napi_env env, Conversation *c) {
  int64_t now;
  if (c->ssl == NULL) return;
  SSL_free(c->ssl);
  c->ssl = NULL;
  drop_context(c->context);
  OPENSSL_cleanse(c->secret, sizeof c->secret);
  (void)napi_adjust_external_memory(env, -CONVERSATION_BYTES, &now);
  ERR_clear_error();
}

static void destroy_conversation(napi_env env, void *data, void *unused) {
  (void)unused;
  release(env, data);
  free(data);
}

/* open(context, now, until): a handle. Unix seconds: the time, and until when this login may be
 * resumed if its handshake is a full one; not later than now: no ticket is made or taken. */
static napi_value open_conversation(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  int64_t adjusted;
  Resumption resumption = {.extended = false};
  if (!arguments(env, info, 3, argv)) return NULL;
  Context *context = handle_of(env, argv[0], &CONTEXT, "not a TLS context");
  if (context == NULL || !seconds_of(env, argv[1], &resumption.now) ||
      !seconds_of(env, argv[2], &resumption.until)) return NULL;
  resumption.keys = &context->keys;
  ERR_clear_error();
  Conversation *c = calloc(1, sizeof *c);
  SSL *ssl = c == NULL ? NULL : SSL_new(context->tls);
  BIO *in = ssl == NULL ? NULL : BIO_new(BIO_s_mem());
  BIO *out = in == NULL ? NULL : BIO_new(BIO_s_mem());
  if (out == NULL || SSL_set_app_data(ssl, c) != 1) {
    BIO_free(out);
    BIO_free(in);
    SSL_free(ssl);
    free(c);
    return raise(env, "no TLS conversation");
  }
  if (resumption.until <= resumption.now) SSL_set_options(ssl, SSL_OP_NO_TICKET);
  SSL_set_bio(ssl, in, out);
  SSL_set_accept_state(ssl);
  *c = (Conversation){.ssl = ssl, .in = in, .out = out, .status = CONTINUE,
                      .context = context, .resumption = resumption};
  context->users++;
  (void)napi_adjust_external_memory(env, CONVERSATION_BYTES, &adjusted);
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
  if (done == 1) {
    /* RFC 9190 §5.7, also of a resumed session: nobody can be judged without one. */
    if (SSL_get0_peer_certificate(c->ssl) != NULL) return judge_rest(c);
    (void)BIO_reset(c->out);
    return failed(c, FAILED, "peer did not return a certificate");
  }
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

/* commit(conversation): the withheld flight of 1.2, empty for a resumed one (RFC 5216 §2.1.2); of
 * 1.3 a ticket, where there are keys for one, and the octet 0x00 as data (RFC 9190 §2.1.2, §2.5).
 * Once established; the caller calls it once, for whom it has admitted. */
static napi_value commit(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  Conversation *c = open_one(env, info, 1, argv);
  if (c == NULL || !proven(env, c)) return NULL;
  ERR_clear_error();
  if (SSL_version(c->ssl) == TLS1_3_VERSION) {
    if (!write_ticket(c->ssl)) return raise(env, "no ticket could be written");
    if (SSL_write(c->ssl, "", 1) != 1) return raise(env, "no commitment could be written");
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
 * client_random and server_random, the traffic secret (empty on 1.2), whether the session was
 * resumed (0 or 1). After CONTINUE: the leaf in the ticket of a 1.2 session that is being resumed,
 * whose key nobody has proven yet; else empty. */
static napi_value get(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  int32_t field;
  unsigned char randoms[2 * SSL3_RANDOM_SIZE];
  Conversation *c = open_one(env, info, 2, argv);
  if (c == NULL || !number_of(env, argv[1], &field)) return NULL;
  if (field == CODE) return text_from(env, c->code);
  if (field == TICKET) {
    bool resumes = c->status == CONTINUE && SSL_version(c->ssl) == TLS1_2_VERSION &&
                   SSL_session_reused(c->ssl);
    return resumes ? certificate_of(env, c->ssl) : buffer_from(env, "", 0);
  }
  if (c->status != LATE && !proven(env, c)) return NULL;
  switch (field) {
    case VERSION: return number_from(env, SSL_version(c->ssl));
    case CIPHER: return text_from(env, SSL_CIPHER_standard_name(SSL_get_current_cipher(c->ssl)));
    case GROUP: return number_from(env, (int32_t)SSL_get_negotiated_group(c->ssl));
    case CERTIFICATE: return certificate_of(env, c->ssl);
    case RESUMED: return number_from(env, SSL_session_reused(c->ssl));
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
    {"createContext", create_context}, {"setTicketKeys", set_ticket_keys},
    {"setOcspResponse", set_ocsp_response}, {"open", open_conversation}, {"feed", feed},
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
