use std::io;

use super::{Answer, Batch};

/// What takes batches.
///
/// Its calls never overlap, but may come from any thread that uses the batcher, and from one of the library.
/// A closure `FnMut(Batch<'_, T>)` is a sink: it answers `()`, [`io::Result<()>`](io::Result) or [`Answer`].
///
/// # Example
///
/// ```
/// use bw::batch::{Answer, Batch, Builder, Sink};
/// use std::io::{self, Write};
///
/// struct Lines<W>(W);
///
/// impl<W: Write> Sink<u32> for Lines<W> {
///     fn write(&mut self, batch: Batch<'_, u32>) -> Answer {
///         let mut text = String::new();
///         batch.iter().for_each(|number| text += &format!("{number}\n"));
///         self.0.write_all(text.as_bytes()).into()
///     }
///
///     fn flush(&mut self) -> io::Result<()> {
///         self.0.flush()
///     }
/// }
///
/// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
/// let batcher = Builder::new().build(Lines(std::fs::File::create(&path)?))?;
/// batcher.send(1)?;
/// batcher.send(2)?;
/// drop(batcher);
/// assert_eq!(std::fs::read_to_string(&path)?, "1\n2\n");
/// # Ok::<(), io::Error>(())
/// ```
pub trait Sink<T> {
    /// Takes a batch, whole, and answers for it.
    ///
    /// What it answers after [`Batch::take`] is not looked at: then [`Taken`](super::Taken) has the answer.
    fn write(&mut self, batch: Batch<'_, T>) -> Answer;

    /// Passes on what the sink itself has kept back.
    ///
    /// # Errors
    ///
    /// Its own; [`WouldBlock`](io::ErrorKind::WouldBlock): it is not ready, and is asked again as `write` is.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The sink is no longer needed. Called once, whatever it says.
    ///
    /// # Errors
    ///
    /// Its own, which become those of [`Batcher::close`](super::Batcher::close).
    fn close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T, F, A> Sink<T> for F
where
    F: FnMut(Batch<'_, T>) -> A,
    A: Into<Answer>,
{
    fn write(&mut self, batch: Batch<'_, T>) -> Answer {
        self(batch).into()
    }
}

/// Any sink; so that the type of a batcher does not name it.
pub(super) struct AnySink<T>(pub(super) Box<dyn Sink<T> + Send>);

impl<T> Sink<T> for AnySink<T> {
    fn write(&mut self, batch: Batch<'_, T>) -> Answer {
        self.0.write(batch)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn close(&mut self) -> io::Result<()> {
        self.0.close()
    }
}
