/*
 * A file to be swept, on a disk, in a directory of its own. The directory goes when the program ends, however it ends:
 * a process that waits for that removes it.
 */
#ifndef BW_TESTS_SWEEP_SCRATCH_H
#define BW_TESTS_SWEEP_SCRATCH_H

/* Makes the directory, and gives the path of the file, which is not made. Once, while there is one thread. NULL: there
 * is no such place. */
const char *scratch_begin(void);
/* Removes both. */
void scratch_end(void);

#endif
