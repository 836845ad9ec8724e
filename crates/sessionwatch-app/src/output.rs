//! Standard output and standard error. Everything written passes through the credential mask.

pub mod color;
pub mod csv;
pub mod table;

use std::io::{self, BufWriter, IsTerminal as _, Stderr, StdoutLock, Write};

use memchr::memrchr;

use crate::environment;

/// The format of lists and documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// Human-readable text
    Table,
    /// One JSON document
    Json,
    /// One JSON document per line
    Ndjson,
    /// Comma-separated values with a header
    Csv,
    /// Markdown for issues and wikis
    Markdown,
}

/// A writer that masks credentials, line by line. An incomplete line is held back until `flush`.
#[derive(Debug)]
pub struct MaskingWriter<W: Write> {
    inner: W,
    buffer: Vec<u8>,
}

impl<W: Write> MaskingWriter<W> {
    /// Creates a writer that writes masked text to `inner`.
    #[must_use]
    pub const fn new(inner: W) -> Self {
        Self { inner, buffer: Vec::new() }
    }

    fn write_masked(&mut self, bytes: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(bytes);
        match credentials::mask_credentials(&text) {
            std::borrow::Cow::Owned(masked) => self.inner.write_all(masked.as_bytes()),
            // Without a credential the bytes are written unchanged, even if they are not UTF-8.
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
        // A drop cannot report an error. Callers that need one flush first.
        let _ = self.flush();
    }
}

/// Returns the width of a wrapped table in columns: [`terminal_width`], or 100.
#[must_use]
pub fn table_width() -> u16 {
    const DEFAULT_TABLE_WIDTH: u16 = 100;
    terminal_width().unwrap_or(DEFAULT_TABLE_WIDTH)
}

/// Returns `COLUMNS` or the width of the terminal, clamped to 60 to 200 columns; `None` if neither is known.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the size of the terminal, not what is printed there")]
pub fn terminal_width() -> Option<u16> {
    let configured = environment::read_variable("COLUMNS").and_then(|columns| columns.parse().ok());
    let terminal = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| size.ws_col);
    configured.or_else(terminal).filter(|columns| *columns > 0).map(|columns| columns.clamp(60, 200))
}

/// Returns standard output, locked and masked.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn masked_stdout() -> MaskingWriter<BufWriter<StdoutLock<'static>>> {
    MaskingWriter::new(BufWriter::new(io::stdout().lock()))
}

/// Returns standard error, masked.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn masked_stderr() -> MaskingWriter<Stderr> {
    MaskingWriter::new(io::stderr())
}

/// Returns `true` if standard output is a terminal.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn is_stdout_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Returns `true` if standard error is a terminal.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn is_stderr_terminal() -> bool {
    io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_masked_even_when_split_across_writes() {
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
