//! Comma-separated values.

use crate::sanitize::sanitize_text;

/// Renders one line of CSV. A field that a spreadsheet would run as a formula gets a leading apostrophe.
#[must_use]
pub fn render_csv_line(fields: &[&str]) -> String {
    let mut writer = csv::Writer::from_writer(vec![]);
    let fields = fields.iter().map(|text| {
        let text = sanitize_text(text);
        if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
    });
    // Writing to memory cannot fail.
    let _ = writer.write_record(fields.collect::<Vec<_>>());
    let written = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&written).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_formulas_are_disarmed() {
        assert_eq!(render_csv_line(&["a", "", "b,c", "d\"e"]), "a,,\"b,c\",\"d\"\"e\"\n");
        assert_eq!(render_csv_line(&["=1+1", "-2", "@x", "+y"]), "'=1+1,'-2,'@x,'+y\n");
        assert_eq!(render_csv_line(&["a\nb\u{1b}"]), "a\u{fffd}b\u{fffd}\n");
    }
}
