#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* strtoull() would also take blanks and signs. */
static bool parse_digits(const char *text, uint64_t *out, const char **end) {
  if (!isdigit((unsigned char)*text)) return false;
  char *rest;
  errno = 0;
  *out = strtoull(text, &rest, 10);
  *end = rest;
  return errno == 0;
}

bool parse_count(const char *text, uint64_t *out) {
  const char *end;
  return parse_digits(text, out, &end) && *end == '\0';
}

bool parse_size(const char *text, uint64_t *out) {
  static const char kLetters[] = "KMG";
  const char *end;
  if (!parse_digits(text, out, &end)) return false;
  if (*end == '\0') return true;
  const char *letter = strchr(kLetters, toupper((unsigned char)*end));
  if (!letter || end[1] != '\0') return false;
  const int shift = 10 * (int)(letter - kLetters + 1);
  if (*out > UINT64_MAX >> shift) return false;
  *out <<= shift;
  return true;
}

bool parse_seconds(const char *text, double *out) {
  const double kMax = 1e9;
  char *end;
  *out = strtod(text, &end);
  return (isdigit((unsigned char)*text) || *text == '.') && *end == '\0' && *out > 0 && *out <= kMax;
}

const char *bytes_as_text(char text[kTextBytes], double bytes) {
  static const char *const kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  size_t unit = 0;
  /* From 999.5 on, three digits would show 1000. */
  for (; bytes >= 999.5 && unit + 1 < sizeof kUnits / sizeof kUnits[0]; ++unit) bytes /= 1000;
  const int digits = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
  snprintf(text, kTextBytes, "%.*f %s", digits, bytes, kUnits[unit]);
  return text;
}

const char *time_as_text(char text[kTextBytes], uint64_t time_ns) {
  const double microseconds = (double)time_ns / 1e3;
  if (microseconds < 1e3) {
    snprintf(text, kTextBytes, "%.1f us", microseconds);
  } else if (microseconds < 1e6) {
    snprintf(text, kTextBytes, "%.2f ms", microseconds / 1e3);
  } else {
    snprintf(text, kTextBytes, "%.2f s", microseconds / 1e6);
  }
  return text;
}
