package bw_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"bw"
)

// A streamWriter is what bw.Writer and bufio.Writer have in common.
type streamWriter interface {
	io.Writer
	io.ByteWriter
	io.StringWriter
	io.ReaderFrom
	WriteRune(r rune) (int, error)
	Flush() error
	Buffered() int
	Available() int
	AvailableBuffer() []byte
	Size() int
	Reset(w io.Writer)
}

var (
	_ streamWriter = (*bw.Writer)(nil)
	_ streamWriter = (*bufio.Writer)(nil)
)

// A log is an io.Writer that keeps the pieces as they come, and fails as it is told.
type log struct {
	pieces []string
	limit  int // takes so many bytes, then less than it is given
	err    error
}

func (l *log) Write(p []byte) (int, error) {
	n := min(len(p), l.limit)
	l.limit -= n
	l.pieces = append(l.pieces, string(p[:n]))
	if n < len(p) || l.limit == 0 {
		return n, l.err
	}
	return n, nil
}

// The others add one method each; a piece that came by it is marked.
type stringLog struct{ log }

func (l *stringLog) WriteString(s string) (int, error) {
	l.pieces = append(l.pieces, "string "+s)
	return len(s), nil
}

type readerLog struct{ log }

func (l *readerLog) ReadFrom(r io.Reader) (int64, error) {
	p, err := io.ReadAll(r)
	l.pieces = append(l.pieces, "reader "+string(p))
	return int64(len(p)), err
}

// A step does something with a writer, and says what came of it.
type step func(w streamWriter) string

func steps(random *rand.Rand) []step {
	text := func() string { return strings.Repeat(string(rune('a'+random.IntN(26))), random.IntN(40)) }
	all := make([]step, random.IntN(20)+1)
	for i := range all {
		s := text()
		r := rune(random.IntN(0x500))
		all[i] = []step{
			func(w streamWriter) string { return fmt.Sprint(w.Write([]byte(s))) },
			func(w streamWriter) string { return fmt.Sprint(w.WriteString(s)) },
			func(w streamWriter) string { return fmt.Sprint(w.WriteByte('.')) },
			func(w streamWriter) string { return fmt.Sprint(w.WriteRune(r)) },
			func(w streamWriter) string { return fmt.Sprint(w.WriteRune(-1)) },
			func(w streamWriter) string { return fmt.Sprint(w.Flush()) },
			func(w streamWriter) string { return fmt.Sprint(w.ReadFrom(strings.NewReader(s))) },
			func(w streamWriter) string { return fmt.Sprint(w.ReadFrom(iotest.OneByteReader(strings.NewReader(s)))) },
			func(w streamWriter) string { return fmt.Sprint(w.ReadFrom(iotest.DataErrReader(strings.NewReader(s)))) },
			func(w streamWriter) string { return fmt.Sprint(w.ReadFrom(iotest.TimeoutReader(strings.NewReader(s)))) },
			func(w streamWriter) string { return fmt.Sprint(w.Write(append(w.AvailableBuffer(), s...))) },
		}[random.IntN(11)]
	}
	return all
}

// The same steps give the same with bufio: results, pieces, errors, and what is left in the buffer.
func TestWriterDoesAsBufio(t *testing.T) {
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 0))
		size := random.IntN(33)
		limit := 1 << 30
		if random.IntN(2) == 0 {
			limit = random.IntN(200)
		}
		var failure error
		if random.IntN(2) == 0 {
			failure = errors.New("failed")
		}
		makeSink := []func() (io.Writer, *log){
			func() (io.Writer, *log) { l := &log{limit: limit, err: failure}; return l, l },
			func() (io.Writer, *log) { l := &stringLog{log{limit: limit, err: failure}}; return l, &l.log },
			func() (io.Writer, *log) { l := &readerLog{log{limit: limit, err: failure}}; return l, &l.log },
		}[random.IntN(3)]
		if failure == nil && limit < 1<<30 {
			continue // a writer that takes nothing, without an error, keeps both going for ever
		}
		ourSink, ours := makeSink()
		theirSink, theirs := makeSink()
		our, their := streamWriter(bw.NewWriterSize(ourSink, size)), streamWriter(bufio.NewWriterSize(theirSink, size))
		for index, step := range steps(random) {
			got, wanted := step(our), step(their)
			if got != wanted || our.Buffered() != their.Buffered() || our.Available() != their.Available() {
				t.Fatalf("seed %d step %d: %s, buffered %d, available %d, not %s, %d, %d", seed, index,
					got, our.Buffered(), our.Available(), wanted, their.Buffered(), their.Available())
			}
			want(t, "capacity", cap(our.AvailableBuffer()), our.Available())
		}
		if fmt.Sprintf("%q", ours.pieces) != fmt.Sprintf("%q", theirs.pieces) {
			t.Fatalf("seed %d: %q, not %q", seed, ours.pieces, theirs.pieces)
		}
	}
}

