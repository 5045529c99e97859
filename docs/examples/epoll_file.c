/*
 * A log server in one thread: epoll(7) drives the socket of a client and the file writer alike.
 *
 *   cc epoll_file.c $(pkg-config --cflags --libs bw) && ./a.out FILE
 *
 * With BW_CALLER_DRIVEN the library has no thread. The loop watches bw_event_fd() and calls bw_poll_events(), which
 * starts writes and syncs, looks at those that have ended, and calls what is due. Each request of the client becomes a
 * record, and is answered once the record would survive a power cut: bw_notify() tells. Many requests share one sync.
 * While all buffers are full the server does not read from its client. The client is a child process, which sends many
 * requests ahead of the answers, and looks into the file at each answer.
 */
#define _GNU_SOURCE
#include <bw/bw.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  kRequests = 20000,
  kRequestBytes = 64,
  kAhead = 1000 /* so many requests may be unanswered: more than the buffers of the writer hold */
};

static void make_request(char request[kRequestBytes + 1], unsigned number) {
  snprintf(request, kRequestBytes + 1, "request %10u %044u\n", number, number * 2654435761u);
}

/* ---- The client: a child process ----------------------------------------------------------------- */

static bool send_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    const ssize_t count = send(fd, bytes, length, MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes += count;
    length -= (size_t)count;
  }
  return true;
}

/* The records from `number` to `limit` are in the file. */
static bool are_in_file(int file, unsigned number, unsigned limit) {
  char expected[kRequestBytes + 1], record[kRequestBytes];
  for (; number < limit; ++number) {
    make_request(expected, number);
    if (pread(file, record, kRequestBytes, (off_t)number * kRequestBytes) != kRequestBytes) return false;
    if (memcmp(record, expected, kRequestBytes) != 0) return false;
  }
  return true;
}

/* The exit status: 0 if all requests were answered, and were in the file by then. */
static int run_client(int server, const char *path) {
  char request[kRequestBytes + 1];
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  for (uint32_t sent = 0, answered = 0, answer; answered < kRequests; answered = answer) {
    for (; sent < kRequests && sent < answered + kAhead; ++sent) {
      make_request(request, sent);
      if (!send_all(server, request, kRequestBytes)) return 1;
    }
    if (recv(server, &answer, sizeof answer, MSG_WAITALL) != (ssize_t)sizeof answer) return 1;
    if (answer <= answered || answer > sent || !are_in_file(file, answered, answer)) return 1;
  }
  return 0; /* what closes the socket: the server sees the end */
}

/* ---- The server ---------------------------------------------------------------------------------- */

typedef struct server {
  bw_t *log;
  int epoll;
  int client;
  enum { kServing, kClosing, kDone } state;
  bool is_full;                /* the log has no room: the client has to wait */
  char request[kRequestBytes]; /* the one that is being received */
  size_t received;             /* bytes of it */
  uint32_t durable;            /* requests */
  uint32_t answered;
  unsigned full; /* how often the log was */
  int code;      /* why it ended early */
} server;

static void end(server *self, int code) {
  if (code < 0 && self->code == 0) self->code = code;
  self->state = kDone;
}

static void watch_client(server *self, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = self->client};
  if (epoll_ctl(self->epoll, EPOLL_CTL_MOD, self->client, &event) != 0) end(self, -errno);
}

/* The next record is durable: they come in the order of their positions. */
static void count_durable(void *arg, int code) {
  server *self = arg;
  if (code < 0) end(self, code);
  if (code == 0) ++self->durable;
}

/* There is room again. Called by bw_poll_events(), as all callbacks of this writer are. */
static void go_on(void *arg) {
  server *self = arg;
  self->is_full = false;
  if (self->state == kServing) watch_client(self, EPOLLIN);
}

/* False: it has to wait. The request stays where it is. */
static bool log_request(server *self) {
  const bw_waker_t waker = {go_on, self};
  const int64_t position = bw_poll_append(self->log, self->request, kRequestBytes, &waker);
  if (position == -EAGAIN) {
    self->is_full = true;
    ++self->full;
    watch_client(self, 0);
    return false;
  }
  self->received = 0;
  const int code =
      position < 0 ? (int)position : bw_notify(self->log, position + kRequestBytes, BW_DURABLE, count_durable, self);
  if (code < 0) end(self, code);
  return code == 0;
}

