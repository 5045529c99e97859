//! Writes of several slices: together to a sink that wants that, as far as whole ones fit to one that does not.

use super::*;

fn lengths(slices: &[&[u8]]) -> usize {
    slices.iter().map(|slice| slice.len()).sum()
}

/// What is left of the slices behind their first `count` bytes.
fn rest<'a>(slices: &[&'a [u8]], mut count: usize) -> Vec<&'a [u8]> {
    let mut rest = Vec::new();
    for slice in slices {
        let gone = count.min(slice.len());
        count -= gone;
        if gone < slice.len() || (slice.is_empty() && count == 0) {
            rest.push(&slice[gone..]);
        }
    }
    rest
}

/// Writes until nothing is left, and flushes.
async fn write_all_slices(writer: &mut BufWriter<Planned>, slices: &[&[u8]]) {
    let mut left = slices.to_vec();
    while lengths(&left) > 0 {
        let count = write_vectored(writer, &left).await.unwrap();
        assert!(count > 0);
        left = rest(&left, count);
    }
    assert!(matches!(poll_flush(writer), Poll::Ready(Ok(()))));
}

fn both_kinds(most: usize) -> [Planned; 2] {
    let plan = || (0..100).map(move |_| Step::Take(most));
    [Planned::new(plan()), Planned::vectored(plan())]
}

#[tokio::test]
async fn nothing_is_nothing() {
    for sink in both_kinds(4) {
        let mut writer = BufWriter::new(sink);
        assert_eq!(write_vectored(&mut writer, &[]).await.unwrap(), 0);
        assert_eq!(write_vectored(&mut writer, &[b"", b"", b""]).await.unwrap(), 0);
        assert!(poll_flush(&mut writer).is_ready());
        assert_eq!(writer.get_ref().asked(), [Asked::Flush]);
    }
}

#[tokio::test]
async fn what_fits_is_buffered() {
    for sink in both_kinds(4) {
        let mut writer = BufWriter::new(sink);
        assert_eq!(write_vectored(&mut writer, &[b"one ", b"two ", b"three"]).await.unwrap(), 13);
        assert_eq!(write_vectored(&mut writer, &[b"", b" four"]).await.unwrap(), 5);
        assert_eq!(writer.buffer(), b"one two three four");
        assert!(writer.get_ref().asked().is_empty());
        assert!(poll_flush(&mut writer).is_ready());
        assert_eq!(writer.get_ref().written(), b"one two three four");
    }
}

#[tokio::test]
async fn a_plain_sink_gets_whole_slices_as_far_as_they_fit() {
    let slices: [&[u8]; 3] = [b"one ", b"two ", b"six"];
    let mut writer = BufWriter::with_capacity(8, Planned::small(4));
    assert_eq!(write_vectored(&mut writer, &slices).await.unwrap(), 8);
    assert_eq!(writer.buffer(), b"one two ");
    assert_eq!(write_vectored(&mut writer, &slices[2..]).await.unwrap(), 3);
    assert_eq!(writer.get_ref().written(), b"one two ");
    assert_eq!(writer.buffer(), b"six");
}

#[tokio::test]
async fn a_vectored_sink_gets_the_list_if_it_is_long() {
    let slices: [&[u8]; 3] = [b"one ", b"two ", b"six"];
    let mut writer = BufWriter::with_capacity(8, Planned::vectored([Step::Take(10)]));
    assert_eq!(write_vectored(&mut writer, &slices).await.unwrap(), 10);
    assert_eq!(writer.get_ref().asked(), [Asked::WriteVectored(11)]);
    assert_eq!(write_vectored(&mut writer, &[b"x"]).await.unwrap(), 1);
    assert_eq!(writer.buffer(), b"x");
    assert_eq!(write_vectored(&mut writer, &[b"abcd", b"efg"]).await.unwrap(), 7);
    assert_eq!(writer.buffer(), b"xabcdefg");
    assert_eq!(write_vectored(&mut writer, &[b"h", b"i"]).await.unwrap(), 2);
    assert_eq!(writer.get_ref().asked(), [Asked::WriteVectored(11), Asked::Write(8)]);
    assert_eq!(writer.buffer(), b"hi");
}

#[tokio::test]
async fn odd_slices_all_arrive() {
    let lists: [&[&[u8]]; 3] =
        [&[b"one ", b"", b"two t", b"hr"], &[b"", b"ninebytes", b"end"], &[b"", b"", b"longer than all", b"", b"x"]];
    for slices in lists {
        for capacity in [1, 4, 8] {
            for sink in both_kinds(4) {
                let mut writer = BufWriter::with_capacity(capacity, sink);
                write_all_slices(&mut writer, slices).await;
                assert_eq!(writer.get_ref().written(), slices.concat());
            }
        }
    }
}

#[tokio::test]
async fn a_sink_may_change_its_mind() {
    let mut writer = BufWriter::with_capacity(4, Planned::new([]));
    for vectored in [false, true, true, false] {
        writer.get_mut().vectored = vectored;
        writer.get_ref().log.lock().unwrap().clear();
        let count = write_vectored(&mut writer, &[b"long enough", b"more"]).await.unwrap();
        let asked = if vectored { Asked::WriteVectored(15) } else { Asked::Write(11) };
        assert_eq!(writer.get_ref().asked(), [asked]);
        assert_eq!(count, if vectored { 15 } else { 11 });
    }
}

#[tokio::test]
async fn it_says_that_it_is_vectored_whatever_its_sink_is() {
    for sink in both_kinds(4) {
        assert!(BufWriter::new(sink).is_write_vectored());
    }
}
