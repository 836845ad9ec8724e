//! Standard output and standard error: whatever is written passes through the mask of credentials.

pub mod color;
pub mod csv;
pub mod table;

use std::io::{self, BufWriter, IsTerminal as _, Stderr, StdoutLock, Write};

use memchr::memrchr;

use crate::environment;

/// How output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Table,
    /// One document.
    Json,
    /// One document a line.
    Ndjson,
    /// Comma-separated values, a header first.
    Csv,
    /// For issues and wikis.
    Markdown,
}

/// Masks credentials in what is written, line by line; the end of a line that is not complete waits for `flush`.
#[derive(Debug)]
pub struct MaskingWriter<W: Write> {
    inner: W,
    buffer: Vec<u8>,
}

impl<W: Write> MaskingWriter<W> {
    /// A writer in front of another one.
    #[must_use]
    pub const fn new(inner: W) -> Self {
        Self { inner, buffer: Vec::new() }
    }

    fn write_masked(&mut self, bytes: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(bytes);
        match credentials::mask_credentials(&text) {
            std::borrow::Cow::Owned(masked) => self.inner.write_all(masked.as_bytes()),
            // Bytes that are no text go out as they are.
            std::borrow::Cow::Borrowed(_) => self.inner.write_all(bytes),
        }
    }
}

impl<W: Write> Write for MaskingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if let Some(end) = memrchr(b'\n', &self.buffer) {
            let rest = self.buffer.split_off(end + 1);
            let lines = std::mem::replace(&mut self.buffer, rest);
            self.write_masked(&lines)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.buffer);
        self.write_masked(&held)?;
        self.inner.flush()
    }
}

impl<W: Write> Drop for MaskingWriter<W> {
    fn drop(&mut self) {
        // Whoever needs to know whether it worked flushes.
        let _ = self.flush();
    }
}

/// Columns of a table for people that is wrapped: those of [`terminal_width`], otherwise 100.
#[must_use]
pub fn table_width() -> u16 {
    const DEFAULT_TABLE_WIDTH: u16 = 100;
    terminal_width().unwrap_or(DEFAULT_TABLE_WIDTH)
}

/// Columns of the terminal, or those that `COLUMNS` says, from 60 to 200; `None` if nothing says.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the size of the terminal, not what is printed there")]
pub fn terminal_width() -> Option<u16> {
    let said = environment::read_variable("COLUMNS").and_then(|columns| columns.parse().ok());
    let terminal = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| size.ws_col);
    said.or_else(terminal).filter(|columns| *columns > 0).map(|columns| columns.clamp(60, 200))
}

/// Standard output.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn masked_stdout() -> MaskingWriter<BufWriter<StdoutLock<'static>>> {
    MaskingWriter::new(BufWriter::new(io::stdout().lock()))
}

/// Standard error.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn masked_stderr() -> MaskingWriter<Stderr> {
    MaskingWriter::new(io::stderr())
}

/// Whether standard output is a terminal.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn is_stdout_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error is a terminal.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn is_stderr_terminal() -> bool {
    io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_masked_however_it_is_cut_into_writes() {
        let text = "a\nto postgres://app:hunter2@db/x\nto \u{e9}\npostgres://app:hunter3@db";
        for size in 1..text.len() {
            let mut written = Vec::new();
            let mut masked = MaskingWriter::new(&mut written);
            text.as_bytes().chunks(size).for_each(|chunk| masked.write_all(chunk).unwrap());
            drop(masked);
            let expected = "a\nto postgres://app:***@db/x\nto \u{e9}\npostgres://app:***@db";
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
        let mut written = Vec::new();
        MaskingWriter::new(&mut written).write_all(b"\xff\n\xfe").unwrap();
        assert_eq!(written, b"\xff\n\xfe");
    }
}
