package bw_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"bw"
)

func ExampleNewWriter() {
	w := bw.NewWriter(os.Stdout)
	fmt.Fprint(w, "Hello, ")
	fmt.Fprint(w, "world!")
	w.Flush() // do not forget it
	// Output: Hello, world!
}

func ExampleNewWriterSize() {
	w := bw.NewWriterSize(os.Stdout, 64<<10)
	fmt.Fprintln(w, w.Size())
	w.Flush()
	// Output: 65536
}

// The buffer is filled before it is flushed, as bufio does.
func ExampleWriter_Write() {
	w := bw.NewWriterSize(os.Stdout, 4)
	n, err := w.Write([]byte("abcdef"))
	fmt.Println("", n, w.Buffered(), w.Available(), err)
	// Output: abcdef 6 0 4 <nil>
}

func ExampleWriter_WriteString() {
	w := bw.NewWriter(os.Stdout)
	w.WriteString("a string, ")
	w.WriteByte('b')
	w.WriteRune('ü')
	w.Flush()
	// Output: a string, bü
}

func ExampleWriter_AvailableBuffer() {
	w := bw.NewWriter(os.Stdout)
	for i := range int64(4) {
		b := strconv.AppendInt(w.AvailableBuffer(), i, 10)
		w.Write(append(b, ' '))
	}
	w.Flush()
	// Output: 0 1 2 3
}

func ExampleWriter_ReadFrom() {
	var sink bytes.Buffer
	w := bw.NewWriter(struct{ io.Writer }{&sink})
	n, err := w.ReadFrom(strings.NewReader("all that a reader has"))
	fmt.Println(n, w.Buffered(), err)
	// Output: 21 21 <nil>
}

func ExampleWriter_Reset() {
	var w bw.Writer // the zero value
	for range 2 {
		w.Reset(os.Stdout)
		w.WriteString("once more\n")
		w.Flush()
	}
	// Output:
	// once more
	// once more
}
