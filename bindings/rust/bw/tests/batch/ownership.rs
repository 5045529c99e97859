//! Each item is dropped once, or handed out once, whatever becomes of it.

use std::io::{Error, ErrorKind, Result};
use std::sync::mpsc::{Receiver, Sender, channel};

use bw::batch::{Answer, Batch, Builder, Taken, WhenFailed, WhenFull};

use crate::ledger::{Counted, Ledger, ids};

fn accept(_: Batch<'_, Counted>) {}

fn not_ready(_: Batch<'_, Counted>) -> Result<()> {
    Err(ErrorKind::WouldBlock.into())
}

fn broken(_: Batch<'_, Counted>) -> Result<()> {
    Err(ErrorKind::BrokenPipe.into())
}

/// What on_failed was told.
type Failures = Receiver<(Vec<Counted>, Error)>;

fn with_failures(builder: Builder<Counted>) -> (Builder<Counted>, Failures) {
    let (sender, failures) = channel();
    (builder.on_failed(move |items, error| sender.send((items, error)).unwrap()), failures)
}

/// The next failure has these items and this errno.
fn assert_failed(failures: &Failures, expected: &[usize], errno: i32) {
    let (items, error) = failures.try_recv().unwrap();
    assert_eq!((&*ids(&items), error.raw_os_error()), (expected, Some(errno)));
}

#[test]
fn delivered_items_are_dropped_once_settled_and_not_before() {
    let ledger = Ledger::new(5);
    let batcher = Builder::new().max_items(2).build(accept).unwrap();
    for item in ledger.items() {
        batcher.send(item).unwrap();
    }
    assert_eq!(ledger.drops(), [1, 1, 1, 1, 0]);
    batcher.flush().unwrap();
    ledger.assert_all_dropped_once();
}

#[test]
fn delivered_items_are_moved_out() {
    let ledger = Ledger::new(3);
    let (sender, delivered) = channel();
    let batcher =
        Builder::new().max_items(2).on_delivered(move |items| sender.send(items).unwrap()).build(accept).unwrap();
    ledger.items().try_for_each(|item| batcher.send(item)).unwrap();
    batcher.close().unwrap();
    let batches: Vec<Vec<Counted>> = delivered.try_iter().collect();
    assert_eq!(ledger.drops(), [0; 3]);
    assert_eq!(batches.iter().map(|batch| ids(batch)).collect::<Vec<_>>(), [vec![0, 1], vec![2]]);
    drop(batches);
    ledger.assert_all_dropped_once();
}

#[test]
fn refused_items_come_back() {
    let ledger = Ledger::new(4);
    let batcher = Builder::new().max_items(1).when_full(WhenFull::Fail).build(not_ready).unwrap();
    batcher.send(ledger.item(0)).unwrap();
    batcher.send(ledger.item(1)).unwrap();
    let full = [batcher.send(ledger.item(2)).unwrap_err(), batcher.start_send(ledger.item(2)).unwrap_err()];
    for refused in full {
        assert_eq!((refused.item.id, refused.error.kind()), (2, ErrorKind::WouldBlock));
    }
    assert_eq!(ledger.drops(), [0, 0, 2, 0]);
    assert_eq!(batcher.discard().unwrap(), 2);
    batcher.close().unwrap();
    let refused = batcher.send(ledger.item(3)).unwrap_err();
    assert_eq!((refused.item.id, refused.error.raw_os_error()), (3, Some(libc::ESHUTDOWN)));
    assert_eq!(ledger.drops(), [1, 1, 2, 0]);
}

#[test]
fn a_send_gives_the_error_of_the_batch_that_makes_no_room() {
    let ledger = Ledger::new(3);
    let batcher = Builder::new().max_items(1).build(broken).unwrap();
    batcher.send(ledger.item(0)).unwrap();
    batcher.send(ledger.item(1)).unwrap();
    let refused = batcher.send(ledger.item(2)).unwrap_err();
    assert_eq!((refused.item.id, refused.error.kind()), (2, ErrorKind::BrokenPipe));
    assert_eq!(ledger.drops(), [0; 3]);
    drop((refused, batcher));
    ledger.assert_all_dropped_once();
}

#[test]
fn the_newest_is_dropped_by_its_sender() {
    let ledger = Ledger::new(3);
    let builder = Builder::new().max_items(1).when_full(WhenFull::DropNewest);
    let batcher = builder.build(not_ready).unwrap();
    batcher.send(ledger.item(0)).unwrap();
    batcher.send(ledger.item(1)).unwrap();
    let refused = batcher.send(ledger.item(2)).unwrap_err();
    assert_eq!((refused.item.id, refused.error.raw_os_error()), (2, Some(libc::ENOBUFS)));
    assert_eq!(batcher.stats().unwrap().dropped_items, 1);
    drop((refused, batcher));
    ledger.assert_all_dropped_once();
}

#[test]
fn the_oldest_are_dropped_or_told_of() {
    let ledger = Ledger::new(6);
    let (builder, failures) = with_failures(Builder::new().max_items(2).when_full(WhenFull::DropOldest));
    let batcher = builder.build(not_ready).unwrap();
    ledger.items().try_for_each(|item| batcher.send(item)).unwrap();
    assert_failed(&failures, &[0, 1], libc::ENOBUFS);
    assert_eq!(ledger.drops(), [1, 1, 0, 0, 0, 0]);
    drop(batcher);
    assert_failed(&failures, &[2, 3], libc::EAGAIN);
    assert_failed(&failures, &[4, 5], libc::EAGAIN);
    ledger.assert_all_dropped_once();
}

#[test]
fn what_is_given_up_is_told_of_or_dropped() {
    for is_told in [true, false] {
        let ledger = Ledger::new(2);
        let (builder, failures) = with_failures(Builder::new());
        let builder = if is_told { builder } else { Builder::new() };
        let batcher = builder.retries(2).when_failed(WhenFailed::GiveUp).build(broken).unwrap();
        ledger.items().try_for_each(|item| batcher.send(item)).unwrap();
        assert_eq!(batcher.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
        if is_told {
            assert_failed(&failures, &[0, 1], libc::EPIPE);
        }
        ledger.assert_all_dropped_once();
        let stats = batcher.stats().unwrap();
        assert_eq!((stats.failed_items, stats.retries, stats.total_items), (2, 2, 0));
    }
}

#[test]
fn own_codes_reach_on_failed_as_they_are() {
    let (sender, failed) = channel();
    let batcher = Builder::new()
        .when_failed(WhenFailed::GiveUp)
        .on_failed(move |_, error: Error| sender.send(error).unwrap())
        .build(|_: Batch<'_, u8>| Err(bw::Error::WRITE_ZERO.into()))
        .unwrap();
    batcher.send(1).unwrap();
    assert_eq!(batcher.close().unwrap_err().kind(), ErrorKind::WriteZero);
    assert_eq!(failed.recv().unwrap().get_ref().unwrap().downcast_ref(), Some(&bw::Error::WRITE_ZERO));
}

#[test]
fn discarded_items_are_told_of_and_dropped() {
    let ledger = Ledger::new(3);
    let (builder, failures) = with_failures(Builder::new().max_items(2));
    let batcher = builder.build(broken).unwrap();
    ledger.items().try_for_each(|item| batcher.send(item)).unwrap();
    assert_eq!(batcher.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(batcher.error().unwrap().kind(), ErrorKind::BrokenPipe);
    assert_eq!(batcher.discard().unwrap(), 3);
    assert!(batcher.error().is_none());
    assert_failed(&failures, &[0, 1], libc::ECANCELED);
    assert_failed(&failures, &[2], libc::ECANCELED);
    ledger.assert_all_dropped_once();
    batcher.close().unwrap();
}

#[test]
fn what_is_held_is_given_up_by_drop() {
    let ledger = Ledger::new(3);
    let (builder, failures) = with_failures(Builder::new().max_items(2));
    let batcher = builder.build(broken).unwrap();
    ledger.items().try_for_each(|item| batcher.send(item)).unwrap();
    drop(batcher);
    assert_failed(&failures, &[0, 1], libc::EPIPE);
    assert_failed(&failures, &[2], libc::EPIPE);
    ledger.assert_all_dropped_once();
}

#[test]
fn a_poison_item_is_found_by_halving() {
    let ledger = Ledger::new(9);
    let (builder, failures) = with_failures(Builder::new().bisect(true));
    let refuse = Answer::refused(&ErrorKind::InvalidInput.into());
    let judge = move |batch: Batch<'_, Counted>| match batch.iter().any(|item| item.id == 6) {
        true => refuse,
        false => Answer::DELIVERED,
    };
    let batcher = builder.build(judge).unwrap();
    ledger.items().try_for_each(|item| batcher.send(item)).unwrap();
    assert_eq!(batcher.flush().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_failed(&failures, &[6], libc::EINVAL);
    assert!(failures.try_recv().is_err());
    assert_eq!(batcher.stats().unwrap().total_items, 8);
    ledger.assert_all_dropped_once();
}

/// A batcher whose batches of two wait in a queue.
fn taking(builder: Builder<Counted>) -> (bw::batch::Batcher<Counted>, Receiver<Taken<Counted>>) {
    let (sender, taken): (Sender<Taken<Counted>>, _) = channel();
    let sink = move |batch: Batch<'_, Counted>| sender.send(batch.take()).map_err(Error::other);
    (builder.max_items(2).max_in_flight(2).buffers(4).build(sink).unwrap(), taken)
}

#[test]
fn a_batch_in_flight_stays_until_it_is_answered() {
    let ledger = Ledger::new(4);
    let (batcher, taken) = taking(Builder::new());
    ledger.items().try_for_each(|item| batcher.send(item)).unwrap();
    let (first, second) = (taken.recv().unwrap(), taken.recv().unwrap());
    assert_eq!(batcher.stats().unwrap().in_flight_items, 4);
    assert_eq!((ids(second.as_slice().unwrap()), second.serial(), second.first()), (vec![2, 3], 2, 3));
    second.answer(());
    assert_eq!(ledger.drops(), [0, 0, 1, 1]);
    std::thread::spawn(move || first.answer(())).join().unwrap();
    ledger.assert_all_dropped_once();
    batcher.close().unwrap();
}

#[test]
fn an_unanswered_batch_is_canceled() {
    let ledger = Ledger::new(2);
    let (builder, failures) = with_failures(Builder::new().when_failed(WhenFailed::GiveUp));
    let (batcher, taken) = taking(builder);
    ledger.items().try_for_each(|item| batcher.send(item)).unwrap();
    drop(taken.recv().unwrap());
    assert_failed(&failures, &[0, 1], libc::ECANCELED);
    ledger.assert_all_dropped_once();
    assert_eq!(batcher.close().unwrap_err().raw_os_error(), Some(libc::ECANCELED));
}

#[test]
fn a_batch_dropped_inside_write_is_canceled() {
    let ledger = Ledger::new(2);
    let (builder, failures) = with_failures(Builder::new().when_failed(WhenFailed::GiveUp));
    let batcher = builder.build(|batch: Batch<'_, Counted>| drop(batch.take())).unwrap();
    ledger.items().try_for_each(|item| batcher.send(item)).unwrap();
    assert_eq!(batcher.flush().unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    assert_failed(&failures, &[0, 1], libc::ECANCELED);
    ledger.assert_all_dropped_once();
}

#[test]
fn answers_for_single_items_split_a_batch() {
    let ledger = Ledger::new(6);
    let (sender, shown) = channel();
    let (builder, failures) = with_failures(Builder::new());
    let judge = move |batch: Batch<'_, Counted>| {
        sender.send((batch.iter().map(|item| item.id).collect::<Vec<_>>(), batch.as_slice().is_some())).unwrap();
        let answer = |item: &Counted| match (item.id, batch.attempt()) {
            (2, _) => Answer::refused(&ErrorKind::InvalidInput.into()),
            (1 | 4, 1) => Error::from(ErrorKind::ConnectionReset).into(),
            _ => Answer::DELIVERED,
        };
        let answers: Vec<Answer> = batch.iter().map(answer).collect();
        batch.take().answer_each(&answers);
    };
    let batcher = builder.retries(1).build(judge).unwrap();
    ledger.items().try_for_each(|item| batcher.send(item)).unwrap();
    assert_eq!(batcher.flush().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_failed(&failures, &[2], libc::EINVAL);
    drop(batcher);
    assert_eq!(shown.iter().collect::<Vec<_>>(), [(vec![0, 1, 2, 3, 4, 5], true), (vec![1, 4], false)]);
    ledger.assert_all_dropped_once();
}

#[test]
fn items_of_any_alignment_move_through_the_library() {
    #[repr(align(4096))]
    #[derive(Debug)]
    struct Page(Counted);
    #[repr(align(8192))]
    #[derive(Debug)]
    struct TwoPages(Counted);

    fn check<T: Send + 'static>(
        make: impl Fn(Counted) -> T,
        id: impl Fn(&T) -> usize + Send + 'static,
        is_whole: bool,
    ) {
        let ledger = Ledger::new(5);
        let (sender, delivered) = channel();
        let batcher = Builder::new()
            .max_items(3)
            .on_delivered(move |items| sender.send(items).unwrap())
            .build(move |batch: Batch<'_, T>| {
                assert!(batch.iter().all(|item| (&raw const *item).addr() % align_of::<T>() == 0));
                assert_eq!(batch.as_slice().is_some(), is_whole);
                assert_eq!(
                    batch.iter().map(&id).collect::<Vec<_>>(),
                    if batch.serial() == 1 { vec![0, 1, 2] } else { vec![3, 4] }
                );
            })
            .unwrap();
        ledger.items().try_for_each(|item| batcher.send(make(item))).unwrap();
        batcher.close().unwrap();
        let batches: Vec<Vec<T>> = delivered.try_iter().collect();
        assert_eq!((batches.len(), ledger.drops()), (2, vec![0; 5]));
        drop(batches);
        ledger.assert_all_dropped_once();
    }

    check(|item| item, |item| item.id, true);
    check(Page, |page| page.0.id, true);
    check(TwoPages, |pages| pages.0.id, false);
}

#[test]
fn items_without_a_size_are_batched() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPS.fetch_add(1, SeqCst);
        }
    }
    let (sender, lengths) = channel();
    let sink = move |batch: Batch<'_, Nothing>| sender.send((batch.len(), batch.as_slice().unwrap().len())).unwrap();
    let batcher = Builder::new().max_items(3).build(sink).unwrap();
    for _ in 0..7 {
        batcher.send(Nothing).unwrap();
    }
    assert_eq!(DROPS.load(SeqCst), 6);
    drop(batcher);
    assert_eq!(DROPS.load(SeqCst), 7);
    assert_eq!(lengths.iter().collect::<Vec<_>>(), [(3, 3), (3, 3), (1, 1)]);
}

#[test]
fn an_unshared_batcher_does_the_same() {
    let ledger = Ledger::new(5);
    let batcher = Builder::new().max_items(2).build_unshared(accept).unwrap();
    ledger.items().try_for_each(|item| batcher.send(item)).unwrap();
    assert_eq!(ledger.drops(), [1, 1, 1, 1, 0]);
    drop(std::thread::spawn(move || batcher.flush().map(|()| batcher)).join().unwrap());
    ledger.assert_all_dropped_once();
}
