//! tokio's `AsyncWrite`.

use std::future::Future;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};

use bw::Level;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::support::{Gate, Task, empty, small};

/// More than the buffers of a small file.
const LONG: usize = 100_000;

async fn write<W: AsyncWrite + Unpin>(mut writer: W, bytes: &[u8]) {
    for piece in bytes.chunks(1000) {
        writer.write_all(piece).await.unwrap();
    }
    writer.flush().await.unwrap();
}

#[tokio::test]
async fn a_file_is_written_and_shut_down() {
    let (mut file, path) = empty();
    assert!(file.is_write_vectored());
    file.write_all(b"one, ").await.unwrap();
    assert_eq!(file.write_vectored(&[IoSlice::new(b"two"), IoSlice::new(b"!")]).await.unwrap(), 4);
    AsyncWriteExt::flush(&mut file).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"one, two!");
    let other = file.clone();
    file.shutdown().await.unwrap();
    assert_eq!(other.position(Level::Durable).unwrap(), 9);
    assert_eq!(other.append(b"more").unwrap_err().raw_os_error(), Some(libc::ESHUTDOWN));
}

#[tokio::test]
async fn a_lane_hands_on_and_is_shut_down_alone() {
    let (file, path) = empty();
    let mut lane = file.lane().unwrap();
    lane.write_all(b"lane").await.unwrap();
    assert_eq!(file.position(Level::Accepted).unwrap(), 0);
    assert_eq!(lane.write_vectored(&[IoSlice::new(b", "), IoSlice::new(b"more")]).await.unwrap(), 6);
    lane.flush().await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"lane, more");
    std::io::Write::write_all(&mut lane, b".").unwrap();
    lane.shutdown().await.unwrap();
    file.append(b"file").unwrap();
    file.close().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"lane, more.file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_find_no_room_are_woken() {
    let sink = Gate::shut();
    let file = small(&sink);
    let tasks = [1u8, 2].map(|byte| {
        let file = file.clone();
        tokio::spawn(async move { write(file, &[byte; LONG]).await })
    });
    let lane = file.lane().unwrap();
    let lane = tokio::spawn(async move { write(lane, &[3; LONG]).await });
    sink.open();
    for task in tasks {
        task.await.unwrap();
    }
    lane.await.unwrap();
    let taken = sink.taken();
    for byte in [1, 2, 3] {
        assert_eq!(taken.iter().filter(|taken| **taken == byte).count(), LONG);
    }
}

#[test]
fn a_clone_that_is_dropped_while_it_waits_keeps_no_task() {
    let sink = Gate::shut();
    let file = small(&sink);
    let task = Arc::<Task>::default();
    {
        let mut clone = file.clone();
        let waker = Waker::from(task.clone());
        let mut context = Context::from_waker(&waker);
        let mut write = pin!(clone.write_all(&[7; LONG]));
        assert!(write.as_mut().poll(&mut context).is_pending());
        assert!(write.as_mut().poll(&mut context).is_pending());
        assert_eq!(Arc::strong_count(&task), 3);
    }
    assert_eq!(Arc::strong_count(&task), 1);
    sink.open();
    file.flush().unwrap();
    assert_eq!(task.woken(), 0);
}

#[test]
fn a_lane_that_is_dropped_while_it_waits_keeps_no_task() {
    let sink = Gate::shut();
    let file = small(&sink);
    let task = Arc::<Task>::default();
    let mut lane = file.lane().unwrap();
    let waker = Waker::from(task.clone());
    let mut context = Context::from_waker(&waker);
    let mut pending = false;
    for _ in 0..LONG / 1024 {
        pending |= Pin::new(&mut lane).poll_write(&mut context, &[7; 1024]).is_pending();
    }
    assert!(pending);
    drop(waker);
    sink.open();
    drop(lane);
    assert_eq!(Arc::strong_count(&task), 1);
}
