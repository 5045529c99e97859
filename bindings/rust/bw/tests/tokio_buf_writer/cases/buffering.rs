//! What is buffered, and what goes past the buffer.

use tokio::io::AsyncWriteExt;

use super::*;

/// Writes `data` and says what is in the buffer and what in the sink afterwards.
async fn after(writer: &mut BufWriter<Planned>, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
    assert_eq!(writer.write(data).await.unwrap(), data.len());
    (writer.buffer().to_vec(), writer.get_ref().written().to_vec())
}

async fn small_writes_gather_and_large_ones_pass(sink: Planned) {
    let mut writer = BufWriter::with_capacity(3, sink);
    assert_eq!(after(&mut writer, b"abc").await, (b"".to_vec(), b"abc".to_vec()));
    assert_eq!(after(&mut writer, b"d").await, (b"d".to_vec(), b"abc".to_vec()));
    assert_eq!(after(&mut writer, b"ef").await, (b"def".to_vec(), b"abc".to_vec()));
    assert_eq!(after(&mut writer, b"").await, (b"def".to_vec(), b"abc".to_vec()));
    assert_eq!(after(&mut writer, b"gh").await, (b"gh".to_vec(), b"abcdef".to_vec()));
    assert_eq!(after(&mut writer, b"ij").await, (b"ij".to_vec(), b"abcdefgh".to_vec()));
    assert_eq!(after(&mut writer, b"klmn").await, (b"".to_vec(), b"abcdefghijklmn".to_vec()));
    assert_eq!(after(&mut writer, b"o").await, (b"o".to_vec(), b"abcdefghijklmn".to_vec()));
    writer.flush().await.unwrap();
    assert!(writer.buffer().is_empty());
    assert_eq!(writer.into_inner().written(), b"abcdefghijklmno");
}

#[tokio::test]
async fn small_writes_gather() {
    small_writes_gather_and_large_ones_pass(Planned::new([])).await;
}

#[tokio::test]
async fn small_writes_gather_before_a_sink_that_hesitates() {
    small_writes_gather_and_large_ones_pass(Planned::hesitant()).await;
}

#[tokio::test]
async fn a_sink_that_takes_a_byte_at_a_time_gets_all_in_order() {
    let mut writer = BufWriter::with_capacity(4, Planned::small(1));
    for data in [&b"ab"[..], b"cd", b"e", b"fghij", b"k"] {
        writer.write_all(data).await.unwrap();
    }
    writer.flush().await.unwrap();
    assert_eq!(writer.get_ref().written(), b"abcdefghijk");
}

#[tokio::test]
async fn a_long_write_is_what_the_sink_took_of_it() {
    let mut writer = BufWriter::with_capacity(4, Planned::small(3));
    assert_eq!(writer.write(b"abcdefgh").await.unwrap(), 3);
    assert_eq!(writer.get_ref().asked(), [Asked::Write(8)]);
    assert!(writer.buffer().is_empty());
}

#[tokio::test]
async fn a_flush_goes_through_to_the_sink() {
    let mut writer = BufWriter::new(Planned::new([]));
    writer.write_all(b"ab").await.unwrap();
    assert!(writer.get_ref().asked().is_empty());
    writer.flush().await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(writer.get_ref().asked(), [Asked::Write(2), Asked::Flush, Asked::Flush]);
}

#[tokio::test]
async fn a_shutdown_writes_out_and_is_passed_on_and_does_not_end_the_writer() {
    let mut writer = BufWriter::new(Planned::new([]));
    writer.write_all(b"ab").await.unwrap();
    writer.shutdown().await.unwrap();
    assert_eq!(writer.get_ref().asked(), [Asked::Write(2), Asked::Shutdown]);
    writer.write_all(b"cd").await.unwrap();
    writer.shutdown().await.unwrap();
    assert_eq!(writer.get_ref().written(), b"abcd");
}

#[tokio::test]
async fn the_default_capacity_is_8_kib() {
    let mut writer = BufWriter::new(Planned::new([]));
    writer.write_all(&[1; 8191]).await.unwrap();
    writer.write_all(&[2]).await.unwrap();
    assert_eq!(writer.buffer().len(), 8192);
    writer.write_all(&[3]).await.unwrap();
    assert_eq!(writer.get_ref().asked(), [Asked::Write(8192)]);
    writer.write_all(&[4; 8192]).await.unwrap();
    assert_eq!(writer.get_ref().asked()[1..], [Asked::Write(1), Asked::Write(8192)]);
}

#[tokio::test]
async fn without_capacity_every_byte_passes() {
    let mut writer = BufWriter::with_capacity(0, Planned::new([]));
    writer.write_all(b"a").await.unwrap();
    assert_eq!(writer.get_ref().written(), b"a");
    assert_eq!(write_vectored(&mut writer, &[b"b", b"c"]).await.unwrap(), 1);
    writer.get_mut().vectored = true;
    assert_eq!(write_vectored(&mut writer, &[b"c", b"d"]).await.unwrap(), 2);
    assert_eq!(writer.get_ref().written(), b"abcd");
    assert!(writer.buffer().is_empty());
}

#[tokio::test]
async fn what_is_buffered_is_lost_with_the_writer() {
    let writer = filled(8, b"abc", []);
    let log = writer.get_ref().log.clone();
    assert!(writer.into_inner().written().is_empty());
    assert!(log.lock().unwrap().is_empty());

    let writer = filled(8, b"abc", [Step::Panic("the sink was called")]);
    let log = writer.get_ref().log.clone();
    drop(writer);
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_left_after_an_unfinished_flush_is_lost_too() {
    let mut writer = filled(8, b"abcdef", [Step::Take(2), Step::Pending]);
    assert!(poll_flush(&mut writer).is_pending());
    let log = writer.get_ref().log.clone();
    drop(writer);
    assert_eq!(*log.lock().unwrap(), [Asked::Write(6), Asked::Write(4)]);
}

#[tokio::test]
async fn it_shows_its_sink_and_its_fill() {
    let mut writer = BufWriter::with_capacity(8, vec![7u8]);
    writer.write_all(b"abc").await.unwrap();
    let text = format!("{writer:?}");
    assert!(text.starts_with("BufWriter { writer: [7], buffer: 3/8"), "{text}");
}

#[tokio::test]
async fn the_sink_is_within_reach() {
    let mut writer = filled(8, b"abc", []);
    writer.get_mut().write_all(b"x").await.unwrap();
    Pin::new(&mut writer).get_pin_mut().write_all(b"y").await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(writer.get_ref().written(), b"xyabc");
}

#[tokio::test]
async fn it_may_move_while_bytes_are_buffered() {
    let mut writers: Vec<_> = (0..10u8).map(|index| filled(8, &[index; 3], [])).collect();
    writers.rotate_left(3);
    for (index, mut writer) in writers.into_iter().enumerate() {
        writer.write_all(b"..").await.unwrap();
        writer.flush().await.unwrap();
        let fill = ((index + 3) % 10) as u8;
        assert_eq!(writer.get_ref().written(), [fill, fill, fill, b'.', b'.']);
    }
}
