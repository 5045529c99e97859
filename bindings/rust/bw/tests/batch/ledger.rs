//! Items that say whether they are dropped, and how often.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[derive(Clone)]
pub struct Ledger(Arc<Vec<AtomicU32>>);

impl Ledger {
    pub fn new(items: usize) -> Ledger {
        Ledger(Arc::new((0..items).map(|_| AtomicU32::new(0)).collect()))
    }

    pub fn item(&self, id: usize) -> Counted {
        Counted { id, ledger: self.clone() }
    }

    pub fn items(&self) -> impl Iterator<Item = Counted> + '_ {
        (0..self.0.len()).map(|id| self.item(id))
    }

    /// How often each was dropped.
    pub fn drops(&self) -> Vec<u32> {
        self.0.iter().map(|drops| drops.load(Ordering::SeqCst)).collect()
    }

    pub fn assert_all_dropped_once(&self) {
        assert_eq!(self.drops(), vec![1; self.0.len()]);
    }
}

pub struct Counted {
    pub id: usize,
    ledger: Ledger,
}

impl Counted {
    /// Another item of the same ledger.
    pub fn ledger_item(&self, id: usize) -> Counted {
        self.ledger.item(id)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.ledger.0[self.id].fetch_add(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

pub fn ids(items: &[Counted]) -> Vec<usize> {
    items.iter().map(|item| item.id).collect()
}

/// Waits for what another thread does.
pub fn wait_until(mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(60), "this never happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}
