//! Futures of appends and positions.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bw::Level;
use futures::executor::block_on;

use super::support::{Gate, Task, empty, small};

fn poll<F: Future>(future: Pin<&mut F>, task: &Arc<Task>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(task.clone())))
}

/// Appends until nothing fits, and says where the end is.
fn fill(file: &bw::File) -> u64 {
    let mut end = 0;
    loop {
        match poll(pin!(file.append_async(&[7; 1024])), &Arc::default()) {
            Poll::Ready(at) => end = at.unwrap() + 1024,
            Poll::Pending => return end,
        }
    }
}

#[test]
fn an_append_that_finds_room_is_ready_at_once() {
    let (file, _path) = empty();
    let task = Arc::<Task>::default();
    assert!(matches!(poll(pin!(file.append_async(b"text")), &task), Poll::Ready(Ok(0))));
    assert!(matches!(poll(pin!(file.append_async(b"text")), &task), Poll::Ready(Ok(4))));
    assert_eq!((task.woken(), Arc::strong_count(&task)), (0, 1));
}

#[test]
fn an_append_waits_for_room_and_is_woken() {
    let sink = Gate::shut();
    let file = small(&sink);
    let end = fill(&file);
    std::thread::scope(|scope| {
        let append = scope.spawn(|| block_on(file.append_async(b"text")));
        sink.open();
        assert_eq!(append.join().unwrap().unwrap(), end);
    });
    file.flush().unwrap();
    assert_eq!(sink.taken()[end as usize..], *b"text");
}

#[test]
fn an_append_that_is_dropped_has_accepted_nothing_and_keeps_no_task() {
    let sink = Gate::shut();
    let file = small(&sink);
    let end = fill(&file);
    let (task, other) = (Arc::<Task>::default(), Arc::<Task>::default());
    {
        let mut append = pin!(file.append_async(&[7; 1024]));
        assert!(poll(append.as_mut(), &task).is_pending());
        assert!(poll(append.as_mut(), &task).is_pending());
        assert_eq!(Arc::strong_count(&task), 2);
        assert!(poll(append.as_mut(), &other).is_pending());
        assert_eq!((Arc::strong_count(&task), Arc::strong_count(&other)), (1, 2));
    }
    assert_eq!(Arc::strong_count(&other), 1);
    sink.open();
    file.flush().unwrap();
    assert_eq!((task.woken(), other.woken()), (0, 0));
    assert_eq!(file.position(Level::Accepted).unwrap(), end);
}

#[test]
fn an_append_that_can_never_fit_is_refused() {
    let file = small(&Gate::default());
    let error = block_on(file.append_async(&[7; 8193])).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
}

#[test]
fn a_position_is_durable_when_its_future_says_so() {
    let (file, _path) = empty();
    let end = file.append(b"text").unwrap() + 4;
    block_on(file.durable(end)).unwrap();
    assert_eq!(file.position(Level::Durable).unwrap(), end);
    // At once, for what is durable already.
    let task = Arc::<Task>::default();
    assert!(matches!(poll(pin!(file.durable(end)), &task), Poll::Ready(Ok(()))));
    assert!(matches!(poll(pin!(file.durable(0)), &task), Poll::Ready(Ok(()))));
}

#[test]
fn a_future_of_what_is_written_asks_for_the_flush() {
    let (file, path) = empty();
    let end = file.append(b"text").unwrap() + 4;
    block_on(file.written(end)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"text");
}

/// One that has no thread: whoever asks writes.
fn inline(sink: &Gate) -> bw::File {
    let file = bw::File::open("/dev/null").unwrap();
    file.set_sink(sink.clone()).unwrap();
    file
}

#[test]
fn a_future_of_what_is_written_flushes_when_the_sink_is_ready() {
    let sink = Gate::default();
    sink.set(|state| state.errno = Some(libc::EAGAIN));
    let file = inline(&sink);
    let mut written = file.written(file.append(b"text").unwrap() + 4);
    let task = Arc::<Task>::default();
    assert!(poll(Pin::new(&mut written), &task).is_pending());
    sink.set(|state| state.errno = None);
    file.wake().unwrap();
    assert!(task.woken() > 0);
    block_on(written).unwrap();
    assert_eq!(sink.taken(), b"text");
}

#[test]
fn a_future_of_what_is_written_flushes_when_a_span_is_committed() {
    let sink = Gate::default();
    let file = inline(&sink);
    let span = file.reserve(4).unwrap();
    let mut written = file.written(file.append(b"text").unwrap() + 4);
    let task = Arc::<Task>::default();
    assert!(poll(Pin::new(&mut written), &task).is_pending());
    span.commit().unwrap();
    assert!(task.woken() > 0);
    block_on(written).unwrap();
    assert_eq!(sink.taken().len(), 8);
}

