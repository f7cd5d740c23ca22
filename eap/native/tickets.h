/* Stateless session tickets for engine.c, its only user: their keys, what is put into one, and when
 * one is taken (RFC 5077, RFC 8446 §4.6.1, RFC 9190 §2.1.2 and §5.7). A ticket replaces the proof
 * of the device's key and decides nothing else: whoever resumes is judged like everyone, by the
 * certificate out of the ticket. Where there is any doubt the handshake is a full one. */
#ifndef DATANET_TICKETS_H
#define DATANET_TICKETS_H

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/tls1.h>
#include <stdint.h>
#include <string.h>
#include "ocsp.h"

#define TICKET_KEYS_MAX 2 /* The current key, and the one before it. */
#define TICKET_VERSION 1
#define TICKET_NOTE_BYTES 9 /* The version, then seconds as eight octets, big-endian. */

typedef struct { unsigned char name[16], cipher[32], mac[32]; } TicketKey;

typedef struct {
  size_t count; /* None: tickets are neither made nor taken. */
  TicketKey keys[TICKET_KEYS_MAX];
} TicketKeys;

/* What one conversation knows of tickets. */
typedef struct {
  const TicketKeys *keys; /* Of its context, which it holds. */
  int64_t now, until;     /* Unix seconds: of its first flight, and a full login's end. */
  bool extended;          /* The peer offers extended_master_secret (RFC 7627). */
  bool asks;              /* The peer asks for an OCSP response (RFC 6066 §8). */
} Resumption;

/* In engine.c, which keeps them. */
static Resumption *resumption_of(const SSL *ssl);

/* Until when the login that began with a full handshake may be resumed; false where the ticket does
 * not say so in our words. */
static bool ticket_until(SSL_SESSION *session, int64_t *until) {
  void *data = NULL;
  size_t length = 0;
  if (SSL_SESSION_get0_ticket_appdata(session, &data, &length) != 1 ||
      length != TICKET_NOTE_BYTES) return false;
  const unsigned char *note = data;
  uint64_t seconds = 0;
  for (size_t n = 1; n < TICKET_NOTE_BYTES; n++) seconds = seconds << 8 | note[n];
  *until = (int64_t)seconds;
  return note[0] == TICKET_VERSION && *until >= 0;
}

/* Writes it, counted from the full handshake and carried on unchanged: a chain of resumptions ends.
 * The lifetime in the ticket, and the one that the peer is told, is what is left of it. */
static int note_ticket(SSL *ssl, void *unused) {
  (void)unused;
  const Resumption *r = resumption_of(ssl);
  SSL_SESSION *session = SSL_get_session(ssl);
  unsigned char note[TICKET_NOTE_BYTES] = {TICKET_VERSION};
  int64_t until = r->until;
  if (SSL_session_reused(ssl) && !ticket_until(session, &until)) return 0;
  for (int n = 1; n < TICKET_NOTE_BYTES; n++) note[n] = (unsigned char)(until >> (64 - 8 * n));
  (void)SSL_SESSION_set_timeout(session, until > r->now ? (long)(until - r->now) : 0);
  return SSL_SESSION_set1_ticket_appdata(session, note, sizeof note);
}

/* A resumed session of TLS 1.3 has no Certificate to staple a response to, and wpa_supplicant that
 * insists on one (RFC 9190 §5.4) refuses it, and takes it in a resumed session of 1.2. */
static bool owes_response(const SSL *ssl) {
  return SSL_version(ssl) == TLS1_3_VERSION && resumption_of(ssl)->asks && has_response(ssl);
}

/* RFC 9190 §5.7: without the certificate there is nothing to judge a login by. RFC 7627 §5.3: keys
 * exported from a resumed session of TLS 1.2 are bound to its handshake by that extension only. */
static bool resumable(SSL *ssl, SSL_SESSION *session) {
  const Resumption *r = resumption_of(ssl);
  int64_t until;
  return ticket_until(session, &until) && r->now < until &&
         SSL_SESSION_get0_peer(session) != NULL && !owes_response(ssl) &&
         (r->extended || SSL_version(ssl) == TLS1_3_VERSION);
}

/* Never USE_RENEW: in TLS 1.2 the new ticket would leave before the login is admitted, and it is
 * not needed, since a login can't be resumed for longer than a key is taken (eap/ticket-keys.ts).
 */
static SSL_TICKET_RETURN judge_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                      size_t name_length, SSL_TICKET_STATUS status, void *unused) {
  (void)name, (void)name_length, (void)unused;
  bool read = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
  return read && resumable(ssl, session) ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_IGNORE_RENEW;
}

/* Seals with the current key, opens with the one that the ticket names. 0: there is none. */
static int key_ticket(SSL *ssl, unsigned char name[16], unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int sealing) {
  const TicketKeys *known = resumption_of(ssl)->keys;
  const TicketKey *key = NULL;
  for (size_t n = 0; n < known->count && key == NULL; n++) {
    if (sealing || memcmp(name, known->keys[n].name, sizeof known->keys[n].name) == 0) {
      key = &known->keys[n];
    }
  }
  if (key == NULL) return 0;
  if (sealing) {
    memcpy(name, key->name, sizeof key->name);
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
  }
  OSSL_PARAM mac_key[] = {
    OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof key->mac),
    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
    OSSL_PARAM_construct_end(),
  };
  return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, sealing) == 1 &&
                 EVP_MAC_CTX_set_params(mac, mac_key) == 1
             ? 1
             : -1;
}

/* The only place where OpenSSL tells whether the peer offers them, before tickets are looked at. */
static int note_hello(SSL *ssl, int *alert, void *unused) {
  (void)alert, (void)unused;
  const unsigned char *data;
  size_t length;
  Resumption *r = resumption_of(ssl);
  r->extended =
      SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_extended_master_secret, &data, &length) == 1;
  r->asks = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_status_request, &data, &length) == 1;
  return SSL_CLIENT_HELLO_SUCCESS;
}

/* Without a key nothing of TLS is as it would be with tickets. */
static void use_ticket_keys(SSL_CTX *ctx, TicketKeys *keys, const void *data, size_t count) {
  OPENSSL_cleanse(keys, sizeof *keys);
  if (count > 0) memcpy(keys->keys, data, count * sizeof *keys->keys);
  keys->count = count;
  if (count == 0) SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
  else SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
  SSL_CTX_set_client_hello_cb(ctx, count == 0 ? NULL : note_hello, NULL);
}

static bool use_tickets(SSL_CTX *ctx) {
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
  /* None by itself: in TLS 1.3 commit() makes the one there is, for whom was admitted. */
  return SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
         SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, key_ticket) == 1 &&
         SSL_CTX_set_session_ticket_cb(ctx, note_ticket, judge_ticket, NULL) == 1;
}

/* One ticket in front of what is written next; OpenSSL leaves it out where the keys are gone by
 * then. False: it could not be made. */
static bool write_ticket(SSL *ssl) {
  /* The conversation is to have none, or began before there were keys. */
  if ((SSL_get_options(ssl) & SSL_OP_NO_TICKET) != 0) return true;
  return SSL_new_session_ticket(ssl) == 1 && SSL_do_handshake(ssl) == 1;
}

#endif
