#include "arguments.h"

#include <bw/bw.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "output.h"
#include "text.h"

enum {
  kBlockBytes = 4096,
  kMaxCapacity = 128 << 20,
  kMaxBuffers = 1 << 16,
  kMaxThreads = 4096,
  kMaxRecordBytes = 128 << 20,
};

/* Options without a letter; those of bw bench come last. */
enum {
  kDirect = 1000,
  kBuffered,
  kEngine,
  kJson,
  kHelp,
  kVersion,
  kThreads,
  kRecord,
  kBytes,
  kSeconds,
  kLanes,
  kCommit
};

static const struct option kOptions[] = {{"append", no_argument, NULL, 'a'},
                                         {"sync", no_argument, NULL, 's'},
                                         {"buffer", required_argument, NULL, 'b'},
                                         {"buffers", required_argument, NULL, 'n'},
                                         {"quiet", no_argument, NULL, 'q'},
                                         {"direct", no_argument, NULL, kDirect},
                                         {"buffered", no_argument, NULL, kBuffered},
                                         {"engine", required_argument, NULL, kEngine},
                                         {"json", no_argument, NULL, kJson},
                                         {"help", no_argument, NULL, kHelp},
                                         {"version", no_argument, NULL, kVersion},
                                         {"threads", required_argument, NULL, kThreads},
                                         {"record", required_argument, NULL, kRecord},
                                         {"bytes", required_argument, NULL, kBytes},
                                         {"seconds", required_argument, NULL, kSeconds},
                                         {"lanes", no_argument, NULL, kLanes},
                                         {"commit", no_argument, NULL, kCommit},
                                         {NULL, 0, NULL, 0}};

static const char kUsage[] =
    "usage: bw [OPTION...] OUT         copies standard input to OUT\n"
    "       bw bench [OPTION...] OUT   writes records of its own to OUT, from several threads\n"
    "\n"
    "OUT is a file, or - for standard output.\n"
    "\n"
    "  -a, --append         add to the end, as >> does; else OUT is emptied first\n"
    "  -s, --sync           make OUT durable when the input pauses and at the end\n"
    "  -b, --buffer SIZE    bytes in one buffer, a multiple of 4K up to 128M (default 1M)\n"
    "  -n, --buffers COUNT  how many buffers (default 8)\n"
    "      --direct         past the page cache, where the filesystem allows it (default)\n"
    "      --buffered       through the page cache\n"
    "      --engine NAME    auto (default), uring or pwrite\n"
    "      --json           print the statistics as JSON to standard output\n"
    "  -q, --quiet          no progress, no summary\n"
    "      --help           this text\n"
    "      --version        the version\n"
    "\n"
    "bw bench:\n"
    "      --threads COUNT  how many threads write (default 2)\n"
    "      --record SIZE    bytes in one record, up to 128M (default 128)\n"
    "      --seconds TIME   stop after this time (default 3, if --bytes is not given)\n"
    "      --bytes SIZE     stop after this many bytes\n"
    "      --lanes          each thread has a lane of its own\n"
    "      --commit         each record is made durable before the thread goes on\n"
    "\n"
    "SIZE: a number, and K, M or G for 1024 and its powers.\n";

__attribute__((format(printf, 1, 2))) static int refuse(const char *format, ...) {
  va_list values;
  va_start(values, format);
  fputs("bw: ", stderr);
  vfprintf(stderr, format, values);
  fputs("\nTry 'bw --help'.\n", stderr);
  va_end(values);
  return kExitUsage;
}

/* 0, or the exit status. `least` and `most` are both allowed. */
static int read_number(bool is_size, const char *name, uint64_t least, uint64_t most, uint64_t *out) {
  const bool is_number = is_size ? parse_size(optarg, out) : parse_count(optarg, out);
  if (is_number && *out >= least && *out <= most) return 0;
  return refuse("%s must be from %llu to %llu, not '%s'", name, (unsigned long long)least, (unsigned long long)most,
                optarg);
}

static int read_count(const char *name, uint64_t most, uint32_t *out) {
  uint64_t count = 0;
  const int status = read_number(false, name, 1, most, &count);
  *out = (uint32_t)count;
  return status;
}

