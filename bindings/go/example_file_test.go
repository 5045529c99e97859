package bw_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"bw"
)

// temporary gives a path for an example.
func temporary() (path string, remove func()) {
	dir, err := os.MkdirTemp("", "bw")
	if err != nil {
		panic(err)
	}
	return filepath.Join(dir, "data"), func() { os.RemoveAll(dir) }
}

// A record that survives a power cut.
func Example() {
	path, remove := temporary()
	defer remove()
	f, err := bw.Open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		fmt.Println(err)
		return
	}
	record := []byte("hello, world\n")
	pos, err := f.Append(record) // from any goroutine
	if err == nil {
		err = f.Wait(context.Background(), pos+int64(len(record)), bw.Durable)
	}
	fmt.Println(pos, err)
	fmt.Println(f.Close())
	// Output:
	// 0 <nil>
	// <nil>
}

// A log for all goroutines: each line whole, on disk half a second later, or at once where that matters.
func Example_slog() {
	path, remove := temporary()
	defer remove()
	f, err := bw.Open(path, os.O_WRONLY|os.O_CREATE, 0o644, bw.WithLinger(500*time.Millisecond))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	f.Seek(0, io.SeekEnd)
	withoutTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	logger := slog.New(slog.NewJSONHandler(f, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	logger.Info("started", "port", 8080)
	logger.Error("on fire", "room", 101)
	f.Sync()

	text, _ := os.ReadFile(path)
	fmt.Print(string(text))
	// Output:
	// {"level":"INFO","msg":"started","port":8080}
	// {"level":"ERROR","msg":"on fire","room":101}
}

// example opens a file that goes with the example.
func example(opts ...bw.Option) (f *bw.File, end func()) {
	path, remove := temporary()
	f, err := bw.Open(path, os.O_RDWR|os.O_CREATE, 0o644, opts...)
	if err != nil {
		panic(err)
	}
	return f, func() {
		f.Close()
		remove()
	}
}

func ExampleOpen() {
	_, err := bw.Open("/no/such/directory/data", os.O_WRONLY|os.O_CREATE, 0o644)
	fmt.Println(errors.Is(err, os.ErrNotExist), err)
	// Output: true open /no/such/directory/data: No such file or directory
}

func ExampleFile_Name() {
	f, end := example()
	defer end()
	fmt.Println(filepath.Base(f.Name()))
	// Output: data
}

func ExampleFile_Write() {
	f, end := example()
	defer end()
	var group sync.WaitGroup
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			f.Write([]byte("a whole line\n"))
		}()
	}
	group.Wait()
	fmt.Println(f.Flush(), f.Position(bw.Written))
	// Output: <nil> 104
}

func ExampleFile_WriteString() {
	f, end := example()
	defer end()
	fmt.Println(f.WriteString("text"))
	// Output: 4 <nil>
}

func ExampleFile_ReadFrom() {
	f, end := example()
	defer end()
	fmt.Println(io.Copy(f, strings.NewReader("all that a reader has")))
	// Output: 21 <nil>
}

func ExampleFile_Append() {
	f, end := example()
	defer end()
	for range 3 {
		fmt.Println(f.Append([]byte("record")))
	}
	// Output:
	// 0 <nil>
	// 6 <nil>
	// 12 <nil>
}

func ExampleFile_Flush() {
	f, end := example()
	defer end()
	f.WriteString("text")
	fmt.Println(f.Flush())
	text, err := os.ReadFile(f.Name())
	fmt.Println(string(text), err)
	// Output:
	// <nil>
	// text <nil>
}

func ExampleFile_Sync() {
	f, end := example()
	defer end()
	f.WriteString("text")
	fmt.Println(f.Sync(), f.Position(bw.Durable))
	// Output: <nil> 4
}

func ExampleFile_Wait() {
	f, end := example()
	defer end()
	pos, _ := f.Append([]byte("record"))
	fmt.Println(f.Wait(context.Background(), pos+6, bw.Durable))

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	fmt.Println(f.Wait(ctx, pos+7, bw.Durable)) // nobody writes that far
	// Output:
	// <nil>
	// context deadline exceeded
}