func TestWriterWritesAllSizesThroughAllBuffers(t *testing.T) {
	data := []byte(strings.Repeat("0123456789ABCDEFGHIJ", 60))
	for _, size := range []int{1, 2, 3, 16, 17, 31, 32, 33, 500, 1023, 1024, 1025} {
		for _, piece := range []int{1, 2, 3, 15, 16, 17, 499, 500, 501, 1024, 1200} {
			var sink bytes.Buffer
			w := bw.NewWriterSize(&sink, size)
			for rest := data; len(rest) > 0; {
				n, err := w.Write(rest[:min(piece, len(rest))])
				check(t, err)
				rest = rest[n:]
			}
			check(t, w.Flush())
			if !bytes.Equal(sink.Bytes(), data) {
				t.Errorf("pieces of %d through %d bytes: %q", piece, size, sink.Bytes())
			}
		}
	}
}

func TestWriterFillsBeforeItFlushes(t *testing.T) {
	l := &log{limit: 100}
	w := bw.NewWriterSize(l, 4)
	for range 3 {
		_, err := w.WriteString("abc")
		check(t, err)
	}
	want(t, "pieces", fmt.Sprint(l.pieces), "[abca bcab]")
	want(t, "buffered", w.Buffered(), 1)
}

func TestWriterKeepsItsErrorUntilReset(t *testing.T) {
	failure := errors.New("failed")
	w := bw.NewWriterSize(&log{limit: 3, err: failure}, 8)
	_, err := w.WriteString("abcdef")
	check(t, err)
	wantIs(t, w.Flush(), failure)
	want(t, "buffered", w.Buffered(), 3)
	_, err = w.Write([]byte("x"))
	wantIs(t, err, failure)
	_, err = w.WriteString("x")
	wantIs(t, err, failure)
	wantIs(t, w.WriteByte('x'), failure)
	_, err = w.WriteRune('ä')
	wantIs(t, err, failure)
	_, err = w.ReadFrom(strings.NewReader("x"))
	wantIs(t, err, failure)
	wantIs(t, w.Flush(), failure)
	want(t, "buffered", w.Buffered(), 3)
	var sink bytes.Buffer
	w.Reset(&sink)
	want(t, "buffered", w.Buffered(), 0)
	_, err = w.WriteString("xyz")
	check(t, err)
	check(t, w.Flush())
	want(t, "content", sink.String(), "xyz")
}

func TestShortWriteIsAnError(t *testing.T) {
	w := bw.NewWriterSize(&log{limit: 3}, 8)
	_, err := w.WriteString("abcdef")
	check(t, err)
	wantIs(t, w.Flush(), io.ErrShortWrite)
}

func TestWriterOfNothing(t *testing.T) {
	w := bw.NewWriter(nil)
	_, err := w.WriteString("abc")
	check(t, err)
	want(t, "buffered", w.Buffered(), 3)
	wantPanic(t, func() { w.Flush() })
	var sink bytes.Buffer
	w.Reset(&sink)
	_, err = w.WriteString("abc")
	check(t, err)
	check(t, w.Flush())
	want(t, "content", sink.String(), "abc")
}

func wantPanic(t *testing.T, do func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	do()
}