static int read_engine(uint32_t *out) {
  static const char *const kNames[] = {"auto", "uring", "pwrite"}; /* in the order of enum bw_engine */
  for (uint32_t engine = BW_ENGINE_AUTO; engine <= BW_ENGINE_PWRITE; ++engine) {
    if (strcmp(optarg, kNames[engine]) == 0) {
      *out = engine;
      return 0;
    }
  }
  return refuse("--engine must be auto, uring or pwrite, not '%s'", optarg);
}

static int read_capacity(uint64_t *out) {
  if (parse_size(optarg, out) && *out > 0 && *out <= kMaxCapacity && *out % kBlockBytes == 0) return 0;
  return refuse("--buffer must be a multiple of 4K up to 128M, not '%s'", optarg);
}

static int read_bench_option(arguments *out, int option) {
  switch (option) {
    case kThreads:
      return read_count("--threads", kMaxThreads, &out->threads);
    case kRecord:
      return read_number(true, "--record", 1, kMaxRecordBytes, &out->record_bytes);
    case kBytes:
      return read_number(true, "--bytes", 1, INT64_MAX, &out->total_bytes);
    case kSeconds:
      return parse_seconds(optarg, &out->seconds) ? 0 : refuse("--seconds must be above 0, not '%s'", optarg);
    case kLanes:
      out->uses_lanes = true;
      return 0;
    default:
      out->commits = true;
      return 0;
  }
}

/* 0, or the exit status. */
static int read_option(arguments *out, int option, const char *long_name) {
  if (option >= kThreads && !out->is_bench) return refuse("--%s is for bw bench", long_name);
  if (option >= kThreads) return read_bench_option(out, option);
  switch (option) {
    case 'a':
      out->appends = true;
      return 0;
    case 's':
      out->syncs = true;
      return 0;
    case 'b':
      return read_capacity(&out->capacity);
    case 'n':
      return read_count("--buffers", kMaxBuffers, &out->buffers);
    case 'q':
      out->is_quiet = true;
      return 0;
    case kDirect:
      out->is_direct = true;
      return 0;
    case kBuffered:
      out->is_buffered = true;
      return 0;
    case kEngine:
      return read_engine(&out->engine);
    case kJson:
      out->wants_json = true;
      return 0;
    default: /* getopt_long() has said what is wrong */
      fputs("Try 'bw --help'.\n", stderr);
      return kExitUsage;
  }
}

/* Options that do not go together. */
static int check(const arguments *self) {
  if (self->is_direct && self->is_buffered) return refuse("--direct and --buffered exclude each other");
  if (self->is_direct && self->appends) return refuse("--append goes through the page cache, never --direct");
  if (self->wants_json && strcmp(self->path, "-") == 0) return refuse("--json and OUT both want standard output");
  return 0;
}

bool parse_arguments(arguments *out, int argc, char **argv, int *status) {
  static char name[] = "bw"; /* getopt_long() names the program by argv[0] */
  *out = (arguments){.capacity = 1 << 20, .buffers = 8, .threads = 2, .record_bytes = 128};
  if (argc > 1 && strcmp(argv[1], "bench") == 0) {
    out->is_bench = true;
    --argc;
    ++argv;
  }
  if (argc > 0) argv[0] = name;
  *status = 0;
  int index = 0; /* in kOptions, of a long option */
  for (int option; *status == 0 && (option = getopt_long(argc, argv, "asb:n:q", kOptions, &index)) != -1;) {
    if (option == kHelp || option == kVersion) {
      printf(option == kHelp ? "%s" : "bw %s\n", option == kHelp ? kUsage : bw_version_string());
      *status = flush_stdout() ? kExitOk : kExitFailed;
      return false;
    }
    *status = read_option(out, option, kOptions[index].name);
  }
  if (*status == 0 && optind == argc) *status = refuse("OUT is missing");
  if (*status == 0 && optind + 1 < argc) *status = refuse("more than one OUT: '%s'", argv[optind + 1]);
  if (*status != 0) return false;
  out->path = argv[optind];
  if (out->total_bytes == 0 && out->seconds <= 0) out->seconds = 3;
  *status = check(out);
  return *status == 0;
}