func ExampleFile_Notify() {
	f, end := example()
	defer end()
	var told []<-chan error
	for range 3 {
		pos, _ := f.Append([]byte("record"))
		told = append(told, f.Notify(pos+6, bw.Durable))
	}
	for _, durable := range told {
		fmt.Println(<-durable)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
}

func ExampleFile_Seek() {
	f, end := example()
	defer end()
	f.WriteString("a log of yesterday\n")
	fmt.Println(f.Seek(0, io.SeekStart))
	fmt.Println(f.Seek(0, io.SeekEnd))
	// Output:
	// 0 <nil>
	// 19 <nil>
}

func ExampleFile_Position() {
	f, end := example()
	defer end()
	f.WriteString("text")
	fmt.Println(f.Position(bw.Accepted), f.Position(bw.Durable))
	f.Sync()
	fmt.Println(f.Position(bw.Accepted), f.Position(bw.Durable))
	// Output:
	// 4 0
	// 4 4
}

func ExampleFile_Stats() {
	f, end := example()
	defer end()
	for range 100 {
		f.WriteString("text")
	}
	f.Close()
	stats := f.Stats()
	fmt.Println(stats.Writes, stats.AcceptedBytes, stats.DurableBytes)
	// Output: 100 400 400
}

// A disk is full. Nothing is lost: make room and Resume, or take the bytes elsewhere.
func ExampleFile_Err() {
	f, _ := bw.Open("/dev/full", os.O_WRONLY, 0)
	f.WriteString("record")
	fmt.Println(errors.Is(f.Flush(), syscall.ENOSPC))
	_, err := f.WriteString("more") // refused, until Resume
	fmt.Println(errors.Is(err, syscall.ENOSPC), errors.Is(f.Err(), syscall.ENOSPC))

	kept, _ := f.Unwritten()
	fmt.Printf("%s\n", kept)
	f.Discard()
	fmt.Println(f.Resume(), f.Err(), f.Close())
	// Output:
	// true
	// true true
	// record
	// <nil> <nil> <nil>
}

func ExampleFile_Resume() {
	f, _ := bw.Open("/dev/full", os.O_WRONLY, 0)
	f.WriteString("record")
	f.Flush()
	fmt.Println(f.Resume())
	fmt.Println(errors.Is(f.Flush(), syscall.ENOSPC)) // it has tried again
	// Output:
	// <nil>
	// true
}

func ExampleFile_Unwritten() {
	f, end := example()
	defer end()
	f.WriteString("record")
	kept, err := f.Unwritten()
	fmt.Printf("%s %v\n", kept, err)
	// Output: record <nil>
}

func ExampleFile_Discard() {
	f, end := example()
	defer end()
	f.WriteString("record")
	fmt.Println(f.Discard())
	fmt.Println(f.Position(bw.Accepted))
	// Output:
	// 6 <nil>
	// 0
}

func ExampleFile_Close() {
	f, end := example()
	defer end()
	f.WriteString("text")
	fmt.Println(f.Close(), f.Position(bw.Durable))
	_, err := f.WriteString("more")
	fmt.Println(errors.Is(err, os.ErrClosed))
	// Output:
	// <nil> 4
	// true
}

// Each goroutine has a lane; none waits for another, and no line is torn.
func ExampleFile_Lane() {
	f, end := example()
	defer end()
	var group sync.WaitGroup
	for range 4 {
		lane, err := f.Lane(bw.WithCapacity(64 << 10))
		if err != nil {
			fmt.Println(err)
			return
		}
		group.Add(1)
		go func() {
			defer group.Done()
			for range 1000 {
				lane.WriteString("a whole line\n")
			}
			lane.Close()
		}()
	}
	group.Wait()
	fmt.Println(f.Sync(), f.Position(bw.Durable))
	// Output: <nil> 52000
}

func ExampleLane() {
	f, end := example()
	defer end()
	lane, _ := f.Lane()
	defer lane.Close()
	lane.Write([]byte("one "))
	lane.WriteString("two ")
	fmt.Println(lane.Append([]byte("three"))) // in the lane's own stream
	fmt.Println(f.Position(bw.Accepted))      // the file knows of nothing yet
	fmt.Println(lane.Flush(), f.Position(bw.Written))
	fmt.Println(lane.Sync(), f.Position(bw.Durable))
	// Output:
	// 8 <nil>
	// 0
	// <nil> 13
	// <nil> 13
}

func ExampleWithEvents() {
	var told []bw.Event // one call at a time
	f, end := example(bw.WithEvents(func(e bw.Event) {
		if e.Kind == bw.EventWritten {
			told = append(told, e)
		}
	}))
	defer end()
	f.WriteString("text")
	f.Close()
	for _, e := range told {
		fmt.Println(e.Position, e.Length)
	}
	// Output: 0 4
}

// What is not said has a default.
func ExampleOption() {
	f, end := example(
		bw.WithCapacity(256<<10),
		bw.WithBuffers(4),
		bw.WithEngine(bw.EnginePwrite),
		bw.WithLinger(100*time.Millisecond),
		bw.WithPreallocate(64<<20),
		bw.WithPressure(90, 40),
		bw.WithPageCache(),
	)
	defer end()
	stats := f.Stats()
	fmt.Println(stats.Buffers, stats.Engine == bw.EnginePwrite, stats.Direct)
	// Output: 4 true false
}

func ExampleError() {
	_, err := bw.Open("/dev/null", os.O_RDONLY, 0)
	var code bw.Error
	var errno syscall.Errno
	fmt.Println(errors.As(err, &code), int(code))
	fmt.Println(errors.As(err, &errno), errno == syscall.EINVAL)
	// Output:
	// true -22
	// true true
}

func ExamplePanicError() {
	f, end := example(bw.WithEvents(func(e bw.Event) {
		if e.Kind == bw.EventDurable {
			panic("on a thread of the library")
		}
	}))
	defer end()
	pos, err := f.Append([]byte("record"))
	<-f.Notify(pos+6, bw.Durable)
	for err == nil {
		_, err = f.WriteString("the next calls")
	}
	var panicked *bw.PanicError
	fmt.Println(errors.As(err, &panicked), panicked.Value)
	// Output: true on a thread of the library
}
