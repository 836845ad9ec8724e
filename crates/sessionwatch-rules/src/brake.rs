//! The brake: plans that reach too far are not carried out without a second thought.

/// A plan of no more rows is confirmed by nobody, whatever share of the table it is: a table of a handful of rows is looked
/// through at a glance.
const FEW: u64 = 2;
/// The usual share of a table, from 0 to 1, that a plan may name without being confirmed.
pub const MOST: f64 = 0.5;

/// How far a plan reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Rows that it names.
    pub rows: u64,
    /// Active sessions among them.
    pub active: u64,
    /// Active sessions in the whole table.
    pub all_active: u64,
    /// Rows in the whole table.
    pub all_rows: u64,
}

/// What a plan may reach without being confirmed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Brake {
    /// This share of the active sessions, from 0 to 1.
    pub share: f64,
    /// This many rows.
    pub rows: u64,
    /// This share of the rows of the table, from 0 to 1.
    pub most: f64,
}

/// Why a plan has to be confirmed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Braked {
    /// It ends a large share of the active sessions: this one, from 0 to 1.
    Share(f64),
    /// It names many rows.
    Rows(u64),
    /// It names rows of a table in which nothing is active, as when the wrong column is read as the end: so many.
    NoneActive(u64),
    /// It names most of the table: this share of the rows, from 0 to 1.
    Most(f64),
}

impl Brake {
    /// Why that has to be confirmed; nothing if it need not be.
    ///
    /// A plan that takes most of a table, or rows of one in which nothing is active, is the sign of a wrong reading
    /// however small it is. That is said before the number of rows, which an operator may have agreed to for good.
    #[must_use]
    pub fn holds(self, reach: Reach) -> Option<Braked> {
        let active = share(reach.active, reach.all_active);
        let rows = share(reach.rows, reach.all_rows);
        if reach.active > 1 && active > self.share {
            Some(Braked::Share(active))
        } else if reach.all_active == 0 && reach.rows > FEW {
            Some(Braked::NoneActive(reach.rows))
        } else if reach.rows > FEW && rows > self.most {
            Some(Braked::Most(rows))
        } else if reach.rows > self.rows {
            Some(Braked::Rows(reach.rows))
        } else {
            None
        }
    }
}

/// A share from 0 to 1, also where there are more by now than when all were counted.
#[expect(clippy::cast_precision_loss, reason = "a share; counts stay below 2^53")]
fn share(part: u64, all: u64) -> f64 {
    part as f64 / all.max(part).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRAKE: Brake = Brake { share: 0.2, rows: 10_000, most: MOST };

    fn holds(rows: u64, active: u64, (all_active, all_rows): (u64, u64)) -> Option<Braked> {
        BRAKE.holds(Reach { rows, active, all_active, all_rows })
    }

    #[test]
    fn holds_what_reaches_too_far_and_nothing_else() {
        assert_eq!(holds(20, 20, (100, 200)), None);
        assert_eq!(holds(21, 21, (100, 200)), Some(Braked::Share(0.21)));
        assert_eq!(holds(10_000, 0, (1, 30_000)), None);
        assert_eq!(holds(10_001, 0, (1, 30_000)), Some(Braked::Rows(10_001)));
        // The only session there is may be ended like any other single one.
        assert_eq!(holds(1, 1, (1, 1)), None);
        // More active sessions than there were when they were counted.
        assert_eq!(holds(30, 30, (10, 100)), Some(Braked::Share(1.0)));
    }

    #[test]
    fn holds_what_takes_most_of_a_table_however_small() {
        // The routine of every night.
        assert_eq!(holds(5, 0, (35, 40)), None);
        assert_eq!(holds(20, 0, (20, 40)), None);
        assert_eq!(holds(21, 0, (19, 40)), Some(Braked::Most(21.0 / 40.0)));
        assert_eq!(holds(3, 0, (1, 5)), Some(Braked::Most(0.6)));
        assert_eq!(holds(20_000, 0, (1, 30_000)), Some(Braked::Most(2.0 / 3.0)));
        // A glance is enough.
        assert_eq!(holds(2, 0, (1, 3)), None);
    }

    #[test]
    fn holds_any_rows_of_a_table_in_which_nothing_is_active() {
        assert_eq!(holds(90, 0, (0, 90)), Some(Braked::NoneActive(90)));
        assert_eq!(holds(3, 0, (0, 1_000)), Some(Braked::NoneActive(3)));
        assert_eq!(holds(2, 0, (0, 2)), None);
        // What is agreed to for good is the number of rows, not that nothing is active.
        assert_eq!(holds(20_000, 0, (0, 20_000)), Some(Braked::NoneActive(20_000)));
    }
}
