//! Reads go to the inner writer and leave the buffer alone.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn a_read_passes_the_buffer() {
    let mut stream = BufWriter::new(Planned::with_content(b"question\nanswer"));
    stream.write_all(b"!").await.unwrap();
    let mut room = [0; 4];
    stream.read_exact(&mut room).await.unwrap();
    assert_eq!(&room, b"ques");
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert_eq!(line, "tion\n");
    assert_eq!(stream.fill_buf().await.unwrap(), b"answer");
    stream.consume(3);
    assert_eq!(stream.fill_buf().await.unwrap(), b"wer");
    assert_eq!(stream.buffer(), b"!");
    assert!(stream.get_ref().asked().is_empty());
}

#[tokio::test]
async fn buffered_bytes_land_where_the_sink_then_stands() {
    let mut stream = BufWriter::new(Planned::with_content(b"abcdef"));
    stream.write_all(b"..").await.unwrap();
    let mut room = [0; 3];
    stream.read_exact(&mut room).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(stream.get_ref().written(), b"abc..f");
}
