//! `futures::Sink`: what futures' own buffer does, and what only a batcher has to do.

use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bw::batch::{AsyncBatcher, Batch, BatchSink, Builder, CallbackSink, Taken, WhenFailed, WhenFull};
use futures::executor::block_on;
use futures::{FutureExt, Sink, SinkExt, stream};

use crate::ledger::{Counted, Ledger, ids, wait_until};

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn new() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::<Wakes>::default();
        (wakes.clone(), wakes.into())
    }

    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

fn ready<S: Sink<T> + Unpin, T>(sink: &mut S, cx: &mut Context<'_>) -> Poll<std::result::Result<(), S::Error>> {
    Pin::new(sink).poll_ready(cx)
}

fn start<S: Sink<T> + Unpin, T>(sink: &mut S, item: T) -> std::result::Result<(), S::Error> {
    Pin::new(sink).start_send(item)
}

/// A batcher over a sink that is not ready until it is allowed to be, and what has reached it.
fn gated(builder: Builder<i32>) -> (AsyncBatcher<i32>, Arc<AtomicBool>, Arc<Mutex<Vec<i32>>>) {
    let (is_open, data) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<i32>>>::default());
    let (asks, takes) = (is_open.clone(), data.clone());
    let sink = move |batch: Batch<'_, i32>| {
        if !asks.load(Ordering::SeqCst) {
            return Err(Error::from(ErrorKind::WouldBlock));
        }
        takes.lock().unwrap().extend(batch.iter());
        Ok(())
    };
    (builder.build_async(sink).unwrap(), is_open, data)
}

// ---- The cases of futures' own tests of `buffer` ----

#[test]
fn capacity_0_and_1_are_no_buffer() {
    for capacity in [0, 1] {
        let mut sink = BatchSink::new(capacity);
        block_on(SinkExt::send(&mut sink, 0)).unwrap();
        block_on(SinkExt::send(&mut sink, 1)).unwrap();
        assert_eq!((sink.buffered_count(), sink.into_batches()), (0, vec![vec![0], vec![1]]));

        let mut seen = Vec::new();
        let mut sink = CallbackSink::new(capacity, |batch| seen.push(batch[0]));
        block_on(SinkExt::send(&mut sink, 0)).unwrap();
        block_on(SinkExt::send(&mut sink, 1)).unwrap();
        drop(sink);
        assert_eq!(seen, [0, 1]);
    }
}

#[test]
fn it_fills_up_and_goes_on_when_the_sink_is_ready() {
    let (mut batcher, is_open, data) = gated(Builder::new().max_items(1).buffers(2));
    for item in [0, 1] {
        block_on(poll_fn(|cx| ready(&mut batcher, cx))).unwrap();
        start(&mut batcher, item).unwrap();
    }
    let wake = batcher.wake_handle();
    let (wakes, waker) = Wakes::new();
    let cx = &mut Context::from_waker(&waker);
    let mut send = batcher.send(2);
    assert!(send.poll_unpin(cx).is_pending());
    assert_eq!(wakes.take(), 0);
    is_open.store(true, Ordering::SeqCst);
    wake.wake();
    assert!(wakes.take() > 0);
    assert!(matches!(send.poll_unpin(cx), Poll::Ready(Ok(()))));
    assert_eq!(*data.lock().unwrap(), [0, 1, 2]);
}

// ---- All phases ----

#[test]
fn a_stream_is_sent_and_the_sink_closed() {
    let mut sink = BatchSink::new(3);
    block_on(async {
        sink.send_all(&mut stream::iter((0..7).map(Ok))).await.unwrap();
        sink.feed(7).await.unwrap();
        sink.feed(8).await.unwrap();
        sink.close().await.unwrap();
        assert_eq!(SinkExt::send(&mut sink, 9).await.unwrap_err().raw_os_error(), Some(libc::ESHUTDOWN));
    });
    assert_eq!(sink.into_batches(), [vec![0, 1, 2], vec![3, 4, 5], vec![6], vec![7, 8]]);
}