func TestZeroWriterNeedsReset(t *testing.T) {
	var w bw.Writer
	want(t, "size", w.Size(), 0)
	want(t, "available", w.Available(), 0)
	check(t, w.Flush())
	_, err := w.Write(nil)
	check(t, err)
	wantPanic(t, func() { w.Write([]byte("x")) })
	wantPanic(t, func() { w.WriteString("x") })
	wantPanic(t, func() { w.WriteByte('x') })
	var sink bytes.Buffer
	w.Reset(&sink)
	want(t, "size", w.Size(), 4096)
	_, err = w.WriteString("abc")
	check(t, err)
	check(t, w.Flush())
	want(t, "content", sink.String(), "abc")
}

func TestResetToItselfDoesNothing(t *testing.T) {
	var sink bytes.Buffer
	w := bw.NewWriter(&sink)
	_, err := w.WriteString("abc")
	check(t, err)
	w.Reset(w)
	check(t, w.Flush())
	want(t, "content", sink.String(), "abc")
}

func TestWriterSizes(t *testing.T) {
	want(t, "default", bw.NewWriter(nil).Size(), 4096)
	want(t, "size 0", bw.NewWriterSize(nil, 0).Size(), 4096)
	want(t, "size -1", bw.NewWriterSize(nil, -1).Size(), 4096)
	want(t, "size 1", bw.NewWriterSize(nil, 1).Size(), 1)
	want(t, "size 4097", bw.NewWriterSize(nil, 4097).Size(), 4097)
	want(t, "128 MiB", bw.NewWriterSize(nil, 128<<20).Size(), 128<<20)
	wantPanic(t, func() { bw.NewWriterSize(nil, 128<<20+1) })
	inner := bw.NewWriterSize(nil, 100)
	want(t, "large enough", bw.NewWriterSize(inner, 100), inner)
	want(t, "too small", bw.NewWriterSize(inner, 101).Size(), 101)
}

func TestReadFromGivesUpOnAReaderThatGivesNothing(t *testing.T) {
	w := bw.NewWriter(io.Discard)
	w.WriteByte('x') // with something in the buffer io.Discard is not asked
	_, err := w.ReadFrom(emptyReader{})
	wantIs(t, err, io.ErrNoProgress)
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }

func TestWriterWritesEveryRune(t *testing.T) {
	var sink, wanted bytes.Buffer
	w := bw.NewWriterSize(&sink, 3) // smaller than some are
	for r := rune(0); r <= utf8.MaxRune; r += 97 {
		size, err := w.WriteRune(r)
		check(t, err)
		wantedSize, _ := wanted.WriteRune(r)
		want(t, "size", size, wantedSize)
	}
	check(t, w.Flush())
	if !bytes.Equal(sink.Bytes(), wanted.Bytes()) {
		t.Error("other bytes than bytes.Buffer has")
	}
}

// The io.Writer is called from Go: what ends a call of it ends ours, and nothing is lost by that.
func TestPanicAndGoexitInTheSinkPassThrough(t *testing.T) {
	sink := &unwilling{}
	w := bw.NewWriter(sink)
	_, err := w.WriteString("abc")
	check(t, err)
	sink.end = func() { panic("unwilling") }
	wantPanic(t, func() { w.Flush() })
	sink.end = runtime.Goexit
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Flush()
	}()
	<-ended
	sink.end = func() {}
	check(t, w.Flush())
	want(t, "content", sink.String(), "abc")
}

type unwilling struct {
	bytes.Buffer
	end func()
}

func (u *unwilling) Write(p []byte) (int, error) {
	u.end()
	return u.Buffer.Write(p)
}

func TestForgottenWriterWritesNothing(t *testing.T) {
	var sink bytes.Buffer
	var collected atomic.Int32
	for range 100 {
		w := bw.NewWriter(&sink)
		_, err := w.WriteString("abc")
		check(t, err)
		runtime.AddCleanup(w, func(collected *atomic.Int32) { collected.Add(1) }, &collected)
	}
	collect(t, func() bool { return collected.Load() > 90 })
	want(t, "content", sink.String(), "")
}
