#include <bw/bw.h>
#include <fcntl.h>
#include <stdio.h>

int main(void) {
  bw_t *bw;
  int code = bw_open(&bw, "readme.log", O_RDWR | O_CREAT | O_TRUNC, 0644, NULL);
  if (code < 0) return 1;
  int64_t at = bw_append(bw, "hello, world\n", 13); /* from any thread; where in the stream it stands */
  code = at < 0 ? (int)at : bw_wait(bw, at + 13, BW_DURABLE, -1); /* now it survives a power cut */
  if (code == 0) code = bw_close(bw);
  printf("13 bytes at position %lld: %s\n", (long long)at, bw_strerror(code));
  bw_free(bw);
  return code != 0;
}