#[test]
fn a_poll_gives_the_error_once_and_the_next_tries_again() {
    let ledger = Ledger::new(2);
    let mut sink = CallbackSink::new(2, |batch: &Batch<'_, Counted>| match batch.attempt() {
        1 => Err(Error::from(ErrorKind::ConnectionReset)),
        _ => Ok(()),
    });
    block_on(async {
        sink.feed(ledger.item(0)).await.unwrap();
        sink.feed(ledger.item(1)).await.unwrap();
        assert_eq!(SinkExt::flush(&mut sink).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        SinkExt::flush(&mut sink).await.unwrap();
    });
    ledger.assert_all_dropped_once();
}

#[test]
fn a_panic_comes_out_of_the_poll() {
    let mut batcher = Builder::new().build_async(|batch: Batch<'_, u8>| assert!(batch.len() > 1)).unwrap();
    block_on(batcher.feed(1)).unwrap();
    let flush = std::panic::AssertUnwindSafe(|| batcher.flush().now_or_never());
    assert!(std::panic::catch_unwind(flush).is_err());
    let error = block_on(batcher.flush()).unwrap_err();
    assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&bw::Error::SINK));
}

// ---- The item that start_send had no room for ----

/// A batcher with room for two items, and a clone that was told of room for the second, which is then taken.
fn beaten(ledger: &Ledger) -> (AsyncBatcher<Counted>, AsyncBatcher<Counted>, Arc<AtomicBool>, Receiver<usize>) {
    let is_open = Arc::<AtomicBool>::default();
    let (sender, seen) = channel();
    let asks = is_open.clone();
    let sink = move |batch: Batch<'_, Counted>| {
        if !asks.load(Ordering::SeqCst) {
            return Err(Error::from(ErrorKind::WouldBlock));
        }
        batch.iter().try_for_each(|item| sender.send(item.id)).map_err(Error::other)
    };
    let mut first = Builder::new().max_items(1).buffers(2).build_async(sink).unwrap();
    let mut second = first.clone();
    block_on(first.feed(ledger.item(0))).unwrap();
    block_on(poll_fn(|cx| ready(&mut second, cx))).unwrap();
    block_on(first.feed(ledger.item(1))).unwrap();
    start(&mut second, ledger.item(2)).unwrap();
    (first, second, is_open, seen)
}

