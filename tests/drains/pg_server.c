#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pg_server.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"
#include "threads.h"

#define LONGEST_S 1200 /* then the guard ends a test that hangs */

/* ---- Programs -------------------------------------------------------------------------------- */

static char bin_dir[256];

static void find_programs(void) {
  glob_t found;
  if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) != 0 || found.gl_pathc == 0)
    faults_skip("no server (package postgresql)");
  const char *newest = found.gl_pathv[found.gl_pathc - 1];
  snprintf(bin_dir, sizeof bin_dir, "%.*s", (int)(strlen(newest) - strlen("/initdb")), newest);
  globfree(&found);
}

/* Starts a program of PostgreSQL, which does not run as root, with its output in `log`. It gets `at_end` if we die. */
static pid_t start_program(const char *log, int at_end, const char *const *arguments) {
  fflush(NULL);
  const struct passwd *const user = geteuid() == 0 ? getpwnam("nobody") : NULL;
  const pid_t parent = getpid(), child = fork();
  EXPECT(child >= 0);
  if (child > 0) return child;
  if (geteuid() == 0 && (!user || setgroups(0, NULL) || setgid(user->pw_gid) || setuid(user->pw_uid))) _exit(126);
  prctl(PR_SET_PDEATHSIG, at_end);
  if (getppid() != parent) _exit(126);
  const int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) _exit(126);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setenv("LC_ALL", "C", 1);
  char path[512];
  snprintf(path, sizeof path, "%s/%s", bin_dir, arguments[0]);
  execv(path, (char *const *)arguments);
  _exit(127);
}

static void print_log(const char *log) {
  char line[512];
  FILE *file = fopen(log, "r");
  while (file && fgets(line, sizeof line, file)) fputs(line, stderr);
  if (file) fclose(file);
}

/* ---- The server ------------------------------------------------------------------------------ */

static void remove_tree(const char *dir) {
  const pid_t child = fork();
  if (child == 0) {
    execlp("rm", "rm", "-rf", dir, (char *)NULL);
    _exit(127);
  }
  if (child > 0) waitpid(child, NULL, 0);
}

/* Called by the guard when the test has died. */
static void clean_up(void *arg) {
  const pg_server *server = arg;
  char path[128], text[32] = "";
  snprintf(path, sizeof path, "%s/data/postmaster.pid", server->dir);
  FILE *file = fopen(path, "r");
  if (file) {
    if (fgets(text, sizeof text, file) && atoi(text) > 1) {
      kill(atoi(text), SIGCONT);
      kill(atoi(text), SIGQUIT);
    }
    fclose(file);
  }
  usleep(200000);
  remove_tree(server->dir);
}

static void write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "a");
  EXPECT(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

void pg_server_make(pg_server *server) {
  memset(server, 0, sizeof *server);
  find_programs();
  signal(SIGPIPE, SIG_IGN); /* of the proxy */
  strcpy(server->dir, "/tmp/bw-pg.XXXXXX");
  EXPECT(mkdtemp(server->dir));
  server->guard = faults_guard(clean_up, server, LONGEST_S);
  snprintf(server->conninfo, sizeof server->conninfo,
           "host=%s user=bw dbname=postgres sslmode=disable gssencmode=disable", server->dir);
  const struct passwd *const user = getpwnam("nobody");
  if (geteuid() == 0) EXPECT(user && chown(server->dir, user->pw_uid, user->pw_gid) == 0);
  char data[128], log[128], path[160], settings[512];
  snprintf(data, sizeof data, "%s/data", server->dir);
  snprintf(log, sizeof log, "%s/log", server->dir);
  const char *const arguments[] = {"initdb", "-D", data, "-U", "bw", "-A", "trust", "-E", "UTF8", "--no-locale",
                                   "--no-sync", NULL};
  int status;
  const pid_t child = start_program(log, SIGKILL, arguments);
  EXPECT(waitpid(child, &status, 0) == child);
  if (status != 0) print_log(log);
  EXPECT(status == 0);
  snprintf(path, sizeof path, "%s/postgresql.conf", data);
  /* fsync is off: no power fails in these tests, and processes may die without it. */
  snprintf(settings, sizeof settings,
           "listen_addresses=''\nunix_socket_directories='%s'\nfsync=off\nmax_connections=50\nshared_buffers=16MB\n"
           "autovacuum=off\n",
           server->dir);
  write_text(path, settings);
  snprintf(path, sizeof path, "%s/pg_hba.conf", data);
  EXPECT(unlink(path) == 0);
  write_text(path, "local all secret scram-sha-256\nlocal all all trust\n");
  EXPECT(chmod(path, 0644) == 0);
  pg_server_start(server);
}

static bool answers(void *arg) {
  return PQping(((const pg_server *)arg)->conninfo) == PQPING_OK;
}

void pg_server_start(pg_server *server) {
  char data[128], log[128];
  snprintf(data, sizeof data, "%s/data", server->dir);
  snprintf(log, sizeof log, "%s/log", server->dir);
  const char *const arguments[] = {"postgres", "-D", data, NULL};
  server->pid = start_program(log, SIGQUIT, arguments);
  if (test_await(answers, server)) return;
  print_log(log);
  EXPECT(!"the server starts");
}

void pg_server_stop(pg_server *server, int number) {
  EXPECT(kill(server->pid, number) == 0);
  EXPECT(waitpid(server->pid, NULL, 0) == server->pid);
  server->pid = 0;
}

void pg_server_remove(pg_server *server) {
  if (server->pid) pg_server_stop(server, SIGQUIT);
  remove_tree(server->dir);
  faults_guard_dismiss(server->guard);
}

void pg_server_signal_all(const pg_server *server, int number) {
  /* The postmaster first: a stopped one makes no more children. */
  EXPECT(kill(server->pid, number) == 0);
  char path[64];
  int child;
  snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)server->pid, (int)server->pid);
  FILE *file = fopen(path, "r");
  EXPECT(file);
  while (fscanf(file, "%d", &child) == 1) kill(child, number);
  fclose(file);
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static void drop_notice(void *arg, const PGresult *result) {
  (void)arg, (void)result;
}

