// What a Go program would write to get a file onto the disk: a bufio.Writer, and Sync in the end. Several goroutines
// share it behind a sync.Mutex; one needs none.
//
// Usage: durable PATH THREADS RECORD_BYTES RECORDS_PER_THREAD BUFFER_BYTES
// Prints the nanoseconds from the start of the goroutines until every byte is durable. A file that is there is
// overwritten, not emptied.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(index int) int {
	value, err := strconv.Atoi(os.Args[index])
	check(err)
	return value
}

func writeAlone(writer *bufio.Writer, record []byte, records int) {
	for index := 0; index < records; index++ {
		if _, err := writer.Write(record); err != nil {
			check(err)
		}
	}
}

func writeTogether(writer *bufio.Writer, threads, recordBytes, records int) {
	var mutex sync.Mutex
	var done sync.WaitGroup
	for thread := 0; thread < threads; thread++ {
		done.Add(1)
		go func(thread int) {
			defer done.Done()
			record := bytes.Repeat([]byte{byte('a' + thread%26)}, recordBytes)
			for index := 0; index < records; index++ {
				mutex.Lock()
				_, err := writer.Write(record)
				mutex.Unlock()
				if err != nil {
					check(err)
				}
			}
		}(thread)
	}
	done.Wait()
}

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: durable PATH THREADS RECORD_BYTES RECORDS_PER_THREAD BUFFER_BYTES")
		os.Exit(2)
	}
	threads, recordBytes, records, bufferBytes := number(2), number(3), number(4), number(5)

	file, err := os.OpenFile(os.Args[1], os.O_WRONLY|os.O_CREATE, 0o644)
	check(err)
	defer file.Close()
	writer := bufio.NewWriterSize(file, bufferBytes)

	began := time.Now()
	if threads == 1 {
		writeAlone(writer, bytes.Repeat([]byte{'a'}, recordBytes), records)
	} else {
		writeTogether(writer, threads, recordBytes, records)
	}
	check(writer.Flush())
	check(file.Sync())
	fmt.Println(time.Since(began).Nanoseconds())
}
