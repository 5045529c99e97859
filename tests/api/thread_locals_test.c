/*
 * A program whose thread-local variables do not fit the small stacks of our threads: they get larger ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../support/rig.h"

static __thread volatile char large[1 << 20];

static void touch(void *arg, const bw_event_t *event) {
  atomic_int *calls = arg;
  (void)event;
  for (size_t i = 0; i < sizeof large; i += 4096) large[i] = 1; /* in our thread too */
  atomic_fetch_add(calls, 1);
}

static void test_thread_locals__of_a_megabyte_leave_room_for_callbacks(void **state) {
  atomic_int calls = 0;
  (void)state;
  test_rig *rig =
      RIG(RIG_PLAIN, .capacity = 8, .flags = BW_BACKGROUND, .on_event = touch, .event_arg = (void *)&calls);
  assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_await_at_least(&calls, 1));
  assert_true(test_sink_holds(&rig->sink, "0123456789", 10));
  test_rig_free(rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_thread_locals__of_a_megabyte_leave_room_for_callbacks),
  };
  return cmocka_run_group_tests_name("thread_locals", tests, NULL, NULL);
}
