//! The brake: plans that reach too far are not carried out without a second thought.

/// So many rows may end in a table in which nothing is active.
const FEW: u64 = 100;

/// How far a plan reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Rows that it names.
    pub rows: u64,
    /// Active sessions among them.
    pub active: u64,
    /// Active sessions in the whole table.
    pub all_active: u64,
}

/// What a plan may reach without being confirmed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Brake {
    /// This share of the active sessions, from 0 to 1.
    pub share: f64,
    /// This many rows.
    pub rows: u64,
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
}

impl Brake {
    /// Why that has to be confirmed; nothing if it need not be.
    #[must_use]
    pub fn holds(self, reach: Reach) -> Option<Braked> {
        #[expect(clippy::cast_precision_loss, reason = "a share; counts stay below 2^53")]
        let share = reach.active as f64 / (reach.all_active.max(reach.active).max(1)) as f64;
        if reach.active > 1 && share > self.share {
            Some(Braked::Share(share))
        } else if reach.rows > self.rows {
            Some(Braked::Rows(reach.rows))
        } else if reach.all_active == 0 && reach.rows > FEW {
            Some(Braked::NoneActive(reach.rows))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_reaches_too_far_and_nothing_else() {
        let brake = Brake { share: 0.2, rows: 10_000 };
        let reach = |rows, active, all_active| Reach { rows, active, all_active };
        assert_eq!(brake.holds(reach(20, 20, 100)), None);
        assert_eq!(brake.holds(reach(21, 21, 100)), Some(Braked::Share(0.21)));
        assert_eq!(brake.holds(reach(10_000, 0, 1)), None);
        assert_eq!(brake.holds(reach(100, 0, 0)), None);
        assert_eq!(brake.holds(reach(101, 0, 0)), Some(Braked::NoneActive(101)));
        assert_eq!(brake.holds(reach(10_001, 0, 0)), Some(Braked::Rows(10_001)));
        // The only session there is may be ended like any other single one.
        assert_eq!(brake.holds(reach(1, 1, 1)), None);
        // More active sessions than there were when they were counted.
        assert_eq!(brake.holds(reach(30, 30, 10)), Some(Braked::Share(1.0)));
    }
}
