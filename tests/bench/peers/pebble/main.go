// The bar for commits by callback: Pebble's commit pipeline, which goroutines make cheap to wait for.
//
// Usage: pebble_peer DIRECTORY GOROUTINES RECORD_BYTES MILLISECONDS
// Each goroutine commits records of that size with pebble.Sync, one after the other, for that long. Prints
// nanoseconds from the start until all have ended, commits, and p50, p99, p99.9 and maximum of one commit in ns.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Room for everything a run commits: what a memtable's flush costs is not asked here.
const memTableBytes = 512 << 20

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

type quiet struct{}

func (quiet) Infof(string, ...interface{}) {}
func (quiet) Errorf(format string, values ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
}
func (quiet) Fatalf(format string, values ...interface{}) { check(fmt.Errorf(format, values...)) }

// Commits until the time is up; how long each commit took.
func commitUntil(db *pebble.DB, goroutine, recordBytes int, deadline time.Time) []uint32 {
	durations := make([]uint32, 0, 1<<16)
	record := bytes.Repeat([]byte{byte('a' + goroutine%26)}, recordBytes)
	key := make([]byte, 8)
	for last := time.Now(); last.Before(deadline); {
		binary.LittleEndian.PutUint32(key, uint32(goroutine))
		binary.LittleEndian.PutUint32(key[4:], uint32(len(durations)))
		check(db.Set(key, record, pebble.Sync))
		now := time.Now()
		durations = append(durations, uint32(min(now.Sub(last), math.MaxUint32)))
		last = now
	}
	return durations
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: pebble_peer DIRECTORY GOROUTINES RECORD_BYTES MILLISECONDS")
		os.Exit(2)
	}
	goroutines, recordBytes := number(2), number(3)
	db, err := pebble.Open(os.Args[1], &pebble.Options{MemTableSize: memTableBytes, Logger: quiet{}})
	check(err)

	each := make([][]uint32, goroutines)
	var done sync.WaitGroup
	began := time.Now()
	deadline := began.Add(time.Duration(number(4)) * time.Millisecond)
	for index := range each {
		done.Add(1)
		go func() {
			defer done.Done()
			each[index] = commitUntil(db, index, recordBytes, deadline)
		}()
	}
	done.Wait()
	wall := time.Since(began)
	check(db.Close())

	all := slices.Concat(each...)
	slices.Sort(all)
	at := func(share float64) uint32 { return all[min(len(all)-1, int(share*float64(len(all))))] }
	fmt.Println(wall.Nanoseconds(), len(all), at(0.5), at(0.99), at(0.999), all[len(all)-1])
}
