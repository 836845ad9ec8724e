use super::*;

fn report(tables: &[(&str, u64, u64)]) -> ApplyReport {
    let counts = |(table, done, refused): &(&str, u64, u64)| {
        ((*table).to_owned(), DependentCounts { done: *done, refused: *refused })
    };
    ApplyReport { dependents: tables.iter().map(counts).collect(), ..ApplyReport::default() }
}

#[test]
fn dependent_rows_are_described_by_table_in_the_number_of_the_count() {
    let report = report(&[("orders", 1_200, 0), ("carts", 1, 0)]);
    assert_eq!(
        report.describe_dependents(false),
        [
            "1 row of carts was archived and deleted with them.",
            "1,200 rows of orders were archived and deleted with them."
        ]
    );
    assert_eq!(
        report.describe_dependents(true),
        ["1 row of carts was restored with them.", "1,200 rows of orders were restored with them."]
    );
    assert!(report.is_complete());
    assert!(ApplyReport::default().describe_dependents(true).is_empty());
    assert!(ApplyReport::default().is_complete());
}

#[test]
fn a_rejected_row_is_reported_and_makes_the_restore_incomplete() {
    for (refused, line) in [
        (1, "1 row of carts was not restored: the table already has these rows, or rejects them."),
        (2, "2 rows of carts were not restored: the table already has these rows, or rejects them."),
    ] {
        let report = report(&[("carts", 0, refused), ("orders", 3, 0)]);
        let lines = report.describe_dependents(true);
        assert_eq!(lines[..2], ["0 rows of carts were restored with them.", line]);
        assert_eq!(lines.len(), 3);
        assert!(!report.is_complete());
    }
}

#[test]
fn every_reason_for_skipping_a_row_reads_differently() {
    use SkipReason::{
        Busy, Changed, ChangedOrGone, DependentsKept, Gone, IdTaken, Purged, Refused, TokenTaken,
        Unidentified, UserGone, UserHidden, Vetoed,
    };
    let all = [
        Busy,
        Changed,
        ChangedOrGone,
        DependentsKept,
        Gone,
        IdTaken,
        Purged,
        Refused,
        TokenTaken,
        Unidentified,
        UserGone,
        UserHidden,
        Vetoed,
    ];
    let texts: std::collections::BTreeSet<&str> = all.iter().map(|reason| reason.describe()).collect();
    assert_eq!(texts.len(), all.len());
}