#[test]
fn a_future_moves_to_another_task() {
    let sink = Gate::shut();
    let file = small(&sink);
    let end = file.append(b"text").unwrap() + 4;
    let (task, other) = (Arc::<Task>::default(), Arc::<Task>::default());
    let mut written = file.written(end);
    assert!(poll(Pin::new(&mut written), &task).is_pending());
    assert!(poll(Pin::new(&mut written), &other).is_pending());
    assert_eq!(Arc::strong_count(&task), 1);
    assert!(Arc::strong_count(&other) > 1);
    sink.open();
    block_on(written).unwrap();
    assert_eq!(task.woken(), 0);
}

#[test]
fn a_future_that_is_dropped_keeps_no_task() {
    let sink = Gate::shut();
    let file = small(&sink);
    let end = file.append(b"text").unwrap() + 4;
    let task = Arc::<Task>::default();
    for mut future in [file.written(end), file.durable(end), file.durable(u64::MAX)] {
        assert!(poll(Pin::new(&mut future), &task).is_pending());
        assert!(Arc::strong_count(&task) > 1);
        drop(future);
        assert_eq!(Arc::strong_count(&task), 1);
    }
    sink.open();
    file.sync().unwrap();
    assert_eq!(task.woken(), 0);
}

#[test]
fn a_future_hears_of_errors() {
    let sink = Gate::default();
    let file = small(&sink);
    let end = file.append(b"text").unwrap() + 4;
    sink.set(|state| state.errno = Some(libc::ENOSPC));
    for _ in 0..2 {
        assert_eq!(block_on(file.durable(end)).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(block_on(file.written(end)).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    }
    sink.set(|state| state.errno = None);
    file.resume().unwrap();
    let beyond = file.durable(end + 1);
    block_on(file.durable(end)).unwrap();
    file.close().unwrap();
    assert_eq!(block_on(beyond).unwrap_err().raw_os_error(), Some(libc::ESHUTDOWN));
    block_on(file.durable(end)).unwrap();
}

#[test]
fn a_future_is_answered_when_the_end_moves_below_it() {
    let sink = Gate::shut();
    let file = small(&sink);
    file.append(b"text").unwrap();
    let mut beyond = file.durable(100);
    assert!(poll(Pin::new(&mut beyond), &Arc::default()).is_pending());
    sink.set(|state| (state.errno, state.is_shut) = (Some(libc::EIO), false));
    file.flush().unwrap_err();
    let code = block_on(beyond).unwrap_err().raw_os_error();
    assert_eq!(code, Some(libc::EIO));
}

#[test]
fn a_panic_of_a_waker_is_the_next_calls() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("in the waker");
        }
    }
    let sink = Gate::shut();
    let file = small(&sink);
    let end = file.append(b"text").unwrap() + 4;
    let mut durable = file.durable(end);
    let waker = Waker::from(Arc::new(Panics));
    assert!(Pin::new(&mut durable).poll(&mut Context::from_waker(&waker)).is_pending());
    sink.open();
    let until_panic = std::panic::AssertUnwindSafe(|| {
        loop {
            file.append(b"").unwrap();
            std::thread::yield_now(); // the waker is called on another thread, in a while
        }
    });
    let thrown = std::panic::catch_unwind(until_panic).unwrap_err();
    assert_eq!(*thrown.downcast::<&str>().unwrap(), "in the waker");
    block_on(durable).unwrap();
}

#[test]
fn many_threads_append_and_await_while_others_give_up() {
    const THREADS: usize = 4;
    const RECORDS: usize = 300;
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let file = bw::File::options().capacity(4096).buffers(2).open(&path).unwrap();
    let tasks: [Arc<Task>; THREADS] = Default::default();
    std::thread::scope(|scope| {
        for task in &tasks {
            scope.spawn(|| {
                for number in 0..RECORDS {
                    let at = block_on(file.append_async(&[7; 512])).unwrap();
                    let mut durable = file.durable(at + 512);
                    let _ = poll(Pin::new(&mut durable), task);
                    let given_up = poll(pin!(file.append_async(&[0; 8192])), task);
                    if let Poll::Ready(at) = given_up {
                        at.unwrap();
                    }
                    if number % 3 == 0 {
                        block_on(durable).unwrap();
                    }
                }
            });
        }
    });
    for task in &tasks {
        // The last wake() of one may still be under way on the library's thread.
        while Arc::strong_count(task) > 1 {
            std::thread::yield_now();
        }
    }
    file.close().unwrap();
    let written = std::fs::read(&path).unwrap();
    assert_eq!(written.iter().filter(|byte| **byte == 7).count(), THREADS * RECORDS * 512);
}