PGconn *pg_connect(const pg_server *server) {
  PGconn *connection = PQconnectdb(server->conninfo);
  if (PQstatus(connection) != CONNECTION_OK) fprintf(stderr, "%s", PQerrorMessage(connection));
  EXPECT(PQstatus(connection) == CONNECTION_OK);
  PQsetNoticeReceiver(connection, drop_notice, NULL);
  return connection;
}

PGresult *pg_rows(PGconn *connection, const char *sql, bool binary) {
  PGresult *result = PQexecParams(connection, sql, 0, NULL, NULL, NULL, NULL, binary);
  if (PQresultStatus(result) != PGRES_TUPLES_OK) fprintf(stderr, "%s: %s", sql, PQresultErrorMessage(result));
  EXPECT(PQresultStatus(result) == PGRES_TUPLES_OK);
  return result;
}

static long long ask(const pg_server *server, const char *sql) {
  PGconn *connection = pg_connect(server);
  PGresult *result = PQexec(connection, sql);
  const ExecStatusType status = PQresultStatus(result);
  const bool right = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
  if (!right) fprintf(stderr, "%s: %s", sql, PQresultErrorMessage(result));
  EXPECT(right);
  const long long value = PQntuples(result) > 0 ? atoll(PQgetvalue(result, 0, 0)) : 0;
  PQclear(result);
  PQfinish(connection);
  return value;
}

long long pg_ask(const pg_server *server, const char *format, ...) {
  char sql[2048];
  va_list list;
  va_start(list, format);
  EXPECT(vsnprintf(sql, sizeof sql, format, list) < (int)sizeof sql);
  va_end(list);
  return ask(server, sql);
}

void pg_do(const pg_server *server, const char *format, ...) {
  char sql[2048];
  va_list list;
  va_start(list, format);
  EXPECT(vsnprintf(sql, sizeof sql, format, list) < (int)sizeof sql);
  va_end(list);
  ask(server, sql);
}

/* ---- The proxy ------------------------------------------------------------------------------- */

struct pg_proxy {
  const pg_server *server;
  enum pg_proxy_cut cut;
  int every;
  atomic_int left, seen, made;
  int listener;
  int stop[2];
  char dir[96], conninfo[224];
  pthread_t thread;
};

/* Finds the messages of one direction: where in a run of bytes one of a kind ends. */
typedef struct scanner {
  unsigned char head[5];
  unsigned have; /* of the head */
  size_t left;   /* of the body */
  char body[8];  /* how it begins */
  size_t body_have;
  bool typed; /* the first message of a client has no type */
} scanner;

/* Feeds one byte; the type of the message that it completes, or 0. */
static char scan(scanner *s, unsigned char byte) {
  const unsigned head_bytes = s->typed ? 5 : 4;
  if (s->have < head_bytes) {
    s->head[s->have++] = byte;
    if (s->have < head_bytes) return 0;
    const unsigned char *n = s->head + head_bytes - 4;
    s->left = ((size_t)n[0] << 24 | (size_t)n[1] << 16 | (size_t)n[2] << 8 | n[3]) - 4;
    s->body_have = 0;
  } else {
    if (s->body_have < sizeof s->body) s->body[s->body_have++] = (char)byte;
    --s->left;
  }
  if (s->left > 0) return 0;
  const char type = s->typed ? (char)s->head[0] : '?';
  s->have = 0;
  s->typed = true;
  return type;
}

static int connect_to(const char *dir) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  snprintf(to.sun_path, sizeof to.sun_path, "%s/.s.PGSQL.5432", dir);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) return fd;
  close(fd);
  return -1;
}

