//! Sinks that are not ready: who is woken, what a cancelled poll leaves, and writers that move between tasks.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn hesitate() -> [Step; 1] {
    [Step::Pending]
}

#[test]
fn the_task_that_polls_is_the_one_that_is_woken() {
    let mut writer = filled(4, b"abc", [Step::Pending, Step::Pending]);
    for _ in 0..2 {
        let mut task = spawn(());
        assert!(task.enter(|cx, _| Pin::new(&mut writer).poll_flush(cx)).is_pending());
        assert!(task.is_woken());
        let waker = writer.get_mut().waker.take().unwrap();
        task.enter(|cx, _| assert!(waker.will_wake(cx.waker())));
    }
    assert!(poll_flush(&mut writer).is_ready());
    assert!(writer.get_ref().waker.is_none());
}

#[test]
fn the_sink_of_each_kind_of_poll_sees_the_task_itself() {
    type Poller = fn(Pin<&mut BufWriter<Planned>>, &mut Context<'_>) -> bool;
    let pollers: [Poller; 4] = [
        |writer, cx| writer.poll_write(cx, b"def").is_pending(),
        |writer, cx| writer.poll_write(cx, b"defg").is_pending(),
        |writer, cx| writer.poll_write_vectored(cx, &[IoSlice::new(b"de"), IoSlice::new(b"f")]).is_pending(),
        |writer, cx| writer.poll_shutdown(cx).is_pending(),
    ];
    for poller in pollers {
        for vectored in [false, true] {
            let mut writer = filled(4, b"abc", hesitate());
            writer.get_mut().vectored = vectored;
            let mut task = spawn(());
            assert!(task.enter(|cx, _| poller(Pin::new(&mut writer), cx)));
            assert!(task.is_woken());
            assert_eq!(writer.get_ref().written(), b"");
        }
    }
}

#[test]
fn a_cancelled_write_took_nothing() {
    let mut writer = filled(4, b"abc", hesitate());
    {
        let mut write = spawn(writer.write(b"never"));
        assert!(write.poll().is_pending());
    }
    assert_eq!(writer.buffer(), b"abc");
    assert!(matches!(poll_write(&mut writer, b"de"), Poll::Ready(Ok(2))));
    assert!(poll_flush(&mut writer).is_ready());
    assert_eq!(writer.get_ref().written(), b"abcde");
}

#[test]
fn a_cancelled_flush_goes_on_where_it_was() {
    let mut writer = filled(8, b"abcdef", [Step::Take(2), Step::Pending, Step::Take(1), Step::Pending]);
    for _ in 0..2 {
        let mut flush = spawn(writer.flush());
        assert!(flush.poll().is_pending());
    }
    assert!(poll_flush(&mut writer).is_ready());
    use Asked::*;
    assert_eq!(writer.get_ref().asked(), [Write(6), Write(4), Write(4), Write(3), Write(3), Flush]);
    assert_eq!(writer.get_ref().written(), b"abcdef");
}

#[test]
fn a_cancelled_long_write_took_nothing() {
    let mut writer = BufWriter::with_capacity(4, Planned::new(hesitate()));
    assert!(poll_write(&mut writer, b"abcdef").is_pending());
    assert!(matches!(poll_write(&mut writer, b"xy"), Poll::Ready(Ok(2))));
    assert!(poll_flush(&mut writer).is_ready());
    assert_eq!(writer.get_ref().written(), b"xy");
}

#[test]
fn a_pending_flush_of_the_sink_is_polled_again() {
    let mut writer = filled(4, b"abc", [Step::Take(4), Step::Pending, Step::Pending]);
    assert!(poll_flush(&mut writer).is_pending());
    assert!(writer.buffer().is_empty());
    assert!(poll_flush(&mut writer).is_pending());
    assert!(poll_flush(&mut writer).is_ready());
    use Asked::*;
    assert_eq!(writer.get_ref().asked(), [Write(3), Flush, Flush, Flush]);
}

/// The reader is slower than the writer, and the writer is handed from task to task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_moves_between_tasks_and_threads() {
    let (sink, mut source) = tokio::io::duplex(7);
    let mut writer = BufWriter::with_capacity(16, sink);
    let reader = tokio::spawn(async move {
        let mut all = Vec::new();
        source.read_to_end(&mut all).await.unwrap();
        all
    });
    let mut expected = Vec::new();
    for turn in 0..200u8 {
        let data = vec![turn; usize::from(turn) % 40];
        expected.extend_from_slice(&data);
        writer = tokio::spawn(async move {
            writer.write_all(&data).await.unwrap();
            if turn % 16 == 0 {
                writer.flush().await.unwrap();
            }
            writer
        })
        .await
        .unwrap();
    }
    writer.shutdown().await.unwrap();
    drop(writer);
    assert_eq!(reader.await.unwrap(), expected);
}

/// Two tasks poll the same writer in turn, as the halves of a split one may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_halves_of_a_split_one_work() {
    let (near, far) = tokio::io::duplex(5);
    let (mut source, mut sink) = tokio::io::split(BufWriter::with_capacity(8, near));
    let echo = tokio::spawn(async move {
        let (mut from, mut to) = tokio::io::split(far);
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let message: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let sent = message.clone();
    let send = tokio::spawn(async move {
        for part in sent.chunks(3) {
            sink.write_all(part).await.unwrap();
        }
        sink.shutdown().await.unwrap();
    });
    let mut received = vec![0; message.len()];
    source.read_exact(&mut received).await.unwrap();
    assert_eq!(received, message);
    send.await.unwrap();
    echo.await.unwrap();
}
