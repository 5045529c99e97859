/*
 * A PostgreSQL server of the test's own: in a private directory, on Unix sockets, as an unprivileged user. It dies with
 * the test, whatever becomes of that, and its directory goes.
 *
 * Thread safety: pg_ask(), pg_do() and what signals the server from any thread; all else from the main thread. What
 * goes wrong here ends the program with a failure; a missing package ends it as skipped.
 */
#ifndef BW_TESTS_PG_SERVER_H
#define BW_TESTS_PG_SERVER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct pg_server {
  char dir[64]; /* the socket lies in it */
  char conninfo[192];
  pid_t pid; /* of the postmaster; 0: it does not run */
  int guard;
} pg_server;

/* Makes a cluster and starts it. */
void pg_server_make(pg_server *server);
void pg_server_start(pg_server *server);
/* `number`: SIGINT, or SIGQUIT for no good-bye. */
void pg_server_stop(pg_server *server, int number);
void pg_server_remove(pg_server *server);
/* SIGSTOP or SIGCONT for all processes of the server. */
void pg_server_signal_all(const pg_server *server, int number);

/* Statements over a connection of their own. The first value of the first row as a number; 0 of none. */
long long pg_ask(const pg_server *server, const char *format, ...) __attribute__((format(printf, 2, 3)));
void pg_do(const pg_server *server, const char *format, ...) __attribute__((format(printf, 2, 3)));
PGconn *pg_connect(const pg_server *server);
/* The whole result; `binary`: in binary format. */
PGresult *pg_rows(PGconn *connection, const char *sql, bool binary);

/* ---- A proxy that loses answers -------------------------------------------------------------- */

enum pg_proxy_cut {
  PG_CUT_ANSWER, /* once the server's answer to COMMIT has come: it is swallowed, and both sides are closed */
  PG_CUT_CLIENT  /* once the client's CopyDone has gone out: its side is closed, the server's once that has answered */
};

typedef struct pg_proxy pg_proxy;

/* Stands before the server; cuts every `every`th commit that passes, `cuts` times in all. */
pg_proxy *pg_proxy_new(const pg_server *server, enum pg_proxy_cut cut, int every, int cuts);
const char *pg_proxy_conninfo(const pg_proxy *proxy);
int pg_proxy_cuts(pg_proxy *proxy); /* how many were made */
void pg_proxy_free(pg_proxy *proxy);

#endif