static bool send_all(int fd, const char *data, size_t length) {
  while (length > 0) {
    const ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    length -= (size_t)sent;
  }
  return true;
}

static bool is_due(pg_proxy *proxy) {
  if (atomic_fetch_add(&proxy->seen, 1) % proxy->every != proxy->every - 1) return false;
  if (atomic_fetch_sub(&proxy->left, 1) <= 0) return false;
  atomic_fetch_add(&proxy->made, 1);
  return true;
}

/* Carries what has come from `from` to `to`. False: the connection is over. *cut: because it was cut. */
static bool carry(pg_proxy *proxy, scanner *s, int from, int to, bool is_client, bool *cut) {
  char data[8192];
  const ssize_t length = read(from, data, sizeof data);
  if (length <= 0) return false;
  for (ssize_t i = 0; i < length; ++i) {
    const char type = scan(s, (unsigned char)data[i]);
    const bool commit = is_client ? type == 'c' : type == 'C' && memcmp(s->body, "COMMIT", 7) == 0;
    if (!commit || is_client != (proxy->cut == PG_CUT_CLIENT) || !is_due(proxy)) continue;
    *cut = true;
    if (is_client) send_all(to, data, (size_t)length);
    return false;
  }
  return send_all(to, data, (size_t)length);
}

/* One connection at a time would do for one drain, but the one before may linger. */
static void *serve_one(void *arg) {
  pg_proxy *proxy = ((void **)arg)[0];
  const int client = (int)(intptr_t)((void **)arg)[1];
  free(arg);
  const int server = connect_to(proxy->server->dir);
  scanner of_client = {.typed = false}, of_server = {.typed = true};
  bool going = server >= 0, cut = false;
  while (going) {
    struct pollfd fds[3] = {{client, POLLIN, 0}, {server, POLLIN, 0}, {proxy->stop[0], POLLIN, 0}};
    if (poll(fds, 3, -1) <= 0) continue;
    if (fds[2].revents) break;
    if (fds[0].revents) going = carry(proxy, &of_client, client, server, true, &cut);
    if (going && fds[1].revents) going = carry(proxy, &of_server, server, client, false, &cut);
  }
  close(client);
  if (cut && proxy->cut == PG_CUT_CLIENT) { /* the server goes on: it learns of it only when it has answered */
    struct pollfd answer = {server, POLLIN, 0};
    poll(&answer, 1, TEST_BOUND_S * 1000);
  }
  if (server >= 0) close(server);
  return NULL;
}

static void *serve_all(void *arg) {
  pg_proxy *proxy = arg;
  pthread_t threads[256];
  unsigned count = 0;
  for (;;) {
    struct pollfd fds[2] = {{proxy->listener, POLLIN, 0}, {proxy->stop[0], POLLIN, 0}};
    if (poll(fds, 2, -1) <= 0) continue;
    if (fds[1].revents) break;
    const int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    void **one = malloc(2 * sizeof *one);
    EXPECT(client >= 0 && one && count < 256);
    one[0] = proxy;
    one[1] = (void *)(intptr_t)client;
    EXPECT(pthread_create(&threads[count++], NULL, serve_one, one) == 0);
  }
  while (count > 0) pthread_join(threads[--count], NULL);
  return NULL;
}

pg_proxy *pg_proxy_new(const pg_server *server, enum pg_proxy_cut cut, int every, int cuts) {
  static int number;
  pg_proxy *proxy = calloc(1, sizeof *proxy);
  EXPECT(proxy);
  proxy->server = server;
  proxy->cut = cut;
  proxy->every = every;
  atomic_init(&proxy->left, cuts);
  snprintf(proxy->dir, sizeof proxy->dir, "%s/proxy%d", server->dir, number++);
  EXPECT(mkdir(proxy->dir, 0700) == 0 && pipe2(proxy->stop, O_CLOEXEC) == 0);
  snprintf(proxy->conninfo, sizeof proxy->conninfo,
           "host=%s user=bw dbname=postgres sslmode=disable gssencmode=disable", proxy->dir);
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  EXPECT(snprintf(at.sun_path, sizeof at.sun_path, "%s/.s.PGSQL.5432", proxy->dir) < (int)sizeof at.sun_path);
  proxy->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT(bind(proxy->listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(proxy->listener, 16) == 0);
  EXPECT(pthread_create(&proxy->thread, NULL, serve_all, proxy) == 0);
  return proxy;
}

const char *pg_proxy_conninfo(const pg_proxy *proxy) {
  return proxy->conninfo;
}

int pg_proxy_cuts(pg_proxy *proxy) {
  return atomic_load(&proxy->made);
}

void pg_proxy_free(pg_proxy *proxy) {
  close(proxy->stop[1]); /* the others see the end */
  pthread_join(proxy->thread, NULL);
  close(proxy->stop[0]);
  close(proxy->listener);
  free(proxy);
}
