#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "workload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults.h"

/* ---- Plans ----------------------------------------------------------------------------------- */

static uint64_t pick(uint64_t *random, const uint64_t *list, size_t count) {
  return list[test_random(random) % count];
}
#define PICK(random, ...) \
  pick((random), (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

workload_plan workload_plan_make(uint32_t engine, uint64_t seed) {
  uint64_t random = seed;
  workload_plan plan = {.seed = seed, .engine = engine};
  plan.threads = (unsigned)PICK(&random, 1, 1, 2, 3, 4, 8);
  plan.flags = (uint32_t)PICK(&random, 0, 0, 0, BW_BUFFERED, BW_BUFFERED, BW_CALLER_DRIVEN);
  if (plan.threads == 1 && test_random(&random) % 2) plan.flags |= BW_UNSHARED;
  if (test_random(&random) % 6 == 0) plan.oflags = O_APPEND;
  plan.capacity = PICK(&random, 4096, 4096, 8192, 65536, 1 << 20);
  plan.buffers = (uint32_t)PICK(&random, 1, 2, 3, 8);
  plan.preallocate = PICK(&random, 0, 0, UINT64_MAX, 100000, 1 << 22);
  plan.linger_us = plan.flags & BW_UNSHARED ? 0 : PICK(&random, 0, 0, 100);
  plan.calm = (unsigned)PICK(&random, 1, 4, 32, 500);
  plan.base = (int64_t)PICK(&random, 0, 0, 1, 4095, 4096, 5000, test_random(&random) % 200000);
  plan.records = (test_records){.threads = plan.threads,
                                .each = 1000000,
                                .longest = (size_t)PICK(&random, 40, 1000, 5000, 5000, 70000),
                                .seed = seed};
  if (plan.base > 0 && plan.oflags == 0 && test_random(&random) % 2) {
    plan.mark = (size_t)(test_random(&random) % (uint64_t)(plan.base < 20000 ? plan.base : 20000)) + 1;
    plan.mark_at = (int64_t)(test_random(&random) % (uint64_t)(plan.base - (int64_t)plan.mark + 1));
  }
  return plan;
}

void workload_plan_print(const workload_plan *plan) {
  fprintf(stderr,
          "seed %llu: engine %u, flags %#x, oflags %#x, %u threads, %u buffers "
          "of %llu, base %lld, mark of %zu at %lld, preallocate %lld, "
          "linger %llu us, records up to %zu, calm %u\n",
          (unsigned long long)plan->seed, plan->engine, plan->flags, (unsigned)plan->oflags, plan->threads,
          plan->buffers, (unsigned long long)plan->capacity, (long long)plan->base, plan->mark,
          (long long)plan->mark_at, (long long)plan->preallocate,
          (unsigned long long)plan->linger_us, plan->records.longest, plan->calm);
}

void workload_prepare(const workload_plan *plan, const char *path, bool durable) {
  if (plan->base == 0) return;
  char *data = malloc((size_t)plan->base);
  const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  EXPECT(data && fd >= 0);
  faults_stream(data, (size_t)plan->base, 0);
  EXPECT(write(fd, data, (size_t)plan->base) == plan->base);
  if (durable) EXPECT(syncfs(fd) == 0); /* its directory too, wherever that is */
  close(fd);
  free(data);
}

static int open_with(const workload_plan *plan, const char *path, int oflags, bw_t **out) {
  bw_options_t options = BW_OPTIONS_INIT;
  options.engine = plan->engine;
  options.flags = plan->flags;
  options.capacity = plan->capacity;
  options.buffers = plan->buffers;
  options.preallocate = plan->preallocate;
  options.linger_us = plan->linger_us;
  return bw_open(out, path, O_RDWR | plan->oflags | oflags, 0644, &options);
}

int workload_open_anyhow(const workload_plan *plan, const char *path, bw_t **out) {
  return open_with(plan, path, faults_file_size(path) < 0 ? O_CREAT : 0, out);
}

int workload_open(const workload_plan *plan, const char *path, bw_t **out) {
  const int code = open_with(plan, path, plan->base == 0 ? O_CREAT | O_EXCL : 0, out);
  if (code != 0) return code;
  if (!(plan->oflags & O_APPEND)) EXPECT(bw_seek(*out, 0, SEEK_END) == plan->base);
  EXPECT(bw_tell(*out) == plan->base);
  return 0;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void fail(workload *load, int64_t code) {
  int none = 0;
  atomic_compare_exchange_strong(&load->failure, &none, (int)code);
  atomic_store(&load->stop, true);
}

typedef struct note {
  workload *load;
  int level;
  int64_t position;
} note;

static void tell_note(void *arg, int code) {
  note *mine = arg;
  if (code == 0) mine->load->told(mine->load->arg, mine->level, mine->position);
  free(mine);
}

/* Garbage lies in the span until the record does: what goes out too early is found. */
static int64_t fill_in_place(bw_t *bw, const char *record, size_t length) {
  bw_span_t span;
  const int code = bw_reserve(bw, length, &span);
  if (code != 0) return code;
  memset(span.data, 0xee, length);
  test_pause();
  memcpy(span.data, record, length);
  const int64_t end = span.position + (int64_t)length;
  const int answer = bw_commit(bw, &span, length);
  return answer < 0 ? answer : end;
}

static int64_t write_parts(bw_t *bw, char *record, size_t length) {
  const struct iovec parts[] = {{record, length / 3}, {record, 0}, {record + length / 3, length - length / 3}};
  const int64_t at = bw_appendv(bw, parts, 3);
  return at < 0 ? at : at + (int64_t)length;
}

static int64_t write_plainly(bw_t *bw, const char *record, size_t length) {
  const int64_t count = bw_write(bw, record, length);
  if (count < 0) return count;
  return count == (int64_t)length ? 0 : -EIO; /* the next call would have said why */
}

/* Writes a record in one of the ways; where its end stands, 0 if that was not told, or a code. */
static int64_t write_record(bw_t *bw, const workload_plan *plan, char *record, size_t length, uint64_t *random) {
  switch (test_random(random) % 8) {
    case 0:
      return write_plainly(bw, record, length);
    case 1:
      return write_parts(bw, record, length);
    case 2:
      if (length <= plan->capacity) return fill_in_place(bw, record, length);
      break;
    default:
      break;
  }
  const int64_t at = bw_append(bw, record, length);
  return at < 0 ? at : at + (int64_t)length;
}

/* Has what lies below `end`, and was accepted, brought to some level; a code. */
static int64_t see_to(workload *load, int64_t end, uint64_t *random) {
  bw_t *bw = load->bw;
  int level = BW_WRITTEN;
  int code = 0;
  switch (test_random(random) % 6) {
    case 0:
      code = bw_flush(bw);
      break;
    case 1:
      code = bw_wait(bw, end, BW_WRITTEN, -1);
      break;
    case 2:
      level = BW_DURABLE;
      code = bw_sync(bw);
      break;
    case 3:
    case 4:
      level = BW_DURABLE;
      code = bw_wait(bw, end, BW_DURABLE, -1);
      break;
    default: {
      note *mine = malloc(sizeof *mine);
      if (!mine) return -ENOMEM;
      *mine = (note){load, test_random(random) % 2 ? BW_DURABLE : BW_WRITTEN, end};
      code = bw_notify(bw, end, mine->level, tell_note, mine);
      if (code != 0) free(mine);
      return code;
    }
  }
  if (code == 0) load->told(load->arg, level, end);
  return code;
}

/* The mark's bytes. Its first version is what was there before. */
static unsigned char mark_byte(const workload_plan *plan, int64_t version, int64_t index) {
  unsigned char byte;
  faults_stream(&byte, 1, (version << 32) + plan->mark_at + index);
  return byte;
}

/* Goes back, writes the mark anew, and returns to the end. A code. */
static int64_t write_mark(workload *load, uint64_t *random) {
  const workload_plan *plan = load->plan;
  bw_t *bw = load->bw;
  const int64_t version = ++load->mark_version, end = bw_tell(bw);
  unsigned char *mark = malloc(plan->mark);
  if (!mark) return -ENOMEM;
  for (size_t i = 0; i < plan->mark; ++i) mark[i] = mark_byte(plan, version, (int64_t)i);
  load->told(load->arg, WORKLOAD_MARK_BEGUN, version);
  int64_t code = bw_seek(bw, plan->mark_at, SEEK_SET);
  if (code >= 0) code = bw_append(bw, mark, plan->mark);
  free(mark);
  if (code >= 0 && code != plan->mark_at) code = -EIO;
  if (code >= 0) code = bw_seek(bw, end, SEEK_SET); /* writes it out */
  if (code < 0) return code;
  load->told(load->arg, WORKLOAD_MARK_WRITTEN, version);
  if (test_random(random) % 2) return 0;
  code = bw_sync(bw);
  if (code == 0) load->told(load->arg, WORKLOAD_MARK_DURABLE, version);
  return code;
}

/* A record, and now and then what is to follow it; a code. Who waits for a position must not be overtaken by a seek. */
static int64_t take_a_step(workload *load, unsigned thread, unsigned number, char *record, uint64_t *random) {
  const workload_plan *plan = load->plan;
  const size_t length = test_record_make(&plan->records, thread, number, record);
  pthread_rwlock_rdlock(&load->place);
  const int64_t end = write_record(load->bw, plan, record, length, random);
  int64_t code = end;
  if (end > 0 && test_random(random) % plan->calm == 0) code = see_to(load, end, random);
  pthread_rwlock_unlock(&load->place);
  if (code >= 0 && plan->mark > 0 && test_random(random) % (4 * plan->calm) == 0) {
    pthread_rwlock_wrlock(&load->place);
    code = write_mark(load, random);
    pthread_rwlock_unlock(&load->place);
  }
  return code;
}

static int64_t write_records(void *arg) {
  const struct workload_member *me = arg;
  workload *load = me->load;
  const workload_plan *plan = load->plan;
  uint64_t random = plan->seed * 31 + me->thread;
  char *record = malloc(plan->records.longest + 8);
  if (!record) return -ENOMEM;
  int64_t code = 0;
  for (unsigned number = 0; number < plan->records.each && code >= 0 && !atomic_load(&load->stop); ++number) {
    code = take_a_step(load, me->thread, number, record, &random);
    if (code >= 0 && plan->flags & BW_CALLER_DRIVEN && number % 4 == 0) bw_poll_events(load->bw);
    if (number % 16 == 0)
      for (int level = BW_WRITTEN; level <= BW_DURABLE; ++level)
        load->told(load->arg, level, bw_position(load->bw, level));
  }
  if (code < 0) fail(load, code);
  free(record);
  return 0;
}

void workload_start(workload *load, const workload_plan *plan, bw_t *bw) {
  load->plan = plan;
  load->bw = bw;
  load->mark_version = 0;
  EXPECT(pthread_rwlock_init(&load->place, NULL) == 0);
  atomic_init(&load->stop, false);
  atomic_init(&load->failure, 0);
  for (unsigned i = 0; i < plan->threads; ++i) {
    load->members[i] = (struct workload_member){load, i};
    test_thread_start(&load->threads[i], write_records, &load->members[i]);
  }
}

void workload_join(workload *load) {
  for (unsigned i = 0; i < load->plan->threads; ++i) test_thread_join(&load->threads[i]);
  pthread_rwlock_destroy(&load->place);
}

/* ---- Reading --------------------------------------------------------------------------------- */

void workload_reader_init(workload_reader *reader, const workload_plan *plan) {
  memset(reader, 0, sizeof *reader);
  reader->plan = plan;
  reader->record = malloc(plan->records.longest + 8);
  EXPECT(reader->record);
}

void workload_reader_destroy(workload_reader *reader) {
  free(reader->record);
}

static bool begin_record(workload_reader *reader, unsigned char first) {
  const test_records *records = &reader->plan->records;
  if (first >= records->threads || reader->next[first] >= records->each) {
    fprintf(stderr, "at %lld there begins no record (byte %u)\n", (long long)reader->at, first);
    return false;
  }
  reader->length = test_record_make(records, first, reader->next[first]++, reader->record);
  reader->matched = 0;
  return true;
}

static bool read_records(workload_reader *reader, const char *data, size_t length) {
  while (length > 0) {
    if (reader->matched == reader->length && !begin_record(reader, (unsigned char)*data)) return false;
    const size_t left = reader->length - reader->matched, piece = length < left ? length : left;
    const char *expected = reader->record + reader->matched;
    size_t i = 0;
    if (memcmp(data, expected, piece) != 0) {
      while (data[i] == expected[i]) ++i;
      if (reader->may_end_in_zeros && data[i] == 0) {
        reader->has_ended = true;
        reader->at += (int64_t)i;
        return true;
      }
      const unsigned thread = (unsigned char)*reader->record;
      fprintf(stderr,
              "at %lld: byte %zu of record %u of thread %u (%zu bytes) is %u "
              "and not %u\n",
              (long long)(reader->at + (int64_t)i), reader->matched + i, reader->next[thread] - 1, thread,
              reader->length, (unsigned char)data[i], (unsigned char)expected[i]);
      return false;
    }
    reader->matched += piece;
    reader->at += (int64_t)piece;
    data += piece;
    length -= piece;
  }
  return true;
}

/* Each byte is of a version that may be there; after a fall not all of the same. */
static bool is_mark(const workload_reader *reader, const char *data, size_t length) {
  for (size_t i = 0; i < length && reader->newest_mark >= 0; ++i) {
    const int64_t index = reader->at + (int64_t)i - reader->plan->mark_at;
    const unsigned char byte = (unsigned char)data[i];
    int64_t version = reader->oldest_mark;
    while (version <= reader->newest_mark && mark_byte(reader->plan, version, index) != byte) ++version;
    if (version <= reader->newest_mark) continue;
    fprintf(stderr, "byte %lld of the mark is %u: of no version from %lld to %lld\n", (long long)index, byte,
            (long long)reader->oldest_mark, (long long)reader->newest_mark);
    return false;
  }
  return true;
}

/* How much of `length` bytes from here lies below `end`. */
static size_t up_to(const workload_reader *reader, int64_t end, size_t length) {
  return (int64_t)length < end - reader->at ? length : (size_t)(end - reader->at);
}

static bool read_piece(workload_reader *reader, const char *data, size_t length) {
  const workload_plan *plan = reader->plan;
  const int64_t mark_end = plan->mark_at + (int64_t)plan->mark;
  while (reader->at < plan->base && length > 0) {
    const bool in_mark = reader->at >= plan->mark_at && reader->at < mark_end;
    const int64_t end = in_mark ? mark_end : reader->at < plan->mark_at ? plan->mark_at : plan->base;
    const size_t piece = up_to(reader, end, length);
    if (!(in_mark ? is_mark(reader, data, piece) : faults_stream_is(data, piece, reader->at))) return false;
    reader->at += (int64_t)piece;
    data += piece;
    length -= piece;
  }
  return read_records(reader, data, length);
}

bool workload_read_until(workload_reader *reader, int fd, int64_t end) {
  static char data[1 << 18];
  while (reader->at < end && !reader->has_ended) {
    const int64_t left = end - reader->at;
    const ssize_t count = pread(fd, data, left < (int64_t)sizeof data ? (size_t)left : sizeof data, reader->at);
    if (count <= 0) {
      fprintf(stderr, "at %lld of %lld: nothing to read\n", (long long)reader->at, (long long)end);
      return false;
    }
    if (!read_piece(reader, data, (size_t)count)) return false;
  }
  return true;
}

bool workload_read(workload_reader *reader, int fd) {
  struct stat status;
  EXPECT(fstat(fd, &status) == 0);
  if (status.st_size < reader->at || status.st_size < reader->plan->base) {
    fprintf(stderr, "the file has shrunk to %lld bytes from %lld\n", (long long)status.st_size, (long long)reader->at);
    return false;
  }
  return workload_read_until(reader, fd, status.st_size);
}
