/*
 * Tests of inline writers as text: setups that make a rig, and assertions that read like the rules they check.
 *
 * Bytes are spelled as text: "abc" is three bytes. Sink calls are spelled as a trace, oldest first:
 *   write(3)        the sink was offered 3 bytes and took them    write(3)=1  it took one of them
 *   write(3)=EIO    it failed                                    writev(9/3) 9 bytes in 3 parts
 *   flush seek=12 read(4)=2 sync close                           answers other than 0 (or all) follow an '='
 */
#ifndef BW_TESTS_FIXTURE_H
#define BW_TESTS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

/* Setups: *state becomes a rig without a writer, for shared ones or BW_UNSHARED ones. A test may change what it `has`
 * (all but writev) and its flags before fixture_open(). */
int fixture_setup_shared(void **state);
int fixture_setup_unshared(void **state);
int fixture_teardown(void **state);
#define SHARED_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup_shared, fixture_teardown)
#define UNSHARED_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup_unshared, fixture_teardown)
/* One behaviour that both kinds of inline writers share: two runs, told apart by their names. */
#define INLINE_TEST(test)                                                                  \
  {#test " (unshared)", test, fixture_setup_unshared, fixture_teardown, NULL}, {           \
    #test " (shared)", test, fixture_setup_shared, fixture_teardown, NULL                  \
  }

/* Makes rig->bw; capacity 0 is the default. */
void fixture_open(test_rig *rig, uint64_t capacity);
/* What fixture_open() makes it with: the rig's flags, events recorded. */
bw_options_t fixture_options(test_rig *rig, uint64_t capacity);

/* The unwritten bytes, as bw_unwritten() visits them; its own answer must fit. */
size_t fixture_unwritten(test_rig *rig, char *bytes, size_t room);
const char *fixture_trace(test_rig *rig); /* of the calls since the last check; valid until the next call of this */

int64_t fixture_write(test_rig *rig, const char *text);
int64_t fixture_append(test_rig *rig, const char *text);
int64_t fixture_poll_write(test_rig *rig, const char *text);
int64_t fixture_poll_append(test_rig *rig, const char *text);
/* The texts, "|" between the parts ("ab||c" has an empty one), as an iovec. */
int64_t fixture_writev(test_rig *rig, const char *parts);
int64_t fixture_appendv(test_rig *rig, const char *parts);
int64_t fixture_poll_writev(test_rig *rig, const char *parts);
int64_t fixture_poll_appendv(test_rig *rig, const char *parts);

/* Assertions. */
void fixture_check_sink(test_sink *sink, const char *text, const char *file, int line);
void fixture_check_buffered(test_rig *rig, const char *text, const char *file, int line);
void fixture_check_unwritten(test_rig *rig, const char *text, const char *file, int line);
void fixture_check_trace(test_rig *rig, const char *trace, const char *file, int line);
/* The sink took exactly this text. */
#define assert_sink_has(rig, text) fixture_check_sink(&(rig)->sink, (text), __FILE__, __LINE__)
#define assert_other_has(rig, text) fixture_check_sink(&(rig)->other, (text), __FILE__, __LINE__)
/* Exactly this waits in the buffer: bw_buffered, bw_buffer (BW_UNSHARED) and bw_unwritten agree. */
#define assert_buffer_has(rig, text) fixture_check_buffered((rig), (text), __FILE__, __LINE__)
/* Exactly this is unwritten, wherever it is kept. */
#define assert_unwritten(rig, text) fixture_check_unwritten((rig), (text), __FILE__, __LINE__)
/* Exactly these sink calls were made since the last assert_trace. */
#define assert_trace(rig, trace) fixture_check_trace((rig), (trace), __FILE__, __LINE__)

#endif
