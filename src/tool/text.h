/* Sizes and counts as text, and back. */
#ifndef BW_TOOL_TEXT_H
#define BW_TOOL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Digits, and for a size one letter more: K, M or G, powers of 1024. False: it is no such thing, or too large. */
bool parse_count(const char *text, uint64_t *out);
bool parse_size(const char *text, uint64_t *out);
/* A number above 0, with a fraction if need be. */
bool parse_seconds(const char *text, double *out);

enum { kTextBytes = 32 };
/* "1.07 GB", at most 8 characters; powers of 1000, as disks are sold. Gives `text`. */
const char *bytes_as_text(char text[kTextBytes], double bytes);
/* "12.3 us", "4.56 ms". Gives `text`. */
const char *time_as_text(char text[kTextBytes], uint64_t time_ns);

#endif
