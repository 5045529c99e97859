//! A seek writes out the buffer, then is the inner writer's.

use std::io::{Cursor, ErrorKind, SeekFrom};

use tokio::io::{AsyncSeek, AsyncSeekExt, AsyncWriteExt};

use super::*;

fn start<W: AsyncSeek + Unpin>(writer: &mut W, position: SeekFrom) -> io::Result<()> {
    Pin::new(writer).start_seek(position)
}

fn poll_complete<W: AsyncSeek + Unpin>(writer: &mut W) -> Poll<io::Result<u64>> {
    poll_once(|cx| Pin::new(&mut *writer).poll_complete(cx))
}

#[tokio::test]
async fn bytes_land_where_they_were_meant_to() {
    let mut writer = BufWriter::with_capacity(3, Cursor::new(Vec::new()));
    writer.write_all(b"abcdef").await.unwrap();
    writer.write_all(b"gh").await.unwrap();
    assert_eq!(writer.stream_position().await.unwrap(), 8);
    assert_eq!(writer.get_ref().get_ref(), b"abcdefgh");
    assert_eq!(writer.seek(SeekFrom::Start(2)).await.unwrap(), 2);
    writer.write_all(b"xy").await.unwrap();
    assert_eq!(writer.seek(SeekFrom::End(-1)).await.unwrap(), 7);
    writer.write_all(b"z").await.unwrap();
    writer.rewind().await.unwrap();
    assert_eq!(writer.into_inner().into_inner(), b"abxyefgz");
}

#[tokio::test]
async fn bytes_land_there_in_a_sink_that_hesitates_too() {
    let mut writer = BufWriter::with_capacity(3, Planned::hesitant());
    writer.write_all(b"abcdef").await.unwrap();
    writer.write_all(b"gh").await.unwrap();
    assert_eq!(writer.seek(SeekFrom::Current(0)).await.unwrap(), 8);
    assert_eq!(writer.get_ref().written(), b"abcdefgh");
    assert_eq!(writer.seek(SeekFrom::Start(2)).await.unwrap(), 2);
    writer.write_all(b"xy").await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(writer.into_inner().written(), b"abxyefgh");
}

#[test]
fn a_seek_is_remembered_and_done_in_order() {
    let mut writer = filled(8, b"abc", []);
    start(&mut writer, SeekFrom::Start(7)).unwrap();
    start(&mut writer, SeekFrom::Start(1)).unwrap();
    assert!(writer.get_ref().asked().is_empty());
    assert!(matches!(poll_complete(&mut writer), Poll::Ready(Ok(1))));
    use Asked::*;
    assert_eq!(writer.get_ref().asked(), [Write(3), Complete, StartSeek(SeekFrom::Start(1)), Complete]);
}

#[test]
fn without_a_seek_of_ours_the_sink_is_asked_and_nothing_is_flushed() {
    let mut writer = filled(8, b"abc", []);
    assert!(matches!(poll_complete(&mut writer), Poll::Ready(Ok(0))));
    assert_eq!(writer.get_ref().asked(), [Asked::Complete]);
    assert_eq!(writer.buffer(), b"abc");
}

#[test]
fn a_seek_that_is_done_is_over() {
    let mut writer = filled(8, b"abc", []);
    start(&mut writer, SeekFrom::Start(1)).unwrap();
    assert!(matches!(poll_complete(&mut writer), Poll::Ready(Ok(1))));
    assert!(matches!(poll_write(&mut writer, b"x"), Poll::Ready(Ok(1))));
    assert!(matches!(poll_complete(&mut writer), Poll::Ready(Ok(1))));
    assert_eq!(writer.buffer(), b"x");
}

#[test]
fn a_seek_goes_on_through_each_pending_step() {
    use Asked::*;
    let plan = [Step::Pending, Step::Take(8), Step::Pending, Step::Take(0), Step::Pending];
    let mut writer = filled(8, b"abc", plan);
    start(&mut writer, SeekFrom::Start(1)).unwrap();
    assert!(poll_complete(&mut writer).is_pending()); // in the write
    assert!(poll_complete(&mut writer).is_pending()); // in the seek before
    assert!(poll_complete(&mut writer).is_pending()); // in ours
    assert!(matches!(poll_write(&mut writer, b"x"), Poll::Ready(Ok(1))));
    assert!(matches!(poll_complete(&mut writer), Poll::Ready(Ok(2))));
    let to = StartSeek(SeekFrom::Start(1));
    let asked = [Write(3), Write(3), Complete, Complete, to, Complete, Write(1), Complete];
    assert_eq!(writer.get_ref().asked(), asked);
    assert_eq!(writer.get_ref().written(), b"axc");
}

#[test]
fn a_flush_that_fails_keeps_the_seek() {
    let mut writer = filled(8, b"abc", [Step::Fail(ErrorKind::Other.into())]);
    start(&mut writer, SeekFrom::Start(1)).unwrap();
    assert!(matches!(poll_complete(&mut writer), Poll::Ready(Err(_))));
    assert!(matches!(poll_complete(&mut writer), Poll::Ready(Ok(1))));
}

#[test]
fn a_seek_before_that_fails_keeps_ours() {
    let mut writer = filled(8, b"abc", [Step::Take(8), Step::Fail(ErrorKind::Other.into())]);
    start(&mut writer, SeekFrom::Start(1)).unwrap();
    assert!(matches!(poll_complete(&mut writer), Poll::Ready(Err(_))));
    assert!(matches!(poll_complete(&mut writer), Poll::Ready(Ok(1))));
}

#[test]
fn a_seek_that_fails_is_over() {
    let mut writer = filled(8, b"abc", [Step::Take(8), Step::Take(0), Step::Fail(ErrorKind::Other.into())]);
    start(&mut writer, SeekFrom::Start(1)).unwrap();
    assert!(matches!(poll_complete(&mut writer), Poll::Ready(Err(_))));
    writer.get_mut().log.lock().unwrap().clear();
    assert!(poll_complete(&mut writer).is_ready());
    assert_eq!(writer.get_ref().asked(), [Asked::Complete]);
}

#[test]
fn a_seek_that_is_refused_is_over() {
    let mut writer = filled(8, b"abc", []);
    writer.get_mut().refused_seek = Some(ErrorKind::NotSeekable.into());
    start(&mut writer, SeekFrom::Start(1)).unwrap();
    let answer = poll_complete(&mut writer);
    assert!(matches!(answer, Poll::Ready(Err(error)) if error.kind() == ErrorKind::NotSeekable));
    assert!(matches!(poll_complete(&mut writer), Poll::Ready(Ok(3))));
}
