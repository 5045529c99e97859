// What a Go program would write: one bufio.Writer behind a sync.Mutex, a goroutine for each thread.
//
// Usage: peer PATH THREADS RECORD_BYTES RECORDS_PER_THREAD BUFFER_BYTES
// Prints the nanoseconds from the start of the goroutines until every byte is with the target.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
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

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: peer PATH THREADS RECORD_BYTES RECORDS_PER_THREAD BUFFER_BYTES")
		os.Exit(2)
	}
	threads, recordBytes, records, bufferBytes := number(2), number(3), number(4), number(5)
	runtime.GOMAXPROCS(2)

	file, err := os.OpenFile(os.Args[1], os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	check(err)
	defer file.Close()
	writer := bufio.NewWriterSize(file, bufferBytes)
	var mutex sync.Mutex

	start := make(chan struct{})
	var ready, done sync.WaitGroup
	ready.Add(threads)
	done.Add(threads)
	for thread := 0; thread < threads; thread++ {
		go func(thread int) {
			defer done.Done()
			record := bytes.Repeat([]byte{byte('a' + thread%26)}, recordBytes)
			ready.Done()
			<-start
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
	ready.Wait()
	began := time.Now()
	close(start)
	done.Wait()
	check(writer.Flush())
	fmt.Println(time.Since(began).Nanoseconds())
}