#[test]
fn an_item_without_room_is_kept_and_goes_first() {
    type PollOf = fn(&mut AsyncBatcher<Counted>, &mut Context<'_>) -> Poll<Result<()>>;
    let polls: [PollOf; 3] = [ready, |sink, cx| sink.poll_flush_unpin(cx), |sink, cx| sink.poll_close_unpin(cx)];
    for (number, poll) in polls.into_iter().enumerate() {
        let ledger = Ledger::new(4);
        let (first, mut second, is_open, seen) = beaten(&ledger);
        assert_eq!(ledger.drops(), [0; 4]);
        assert_eq!(start(&mut second, ledger.item(3)).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(ledger.drops(), [0, 0, 0, 1]);
        let (wakes, waker) = Wakes::new();
        let cx = &mut Context::from_waker(&waker);
        assert!(poll(&mut second, cx).is_pending());
        is_open.store(true, Ordering::SeqCst);
        second.wake_handle().wake();
        assert!(wakes.take() > 0);
        assert!(matches!(poll(&mut second, cx), Poll::Ready(Ok(()))), "poll {number}");
        block_on(second.close()).unwrap();
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
        drop((first, second));
        ledger.assert_all_dropped_once();
    }
}

#[test]
fn a_kept_item_goes_with_its_clone_if_there_is_no_room_or_a_close() {
    let ledger = Ledger::new(3);
    let (first, second, ..) = beaten(&ledger);
    drop(second);
    assert_eq!(ledger.drops(), [0, 0, 1]);
    drop(first);

    let ledger = Ledger::new(3);
    let (mut first, mut second, is_open, _seen) = beaten(&ledger);
    is_open.store(true, Ordering::SeqCst);
    first.wake_handle().wake();
    block_on(first.close()).unwrap();
    assert_eq!(block_on(second.flush()).unwrap_err().raw_os_error(), Some(libc::ESHUTDOWN));
    ledger.assert_all_dropped_once();
    block_on(second.close()).unwrap();
}

// ---- Dropping ----

/// A batcher whose sink takes all batches; the sink holds `alive` until the batcher is freed.
fn taking(builder: Builder<Counted>, alive: &Arc<()>) -> (AsyncBatcher<Counted>, Receiver<Taken<Counted>>) {
    let (sender, taken) = channel();
    let alive = alive.clone();
    let sink = move |batch: Batch<'_, Counted>| {
        assert!(Arc::strong_count(&alive) > 1);
        sender.send(batch.take()).map_err(|_| Error::from(ErrorKind::BrokenPipe))
    };
    (builder.max_items(2).buffers(3).build_async(sink).unwrap(), taken)
}

#[test]
fn drop_seals_and_offers_and_the_last_guard_frees() {
    let (ledger, alive) = (Ledger::new(3), Arc::new(()));
    let (mut batcher, taken) = taking(Builder::new().max_in_flight(2), &alive);
    let clone = batcher.clone();
    ledger.items().for_each(|item| block_on(batcher.feed(item)).unwrap());
    drop(batcher);
    let first = taken.try_recv().unwrap();
    assert!(taken.try_recv().is_err()); // one clone is left, and its batch is not full
    drop(clone);
    let second = taken.try_recv().unwrap();
    assert_eq!((ids(first.as_slice().unwrap()), ids(second.as_slice().unwrap())), (vec![0, 1], vec![2]));
    first.answer(());
    assert_eq!((ledger.drops(), Arc::strong_count(&alive)), (vec![1, 1, 0], 2));
    second.answer(());
    assert_eq!(Arc::strong_count(&alive), 1);
    ledger.assert_all_dropped_once();
}

#[test]
fn what_waits_behind_a_batch_in_flight_is_offered_after_the_answer() {
    let (ledger, alive) = (Ledger::new(4), Arc::new(()));
    let (mut batcher, taken) = taking(Builder::new(), &alive);
    ledger.items().for_each(|item| block_on(batcher.feed(item)).unwrap());
    drop(batcher);
    taken.recv().unwrap().answer(());
    taken.recv().unwrap().answer(());
    wait_until(|| Arc::strong_count(&alive) == 1);
    ledger.assert_all_dropped_once();
}

#[test]
fn an_unanswered_guard_cancels_and_frees() {
    let (ledger, alive, (sender, failed)) = (Ledger::new(2), Arc::new(()), channel());
    let builder = Builder::new()
        .when_failed(WhenFailed::GiveUp)
        .on_failed(move |items: Vec<Counted>, error| sender.send((ids(&items), error.raw_os_error())).unwrap());
    let (mut batcher, taken) = taking(builder, &alive);
    ledger.items().for_each(|item| block_on(batcher.feed(item)).unwrap());
    drop(batcher);
    let guard = taken.try_recv().unwrap();
    std::thread::spawn(move || drop(guard)).join().unwrap();
    wait_until(|| Arc::strong_count(&alive) == 1);
    assert_eq!(failed.iter().collect::<Vec<_>>(), [(vec![0, 1], Some(libc::ECANCELED))]);
    ledger.assert_all_dropped_once();
}

#[test]
fn drop_does_not_wait_for_a_back_off() {
    let (ledger, alive) = (Ledger::new(1), Arc::new(()));
    let (in_sink, mut offers) = (alive.clone(), 0);
    let hour = std::time::Duration::from_secs(3600);
    let sink = move |_: Batch<'_, Counted>| {
        assert_eq!(Arc::strong_count(&in_sink), 2);
        offers += 1;
        if offers == 1 { Err(Error::from(ErrorKind::TimedOut)) } else { Ok(()) }
    };
    let mut batcher = Builder::new().retries(1).backoff(hour).build_async(sink).unwrap();
    block_on(batcher.feed(ledger.item(0))).unwrap();
    let wake = batcher.wake_handle();
    drop(batcher);
    // It is another thread that waits for the hour to end, and there is no handle left to wake it by.
    wake.wake();
    assert_eq!((ledger.drops(), Arc::strong_count(&alive)), (vec![0], 2));
}