static void serve_client(server *self) {
  while (self->state == kServing) {
    if (self->received == kRequestBytes && !log_request(self)) return;
    const ssize_t count =
        recv(self->client, self->request + self->received, kRequestBytes - self->received, MSG_DONTWAIT);
    if (count < 0 && errno != EAGAIN) end(self, -errno);
    if (count < 0) return;
    if (count == 0) self->state = kClosing;
    self->received += (size_t)count;
  }
}

static void serve_log(server *self) {
  const int count = bw_poll_events(self->log);
  if (count < 0) end(self, count);
  if (self->durable == self->answered) return;
  /* One answer for all of them: how many requests are durable. */
  self->answered = self->durable;
  const ssize_t sent = send(self->client, &self->answered, sizeof self->answered, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != (ssize_t)sizeof self->answered) end(self, sent < 0 ? -errno : -EPIPE);
}

/* Writes what is left; where that takes time, the log's descriptor tells when to try again. */
static void close_log(server *self) {
  const int code = bw_poll_close(self->log, NULL);
  if (code != -EAGAIN) end(self, code);
}

static void run_server(server *self) {
  while (self->state != kDone) {
    struct epoll_event events[2];
    const int count = epoll_wait(self->epoll, events, 2, -1);
    if (count < 0 && errno != EINTR) end(self, -errno);
    for (int index = 0; index < count && self->state != kDone; ++index) {
      if (events[index].data.fd != self->client) {
        serve_log(self);
      } else if (!self->is_full) {
        serve_client(self);
      }
    }
    if (self->state == kClosing) {
      watch_client(self, 0);
      close_log(self);
    }
  }
}

static int watch(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int serve(server *self, const char *path, bw_stats_t *stats) {
  bw_options_t options = BW_OPTIONS_INIT;
  options.flags = BW_CALLER_DRIVEN;
  options.capacity = 16 * 1024; /* so small that the client has to wait now and then */
  options.buffers = 2;
  int code = bw_open(&self->log, path, O_WRONLY, 0, &options);
  self->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (code == 0 && self->epoll < 0) code = -errno;
  if (code == 0) code = watch(self->epoll, bw_event_fd(self->log));
  if (code == 0) code = watch(self->epoll, self->client);
  if (code == 0) {
    run_server(self);
    code = self->code;
  }
  if (code == 0) code = bw_get_stats(self->log, stats);
  bw_free(self->log); /* NULL is fine */
  if (self->epoll >= 0) close(self->epoll);
  return code;
}

int main(int argc, char **argv) {
  const char *path = argc > 1 ? argv[1] : "epoll_file.data";
  const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  int ends[2];
  if (file < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    perror(path);
    return 1;
  }
  /* Before the writer is made: in the child of a fork it could not be used anyway. */
  const pid_t child = fork();
  if (child < 0) {
    perror("fork");
    return 1;
  }
  if (child == 0) {
    close(ends[0]);
    _exit(run_client(ends[1], path));
  }
  close(ends[1]);
  server self = {.client = ends[0]};
  bw_stats_t stats = BW_STATS_INIT;
  const int code = serve(&self, path, &stats);
  close(ends[0]);

  int status = 0;
  struct stat info;
  const bool is_right = waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
                        fstat(file, &info) == 0 && info.st_size == (off_t)kRequests * kRequestBytes;
  close(file);
  if (code < 0) {
    fprintf(stderr, "epoll_file: %s (%s)\n", bw_strerror(code), bw_err_name(code));
    return 1;
  }
  const bool ok = is_right && self.answered == kRequests;
  printf("epoll_file: %u durable requests by %llu syncs, %u times full: %s\n", (unsigned)self.answered,
         (unsigned long long)stats.syncs, self.full, ok ? "ok" : "WRONG");
  return ok ? 0 : 1;
}
