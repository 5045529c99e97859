/**
 * @file errors.h
 * The library's own error codes.
 *
 * A failing call returns `-errno`, unchanged, where a system call or a rule of the API is the cause, and one of the
 * codes below where no errno fits. They start at -10000, below anything that the kernel returns, and keep their
 * values for ever.
 */
#ifndef BW_ERRORS_H
#define BW_ERRORS_H

/**
 * Calls @p X once for each of our own codes, as X(name, value, message). One list makes the enum, the names that
 * bw_err_name() gives and the messages that bw_strerror() gives; a binding can make its own table of it.
 */
#define BW_ERROR_MAP(X)                                                \
  X(BW_EWRITEZERO, -10000, "the sink took none of the bytes offered")  \
  X(BW_ESINK, -10001, "the sink threw, or claims more than it was offered")

/** @cond */
#define BW_ERROR_ENUMERATOR(name, value, message) name = value,
/** @endcond */

/** Our own codes. */
enum bw_error_code { BW_ERROR_MAP(BW_ERROR_ENUMERATOR) };
#undef BW_ERROR_ENUMERATOR

/**
 * @var BW_EWRITEZERO
 * The sink's `write` or `writev` returned 0 for more than 0 bytes. Nothing was taken; the bytes are kept.
 */
/**
 * @var BW_ESINK
 * A callback of the sink threw an exception, returned this code or claimed more than it was offered. What it did with
 * the bytes is unknown, so the code is held and the sink is not called again; see convention 6 of bw.h.
 */

#endif