#[test]
fn drop_gives_up_what_the_sink_is_not_ready_for() {
    let alive = Arc::new(());
    let (in_sink, (sender, failed)) = (alive.clone(), channel());
    let sink = move |_: Batch<'_, u8>| {
        assert_eq!(Arc::strong_count(&in_sink), 2);
        Err(Error::from(ErrorKind::WouldBlock))
    };
    let on_failed = move |items, error: Error| sender.send((items, error.kind())).unwrap();
    let mut batcher = Builder::new().on_failed(on_failed).build_async(sink).unwrap();
    block_on(batcher.feed(7)).unwrap();
    drop(batcher);
    assert_eq!(failed.recv().unwrap(), (vec![7], ErrorKind::WouldBlock));
    wait_until(|| Arc::strong_count(&alive) == 1);
}

#[test]
fn a_waker_is_taken_back_by_drop() {
    let (mut batcher, is_open, _data) = gated(Builder::new().max_items(1).buffers(1));
    let mut clone = batcher.clone();
    block_on(batcher.feed(1)).unwrap();
    let (wakes, waker) = Wakes::new();
    assert!(ready(&mut clone, &mut Context::from_waker(&waker)).is_pending());
    drop(clone);
    is_open.store(true, Ordering::SeqCst);
    batcher.wake_handle().wake();
    block_on(batcher.flush()).unwrap();
    assert_eq!((wakes.take(), Arc::strong_count(&wakes)), (0, 2)); // this one, and in `waker`
}

#[test]
fn a_task_that_ends_when_it_is_woken_may_drop_the_last_handle() {
    struct Task(Mutex<Option<AsyncBatcher<i32>>>);
    impl std::task::Wake for Task {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    let (mut batcher, is_open, data) = gated(Builder::new().max_items(1).buffers(1));
    let wake = batcher.wake_handle();
    block_on(batcher.feed(1)).unwrap();
    let task = Arc::new(Task(Mutex::new(None)));
    let waker = Waker::from(task.clone());
    assert!(ready(&mut batcher, &mut Context::from_waker(&waker)).is_pending());
    *task.0.lock().unwrap() = Some(batcher);
    is_open.store(true, Ordering::SeqCst);
    wake.wake();
    wait_until(|| *data.lock().unwrap() == [1]);
    assert!(task.0.lock().unwrap().is_none());
}

// ---- Many tasks ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_send_more_than_there_is_room_for() {
    const TASKS: usize = 16;
    const ITEMS: usize = 500;
    let ledger = Ledger::new(TASKS * ITEMS);
    let (sender, mut taken) = tokio::sync::mpsc::unbounded_channel::<Taken<Counted>>();
    let answers = tokio::spawn(async move {
        let mut items = 0;
        while let Some(batch) = taken.recv().await {
            items += batch.len();
            tokio::task::yield_now().await;
            batch.answer(());
        }
        items
    });
    let sink = move |batch: Batch<'_, Counted>| sender.send(batch.take()).map_err(Error::other);
    let builder = Builder::new().max_items(8).buffers(3).max_in_flight(2).when_full(WhenFull::Fail);
    let batcher = builder.build_async(sink).unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (mut batcher, ledger) = (batcher.clone(), ledger.clone());
            tokio::spawn(async move {
                for id in (task * ITEMS)..((task + 1) * ITEMS) {
                    batcher.feed(ledger.item(id)).await.unwrap();
                }
                batcher.flush().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    ledger.assert_all_dropped_once();
    drop(batcher);
    assert_eq!(answers.await.unwrap(), TASKS * ITEMS);
}
